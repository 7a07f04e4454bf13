"""Evidence that one arm is slower than the other, block by block: exact by randomisation.

Within a block the order of the arms is random. If head is base times exp(shift), then, once head is
divided by exp(shift), which of the block's two values belongs to head is a fair coin, whatever the
noise: its tails, its drift, its autocorrelation. So a bettor who sees the two values of a block,
but not which is which, and stakes on the larger being head's, cannot expect to gain while the shift
is the one tested (nor while it is smaller, if the noise has one mode). The capital is an e-process:
by Ville's inequality it ever reaches 1/a with probability at most a, after any number of looks, and
capitals of stages, machines and reruns multiply (Ramdas, Grünwald, Vovk, Shafer: Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 2023).

How much is staked decides the power, never the error. The stake is the likelihood ratio of the two
assignments under a noise model: a sharp floor, an exponential tail upwards (other work only ever
slows a process down), and a level that is learned from the blocks so far. A value on the floor says
a lot, two values far above it say next to nothing; that is what makes the minimum or a low quantile
of many trials so informative (Chen, Revels: Robust benchmarking in noisy environments, 2016).

Everything here is an array over many samples at once; logs of seconds in, logs of capital out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx

Array = NDArray[np.float64]

# The shape of the noise, in units of a sample's scale (the robust standard deviation of a block's
# log ratio): chosen on bench/data by bench/verdicts.py; the figures move little around these.
_FLOOR_SD = 0.42
_TAIL_SHARE, _TAIL_MEAN = 0.4, 6.0
#: Share of blocks with both trials far above the floor, where only their difference speaks.
_ELEVATED_SHARE, _ELEVATED_SPREAD, _DIFFERENCE_SCALE = 0.03, 6.0, 0.7
#: Share of the belief that forgets the level with each block: machines drift, and jump
#: (Herbster, Warmuth: Tracking the best expert, Machine Learning 1998).
_FORGOTTEN = 0.03
#: Where the level may lie, relative to the first block's smaller value.
_LEVELS: Array = np.arange(-10.0, 2.51, 0.3)
#: The bettor keeps at least this share of the capital out of any single bet.
_RESERVE = 0.02
#: Shifts that are bet on, beyond the tested one, in units of a sample's zone. The mean of both
#: capitals needs no tuning to the unknown effect.
_SIZES: Array = np.array([1.2, 3.0])
#: A difference of more than this many scales is one that the slow tail makes, not the floor.
TAIL_GAP = 5.0
#: Stakes on "head is far slower less often than that": for a machine that is busy, and for a quiet
#: one.
_BOUND_STAKES = np.array([0.6, 1.25])
#: Stakes on a slow trial being head's: a few per cent of slow trials, or most of them.
_TAIL_STAKES = np.array([0.35, 0.9])

_TABLE_FROM, _TABLE_TO, _TABLE_STEP = -20.0, 80.0, 0.002
_T3_AT_0 = 0.3675525969478614  # density of Student's t with 3 degrees of freedom at its centre


@dataclass(frozen=True)
class Pairs:
    """Samples of equal length: logs of both arms' values, shape (samples, blocks).

    A sample with fewer blocks is filled up with NaN at its end. `scale` and `zone` have shape
    (samples,): the noise to expect, and the smallest difference of shifts to tell apart.
    """

    base: Array
    head: Array
    scale: Array
    zone: Array

    def repeat(self, times: int) -> Pairs:
        """Each sample `times` times, next to each other."""
        return Pairs(
            np.repeat(self.base, times, 0),
            np.repeat(self.head, times, 0),
            np.repeat(self.scale, times),
            np.repeat(self.zone, times),
        )

    def until(self, blocks: int) -> Pairs:
        """Only the first blocks of each sample."""
        return Pairs(self.base[:, :blocks], self.head[:, :blocks], self.scale, self.zone)


def shift_gains(pairs: Pairs, tested: Array, direction: Array) -> Array:
    """Log gain of each bet against `direction * shift <= direction * tested`.

    `tested` (log ratio) and `direction` (+1: head slower, -1: head faster) have shape (samples,).
    Returns shape (samples, sizes, blocks); a block that is NaN gains 0.
    """
    samples, blocks = pairs.base.shape
    known = ~np.isnan(pairs.base) & ~np.isnan(pairs.head)
    unit = pairs.scale[:, None]
    base = np.where(known, pairs.base, 0.0) / unit
    head = np.where(known, pairs.head - tested[:, None], 0.0) / unit
    size = _SIZES * pairs.zone[:, None] * direction[:, None] / unit
    # +1 where the larger value, by the direction that is bet on, is head's; 0 bets nothing.
    side = np.where(known, np.sign(head - base) * direction[:, None], 0.0)
    levels = np.minimum(base[:, :1], head[:, :1]) + _LEVELS
    belief = np.full((samples, len(_SIZES), len(_LEVELS)), 1 / len(_LEVELS))
    gains = np.zeros((samples, len(_SIZES), blocks))
    near, far = 1 - _ELEVATED_SHARE, _ELEVATED_SHARE / _ELEVATED_SPREAD
    for block in range(blocks):
        b, h = base[:, block, None], head[:, block, None]
        shifted = levels[:, None, :] + size[:, :, None]
        as_is = near * _noise(b - levels)[:, None] * _noise(h[:, :, None] - shifted)
        as_is += (far * _t3(h - b - size))[:, :, None]
        swapped = near * _noise(h - levels)[:, None] * _noise(b[:, :, None] - shifted)
        swapped += (far * _t3(b - h - size))[:, :, None]
        learned = belief * as_is
        likely, unlikely = learned.sum(axis=2), (belief * swapped).sum(axis=2)
        bet = (likely - unlikely) / (likely + unlikely)
        here = side[:, block, None]
        stake = np.clip(bet * here, 0.0, 1.0 - _RESERVE)  # only ever on the larger value
        gains[:, :, block] = np.log1p(stake * here)
        belief = learned * ((1 - _FORGOTTEN) / likely)[:, :, None] + _FORGOTTEN / len(_LEVELS)
    return gains


def tail_gains(pairs: Pairs, direction: Array, tested: Array | None = None) -> Array:
    """Log gain of each bet that the slow trials are head's (`direction` +1) or base's (-1).

    Only blocks whose trials lie more than TAIL_GAP scales apart are bet on: a head that is slow in
    some of its trials shows there, and nowhere else. `tested` (log ratio, (samples,)) is taken off
    head first: a bias may carry trials over the gap. Shape (samples, stakes, blocks).
    """
    side = _far_side(pairs, direction, tested)
    gains: Array = np.log1p(_TAIL_STAKES[None, :, None] * side[:, None, :])
    return gains


def tail_bound_gains(pairs: Pairs, share: float) -> Array:
    """Log gain of each bet against "head is far slower in `share` of the blocks or more".

    Blocks in which base is far slower count against those in which head is, so a machine that slows
    down both now and then is told apart from a head that does it by itself. Shape (samples, stakes,
    blocks).
    """
    known = ~np.isnan(pairs.base) & ~np.isnan(pairs.head)
    side = np.where(known, _far_side(pairs, np.ones(len(pairs.scale))), share)
    gains: Array = np.log1p(_BOUND_STAKES[None, :, None] * (share - side)[:, None, :])
    return gains


def _far_side(pairs: Pairs, direction: Array, tested: Array | None = None) -> Array:
    """+1 where head is far slower, -1 where base is, else 0 (`direction` -1: faster)."""
    shift = np.zeros(1) if tested is None else tested
    difference = np.nan_to_num(pairs.head - pairs.base - shift[:, None]) * direction[:, None]
    far = np.abs(difference) > TAIL_GAP * pairs.scale[:, None]
    return np.where(far, np.sign(difference), 0.0)


def log_capital(gains: Array, since: NDArray[np.int64] | None = None) -> Array:
    """Log of the mean capital of all bets after each block, shape (samples, blocks).

    `since` (samples,): the block from which on bets count; before it the capital is 1.
    """
    counted = gains
    if since is not None:
        early = np.arange(gains.shape[2])[None, :] < since[:, None]
        counted = np.where(early[:, None, :], 0.0, gains)
    paths = np.cumsum(counted, axis=2)
    top = paths.max(axis=1)
    result: Array = top + np.log(np.exp(paths - top[:, None]).mean(axis=1))
    return result


def _density_table() -> Array:
    x = np.arange(_TABLE_FROM, _TABLE_TO, _TABLE_STEP)
    floor = np.exp(-0.5 * (x / _FLOOR_SD) ** 2) / (_FLOOR_SD * np.sqrt(2 * np.pi))
    # Normal plus exponential. Far in the tail erfcx overflows, where the density is exponential.
    z = (_FLOOR_SD / _TAIL_MEAN - x / _FLOOR_SD) / np.sqrt(2)
    near = np.exp(-0.5 * (x / _FLOOR_SD) ** 2) * erfcx(np.maximum(z, -5.0)) / (2 * _TAIL_MEAN)
    beyond = np.exp(0.5 * (_FLOOR_SD / _TAIL_MEAN) ** 2 - x / _TAIL_MEAN) / _TAIL_MEAN
    tail = np.where(z > -5.0, near, beyond)
    table: Array = np.maximum((1 - _TAIL_SHARE) * floor + _TAIL_SHARE * tail, 1e-12)
    return table


_TABLE = _density_table()


def _noise(distance: Array) -> Array:
    """Density of a trial's distance above the level, looked up: the same on every processor."""
    place = ((distance - _TABLE_FROM) * (1 / _TABLE_STEP)).astype(np.int64)
    density: Array = _TABLE.take(place, mode="clip")
    return density


def _t3(difference: Array) -> Array:
    q = difference / _DIFFERENCE_SCALE
    density: Array = _T3_AT_0 / (_DIFFERENCE_SCALE * (1 + q * q / 3) ** 2)
    return density
