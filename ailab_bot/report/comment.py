"""The pull-request comment: GitHub Markdown from a report, never longer than GitHub takes.

Texts live in templates/comment.md; `markdown` makes untrusted text inert. On a pull request the
gate's answer and what to do now come first. Refuses to send anything; that is `gh`'s duty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ailab_bot.model.report import Choice, Machine, Plan, PullContext, Report, Why
from ailab_bot.model.verdict import (
    Conclusion,
    Explanation,
    FailureSummary,
    PhaseShift,
    Verdict,
    VerdictKind,
)
from ailab_bot.report import pull as pulls
from ailab_bot.report import words
from ailab_bot.report.filters import ICONS, environment
from ailab_bot.report.headline import headline
from ailab_bot.report.markdown import code_span, commit_link
from ailab_bot.report.selection import (
    groups_of,
    is_selective,
    ordered,
    short_tally,
    tally,
)
from ailab_bot.report.spark import spark, spark_words

#: GitHub refuses longer comments. Counted in UTF-16 units, of which there are never fewer than
#: characters.
MOST_CHARACTERS = 65_536
#: Kept free, so that a banner (states.py) always finds room in a comment that is edited later.
BANNER_ROOM = 1_000
#: The first line of every comment, by which the bot finds its own.
MARKER = "<!-- ailab:comment -->"
#: Rows shown openly, worst first; the rest is folded.
_OPEN_ROWS = 15
#: Scenarios explained, worst first.
_MOST_EXPLAINED = 5
_MOST_MACHINES = 10
#: Verdicts whose reason is given, worst first: what did not change has much the same one.
_MOST_REASONS = 60
#: Scenarios taken whose reason is given, most promising first.
_MOST_CHOICES = 12
#: Remarks, the first two open.
_MOST_NOTES = 40
#: How much of each list is rendered, tried in turn until the comment fits.
_ROW_LIMITS = (1000, 300, 150, 75, 40, 20, 10, 5, 1)


@dataclass(frozen=True)
class _Rows:
    """A list as it is rendered: what is open, what is folded, how many are left out."""

    open: tuple[Verdict, ...]
    folded: tuple[Verdict, ...]
    left_out: int


@dataclass(frozen=True)
class _Moved:
    """One scenario that moved: its evidence, as far as there is any."""

    scenario: str
    why: Explanation
    shifts: tuple[PhaseShift, ...]
    picture: str
    meaning: str

    @property
    def is_explained(self) -> bool:
        why = self.why
        return bool(self.shifts or why.imports_added or why.imports_removed or why.note)


def render_comment(report: Report) -> str:
    """The comment's Markdown, at most MOST_CHARACTERS less BANNER_ROOM."""
    return render_fitting(report, MOST_CHARACTERS - BANNER_ROOM, utf16_length)


def render_fitting(report: Report, most: int, length: Callable[[str], int]) -> str:
    """The comment's Markdown with as much of each list as fits into `most` by `length`."""
    template = environment().get_template("comment.md")
    text = ""
    for limit in _ROW_LIMITS:
        text = _tidy(template.render(_context(report, limit)))
        if length(text) <= most:
            return text
    raise AssertionError(f"{len(text)} characters with one row per list")  # a template's defect


