"""A report and an error on a terminal, 80 columns or fewer; plain text where it is a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from ailab_bot.errors import AilabError
from ailab_bot.model.report import Plan, Report
from ailab_bot.model.shard import Shard
from ailab_bot.model.verdict import (
    Conclusion,
    Explanation,
    FailureSummary,
    Verdict,
    VerdictKind,
)
from ailab_bot.report.headline import headline
from ailab_bot.report.selection import groups_of, is_selective, likely_text, tally
from ailab_bot.report.words import (
    amount,
    clean,
    duration,
    failed_trials,
    interval_text,
    largest_shifts,
    method_text,
    percent,
    rank,
    seconds,
    signed_seconds,
)

_TAGS = re.compile(r"<!--.*?-->|</?(details|sub)>|</?summary>")
#: Rows of the table; scenarios without change beyond it are summed up in one line.
MOST_ROWS = 40
#: Verdicts whose reason is printed below the table, worst first.
MOST_REASONS = 10
#: Scenarios named of those that one rule left.
_MOST_NAMED = 8
#: Scenarios named in one row of a plan's table, where reason and figures are the same.
_MOST_ALIKE = 3
_STYLES = {
    VerdictKind.REGRESSION: "bold red",
    VerdictKind.IMPROVEMENT: "bold green",
    VerdictKind.NO_CHANGE: "",
    VerdictKind.INCONCLUSIVE: "yellow",
}
_SHORT = {
    VerdictKind.REGRESSION: "slower",
    VerdictKind.IMPROVEMENT: "faster",
    VerdictKind.NO_CHANGE: "no change",
    VerdictKind.INCONCLUSIVE: "not known",
}
_MORE = {"peak_rss_bytes": ("more", "less"), "ttfb_s": ("slower", "faster")}


def print_report(report: Report, console: Console) -> None:
    """Headline, table, failures, explanations, and what it cost."""
    console.print()
    style = "bold red" if report.conclusion is Conclusion.FAILURE else "bold"
    title, advice = headline(
        report.verdicts,
        report.failures,
        report.interrupted,
        incomplete=report.conclusion is Conclusion.ERROR,
    )
    console.print(Text(title, style=style))
    console.print(Text(advice))
    console.print()
    print_verdicts(report.verdicts, report.failures, console)
    for explanation in report.explanations:
        _print_explanation(explanation, console)
    for note in report.notes:
        print_note(note, console)
    spent = duration(report.runner_seconds)
    base, head = report.base, report.head
    commits = f"base {base.sha[:12]} ({clean(base.ref)}), head {head.sha[:12]} ({clean(head.ref)})"
    console.print(Text(f"{commits}, seed {report.plan.seed}, {spent} spent", style="dim"))


def print_verdicts(
    verdicts: Iterable[Verdict], failures: Iterable[FailureSummary], console: Console
) -> None:
    """The table alone, worst first, with the failures below."""
    ordered = sorted(verdicts, key=rank)
    if ordered:
        narrow = console.width < 72
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if narrow else 2, 0, 0))
        table.add_column("scenario", overflow="fold", ratio=3)
        table.add_column("verdict", overflow="fold")
        table.add_column("effect", justify="right", no_wrap=True)
        if not narrow:
            table.add_column("interval", justify="right", no_wrap=True)
            table.add_column("base → head", justify="right", overflow="fold")
        for verdict in ordered[:MOST_ROWS]:
            table.add_row(*_row(verdict, narrow))
        console.print(table)
    rest = ordered[MOST_ROWS:]
    if rest:
        kinds = {kind: sum(v.kind is kind for v in rest) for kind in VerdictKind}
        counted = ", ".join(f"{count} {_SHORT[kind]}" for kind, count in kinds.items() if count)
        console.print(Text(f"… and {len(rest)} more: {counted}"))
    for verdict in ordered[:MOST_REASONS]:
        if verdict.kind is not VerdictKind.NO_CHANGE:
            _print_reason(verdict, console)
    for failure in list(failures)[:MOST_ROWS]:
        console.print(Text(f"{clean(failure.scenario)}: {failed_trials(failure)}", style="bold"))
        console.print(Text(f"  {clean(failure.reason, 400)}"))
        for line in failure.output_tail:
            console.print(Text(f"  │ {clean(line, 200)}", style="dim"))
        if failure.advice:
            console.print(Text(f"  {clean(failure.advice, 400)}"))


def _print_reason(verdict: Verdict, console: Console) -> None:
    console.print(Text(f"{clean(verdict.scenario)} {_word(verdict)}: {verdict.reason}"))
    console.print(Text(f"  {method_text(verdict)}", style="dim"))


def print_note(note: str, console: Console) -> None:
    """A remark below the table."""
    console.print(Text(f"Note: {clean(note, 400)}"))


def print_unjudged(notes: Sequence[str], console: Console) -> None:
    """Scenarios without a verdict, said also where the table is not asked for."""
    for note in notes[:MOST_REASONS]:
        print_note(note, console)
    if len(notes) > MOST_REASONS:
        rest = len(notes) - MOST_REASONS
        console.print(Text(f"… and {rest} more without a verdict"))


def print_comment(markdown: str, console: Console) -> None:
    """The comment as a terminal can show it: Markdown without its HTML."""
    console.print()
    console.rule("the pull-request comment", style="dim")
    console.print(Markdown(_TAGS.sub("", markdown.replace("<br>", " "))))
    console.rule(style="dim")


def print_error(error: AilabError, console: Console) -> None:
    """What happened, why, and what to do now."""
    console.print(Text(f"ailab: {clean(error.what, 500)}", style="bold red"), soft_wrap=True)
    for text in (error.why, error.advice):
        for line in text.splitlines():
            console.print(Text(f"  {_disobeyed(clean(line, 2000))}"), soft_wrap=True)


def _disobeyed(line: str) -> str:
    """Somebody's output in an error: a runner of GitHub's would take such a line for a command."""
    line = line.replace("##[", "## [")
    return f"| {line}" if line.lstrip().startswith("::") else line


def _row(verdict: Verdict, narrow: bool) -> list[Text]:
    name = Text(clean(verdict.scenario))
    if verdict.metric != "ttfb_s":
        name.append(f" {clean(verdict.metric)}", style="dim")
    cells = [
        name,
        Text(_word(verdict), style=_STYLES[verdict.kind]),
        Text(percent(verdict.effect)),
    ]
    if narrow:
        return cells
    medians = (amount(verdict.metric, v) for v in (verdict.base_median, verdict.head_median))
    return [*cells, Text(interval_text(verdict.interval)), Text(" → ".join(medians))]


def _word(verdict: Verdict) -> str:
    more, less = _MORE.get(verdict.metric, ("more", "less"))
    if verdict.kind is VerdictKind.REGRESSION:
        return more
    return less if verdict.kind is VerdictKind.IMPROVEMENT else _SHORT[verdict.kind]


def _print_explanation(explanation: Explanation, console: Console) -> None:
    console.print(Text(f"Why {clean(explanation.scenario)} moved", style="bold"))
    for shift in largest_shifts(explanation):
        times = f"{seconds(shift.base_s)} → {seconds(shift.head_s)}"
        console.print(
            Text(f"  phase {clean(shift.phase)}: {signed_seconds(shift.delta_s)} ({times})")
        )
    for text, changes in (
        ("now imports", explanation.imports_added),
        ("no longer imports", explanation.imports_removed),
    ):
        for change in changes[:5]:
            more = f" with {change.submodules} more" if change.submodules else ""
            console.print(
                Text(
                    f"  {text} {clean(change.module)}{more}: about {seconds(change.seconds)}, "
                    f"at {clean(change.importer, 120)}"
                )
            )
    console.print()


def print_plan(
    plan: Plan, shards: Sequence[Shard], console: Console, *, explain: bool = False
) -> None:
    """What would be measured where, and what is left out; with `explain` every scenario's reason.

    Of scenarios that one rule left, a few are named; with `explain` MOST_ROWS of them.
    """
    if is_selective(plan):
        console.print(Text(tally(plan), style="bold"))
        if plan.basis:
            console.print(Text(clean(plan.basis, 300), style="dim"))
        console.print()
    if explain:
        _print_choices(plan, console)
    if shards:
        table = Table(box=None, pad_edge=False)
        table.add_column("Shard", justify="right")
        table.add_column("Runner")
        table.add_column("About", justify="right")
        table.add_column("Scenarios")
        for shard in shards:
            names = ", ".join(clean(name) for name in shard.scenarios)
            labels = clean(", ".join(shard.labels))
            table.add_row(
                Text(str(shard.index)), Text(labels), Text(duration(shard.expected_s)), Text(names)
            )
        console.print(table)
    if not explain:
        _print_left(plan, console)


def _print_choices(plan: Plan, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("scenario", overflow="fold", ratio=2)
    table.add_column("likely", justify="right", no_wrap=True)
    table.add_column("about", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=4)
    for group in groups_of(plan):
        alike: dict[tuple[str, str, str], list[str]] = {}
        for choice in group.choices:
            about = "–" if choice.cost_s is None else duration(choice.cost_s)
            key = (likely_text(choice), about, choice.reason)
            alike.setdefault(key, []).append(clean(choice.scenario))
        for (likely, about, reason), names in list(alike.items())[:MOST_ROWS]:
            shown = ", ".join(names[:_MOST_ALIKE])
            more = f" and {len(names) - _MOST_ALIKE} more" if len(names) > _MOST_ALIKE else ""
            table.add_row(
                Text("✓" if group.taken else "·", style="green" if group.taken else "dim"),
                Text(shown + more),
                Text(likely),
                Text(about),
                Text(clean(reason, 300)),
                style="" if group.taken else "dim",
            )
        rest = sum(map(len, list(alike.values())[MOST_ROWS:]))
        if rest:
            table.add_row("", Text(f"… {rest} more {group.words}"), "", "", "", style="dim")
    console.print(table)


def _print_left(plan: Plan, console: Console) -> None:
    if not is_selective(plan):
        for choice in plan.left:
            console.print(Text(f"{clean(choice.scenario)}: left out, {clean(choice.reason)}"))
        return
    for group in groups_of(plan):
        if not group.taken:
            named = ", ".join(clean(choice.scenario) for choice in group.choices[:_MOST_NAMED])
            rest = len(group.choices) - _MOST_NAMED
            more = f" and {rest} more" if rest > 0 else ""
            console.print(Text(f"{len(group.choices)} {group.words}: {named}{more}", style="dim"))
    if plan.left:
        console.print(Text("--explain gives the reason of each.", style="dim"))
