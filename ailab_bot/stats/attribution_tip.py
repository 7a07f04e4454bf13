"""How far the bad end of a range has shifted from its good end: from its blocks, without a grid.

The histories have sizes on a grid, all of one sign; this has any. What is told of the bad end is
told from blocks that show it: its own, and those of commits since which nothing changed, each
counted by the chance of that. A block says its log ratio, with heavy tails around the shift (see
`attribution_noise`, where both trials are elevated): outliers move it little. Refuses to say who.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Spread of Student's t with 3 degrees of freedom whose robust deviation is one scale.
_SPREAD = 1 / 1.134
#: Where the shift is looked for, in spreads around the block that fits best.
_AROUND: Array = np.linspace(-25.0, 25.0, 5001)
#: Two-sided 99 %.
_TAIL, _NORMAL = 0.005, 2.576


@dataclass(frozen=True)
class Shift:
    """A log ratio and its 99 % interval."""

    low: float
    middle: float
    high: float


def shift_of(log_ratios: Array, weights: Array, scale: float, bias_sd: float) -> Shift | None:
    """Of blocks with these log ratios, each counted so often; None where less than one counts.

    `scale` and `bias_sd` as in a `Question`; both ends of the range have a bias of their own.
    """
    counted = weights > 0
    log_ratios, weights = log_ratios[counted], weights[counted]
    if weights.sum() < 1:
        return None
    spread = scale * _SPREAD
    best = log_ratios[int(np.argmax(_fit(log_ratios, log_ratios, weights, spread)))]
    at = best + _AROUND * spread
    fit = _fit(at, log_ratios, weights, spread)
    below = np.cumsum(np.exp(fit - fit.max()))
    below /= below[-1]
    low, middle, high = (
        float(at[int(np.searchsorted(below, share))]) for share in (_TAIL, 0.5, 1 - _TAIL)
    )
    bias = _NORMAL * math.sqrt(2) * bias_sd
    return Shift(middle - math.hypot(middle - low, bias), middle,
                 middle + math.hypot(high - middle, bias))  # fmt: skip


def _fit(at: Array, log_ratios: Array, weights: Array, spread: float) -> Array:
    """Log likelihood of each shift in `at`, but for a constant."""
    distance = (log_ratios[None, :] - at[:, None]) / spread
    fit: Array = -2 * np.log1p(distance**2 / 3) @ weights
    return fit
