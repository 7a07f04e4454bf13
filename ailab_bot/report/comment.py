"""The pull-request comment: GitHub Markdown from a report, never longer than GitHub takes.

Texts live in templates/comment.md. Everything that a pull request could choose (names, messages,
output) passes through `code_span` or `code_block`, so it can neither mention, link nor break out.
Refuses to send anything; that is `gh`'s duty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2

from ailab_bot.model.report import Choice, Report
from ailab_bot.model.scenario import METRICS
from ailab_bot.model.verdict import (
    Conclusion,
    Explanation,
    FailureSummary,
    Pattern,
    PhaseShift,
    Verdict,
    VerdictKind,
)
from ailab_bot.report import words
from ailab_bot.report.headline import headline

#: GitHub refuses longer comments (counted in characters).
MOST_CHARACTERS = 65_536
#: The first line of every comment, by which the bot finds its own.
MARKER = "<!-- ailab:comment -->"
#: Rows shown openly, worst first; the rest is folded.
_OPEN_ROWS = 15
#: Scenarios explained, worst first.
_MOST_EXPLAINED = 5
#: How much of each list is rendered, tried in turn until the comment fits.
_ROW_LIMITS = (1000, 300, 150, 75, 40, 20, 10, 5, 1)

#: What a sentence of ours is made of: nothing that Markdown or GitHub reads as markup or a link.
_PROSE = re.compile(r"[A-Za-z0-9 ,.;:%±()'-]+")
_REFERENCE = re.compile(r"GH-\d|www\.|\w:\w")

_ICONS = {
    VerdictKind.REGRESSION: "🔴",
    VerdictKind.IMPROVEMENT: "🟢",
    VerdictKind.NO_CHANGE: "⚪",
    VerdictKind.INCONCLUSIVE: "🟡",
}
_WORDS = {
    VerdictKind.REGRESSION: "regression",
    VerdictKind.IMPROVEMENT: "improvement",
    VerdictKind.NO_CHANGE: "no change",
    VerdictKind.INCONCLUSIVE: "not known",
}


@dataclass(frozen=True)
class _Rows:
    """A list as it is rendered: what is open, what is folded, how many are left out."""

    open: tuple[Verdict, ...]
    folded: tuple[Verdict, ...]
    left_out: int


def render_comment(report: Report) -> str:
    """The comment's Markdown, at most MOST_CHARACTERS characters."""
    template = _environment().get_template("comment.md")
    text = ""
    for limit in _ROW_LIMITS:
        text = _tidy(template.render(_context(report, limit)))
        if len(text) <= MOST_CHARACTERS:
            return text
    raise AssertionError(f"{len(text)} characters with one row per list")  # a template's defect


