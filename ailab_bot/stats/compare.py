"""Descriptive figures of paired samples: nothing here decides. Numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Description:
    """`mean` of the log ratios; `noise`, their robust (MAD) standard deviation; `p_value` of the
    two-sided paired t-test, NaN for fewer than two or equal ratios.
    """

    mean: float
    noise: float
    p_value: float


def log_ratios(base: Sequence[float], head: Sequence[float]) -> Array:
    """log(head/base) per block; both of shape (blocks,) and positive."""
    result: Array = np.log(np.asarray(head, dtype=float)) - np.log(np.asarray(base, dtype=float))
    return result


def describe(log_ratios: Array) -> Description:
    """Robust spread, and the t-test that readers expect to see."""
    mean = float(log_ratios.mean())
    varied = len(log_ratios) > 1 and float(np.ptp(log_ratios)) > 0
    p_value = float("nan")
    if varied:
        t = mean / (float(log_ratios.std(ddof=1)) / len(log_ratios) ** 0.5)
        p_value = 2 * float(special.stdtr(len(log_ratios) - 1, -abs(t)))
    return Description(mean, robust_deviation(log_ratios), p_value)


def robust_deviation(values: Array) -> float:
    """Median absolute deviation, scaled to the standard deviation of a normal distribution."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
