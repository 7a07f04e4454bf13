"""An incident in words: what moved, by how much, for how long; as plain text and as Markdown.

Plain text goes where GitHub or a chat tool decides what it means (titles, notifications), so there
anything that one of them could read as markup is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ailab_bot.model.incident import Incident, Moved, State, Step, What
from ailab_bot.model.scenario import METRICS
from ailab_bot.model.verdict import Interval
from ailab_bot.report import words
from ailab_bot.report.markdown import code_span, mixed

_NBSP = "\u00a0"
#: A name in a title leaves room for the figures behind it.
_LONGEST_NAME = 48
#: What a title or a notification may hold beside letters and figures.
_PLAIN = " _.,;:/()%±+'\u2212…-"
_MEASURED = (What.DETECTED, What.SEEN)

ICONS = {
    State.DETECTED: "🔴",
    State.ATTRIBUTED: "🔴",
    State.ACKNOWLEDGED: "🟠",
    State.FIX_PROPOSED: "🟠",
    State.FIX_MEASURED: "✅",
    State.CLOSED: "✅",
}


@dataclass(frozen=True)
class Row:
    """One metric as it was measured at the branch: `after` the fix where that is known."""

    moved: Moved
    after: Moved | None


def plain(text: str, most: int = _LONGEST_NAME) -> str:
    """Text that nobody reads as markup: letters, figures and harmless marks, cut to `most`."""
    shown = "".join(
        each if each.isalnum() or each in _PLAIN else "\ufffd"
        for each in words.clean(text, most).replace(_NBSP, " ")
    )
    # Chat tools make links of addresses.
    return re.sub(r"(?i)://|www\.", "\ufffd", shown).strip() or "\ufffd"


def label(metric: str) -> str:
    """As Markdown; a metric that we do not know is untrusted."""
    return words.label(metric) if metric in METRICS else code_span(metric)


def worst_first(moved: Iterable[Moved]) -> list[Moved]:
    """The furthest above its threshold first."""
    return sorted(moved, key=lambda each: (each.threshold - each.effect, each.scenario))


def lead(incident: Incident) -> Moved:
    return worst_first(incident.moved)[0]


def more_scenarios(incident: Incident) -> str:
    """` and 2 more`: scenarios beside the one that leads; empty for none."""
    more = len(incident.scenarios) - 1
    return f" and {more} more" if more > 0 else ""


def what_moved(metric: str) -> str:
    """How a headline begins: `Slower to first batch`. Markdown."""
    known = METRICS.get(metric)
    if metric == "ttfb_s":
        return "Slower to first batch"
    return f"More {label(metric)}" if known else f"Worse: {label(metric)}"


def figures(effect: float | None, interval: Interval | None) -> str:
    """`+18.2 % (+15.1 to +21.4 %)`."""
    if effect is None:
        return ""
    return words.percent(effect) + (f" ({ends(interval)})" if interval else "")


def ends(interval: Interval | None) -> str:
    """`+15.1 to +21.4 %`; empty for none."""
    if interval is None:
        return ""
    low = words.percent(interval.low).removesuffix(f"{_NBSP}%")
    return f"{low} to {words.percent(interval.high)}"


def rows(incident: Incident) -> list[Row]:
    """What is slower, as it was measured last against the baseline, and after the fix."""
    fixed = incident.last(What.FIX_MEASURED)
    after = {each.key: each for each in fixed.moved} if fixed else {}
    return [
        Row(_at_the_branch(incident, each), after.get(each.key))
        for each in worst_first(incident.moved)
    ]


def _at_the_branch(incident: Incident, moved: Moved) -> Moved:
    """The culprit's own effect is one against its parent: beside medians of a release it would
    mislead."""
    for step in reversed(incident.steps):
        if step.what in _MEASURED:
            for each in step.moved:
                if each.key == moved.key:
                    return each
    return moved


def still_slower(incident: Incident) -> Step | None:
    """The latest measurement since a fix was proposed that saw it again."""
    proposed = incident.last(What.FIX_PROPOSED)
    seen = incident.last(What.SEEN)
    if not incident.fix or proposed is None or seen is None:
        return None
    order = incident.steps
    return seen if order.index(seen) > order.index(proposed) else None


def fixes(incident: Incident) -> str:
    """What a pull request says to end it: `Fixes #12`. Markdown."""
    return f"`Fixes #{incident.issue}`" if incident.issue else "`Fixes #` and this issue's number"


def told_by_search(text: str) -> str:
    """A sentence of a search, whose words for the ends of its range nobody knows here. Markdown."""
    said = re.sub(r"\bBAD\b", "the measured commit", text)
    said = re.sub(r"\bGOOD\b", "the last good one", said)
    said = said[:1].upper() + said[1:] if text[:1].isupper() else said
    return mixed(said, 400)


def certainty(probability: float) -> str:
    """`98 %`; never all of it."""
    return f"more than 99{_NBSP}%" if probability > 0.99 else words.share(probability)


def span(time: timedelta) -> str:
    """`2 days`, `3 h 05 min`."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 2 * 86_400:
        return words.duration(seconds)
    return f"{seconds / 86_400:.0f}{_NBSP}days"


def moment(at: datetime) -> str:
    """`2026-01-31 12:00`, in UTC."""
    return at.astimezone(UTC).strftime(f"%Y-%m-%d{_NBSP}%H:%M")


def tidy(text: str) -> str:
    """At most one blank line in a row, none at the ends."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
