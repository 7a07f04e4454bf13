"""What a search for a culprit found: in a terminal, live and at its end, and on a run's page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ailab_bot.model.culprit import Check, Culprit, Ending, RangeCommit
from ailab_bot.model.trial import Arm
from ailab_bot.model.verdict import Interval
from ailab_bot.report.markdown import code_span
from ailab_bot.report.progress import LineProgress, Progress
from ailab_bot.report.words import clean, duration, interval_text, percent, seconds

_MARKS = " ▁▂▃▄▅▆▇█"
#: Commits that one line of marks shows; more of them are gathered into the likeliest of neighbours.
MOST_MARKS = 48
#: Rows of the table: the likeliest commits.
MOST_ROWS = 8
#: Imports that are told of each scenario.
MOST_IMPORTS = 3
#: A commit less likely than this is not worth a row, unless it was measured.
_UNLIKELY = 0.01
_TITLES = {
    Ending.FOUND: "Culprit found",
    Ending.SEVERAL: "Culprit found, and it is not the only one",
    Ending.REINTRODUCED: "Culprit found: it brought back what had been taken back",
    Ending.REVERTED: "Taken back already: nothing is left of it at BAD",
    Ending.AMBIGUOUS: "The culprit is one of several commits",
    Ending.NO_CULPRIT: "No commit of this range is to blame",
    Ending.UNCONFIRMED: "A suspect, but measuring it again did not confirm it",
    Ending.CAPACITY: "The capacity ended before the culprit was certain",
    Ending.INTERRUPTED: "Interrupted before the culprit was certain",
    Ending.FAILED: "The search could not be carried out",
}


def marks(chances: Sequence[float], most: int = MOST_MARKS) -> str:
    """The range from GOOD to BAD in marks, the higher the likelier."""
    if not chances:
        return ""
    width = min(len(chances), most)
    ends = [round(place * len(chances) / width) for place in range(width + 1)]
    tops = [max(chances[a:b]) for a, b in itertools.pairwise(ends)]
    return "".join(_MARKS[math.ceil(min(max(top, 0.0), 1.0) * (len(_MARKS) - 1))] for top in tops)


def step_line(number: int, tested: str, effect: float | None, chances: Sequence[float]) -> str:
    """One line for each block: which commit was measured, and where the culprit is believed."""
    seen = "failed" if effect is None else percent(math.expm1(effect))
    return f"block {number:3}: {tested[:9]} {seen:>8}  GOOD ▕{marks(chances)}▏ BAD"


class InOwnWords(LineProgress):
    """Tells what goes on before a block, and nothing else: of GOOD and the `commit`, where others
    say base and head. A log has a line for each block; only a commit whose set-up may take minutes
    (`lasting`) is told there before."""

    def __init__(self, progress: Progress, commit: str, *, lasting: bool) -> None:
        super().__init__(Console(quiet=True))
        self._progress, self._commit, self._lasting = progress, commit, lasting

    def activity(self, scenario: str, text: str) -> None:
        what, _, arm = text.rpartition(" ")
        is_news = self._lasting and text == f"preparing {Arm.HEAD.value}"
        if isinstance(self._progress, LineProgress) and not is_news:
            return
        name = "GOOD" if arm == Arm.BASE.value else self._commit
        self._progress.activity(scenario, f"{what} {name}")


def print_culprit(found: Culprit, console: Console) -> None:
    """Headline, the likeliest commits, what confirmed it, and what to do next."""
    console.print()
    certain = found.ending.names_one
    console.print(Text(_TITLES[found.ending], style="bold red" if certain else "bold"))
    if found.culprit is not None:
        _print_commit(found.culprit, console)
        if found.inside is not None:
            console.print(
                Text(f"  came with the merge {found.inside.sha[:12]} {clean(found.inside.subject)}")
            )
    console.print(Text(clean(found.reason, 600)))
    console.print()
    _print_table(found, console)
    for check in (*found.checks, *found.others):
        console.print(_check_line(check))
    for commit, effect in found.also:
        what = f"Also moves it: {commit.sha[:12]} ({percent(effect)}) {clean(commit.subject)}"
        console.print(Text(what))
    if len(found.reverted) == 2:
        first, second = found.reverted
        console.print(
            Text(
                f"Before: {first.sha[:12]} {clean(first.subject)}, taken back by "
                f"{second.sha[:12]} {clean(second.subject)}"
            )
        )
    for explanation in found.explanations:
        for change in explanation.imports_added[:MOST_IMPORTS]:
            what = f"It now imports {clean(change.module)} ({seconds(change.seconds)})"
            console.print(Text(f"{clean(explanation.scenario)}: {what}"))
    for note in found.notes:
        console.print(Text(f"Note: {clean(note, 400)}"))
    console.print(
        Text(
            f"{found.scenario} {found.metric}: {_of_bad(found)}; {found.trials} trials, "
            f"{duration(found.runner_seconds)} spent",
            style="dim",
        )
    )
    if found.reproduce:
        console.print(Text(f"Reproduce: {found.reproduce}", style="dim"))


def _print_commit(commit: RangeCommit, console: Console) -> None:
    console.print(Text(f"  {commit.sha[:12]}  {clean(commit.subject)}", style="bold"))
    console.print(Text(f"  by {clean(commit.author)} <{clean(commit.email)}>"))


def _print_table(found: Culprit, console: Console) -> None:
    effects = {each.sha: each.effects for each in found.tested}
    likely = sorted(found.posterior, key=lambda sha: -found.posterior[sha])
    all_of_them = [sha for sha in likely if found.posterior[sha] >= _UNLIKELY]
    rows = all_of_them[:MOST_ROWS]
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("commit", no_wrap=True)
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("against GOOD", justify="right", no_wrap=True)
    table.add_column("blocks", justify="right", no_wrap=True)
    for sha in rows:
        own = effects.get(sha, ())
        seen = percent(math.expm1(median(own))) if own else "–"
        why = "skipped" if sha in found.skipped else seen
        table.add_row(sha[:12], f"{found.posterior[sha]:.1%}", why, str(len(own)))
    console.print(table)
    left = len(all_of_them) - len(rows)
    if left:
        console.print(Text(f"{left} more that may be it; --json names all of them", style="dim"))


def _of_bad(found: Culprit) -> str:
    if found.effect is None:
        return "BAD was not measured"
    return f"BAD is {_sized(found.effect, found.interval)} against GOOD"


def _sized(effect: float | None, interval: Interval | None) -> str:
    return percent(effect) + (f" ({interval_text(interval)})" if interval is not None else "")


def _check_line(check: Check) -> Text:
    sign = "✓" if check.held else "✗"
    seen = ""
    if check.verdict is not None:
        seen = f": {_sized(check.verdict.effect, check.verdict.interval)}"
    if check.why_not:
        seen += f" ({clean(check.why_not, 200)})"
    of = f"{clean(check.scenario)}: " if check.scenario else ""
    return Text(f"{sign} {of}{check.what}{seen}", style="" if check.held else "bold")


def render_standing(chances: Sequence[float], blocks: int, workers: int) -> str:
    """Markdown for the page of a round that begins."""
    measure = "1 worker measures" if workers == 1 else f"{workers} workers measure"
    return (
        f"### Search for the culprit\n\n{blocks} blocks so far, {measure} next.\n\n"
        f"`GOOD ▕{marks(chances)}▏ BAD`\n"
    )


def render_found(found: Culprit) -> str:
    """Markdown for the page of the round that ended a search. Nothing of a commit's own text."""
    likely = sorted(found.posterior, key=lambda sha: -found.posterior[sha])[:MOST_ROWS]
    rows = [f"| `{sha[:12]}` | {found.posterior[sha]:.1%} |" for sha in likely]
    named = f"\n`{found.culprit.sha}`\n" if found.culprit is not None else ""
    table = "\n".join(["| commit | probability |", "|---|---:|", *rows]) if rows else ""
    return f"### {_TITLES[found.ending]}\n{named}\n{code_span(found.reason, 600)}\n\n{table}\n"
