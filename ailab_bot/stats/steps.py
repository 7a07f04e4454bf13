"""Where the level of a series has moved for good: slow creep, seen as the steps it is made of.

Each night's effect against the same baseline is a point with a standard error. PELT (Killick,
Fearnhead, Eckley 2012; the package `ruptures`) finds the steps whose number and places cost least,
each one at the price of a penalty. Refuses to call anything slower or faster, and to compare points
that were not measured against the same commit: those have no common level, and are other series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from ruptures.base import BaseCost
from ruptures.detection import Pelt

Array = NDArray[np.float64]

#: By how much a step has to lessen the weighted squares, in units of the noise's variance. Tuned
#: with `bench/creep.py --only null`: of series of 60 nights without any step at most 1 % have one,
#: whether the noise is normal or has the tails of Student's t with 3 or 4 degrees of freedom, and
#: whether the errors that the caller knows are half, right or twice the true ones. At 4,000 series
#: each the worst of the nine has 0.55 %.
PENALTY = 26.0
#: Nights of a level before it counts as one: a machine that had a few bad nights is no step.
LEAST_NIGHTS = 4
#: A point counts as lying at most so many of its errors from the median of itself and so many
#: points to each side: one wild night moves no level, and a step that stays is in the median soon.
_FARTHEST = 2.0
_AROUND = 3
#: How many differences between neighbours the stated errors are worth, when the true noise is
#: estimated: with few points they are believed, with many it is the points that are.
_BELIEF = 3.0
#: The median of the squared differences of two normal points, in units of both variances.
_MEDIAN_OF_SQUARES = 0.4549


@dataclass(frozen=True)
class StepAt:
    """`index` is the first point of the new level. `size` is its mean less that of the level before
    (logarithms), `sd` the size's standard error by the noise that the series shows."""

    index: int
    size: float
    sd: float


def find_steps(
    levels: Sequence[float], sds: Sequence[float], penalty: float = PENALTY
) -> tuple[StepAt, ...]:
    """The steps of one series, oldest first. `levels` are logarithms against one and the same
    commit, `sds` their standard errors, which need to be right only within a factor of about 2.

    None is found in series of less than 2 * LEAST_NIGHTS points. That none is found does not mean
    that there is none; and small steps that were found are smaller than they look.
    """
    if len(levels) != len(sds):
        raise ValueError("each level has one error")
    if len(levels) < 2 * LEAST_NIGHTS:
        return ()
    level, sd = np.asarray(levels, float), np.asarray(sds, float)
    if not (np.isfinite(level).all() and np.isfinite(sd).all() and (sd > 0).all()):
        raise ValueError("levels are finite, and errors are greater than 0")
    sd = sd * _scale(level, sd)
    calm = _calmed(level, sd)
    cost = _Squares(1 / sd**2)
    search = Pelt(custom_cost=cost, min_size=LEAST_NIGHTS, jump=1).fit(calm)
    ends = [0, *(int(end) for end in search.predict(pen=penalty))]
    parts = [slice(start, end) for start, end in pairwise(ends)]
    means = [float(np.average(calm[part], weights=cost.weights[part])) for part in parts]
    variances = [1 / float(cost.weights[part].sum()) for part in parts]
    return tuple(
        StepAt(
            parts[at].start,
            means[at] - means[at - 1],
            float(np.sqrt(variances[at] + variances[at - 1])),
        )
        for at in range(1, len(parts))
    )


def _scale(level: Array, sd: Array) -> float:
    """By what the stated errors have to be multiplied. Neighbours differ by noise alone, but for
    the few pairs that a step lies between, which a median does not see."""
    squares = np.diff(level) ** 2 / (sd[1:] ** 2 + sd[:-1] ** 2)
    seen = float(np.median(squares)) / _MEDIAN_OF_SQUARES
    return float(np.sqrt((_BELIEF + len(squares) * seen) / (_BELIEF + len(squares))))


def _calmed(level: Array, sd: Array) -> Array:
    """Wild points nearer to those around them."""
    last = len(level)
    around = [
        float(np.median(level[max(0, at - _AROUND) : min(last, at + _AROUND + 1)]))
        for at in range(last)
    ]
    middle = np.array(around)
    return np.clip(level, middle - _FARTHEST * sd, middle + _FARTHEST * sd)


class _Squares(BaseCost):  # type: ignore[misc]  # the package has no types
    """Weighted squares around a part's weighted mean, from sums of all points before."""

    model = "weighted squares"
    min_size = 1

    def __init__(self, weights: Array) -> None:
        self.weights = weights
        self.signal: Array = np.empty(0)

    def fit(self, signal: Array) -> _Squares:
        shifted = signal - np.median(signal)  # so that little is lost in the differences of sums
        self.signal = signal
        rows = (self.weights, self.weights * shifted, self.weights * shifted**2)
        self._sums = [np.concatenate([[0.0], np.cumsum(row)]).tolist() for row in rows]
        return self

    def error(self, start: int, end: int) -> float:
        weight, first, second = (sums[end] - sums[start] for sums in self._sums)
        return float(second - first * first / weight)
