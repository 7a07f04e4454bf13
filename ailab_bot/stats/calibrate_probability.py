"""How good probabilities are: the Brier score, and what happened where each was said.

Refuses to judge by one number alone: a sharp model that is wrong and a dull one that is right may
have the same score, so the table comes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Upper ends of the table's bins: most probabilities are small, and there it is decided.
EDGES = (0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Bin:
    """Rows whose probability lies in (low, high]. `said` and `happened` are their weighted means;
    `count` is the number of rows."""

    low: float
    high: float
    count: int
    said: float
    happened: float


def brier(said: Array, happened: Array, weights: Array | None = None) -> float:
    """Mean squared distance (Brier 1950); 0 is perfect, the rate's variance is no knowledge."""
    weight = np.ones(len(said)) if weights is None else weights
    return float(weight @ (said - happened) ** 2 / max(float(weight.sum()), 1e-12))


def bins_of(
    said: Array,
    happened: Array,
    weights: Array | None = None,
    edges: Sequence[float] = EDGES,
) -> tuple[Bin, ...]:
    """The bins that hold any row."""
    weight = np.ones(len(said)) if weights is None else weights
    place = np.searchsorted(np.asarray(edges), said, side="left")
    found = []
    for number, high in enumerate(edges):
        inside = place == number
        total = float(weight[inside].sum())
        if total > 0:
            low = edges[number - 1] if number else 0.0
            mean = float(weight[inside] @ said[inside]) / total
            rate = float(weight[inside] @ happened[inside]) / total
            found.append(Bin(low, high, int(inside.sum()), mean, rate))
    return tuple(found)


def calibration_error(said: Array, happened: Array, weights: Array | None = None) -> float:
    """Mean distance between what was said and what happened, over the bins, by weight."""
    weight = np.ones(len(said)) if weights is None else weights
    place = np.searchsorted(np.asarray(EDGES), said, side="left")
    gaps = 0.0
    for number in range(len(EDGES)):
        inside = place == number
        gaps += abs(float(weight[inside] @ (said[inside] - happened[inside])))
    return gaps / max(float(weight.sum()), 1e-12)