def code_span(text: str, most: int = words.LONGEST_NAME) -> str:
    """Untrusted text as an inert code span: one line, cut, its fence longer than any inside."""
    shown = words.clean(text, most).replace("|", "¦").strip() or "\ufffd"
    fence = "`" * (_longest_backticks(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def prose(text: str, most: int = words.LONGEST_NAME) -> str:
    """A sentence as such when it is made of letters and figures alone, else an inert code span."""
    harmless = _PROSE.fullmatch(text) and not _REFERENCE.search(text)
    return words.clean(text, most) if harmless else code_span(text, most)


def code_block(lines: tuple[str, ...]) -> str:
    """Untrusted lines as an inert fenced block."""
    shown = [words.clean(line, 200) for line in lines]
    fence = "`" * max(3, _longest_backticks("\n".join(shown)) + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def _longest_backticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # noqa: S701 - Markdown, not HTML; untrusted text goes through `code`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        code=code_span,
        prose=prose,
        block=code_block,
        command=lambda text: words.clean(text, 500).replace("`", "'"),
        percent=words.percent,
        interval=words.interval_text,
        seconds=words.seconds,
        signed=words.signed_seconds,
        duration=words.duration,
        size=words.size,
        label=lambda metric: words.label(metric) if metric in METRICS else code_span(metric),
        icon=_row_icon,
        word=_word,
        failed=words.failed_trials,
        times=_medians,
        figures=words.method_text,
        odds=lambda error: f"{1 / error:,.0f} to 1",
        share=lambda fraction: f"{fraction * 100:.3g}\u00a0%",
    )
    return environment


def _context(report: Report, limit: int) -> dict[str, object]:
    title, advice = headline(
        report.verdicts,
        report.failures,
        report.interrupted,
        lambda text: code_span(text, 40),
        incomplete=report.conclusion is Conclusion.ERROR,
    )
    ordered = sorted(report.verdicts, key=words.rank)
    failures = sorted(report.failures, key=lambda failure: not failure.blocks_the_change)
    return {
        "marker": MARKER,
        "icon_of_all": _icon(report),
        "title": title,
        "advice": advice,
        "report": report,
        "rows": _split(ordered, limit),
        "method": ordered[:limit],
        "control": words.control_text(report.policy, len(ordered)),
        "margins": _range([verdict.margin for verdict in ordered]),
        "thresholds": _range([verdict.threshold for verdict in ordered]),
        "method_left_out": max(0, len(ordered) - limit),
        "blocking": [f for f in failures if f.blocks_the_change][: min(limit, 10)],
        "other_failures": [f for f in failures if not f.blocks_the_change][: min(limit, 20)],
        "failures_left_out": _left_out_failures(failures, limit),
        "explanations": _explanations(report, ordered)[: min(limit, _MOST_EXPLAINED)],
        "taken": report.plan.taken[:limit],
        "left": _grouped(report.plan.left)[:limit],
        "choices_left_out": max(0, len(report.plan.taken) - limit),
        "notes": report.notes[:10],
    }


def _word(verdict: Verdict) -> str:
    word = _WORDS[verdict.kind]
    if verdict.confirmed:
        word += f", confirmed by {verdict.confirmation_blocks} fresh blocks"
    if verdict.pattern is not Pattern.SLOW_IN_SOME:
        return word
    better = verdict.kind is VerdictKind.IMPROVEMENT
    return f"{word}; {'fewer slow trials' if better else 'slow in some trials only'}"


def _row_icon(verdict: Verdict) -> str:
    does_not_block = verdict.kind is VerdictKind.REGRESSION and not verdict.gates
    return "🟠" if does_not_block else _ICONS[verdict.kind]


def _icon(report: Report) -> str:
    if any(failure.blocks_the_change for failure in report.failures):
        return "🔴"
    gating = [verdict.kind for verdict in report.verdicts if verdict.gates]
    if VerdictKind.REGRESSION in gating:
        return "🔴"
    kinds = [v.kind for v in report.verdicts if v.gates or v.metric == "ttfb_s"]
    if VerdictKind.REGRESSION in kinds:
        return "🟠"
    if report.conclusion is Conclusion.ERROR or report.failures or not kinds:
        return "⚠️"
    for kind in (VerdictKind.INCONCLUSIVE, VerdictKind.IMPROVEMENT):
        if kind in kinds:
            return _ICONS[kind]
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


def _explanations(
    report: Report, ordered: list[Verdict]
) -> list[tuple[Explanation, list[PhaseShift]]]:
    """Explanations of what moved, worst first, each with its shifts by size."""
    places = {verdict.scenario: place for place, verdict in reversed(list(enumerate(ordered)))}
    known = [item for item in report.explanations if item.scenario in places]
    known.sort(key=lambda item: places[item.scenario])
    return [(item, words.largest_shifts(item)) for item in known]


def _grouped(choices: tuple[Choice, ...]) -> list[tuple[str, list[str]]]:
    """Scenarios by the reason that they share."""
    groups: dict[str, list[str]] = {}
    for choice in choices:
        groups.setdefault(choice.reason, []).append(choice.scenario)
    return list(groups.items())


def _medians(verdict: Verdict) -> str:
    base = words.amount(verdict.metric, verdict.base_median)
    return f"{base} → {words.amount(verdict.metric, verdict.head_median)}"


def _range(fractions: list[float]) -> str:
    """`5 %`, or `3 to 8 %` where scenarios differ."""
    ends = sorted({f"{fraction * 100:.3g}" for fraction in fractions}, key=float)
    shown = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}" if ends else "–"
    return f"{shown}\u00a0%"


def _tidy(text: str) -> str:
    """At most one blank line in a row, none at the ends."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
