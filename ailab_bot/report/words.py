"""Numbers and untrusted names as people read them: percent and units appear here and only here."""

from __future__ import annotations

import math
import re

from ailab_bot.model.noise import Cause, Disturbance, Noise, Unrest
from ailab_bot.model.policy import ERROR_IN_CHANGE, Policy
from ailab_bot.model.scenario import METRICS
from ailab_bot.model.verdict import (
    Explanation,
    FailureSummary,
    Interval,
    PhaseShift,
    Verdict,
    VerdictKind,
)

#: An untrusted name longer than this is cut: it would hide the figures beside it.
LONGEST_NAME = 80
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)?", re.DOTALL)
#: Controls, zero-width and bidirectional marks, separators, tags, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
#: A phase's shift is shown from this many seconds and this share of the largest shift on.
_SHORTEST_SHIFT_S, _SMALL_SHIFT = 0.001, 0.05
_MINUS = "\u2212"
#: A space that keeps a number and its unit on one line.
_NBSP = "\u00a0"

OUTCOMES = {
    "timeout": "timed out",
    "crash": "crashed",
    "oom": "ran out of memory",
    "no_first_batch": "reached no first batch",
}
ARMS = {"head": "head only", "base": "base only", "both": "both arms"}


def clean(text: str, most: int = LONGEST_NAME) -> str:
    """One line without anything that moves a cursor, hides, or reorders text; cut to `most`."""
    text = _UNSEEN.sub("\ufffd", _ANSI.sub("\ufffd", text).replace("\n", " ").replace("\t", " "))
    return text if len(text) <= most else text[: most - 1] + "…"


def percent(fraction: float | None) -> str:
    """`+18.2 %`, with a real minus sign; a dash for None."""
    if fraction is None or not math.isfinite(fraction):
        return "–"
    digits = f"{abs(fraction) * 100:.1f}"
    sign = "" if digits == "0.0" else "+" if fraction > 0 else _MINUS
    return f"{sign}{digits}{_NBSP}%"


def interval_text(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) < 0.9995:
        number = value * 1000
        shown = f"{number:.0f}" if abs(number) >= 10 else f"{number:.1f}"
        return f"{shown}{_NBSP}ms".replace("-", _MINUS)
    digits = 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}{_NBSP}s".replace("-", _MINUS)


def signed_seconds(value: float) -> str:
    return ("+" if value > 0 else "") + seconds(value)


def duration(value: float) -> str:
    """A time to wait or to pay: `41 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = round(value)
    if whole < 60:
        return f"{whole}{_NBSP}s"
    if whole < 3600:
        return f"{whole // 60}{_NBSP}min {whole % 60:02}{_NBSP}s"
    return f"{whole // 3600}{_NBSP}h {whole % 3600 // 60:02}{_NBSP}min"


def size(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f}{_NBSP}{unit}"
        value /= 1024
    return f"{value:.2f}{_NBSP}GiB"


def amount(metric: str, value: float | None) -> str:
    """A value of a metric in its unit."""
    known = METRICS.get(metric)
    if value is None:
        return "–"
    if (known and known.unit == "bytes") or metric.endswith("_bytes"):
        return size(value)
    if (known and known.unit == "s") or metric.endswith("_s"):
        return seconds(value)
    return f"{value:.4g}"


def label(metric: str) -> str:
    known = METRICS.get(metric)
    return known.label if known else clean(metric)


def failed_trials(failure: FailureSummary) -> str:
    """`crashed in 2 of 2 trials (head only)`."""
    if failure.in_setup:
        return "could not be set up on head, and was on base"
    what = OUTCOMES.get(failure.outcome.value, failure.outcome.value)
    noun = "trial" if failure.trials == 1 else "trials"
    where = ARMS.get(failure.arms, "arm not known")
    text = f"{what} in {failure.failed} of {failure.trials} {noun} ({where})"
    if failure.head_fails_more and failure.other_ok + failure.trials > failure.failed:
        text += f", head more often than chance has it ({evidence_text(failure.evidence)})"
    return text


def largest_shifts(explanation: Explanation) -> list[PhaseShift]:
    """Up to three phases, largest first; what is small beside the largest explains nothing."""
    ordered = sorted(explanation.phases, key=lambda shift: -abs(shift.delta_s))
    least_s = max(_SHORTEST_SHIFT_S, _SMALL_SHIFT * abs(ordered[0].delta_s)) if ordered else 0.0
    return [shift for shift in ordered if abs(shift.delta_s) >= least_s][:3]


_TAKERS = {Cause.LOAD: "other work", Cause.STEAL: "the hypervisor"}


def disturbance_text(disturbance: Disturbance) -> str:
    """`other work took 43 % of the CPU`."""
    return f"{_TAKERS[disturbance.cause]} took {share(disturbance.share)} of the CPU"


def unrest_notes(scenario: str, unrest: Unrest, limits: Noise) -> tuple[str, ...]:
    """What a reader has to know about a machine that was not quiet."""
    notes = []
    most = {Cause.LOAD: limits.max_load, Cause.STEAL: limits.max_steal}
    for cause in Cause:
        count = unrest.repeated.count(cause)
        if count:
            what = "1 block was" if count == 1 else f"{count} blocks were"
            limit = f"more than {share(most[cause])} of the CPU"
            notes.append(f"{what} measured again because {_TAKERS[cause]} took {limit}.")
    if unrest.kept:
        what = (
            "1 disturbed block counts"
            if unrest.kept == 1
            else f"{unrest.kept} disturbed blocks count"
        )
        notes.append(f"{what} all the same, as no more could be measured again.")
    if unrest.waited_s >= 1:
        notes.append(f"{duration(unrest.waited_s)} were spent waiting for a quiet machine.")
    return tuple(f"{scenario}: {note}" for note in notes)


def share(fraction: float) -> str:
    """`43 %`, of something."""
    return f"{fraction * 100:.0f}{_NBSP}%"


def p_text(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def evidence_text(evidence: float) -> str:
    """`2,400 to 1`: how often the blocks outweigh "no effect"."""
    if evidence < 1.5:
        return "none"
    return "more than 1,000,000 to 1" if evidence > 1e6 else f"{evidence:,.0f} to 1"


def method_text(verdict: Verdict) -> str:
    """The figures behind a verdict, after its reason."""
    noise = percent(verdict.noise).lstrip("+")
    return (
        f"evidence {evidence_text(verdict.evidence)}, noise {noise}, "
        f"t-test p {p_text(verdict.p_value)}"
    )


def control_text(policy: Policy, verdicts: int) -> str:
    """How false alarms are kept rare over all verdicts of one change."""
    asked = max(1 / policy.error, verdicts / ERROR_IN_CHANGE)
    share = f"{ERROR_IN_CHANGE * 100:.3g}{_NBSP}%"
    noun = "verdict" if verdicts == 1 else "verdicts"
    text = f"controlled at {share} by e-BH over {verdicts} {noun}"
    if asked > 1 / policy.error:
        return f"{text}, for which a lone effect needs {asked:,.0f} to 1"
    return f"{text}, which {asked:,.0f} to 1 for each includes"


def rank(verdict: Verdict) -> tuple[int, float]:
    """Sort key, worst first: gating regressions by size, then the rest."""
    order = [
        VerdictKind.REGRESSION,
        VerdictKind.INCONCLUSIVE,
        VerdictKind.IMPROVEMENT,
        VerdictKind.NO_CHANGE,
    ]
    place = order.index(verdict.kind) + 1
    if verdict.kind is VerdictKind.REGRESSION and verdict.gates:
        place = 0
    return place, -(verdict.effect or 0.0)
