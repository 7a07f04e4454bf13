"""What templates may call: figures as people read them, and untrusted text made inert.

Autoescape is off, as templates make Markdown; so each text goes through one of these filters.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

from ailab_bot.model.report import Machine
from ailab_bot.model.scenario import METRICS
from ailab_bot.model.verdict import Pattern, Verdict, VerdictKind
from ailab_bot.report import words
from ailab_bot.report.markdown import code_block, code_span, prose

ICONS = {
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


def environment() -> jinja2.Environment:
    """Of the templates in the folder beside this file."""
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
        failed=words.failed_trials,
        base=lambda verdict: words.amount(verdict.metric, verdict.base_median),
        head=lambda verdict: words.amount(verdict.metric, verdict.head_median),
        figures=words.method_text,
        machine=_machine,
        odds=lambda error: f"{1 / error:,.0f} to 1",
        share=_share,
    )
    return made


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
