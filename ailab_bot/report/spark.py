"""A row of effects as a picture made of letters: one mark for each block, in order.

The middle height means "no difference", so pictures of different scenarios can be compared by
shape. A picture alone tells nothing to those who cannot see it: `spark_words` says the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import median

_MARKS = "▁▂▃▄▅▆▇█"
#: Longer rows are gathered into medians of neighbours: more marks do not fit into a line.
MOST_MARKS = 40
#: One wild block must not flatten all others: heights end at this many times the typical size.
_WILD = 3.0


def spark(values: Sequence[float], most: int = MOST_MARKS) -> str:
    """At most `most` marks; empty for no finite value. Fractions, 0: no difference."""
    known = _gathered([value for value in values if math.isfinite(value)], most)
    if not known:
        return ""
    sizes = [abs(value) for value in known]
    typical = median(sizes)
    full = min(max(sizes), _WILD * typical) if typical > 0 else max(sizes)
    return "".join(_mark(value, full) for value in known)


def spark_words(values: Sequence[float]) -> str:
    """`head slower in 15 of 16 blocks`: what the picture shows."""
    known = [value for value in values if math.isfinite(value)]
    slower, faster = sum(value > 0 for value in known), sum(value < 0 for value in known)
    count, word = (slower, "slower") if slower >= faster else (faster, "faster")
    noun = "block" if len(known) == 1 else "blocks"
    return f"head {word} in {count} of {len(known)} {noun}"


def _mark(value: float, full: float) -> str:
    """Zero lies between the two middle heights; a value on either side never looks like zero's
    other side."""
    half = len(_MARKS) // 2
    if full <= 0 or value == 0:
        return _MARKS[half - 1]
    steps = min(half - 1, int(abs(value) / full * half))
    return _MARKS[half + steps] if value > 0 else _MARKS[half - 1 - steps]


def _gathered(values: list[float], most: int) -> list[float]:
    if len(values) <= most:
        return values
    ends = [round(place * len(values) / most) for place in range(most + 1)]
    return [median(values[a:b]) for a, b in itertools.pairwise(ends)]
