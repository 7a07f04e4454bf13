"""Compares two arms over blocks, one after the other: evidence that may be looked at any time.

The evidence is an e-process for the shift of block log ratios d = log(head/base): a bet on each
block's sign and (clipped) size whose expected product is at most 1 while the shift is at most the
one tested, whatever the tails, because arms are randomised within blocks and so d is symmetric
about its shift. By Ville's inequality the product ever exceeds 1/a with probability at most a, at
any number of looks (Howard, Ramdas, McAuliffe, Sekhon: Time-uniform, nonparametric, nonasymptotic
confidence sequences, Annals of Statistics 2021; Waudby-Smith and Ramdas: Estimating means of
bounded random variables by betting, JRSS B 2024). Refuses to call anything a regression: numbers
in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Shares of the stake that a bet risks; their mean needs no tuning to the unknown effect.
_BETS = np.array([0.4, 0.6, 0.8, 0.95])
#: A log ratio beyond this share of the scale counts as one of this size (clipped, never dropped).
_CLIP = 0.75
#: Halvings of the bracket when an interval's end is sought: 2^-40 of it is far below any use.
_HALVINGS = 40

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Description:
    """Descriptive figures of a sample of log ratios: nothing here decides.

    `effect` is exp(pseudomedian) - 1 (Hodges, Lehmann 1963); `noise` the robust (MAD) standard
    deviation; `p_value` of the two-sided paired t-test, NaN for fewer than two or equal ratios.
    """

    effect: float
    noise: float
    p_value: float


class Direction(StrEnum):
    """What one stage found: head slower, head faster, or no relevant shift either way."""

    UP = "up"
    DOWN = "down"
    CLEAN = "clean"


@dataclass(frozen=True)
class Stage:
    """`found` is None when `blocks` blocks were not enough to know."""

    found: Direction | None
    blocks: int


def run_stage(
    log_ratios: Array,
    *,
    margin: float,
    threshold: float,
    stage_error: float,
    clean_error: float,
    scale: float,
) -> Stage:
    """Consume blocks in order, stop where the stage knows.

    `log_ratios`: shape (blocks,). UP: a shift of at most +`margin` is refuted at `stage_error`
    and the size so far is at least `threshold`; DOWN mirrors it; CLEAN: shifts beyond plus and
    minus `threshold` are both refuted at `clean_error`. Fractions throughout.
    """
    up = _log_evidence(log_ratios, np.log1p(margin), scale) >= -np.log(stage_error)
    down = _log_evidence(-log_ratios, -np.log1p(-margin), scale) >= -np.log(stage_error)
    below = _log_evidence(-log_ratios, -np.log1p(threshold), scale)
    above = _log_evidence(log_ratios, np.log1p(-threshold), scale)
    clean = np.minimum(below, above) >= -np.log(clean_error)
    for index in np.flatnonzero(up | down | clean):
        blocks = int(index) + 1
        size = pseudomedian(log_ratios[:blocks])
        if up[index] and size >= np.log1p(threshold):
            return Stage(Direction.UP, blocks)
        if down[index] and size <= np.log1p(-threshold):
            return Stage(Direction.DOWN, blocks)
        if clean[index]:
            return Stage(Direction.CLEAN, blocks)
    return Stage(None, len(log_ratios))


def log_ratios(base: Sequence[float], head: Sequence[float]) -> Array:
    """log(head/base) per block; both of shape (blocks,) and positive."""
    result: Array = np.log(np.asarray(head, dtype=float)) - np.log(np.asarray(base, dtype=float))
    return result


def pseudomedian(values: Array) -> float:
    """Median of the means of all pairs, each value with itself too (Hodges, Lehmann 1963)."""
    i, j = np.triu_indices(len(values))
    return float(np.median((values[i] + values[j]) / 2))


def interval(log_ratios: Array, error: float, scale: float) -> tuple[float, float]:
    """Confidence sequence for the shift at this number of blocks, valid at any stopping time.

    Each side misses with probability `error` at the most, over all numbers of blocks together if
    the narrowest interval so far is kept. Returns fractions (0.18: +18 %); -1 and infinity while
    the evidence bounds nothing.
    """
    return (
        float(np.expm1(_lowest_shift(log_ratios, error, scale))),
        float(np.expm1(-_lowest_shift(-log_ratios, error, scale))),
    )


def describe(log_ratios: Array) -> Description:
    """Robust size and spread, and the t-test that readers expect to see."""
    noise = float(1.4826 * np.median(np.abs(log_ratios - np.median(log_ratios))))
    varied = len(log_ratios) > 1 and float(np.ptp(log_ratios)) > 0
    p_value = float(stats.ttest_1samp(log_ratios, 0.0).pvalue) if varied else float("nan")
    return Description(float(np.expm1(pseudomedian(log_ratios))), noise, p_value)


def _log_evidence(log_ratios: Array, shift: float, scale: float) -> Array:
    """Log of the e-process after each block, shape (blocks,)."""
    bets = np.clip((log_ratios - shift) / (_CLIP * scale), -1.0, 1.0)
    logs = np.cumsum(np.log1p(_BETS[:, None] * bets[None, :]), axis=1)
    top = logs.max(axis=0)
    result: Array = top + np.log(np.exp(logs - top).mean(axis=0))
    return result


def _lowest_shift(log_ratios: Array, error: float, scale: float) -> float:
    """The largest shift that the evidence refutes now (it falls as the shift grows)."""
    low = float(log_ratios.min()) - scale
    high = float(log_ratios.max()) + scale
    bar = -np.log(error)
    if _log_evidence(log_ratios, low, scale)[-1] < bar:
        return float("-inf")
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _log_evidence(log_ratios, middle, scale)[-1] >= bar:
            low = middle
        else:
            high = middle
    return low
