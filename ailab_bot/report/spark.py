"""A row of effects as a picture made of letters: one mark for each block, in order.

Heights reach from the lowest value to the highest and always take in zero, "no difference". A
picture alone tells nothing to those who cannot see it: `spark_words` says the same in words.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import median

from ailab_bot.report.words import percent

_MARKS = "▁▂▃▄▅▆▇█"
#: Longer rows are gathered into medians of neighbours: more marks do not fit into a line.
MOST_MARKS = 40


def spark(values: Sequence[float], most: int = MOST_MARKS) -> str:
    """At most `most` marks; empty for no finite value. Fractions, 0: no difference."""
    known = _known(values, most)
    low, high = _ends(known)
    top = len(_MARKS) - 1
    return "".join(
        _MARKS[round((value - low) / (high - low) * top) if high > low else 0] for value in known
    )


def spark_words(values: Sequence[float], most: int = MOST_MARKS) -> str:
    """`head slower in 15 of 16 blocks (in order, marks from …)`: what the picture shows."""
    finite = [value for value in values if math.isfinite(value)]
    slower, faster = sum(value > 0 for value in finite), sum(value < 0 for value in finite)
    count, word = (slower, "slower") if slower >= faster else (faster, "faster")
    noun = "block" if len(finite) == 1 else "blocks"
    low, high = _ends(_known(values, most))
    return (
        f"head {word} in {count} of {len(finite)} {noun} "
        f"(in order, marks from {percent(low)} to {percent(high)})"
    )


def _ends(known: Sequence[float]) -> tuple[float, float]:
    """What the lowest and the highest mark stand for."""
    return min([0.0, *known]), max([0.0, *known])


def _known(values: Sequence[float], most: int) -> list[float]:
    return _gathered([value for value in values if math.isfinite(value)], most)


def _gathered(values: list[float], most: int) -> list[float]:
    if len(values) <= most:
        return values
    ends = [round(place * len(values) / most) for place in range(most + 1)]
    return [median(values[a:b]) for a, b in itertools.pairwise(ends)]
