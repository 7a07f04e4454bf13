"""Numbers and untrusted text as characters for people. Units and percent exist only here.

Refuses to pass on anything that a reader cannot see: escape sequences, controls, bidi and
zero-width characters never reach a comment or a terminal.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable

from markupsafe import Markup

from ailab_bot.model.scenario import METRICS
from ailab_bot.model.trial import Outcome
from ailab_bot.model.verdict import Interval, Verdict, VerdictKind

#: Characters of a name or path in a report.
NAME_LENGTH = 80
#: Characters of a sentence that our own code wrote, or of a line of a program's output.
SENTENCE_LENGTH = 240
LINE_LENGTH = 160
#: Lines of output shown for a failure: enough for an exception and the frames nearest to it.
TAIL_LINES = 12

NOTHING = "—"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Letters and symbols by category that nevertheless draw nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC and kin
    r"|\x1b[ -/]*[0-~]?"
)
_OUTCOMES = {
    Outcome.OK: "ok",
    Outcome.TIMEOUT: "timeout",
    Outcome.CRASH: "crash",
    Outcome.OOM: "out of memory",
    Outcome.NO_FIRST_BATCH: "no first batch",
}
_KINDS = {
    VerdictKind.REGRESSION: "regression",
    VerdictKind.IMPROVEMENT: "improvement",
    VerdictKind.NO_CHANGE: "no change",
    VerdictKind.INCONCLUSIVE: "inconclusive",
}


def clean(text: str) -> str:
    """`text` on one line: escape sequences gone, what cannot be seen replaced by U+FFFD."""
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    return _REPLACEMENT if category.startswith("C") or character in _BLANK else character


def one_line(text: str, limit: int = NAME_LENGTH) -> str:
    """`text` cleaned, with single spaces, at most `limit` characters, never empty."""
    # A cut before cleaning bounds the work on hostile input; ten-fold keeps what a reader sees.
    shown = " ".join(clean(text[: 10 * limit]).split())
    return _cut(shown, limit) or "(empty)"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def code_span(text: str, limit: int = NAME_LENGTH) -> Markup:
    """Untrusted text as Markdown that GitHub shows as it is: no link, mention, HTML or cell.

    At most 4 x `limit` + 4 characters: a text of backticks alone needs a fence of its own length.
    """
    shown = one_line(text, limit).replace("|", "¦")
    fence = "`" * (_longest_run_of_backticks(shown) + 1)
    space = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return Markup(f"{fence}{space}{shown}{space}{fence}")  # noqa: S704 - this is the escaping


def fenced(lines: Iterable[str], language: str = "text") -> Markup:
    """Untrusted lines as a Markdown code block; every line cleaned and cut."""
    shown = tail(lines)
    fence = "`" * max(3, max(map(_longest_run_of_backticks, shown), default=0) + 1)
    return Markup("\n".join([fence + language, *shown, fence]))  # noqa: S704 - as above


def tail(lines: Iterable[str]) -> list[str]:
    """The last lines of a program's output, cleaned and cut, without blank ones at the ends."""
    shown = [_cut(clean(line[: 10 * LINE_LENGTH]).rstrip(), LINE_LENGTH) for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    shown = shown[-TAIL_LINES:]
    while shown and not shown[0]:
        shown.pop(0)
    return shown


def _longest_run_of_backticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def percent(fraction: float | None, *, sign: bool = True) -> str:
    """0.182 -> "+18.2 %", with a true minus sign."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    value = round(fraction * 100, 1)
    mark = "" if not sign or value == 0 else "+" if value > 0 else "−"
    size = abs(value)
    if size >= 1e6:
        return f"{mark}>1,000,000 %"
    return f"{mark}{size:,.0f} %" if size >= 1000 else f"{mark}{size:.1f} %"


def level(fraction: float) -> str:
    """0.9 -> "90 %": a percentage without digits that say nothing."""
    return f"{fraction * 100:.4g} %" if math.isfinite(fraction) else NOTHING


def interval(bounds: Interval | None) -> str:
    """"+15.1 % … +21.4 %"."""
    return f"{percent(bounds.low)} … {percent(bounds.high)}" if bounds else NOTHING


def seconds(value: float | None, *, sign: bool = False) -> str:
    """1.134 -> "1.13 s", 0.0944 -> "94 ms"; with `sign` a shift."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    mark = "−" if value < 0 else "+" if sign and value > 0 else ""
    if size >= 1e7:
        return f"{mark}{size:.2g} s"
    if size >= 99.995:
        return f"{mark}{size:,.0f} s"
    if size >= 0.9995:
        return f"{mark}{size:.2f} s"
    if size >= 0.00995:
        return f"{mark}{size * 1e3:.0f} ms"
    if size >= 0.00005:
        return f"{mark}{size * 1e3:.1f} ms"
    return "0 ms"


def duration(value: float) -> str:
    """Time that people wait for: 754.2 -> "12 min 34 s"."""
    if not math.isfinite(value) or abs(value) >= 1e9:
        return NOTHING
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def size(value: float | None) -> str:
    """Bytes: "230 MiB", "1.42 GiB"."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 2**60:
        return f"{value / 2**30:.2g} GiB"
    if abs(value) >= 2**30:
        return f"{value / 2**30:,.2f} GiB"
    if abs(value) >= 2**20:
        return f"{value / 2**20:.4g} MiB" if value < 1000 * 2**20 else f"{value / 2**30:.2f} GiB"
    return f"{value / 2**10:.0f} KiB"


def quantity(metric: str, value: float | None) -> str:
    """`value` in the unit of `metric`, which its name's end tells for an unknown one."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if metric.endswith("_s"):
        return seconds(value)
    if metric.endswith("_bytes"):
        return size(value)
    return f"{value:.4g}"


def metric_label(metric: str) -> str | None:
    """Our words for a known metric; None for one that only the user knows."""
    known = METRICS.get(metric)
    return known.label if known else None


def p_value(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.01 else f"{value:.2f}"


def outcome(value: Outcome) -> str:
    return _OUTCOMES[value]


def kind(value: VerdictKind) -> str:
    return _KINDS[value]


def confirmation(verdict: Verdict) -> str:
    """Which fresh blocks stand behind a verdict, or that they do not."""
    fresh = count(verdict.confirmation_blocks, "fresh block")
    if verdict.confirmed:
        return fresh
    if verdict.confirmation_blocks:
        return f"not confirmed by {fresh}"
    moved = verdict.kind in {VerdictKind.REGRESSION, VerdictKind.IMPROVEMENT}
    return "not confirmed" if moved else NOTHING


def count(number: int, noun: str) -> str:
    """1 -> "1 block", 2 -> "2 blocks"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
