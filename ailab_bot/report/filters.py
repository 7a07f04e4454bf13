"""What templates may call: figures as people read them, and untrusted text made inert.

Autoescape is off, as templates make Markdown; so each text goes through one of these filters.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_bot.model.report import Machine
from ailab_bot.model.scenario import METRICS
from ailab_bot.model.verdict import Pattern, Verdict, VerdictKind
from ailab_bot.report import words
from ailab_bot.report.markdown import code_block, code_span, mixed, prose
from ailab_bot.report.selection import likely_text

if TYPE_CHECKING:
    import jinja2

ICONS = {
    VerdictKind.REGRESSION: "🔴",
    VerdictKind.IMPROVEMENT: "🟢",
    VerdictKind.NO_CHANGE: "⚪",
    VerdictKind.INCONCLUSIVE: "🟡",
}
_WORDS = {
    VerdictKind.REGRESSION: "slower",
    VerdictKind.IMPROVEMENT: "faster",
    VerdictKind.NO_CHANGE: "no change",
    VerdictKind.INCONCLUSIVE: "not known",
}
#: Metrics that are no times.
_MORE = {VerdictKind.REGRESSION: "more", VerdictKind.IMPROVEMENT: "less"}


@functools.cache
def environment() -> jinja2.Environment:
    """Of the templates in the folder beside this file."""
    import jinja2  # noqa: PLC0415 - 50 ms, and the status is posted before anything is rendered

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # noqa: S701 - Markdown, not HTML; untrusted text goes through `code`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        code=code_span,
        prose=prose,
        block=code_block,
        command=lambda text: words.clean(text, 500).replace("`", "'"),
        percent=words.percent,
        interval=_interval,
        seconds=words.seconds,
        signed=words.signed_seconds,
        duration=words.duration,
        size=words.size,
        label=lambda metric: words.label(metric) if metric in METRICS else code_span(metric),
        icon=_row_icon,
        word=_word,
        basis=_basis,
        failed=words.failed_trials,
        base=lambda verdict: words.amount(verdict.metric, verdict.base_median),
        head=lambda verdict: words.amount(verdict.metric, verdict.head_median),
        figures=words.method_text,
        machine=_machine,
        likely=likely_text,
        mixed=mixed,
        odds=lambda error: f"{1 / error:,.0f} to 1",
        share=_share,
    )
    return made


def _word(verdict: Verdict) -> str:
    known = METRICS.get(verdict.metric)
    is_time = known is not None and known.unit == "s"
    word = _WORDS[verdict.kind] if is_time else _MORE.get(verdict.kind, _WORDS[verdict.kind])
    if verdict.pattern is Pattern.SLOW_IN_SOME:
        better = verdict.kind is VerdictKind.IMPROVEMENT
        word += "; fewer slow trials" if better else " in some trials only"
    return word.replace("not known in", "not known; slow in")


def _basis(verdict: Verdict) -> str:
    """What the word rests on: the threshold and, where it moved, the fresh blocks."""
    threshold = _share(verdict.threshold)
    if verdict.kind is VerdictKind.NO_CHANGE:
        return f"within ±{threshold}"
    if not verdict.confirmed:
        return f"threshold {threshold}"
    blocks = verdict.confirmation_blocks
    noun = "block" if blocks == 1 else "blocks"
    return f"confirmed by {blocks} fresh {noun}, threshold {threshold}"


def _row_icon(verdict: Verdict, passes: bool = False) -> str:
    """`passes`: the gate lets the change pass whatever its verdicts are."""
    does_not_block = verdict.kind is VerdictKind.REGRESSION and (passes or not verdict.gates)
    return "🟠" if does_not_block else ICONS[verdict.kind]


def _interval(verdict: Verdict) -> str:
    """`+15.1 to +21.4 %`; empty where the blocks bound only one end."""
    if verdict.interval is None:
        return ""
    low = words.percent(verdict.interval.low).removesuffix("\u00a0%")
    return f"{low} to {words.percent(verdict.interval.high)}"


def _share(fraction: float) -> str:
    return f"{fraction * 100:.3g}\u00a0%"


def _machine(machine: Machine) -> str:
    return (
        f"{code_span(machine.cpu)}, {machine.cores} cores, {words.size(machine.memory_bytes)}, "
        f"{code_span(machine.system)}, Python {code_span(machine.python)}"
    )