def utf16_length(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _context(report: Report, limit: int) -> dict[str, object]:
    pull = report.pull
    title, advice = headline(
        report.verdicts,
        report.failures,
        report.interrupted,
        lambda text: code_span(text, 40),
        incomplete=report.conclusion is Conclusion.ERROR,
        not_measured=[scenario for scenario, _ in pull.infra] if pull else (),
    )
    if pull and _has_nothing_to_measure(report):
        title = "Nothing to measure for this change"
        advice = "The list of scenarios below says why each was left out."
        if report.plan.left and all(choice.rule is Why.PROVED for choice in report.plan.left):
            title = "No scenario can be moved by this change"
            advice = "It touches nothing that they run, so nothing was measured."
    verdicts = sorted(report.verdicts, key=words.rank)
    failures = sorted(report.failures, key=lambda failure: not failure.blocks_the_change)
    machines = _counted(report.machines or (report.machine,))
    return {
        "marker": MARKER,
        "icon_of_all": _icon(report),
        "title": title + (_remark(report, pull) if pull else ""),
        "advice": advice,
        "report": report,
        "passes": _passes(report),
        "rows": _split(verdicts, limit),
        "method": verdicts[: min(limit, _MOST_REASONS)],
        "control": words.control_text(report.policy, len(verdicts)),
        "margins": _range([verdict.margin for verdict in verdicts]),
        "thresholds": _range([verdict.threshold for verdict in verdicts]),
        "method_left_out": max(0, len(verdicts) - min(limit, _MOST_REASONS)),
        "blocking": [f for f in failures if f.blocks_the_change][: min(limit, 10)],
        "blocking_in_all": sum(failure.blocks_the_change for failure in failures),
        "other_failures": [f for f in failures if not f.blocks_the_change][: min(limit, 20)],
        "failures_left_out": _left_out_failures(failures, limit),
        "moved": _moved(report, verdicts)[: min(limit, _MOST_EXPLAINED)],
        "taken": _measured(report)[:limit],
        "left": _grouped(report.plan.left)[:limit],
        "choices_left_out": max(0, len(_measured(report)) - limit),
        "selection": _selection(report.plan, limit),
        "notes": report.notes[: min(limit, _MOST_NOTES)],
        "notes_left_out": max(0, len(report.notes) - min(limit, _MOST_NOTES)),
        "machines": machines[:_MOST_MACHINES],
        "machines_left_out": max(0, len(machines) - _MOST_MACHINES),
        **(_pull_context(report, pull, limit) if pull else {"pull": None}),
    }


def _pull_context(report: Report, pull: PullContext, limit: int) -> dict[str, object]:
    lost: dict[str, list[str]] = {}
    for scenario, reason in pull.infra:
        lost.setdefault(reason, []).append(scenario)
    steps = pulls.steps(report, pull)
    settled = pull.accepted_by or pull.gate_state is Conclusion.PENDING
    return {
        "pull": pull,
        "gate": pulls.gate_line(report, pull),
        "steps": steps,
        "say_advice": not steps and not settled,
        "lost": list(lost.items())[: min(limit, 5)],
        "lost_left_out": max(0, len(lost) - min(limit, 5)),
        "edits": pulls.edits_line(pull),
        "commands": pulls.commands_list(),
        "run": pulls.run_text(pull),
        "base_link": commit_link(report.base.sha, pull.server_url, pull.repository),
        "head_link": commit_link(report.head.sha, pull.server_url, pull.repository),
    }


def _has_nothing_to_measure(report: Report) -> bool:
    is_good = report.conclusion is Conclusion.SUCCESS
    return is_good and not (report.plan.taken or report.verdicts or report.failures)


def _remark(report: Report, pull: PullContext) -> str:
    """Why a headline with bad news blocks nothing; empty where it blocks or is good news."""
    bad = any(v.kind is VerdictKind.REGRESSION and v.gates for v in report.verdicts)
    if not bad and not any(failure.blocks_the_change for failure in report.failures):
        return ""
    if pull.accepted_by:
        return " (accepted)"
    return " (advisory)" if pull.gate_state is Conclusion.SUCCESS else ""


def _passes(report: Report) -> bool:
    return report.pull is not None and report.pull.gate_state is Conclusion.SUCCESS


def _icon(report: Report) -> str:
    if report.pull and _has_nothing_to_measure(report):
        return "✅"
    passes = _passes(report)
    if any(failure.blocks_the_change for failure in report.failures):
        return "🟠" if passes else "🔴"
    gating = [verdict.kind for verdict in report.verdicts if verdict.gates]
    if VerdictKind.REGRESSION in gating:
        return "🟠" if passes else "🔴"
    kinds = [v.kind for v in report.verdicts if v.gates or v.metric == "ttfb_s"]
    if VerdictKind.REGRESSION in kinds:
        return "🟠"
    if report.conclusion is Conclusion.ERROR or report.failures or not kinds:
        return "⚠️"
    for kind in (VerdictKind.INCONCLUSIVE, VerdictKind.IMPROVEMENT):
        if kind in kinds:
            return ICONS[kind]
    return "✅"


def _split(ordered: list[Verdict], limit: int) -> _Rows:
    """What moved or is not known is open, up to a bound; if nothing did, the first few are."""
    shown = ordered[:limit]
    moved = [v for v in shown if v.kind is not VerdictKind.NO_CHANGE]
    opened = shown if len(shown) <= _OPEN_ROWS else (moved or shown)[:_OPEN_ROWS]
    chosen = {id(verdict) for verdict in opened}
    folded = [verdict for verdict in shown if id(verdict) not in chosen]
    return _Rows(tuple(opened), tuple(folded), len(ordered) - len(shown))


def _left_out_failures(failures: list[FailureSummary], limit: int) -> int:
    blocking = sum(failure.blocks_the_change for failure in failures)
    others = len(failures) - blocking
    return max(0, blocking - min(limit, 10)) + max(0, others - min(limit, 20))


def _moved(report: Report, ordered: list[Verdict]) -> list[_Moved]:
    """Scenarios that moved or are explained, worst first, each with its shifts by size."""
    explained = {item.scenario: item for item in report.explanations}
    found = []
    for scenario in dict.fromkeys(v.scenario for v in ordered):
        why = explained.get(scenario, Explanation(scenario))
        moved = any(v.scenario == scenario and v.confirmed for v in ordered)
        blocks = report.blocks.get(scenario, ()) if moved else ()
        if scenario in explained or blocks:
            shifts = tuple(words.largest_shifts(why))
            found.append(_Moved(scenario, why, shifts, spark(blocks), spark_words(blocks)))
    return found


def _measured(report: Report) -> tuple[Choice, ...]:
    """The scenarios taken, less those that no machine measured."""
    lost = {scenario for scenario, _ in report.pull.infra} if report.pull else set()
    return tuple(choice for choice in report.plan.taken if choice.scenario not in lost)


def _selection(plan: Plan, limit: int) -> dict[str, object] | None:
    """How the scenarios were chosen; None where tier and runner alone decided."""
    if not is_selective(plan):
        return None
    most = min(limit, _MOST_CHOICES)
    return {
        "text": tally(plan),
        "short": short_tally(plan),
        "basis": plan.basis,
        "taken": ordered(plan.taken)[:most],
        "taken_left_out": max(0, len(plan.taken) - most),
        "left": [group for group in groups_of(plan) if not group.taken],
    }


def _grouped(choices: tuple[Choice, ...]) -> list[tuple[str, list[str]]]:
    """Scenarios by the reason that they share."""
    groups: dict[str, list[str]] = {}
    for choice in choices:
        groups.setdefault(choice.reason, []).append(choice.scenario)
    return list(groups.items())


def _counted(machines: tuple[Machine, ...]) -> list[tuple[int, Machine]]:
    """Equal machines once, with how many there were."""
    return [(machines.count(machine), machine) for machine in dict.fromkeys(machines)]


def _range(fractions: list[float]) -> str:
    """`5 %`, or `3 to 8 %` where scenarios differ."""
    ends = sorted({f"{fraction * 100:.3g}" for fraction in fractions}, key=float)
    shown = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}" if ends else "–"
    return f"{shown}\u00a0%"


def _tidy(text: str) -> str:
    """At most one blank line in a row, none at the ends."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
