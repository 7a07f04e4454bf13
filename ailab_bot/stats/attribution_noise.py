"""What one block says of the shift between a commit and the good end: a likelihood per shift.

A block is one trial of the commit and one of the good end, next to each other in random order. Both
share the machine's level, which drifts and jumps, and is learned from the blocks so far, each
machine on its own. A trial lies on the level (a sharp floor), or above it (an exponential tail:
other work only ever slows a process down); in a few blocks both are far above it, where only their
difference speaks. So a block bounds what any one of its trials may say: an outlier is no culprit.

The level is learned from the good end's trials alone. The commit's would tell of it too, but only
once its shift is known; guessing it costs more accuracy than the blocks that it saves (3 %). So a
block's likelihood is a function of the blocks before it on its machine, and the list of
measurements is the whole state.

The level is sought in two windows. The first lies around the good end's first trial; where a later
one lies outside both, the window that is believed in less is opened anew around it. So a machine
may jump as far as it likes, or be at two levels by turns, and trials that are equal look equal. The
commit's trial never places a window: its shift may be of any size and sign.

Refuses to know what a commit is.
All times are logs of seconds in units of `scale`; everything is an array over many ranges at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx

Array = NDArray[np.float64]

#: Shape of a trial's noise in scales (robust deviations of a block's log ratio), fitted on
#: bench/data by predictive likelihood; the figures of bench/bisection.py move little around these.
FLOOR_SD, TAIL_SHARE, TAIL_MEAN = 0.38, 0.35, 3.0
#: Share of blocks with both trials far above the level, and how far their difference spreads there.
_ELEVATED_SHARE, _ELEVATED_SPREAD, _DIFFERENCE_SCALE = 0.05, 6.0, 0.8
#: Share of the belief that forgets the level with each block.
_FORGOTTEN = 0.03
#: Where the level may lie in a window, relative to its middle, and how far from there a trial of
#: the good end may be before it is looked for elsewhere.
_LEVELS: Array = np.arange(-9.0, 9.01, 0.3)
_REACH = 8.0
_FROM, _TO, _STEP = -20.0, 80.0, 0.002
_T3_AT_0 = 0.3675525969478614  # density of Student's t with 3 degrees of freedom at its centre


@dataclass(frozen=True)
class Level:
    """What is believed of a machine's level, in two windows: `anchor` (ranges, 2), `belief`
    (ranges, 2, levels), 0 in a window that was not needed yet."""

    anchor: Array
    belief: Array


def first_level(reference: Array) -> Level:
    """Before a machine's first block, of which only the place is used: the good end's trials,
    (ranges,)."""
    belief = np.zeros((len(reference), 2, len(_LEVELS)))
    belief[:, 0] = 1 / len(_LEVELS)
    return Level(np.stack([reference, reference], axis=1), belief)


def absorb(level: Level, reference: Array, value: Array, shifts: Array) -> tuple[Array, Level]:
    """Log likelihood of one block under each shift, and the level after it.

    `reference` and `value`: logs in scales, (ranges,). `shifts`: (shifts,), in scales.
    Returns (ranges, shifts).
    """
    level = _followed(level, reference)
    used: NDArray[np.bool_] = level.belief.sum(axis=2) > 0
    windows = 2 if used[:, 1].any() else 1  # the second is rarely needed
    places = (level.anchor[:, :windows, None] + _LEVELS).reshape(len(reference), -1)
    belief = level.belief[:, :windows].reshape(places.shape)
    at_reference = _density(reference[:, None] - places)
    at_value = _density((value[:, None] - shifts)[:, :, None] - places[:, None, :])
    near = np.einsum("rl,rsl->rs", belief * at_reference, at_value)
    difference = (value - reference)[:, None] - shifts
    far = _t3(difference) / _ELEVATED_SPREAD
    likely = (1 - _ELEVATED_SHARE) * near + _ELEVATED_SHARE * far
    elevated = _ELEVATED_SHARE / (_LEVELS[-1] - _LEVELS[0])
    belief = belief * ((1 - _ELEVATED_SHARE) * at_reference + elevated)
    belief *= (1 - _FORGOTTEN) / belief.sum(axis=1, keepdims=True)
    after = np.zeros_like(level.belief)
    after[:, :windows] = belief.reshape(len(belief), windows, -1)
    after += _FORGOTTEN / len(_LEVELS) * used[..., None]
    return np.log(likely), Level(level.anchor, after / after.sum(axis=(1, 2), keepdims=True))


def _followed(level: Level, reference: Array) -> Level:
    """With a window around each trial of the good end that lies in none; what is believed there is
    what any level has after a jump."""
    away = np.abs(reference[:, None] - level.anchor) > _REACH
    rows = np.flatnonzero(away.all(axis=1))
    if not len(rows):
        return level
    anchor, belief = level.anchor.copy(), level.belief.copy()
    lesser = belief[rows].sum(axis=2).argmin(axis=1)
    anchor[rows, lesser] = reference[rows]
    belief[rows, lesser] = _FORGOTTEN / len(_LEVELS)
    return Level(anchor, belief / belief.sum(axis=(1, 2), keepdims=True))


def channel(shifts: Array) -> Array:
    """Chance that a trial falls in each of some bins, per shift (in scales): (shifts, bins).

    For what a block will say on average; the level is taken to be known to about half a floor.
    """
    near = np.arange(-2.0, 6.0, 0.4)
    far = 6.0 * 1.12 ** np.arange(0, int(np.log(max(shifts.max(), 6.0) / 3.0) / np.log(1.12)) + 1)
    up = np.concatenate([near, far])
    edges = np.unique(np.concatenate([-up[up > 2.0], up])) if (shifts < 0).any() else up
    cumulative = np.concatenate([[0.0], np.cumsum(_TABLE) * _STEP])
    cumulative /= cumulative[-1]
    blur = np.array([-0.35, 0.0, 0.35])
    at = (edges[None, :, None] - shifts[:, None, None] - blur - _FROM) / _STEP
    place = np.clip(at, 0, len(cumulative) - 1).astype(np.int64)
    below = cumulative[place].mean(axis=2)
    whole = np.concatenate([np.zeros((len(shifts), 1)), below, np.ones((len(shifts), 1))], axis=1)
    bins: Array = np.maximum(np.diff(whole, axis=1), 1e-4)
    bins /= bins.sum(axis=1, keepdims=True)
    return bins


def _density_table() -> Array:
    x = np.arange(_FROM, _TO, _STEP)
    floor = np.exp(-0.5 * (x / FLOOR_SD) ** 2) / (FLOOR_SD * np.sqrt(2 * np.pi))
    z = (FLOOR_SD / TAIL_MEAN - x / FLOOR_SD) / np.sqrt(2)
    near = np.exp(-0.5 * (x / FLOOR_SD) ** 2) * erfcx(np.maximum(z, -5.0)) / (2 * TAIL_MEAN)
    beyond = np.exp(0.5 * (FLOOR_SD / TAIL_MEAN) ** 2 - x / TAIL_MEAN) / TAIL_MEAN
    table: Array = (1 - TAIL_SHARE) * floor + TAIL_SHARE * np.where(z > -5.0, near, beyond)
    return np.maximum(table, 1e-9)


_TABLE = _density_table()


def _density(distance: Array) -> Array:
    place = ((distance - _FROM) * (1 / _STEP)).astype(np.int64)
    density: Array = _TABLE.take(place, mode="clip")
    return density


def _t3(difference: Array) -> Array:
    scaled = difference / _DIFFERENCE_SCALE
    density: Array = _T3_AT_0 / _DIFFERENCE_SCALE * (1 + scaled**2 / 3) ** -2
    return density
