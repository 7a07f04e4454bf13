"""Decides on a sample after every block: slower, faster, no change, or not known yet.

Three questions are asked of the evidence (see `evidence`), of all blocks so far and after each:

- *Significant?* The capital against "no effect" reaches 1/error, and the one against "an effect
  within the margin" 1/interval_error: what layout and caches do to an arm is no news.
- *Confirmed?* The blocks after the screen, which it never saw, reach 1/stage_error on their own.
- *No change?* The interval lies inside plus or minus the threshold, and head is not far
  slower in a good part of the blocks. Where something that is no time says in advance that an
  effect is improbable (`Rule.equal_blocks`), less evidence is asked for this one question.

The evidence is about a shift of all trials. Where an arm's noise changes as well, the floor and the
middle of the trials move differently; so what is said has to hold for most of the blocks, too.
The margin is the indifference zone's lower end: effects between it and the threshold may be called
either way. A head that is slow only in some trials has a capital of its own, with its own share of
the error. Refuses to know what a scenario or a metric is: numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ailab_bot.stats.evidence import (
    Array,
    Pairs,
    log_capital,
    shift_gains,
    tail_bound_gains,
    tail_gains,
)

#: Samples decided together: enough to spread numpy's overhead, few enough for the cache.
_CHUNK = 64
#: Share of `error` that is kept for a head that is slow only in some trials.
_TAIL_PART = 0.25
#: NO_CHANGE rules out, at this error, that head is far slower in this share of the blocks.
_TAIL_SHARE, _TAIL_SHARE_ERROR = 0.3, 0.2
#: An announced effect has to show, beyond the margin, in this share of the blocks, and without one
#: as many lie below the threshold, and as many above minus the threshold.
_MOST_BLOCKS = 0.6
#: Slow trials that are this improbable by chance (1 in 4) are named where nothing is decided.
_TAIL_DOUBT = 4.0
#: Of what equal counts weigh (a logarithm), this part weighs against slow trials: what a head does
#: in some of its trials only, the one that was counted need not have done.
_TAIL_WEIGHT = 0.5
#: How an interval's end is sought: steps outwards, then false positions within the last step.
_STEPS, _FALSE_POSITIONS = 7, 6
_NEVER = np.iinfo(np.int64).max

Mask = NDArray[np.bool_]


class Direction(StrEnum):
    """What was found: head slower, head faster, or no relevant shift either way."""

    UP = "up"
    DOWN = "down"
    CLEAN = "clean"


class Shape(StrEnum):
    """How an effect shows: in every trial, or in some of them that are far slower."""

    SHIFT = "shift"
    TAIL = "tail"


@dataclass(frozen=True)
class Sample:
    """Blocks in the order they ran: both arms' values (positive), shape (blocks,).

    `machines` says on which machine each block ran; each one's noise level is learned on its own,
    and their evidence multiplies.
    """

    base: Array
    head: Array
    machines: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def log_ratios(self) -> Array:
        ratios: Array = np.log(self.head) - np.log(self.base)
        return ratios


def sample_of(base: Sequence[float], head: Sequence[float], machines: Sequence[str]) -> Sample:
    """From values and machines' names, each of length (blocks,)."""
    places = {name: place for place, name in enumerate(dict.fromkeys(machines))}
    numbers = np.array([places[name] for name in machines], dtype=np.int64)
    return Sample(np.array(base, dtype=float), np.array(head, dtype=float), numbers)


@dataclass(frozen=True)
class Rule:
    """What to ask for. `threshold`, `margin` and `scale` are fractions, the errors probabilities.

    `error`: of announcing a slowdown where there is none, over any number of blocks.
    `stage_error`: of the screen, and of the confirmation, alone. `interval_error`: of each side of
    the interval. `scale`: the robust standard deviation to expect of a block's log ratio.
    `equal_blocks`: in so many blocks, from the first on, both arms did the same by their counts.
    As far as they reach, "no change" asks for `equal_odds` times less evidence, from block
    `equal_least` on and until the blocks speak of an effect. An effect needs what it always does.
    """

    threshold: float
    margin: float
    error: float
    stage_error: float
    interval_error: float
    scale: float
    equal_blocks: int = 0
    equal_odds: float = 1.0
    equal_least: int = 0

    @property
    def zone(self) -> float:
        """The smallest difference that has to be told apart: what the bets are sized for."""
        return max(self.threshold - self.margin, self.threshold / 2)


@dataclass(frozen=True)
class Decision:
    """`found` is None when the blocks were not enough to know.

    `screen` is the direction that the screen found after `screen_blocks` blocks, if any; `blocks`
    were used in all. `effect` (of the median block), `low` and `high` are fractions (-1 and
    infinity: not bounded), from the blocks after the screen when an effect was found, from all
    otherwise. `log_evidence` is the capital's logarithm against "no effect" in the direction found.
    `fresh_agree`: the blocks after the screen reach what a confirmation asks of them alone.
    `tail_doubt`: nothing is known yet, and slow trials are one arm's more often than chance has it.
    `by_counts`: no change was found with less evidence, as both arms did the same by their counts;
    the interval is the usual one, and may reach beyond the threshold.
    """

    found: Direction | None
    shape: Shape
    blocks: int
    screen: Direction | None
    screen_blocks: int
    effect: float
    low: float
    high: float
    log_evidence: float
    fresh_agree: bool
    tail_doubt: bool
    by_counts: bool = False

    @property
    def announced(self) -> bool:
        """Whether an effect was found and confirmed."""
        return self.found in {Direction.UP, Direction.DOWN}

    @property
    def fresh_blocks(self) -> int:
        """Blocks that the screen never saw."""
        return self.blocks - self.screen_blocks if self.screen else 0


def log_odds_of_sides(sides: Sequence[int]) -> float:
    """Evidence that +1 stands among `sides` (+1 or -1) more often than a fair coin would have it.

    An e-process, as the others: what one arm does and the other does not, block by block.
    """
    if not sides:
        return 0.0
    zeros, ones = np.zeros((1, len(sides))), np.ones(1)
    pairs = Pairs(zeros, np.asarray(sides, dtype=float)[None, :], ones / 10, ones)
    return float(log_capital(tail_gains(pairs, ones))[0, -1])


def decide(samples: Sequence[Sample], rules: Sequence[Rule]) -> list[Decision]:
    """One decision per sample, by the rule of the same index; each sample has a block or more."""
    decisions: list[Decision] = []
    for start in range(0, len(samples), _CHUNK):
        decisions += _decide(samples[start : start + _CHUNK], rules[start : start + _CHUNK])
    return decisions


@dataclass(frozen=True)
class _Rows:
    """Samples by machine, as rows of one array, and where each row's blocks lie in its sample."""

    pairs: Pairs
    sample: NDArray[np.int64]
    places: list[NDArray[np.int64]]
    shape: tuple[int, int]

    def until(self, blocks: int) -> _Rows:
        """Only the first blocks of each sample."""
        places = [each[each < blocks] for each in self.places]
        return _Rows(self.pairs.until(blocks), self.sample, places, (self.shape[0], blocks))

    def joined(self, gains: Array) -> Array:
        """Gains per row -> gains per sample in block order, shape (samples, bets, blocks)."""
        if len(self.places) == self.shape[0]:  # one machine each: rows are samples already
            return gains
        result = np.zeros((self.shape[0], gains.shape[1], self.shape[1]))
        for row, places in enumerate(self.places):
            result[self.sample[row]][:, places] = gains[row, :, : len(places)]
        return result


def _rows(samples: Sequence[Sample], scales: Array, zones: Array) -> _Rows:
    longest = max(len(sample.base) for sample in samples)
    rows: list[tuple[int, NDArray[np.int64]]] = []
    for index, sample in enumerate(samples):
        machines = sample.machines if len(sample.machines) else np.zeros(len(sample.base), np.int64)
        rows += [(index, np.flatnonzero(machines == machine)) for machine in np.unique(machines)]
    base = np.full((len(rows), longest), np.nan)
    head = np.full((len(rows), longest), np.nan)
    for row, (index, places) in enumerate(rows):
        base[row, : len(places)] = np.log(samples[index].base[places])
        head[row, : len(places)] = np.log(samples[index].head[places])
    owner = np.array([index for index, _ in rows])
    pairs = Pairs(base, head, scales[owner], zones[owner])
    return _Rows(pairs, owner, [places for _, places in rows], (len(samples), longest))


def _shift(rows: _Rows, tested: Array, direction: Array) -> Array:
    """Gains of several hypotheses per sample: `tested`, `direction` have shape (samples, many).

    Returns shape (many, samples, sizes, blocks).
    """
    many = tested.shape[1]
    owner = rows.sample
    gains = shift_gains(rows.pairs.repeat(many), tested[owner].ravel(), direction[owner].ravel())
    split = gains.reshape(len(owner), many, *gains.shape[1:])
    return np.stack([rows.joined(split[:, each]) for each in range(many)])


def _log_ratios(samples: Sequence[Sample]) -> Array:
    """Shape (samples, blocks), filled up with 0."""
    ratios = np.zeros((len(samples), max(len(sample.base) for sample in samples)))
    for row, sample in zip(ratios, samples, strict=True):
        row[: len(sample.base)] = sample.log_ratios
    return ratios


def _running_quantiles(ratios: Array, *shares: float) -> list[Array]:
    """Quantiles of the log ratios so far, after each block: per share, shape (samples, blocks)."""
    blocks = range(1, ratios.shape[1] + 1)
    return list(np.stack([np.quantile(ratios[:, :n], shares, axis=1) for n in blocks], axis=2))


def _first(hit: Mask) -> NDArray[np.int64]:
    """Index of the first True in each row; _NEVER without one."""
    return np.where(hit.any(axis=1), hit.argmax(axis=1), _NEVER)


@dataclass(frozen=True)
class _Effect:
    """One way in which an effect may show, over all samples: index of the block, or _NEVER."""

    direction: Direction
    shape: Shape
    screened: NDArray[np.int64]
    confirmed: NDArray[np.int64]
    capital: Array
    fresh: Array


def _look_for(
    direction: Direction,
    shape: Shape,
    gains: Array,
    error: Array,
    stage: Array,
    allowed: Mask,
    ratios: Array,
) -> _Effect:
    """When the screen found it, and when all blocks and the fresh ones on their own confirm it.

    The size comes from the fresh blocks, so they must show it on the side that is announced: in
    more than half of them, or, where only some trials are slow, on average.
    """
    capital = log_capital(gains)
    screened = _first(capital >= -np.log(stage)[:, None])
    after = np.minimum(screened, capital.shape[1])  # never screened: no block is fresh
    fresh = log_capital(gains, since=after + 1)
    late = np.arange(ratios.shape[1])[None, :] > after[:, None]
    seen = ratios if direction is Direction.UP else -ratios
    shown = np.sign(seen) if shape is Shape.SHIFT else seen
    agrees = np.cumsum(np.where(late, shown, 0.0), axis=1) > 0
    hit = (capital >= -np.log(error)[:, None]) & (fresh >= -np.log(stage)[:, None])
    hit &= allowed & agrees
    return _Effect(direction, shape, screened, _first(hit), capital, fresh)


def _decide(samples: Sequence[Sample], rules: Sequence[Rule]) -> list[Decision]:
    def column(name: str) -> Array:
        return np.array([getattr(rule, name) for rule in rules], dtype=float)

    threshold, margin, error = column("threshold"), column("margin"), column("error")
    stage, side = column("stage_error"), -np.log(column("interval_error"))[:, None]
    rows = _rows(samples, column("scale"), column("zone"))
    zero, ones = np.zeros(len(samples)), np.ones(len(samples))
    tested = np.stack(
        [
            zero,
            zero,
            np.log1p(margin),
            np.log1p(-margin),
            np.log1p(threshold),
            np.log1p(-threshold),
        ],
        axis=1,
    )
    direction = np.stack([ones, -ones, ones, -ones, -ones, ones], axis=1)
    up, down, over, under, below, above = _shift(rows, tested, direction)
    slower = np.ones(len(rows.sample))
    tail_up = rows.joined(tail_gains(rows.pairs, slower))
    tail_down = rows.joined(tail_gains(rows.pairs, -slower))
    # A bias may carry one arm's trials over the gap, where a machine has two modes that far apart.
    over_tail = rows.joined(tail_gains(rows.pairs, slower, np.log1p(margin)[rows.sample]))
    under_tail = rows.joined(tail_gains(rows.pairs, -slower, np.log1p(-margin)[rows.sample]))
    ratios = _log_ratios(samples)
    few, most = _running_quantiles(ratios, 1 - _MOST_BLOCKS, _MOST_BLOCKS)
    clears = log_capital(over) >= side, log_capital(under) >= side
    shows = few > np.log1p(margin)[:, None], most < np.log1p(-margin)[:, None]
    beyond = log_capital(over_tail) >= side, log_capital(under_tail) >= side
    in_shift, in_tail = error * (1 - _TAIL_PART), error * _TAIL_PART
    effects = [
        _look_for(Direction.UP, Shape.SHIFT, up, in_shift, stage, clears[0] & shows[0], ratios),
        _look_for(Direction.DOWN, Shape.SHIFT, down, in_shift, stage, clears[1] & shows[1], ratios),
        _look_for(Direction.UP, Shape.TAIL, tail_up, in_tail, stage, beyond[0], ratios),
        _look_for(Direction.DOWN, Shape.TAIL, tail_down, in_tail, stage, beyond[1], ratios),
    ]
    rare = log_capital(rows.joined(tail_bound_gains(rows.pairs, _TAIL_SHARE)))
    doubt = np.maximum(effects[2].capital, effects[3].capital) >= np.log(_TAIL_DOUBT)
    refuted = np.minimum(log_capital(below), log_capital(above)) - side
    bounded = rare + np.log(_TAIL_SHARE_ERROR)
    middle_inside = (most < np.log1p(threshold)[:, None]) & (few > -np.log1p(threshold)[:, None])
    needs = -_bonus(rules, effects, doubt)
    inside = (refuted >= needs) & (bounded >= _TAIL_WEIGHT * needs) & middle_inside
    lengths = np.array([len(sample.base) for sample in samples])
    clean = _first(inside)
    found = [_found(effects, clean, index, int(lengths[index])) for index in range(len(samples))]
    since = np.array([start for _, start, _ in found])
    until = np.array([end for _, _, end in found])
    sizes = _sizes(rows, samples, column("zone"), since, until, side[:, 0])
    decisions = []
    for index, (rule, (effect, start, end)) in enumerate(zip(rules, found, strict=True)):
        screen = _screen(effects, index, end)
        kind = effect.direction if effect else Direction.CLEAN if clean[index] < end else None
        low, high = (float(end) for end in np.expm1(sizes[index]))
        by_counts = (
            kind is Direction.CLEAN and min(refuted[index, end - 1], bounded[index, end - 1]) < 0
        )
        # What the decision refuted at its level, the interval does not hold either.
        if kind is Direction.CLEAN and refuted[index, end - 1] >= 0:
            low, high = max(low, -rule.threshold), min(high, rule.threshold)
        middle = float(np.expm1(np.median(samples[index].log_ratios[start:end])))
        shown = effect or screen
        in_some = effect is not None and effect.shape is Shape.TAIL
        if effect is not None:
            up = effect.direction is Direction.UP
            if low > rule.margin if up else high < -rule.margin:
                in_some = False  # the middle moved the same way, too
            if not in_some:  # the fresh blocks have refuted 0, too
                low, high = (max(low, 0.0), high) if up else (low, min(high, 0.0))
        decisions.append(
            Decision(
                found=kind,
                shape=Shape.TAIL if in_some else Shape.SHIFT,
                blocks=end,
                screen=shown.direction if shown else None,
                screen_blocks=int(shown.screened[index]) + 1 if shown else end,
                effect=middle,
                low=min(low, middle),
                high=max(high, middle),
                log_evidence=float(shown.capital[index, end - 1]) if shown else 0.0,
                fresh_agree=shown is not None
                and bool(shown.fresh[index, end - 1] >= -np.log(rule.stage_error)),
                tail_doubt=kind is None
                and bool(doubt[index, end - 1])
                and abs(middle) < rule.threshold,
                by_counts=by_counts,
            )
        )
    return decisions


def _bonus(rules: Sequence[Rule], effects: Sequence[_Effect], doubt: Mask) -> Array:
    """Log of how much less evidence "no change" needs after each block, shape (samples, blocks).

    Nothing, once the screen has found an effect, or trials of one arm are slow too often: counts
    that are equal say nothing against what the blocks show.
    """
    block = np.arange(doubt.shape[1])[None, :]
    screened = np.min([effect.screened for effect in effects], axis=0)
    reach = np.array([rule.equal_blocks for rule in rules])
    least = np.array([rule.equal_least for rule in rules])
    odds = np.log([max(rule.equal_odds, 1.0) for rule in rules])
    counts = (block < reach[:, None]) & (block >= least[:, None] - 1)
    counts &= (block < screened[:, None]) & ~doubt
    bonus: Array = np.where(counts, odds[:, None], 0.0)
    return bonus


def _found(
    effects: Sequence[_Effect], clean: NDArray[np.int64], index: int, length: int
) -> tuple[_Effect | None, int, int]:
    """The effect that was confirmed first, the first block that counts for its size, the end."""
    best = min(effects, key=lambda effect: effect.confirmed[index])
    at = int(best.confirmed[index])
    if at < length and at < clean[index]:
        return best, int(best.screened[index]) + 1, at + 1
    return None, 0, min(int(clean[index]) + 1, length) if clean[index] < length else length


def _screen(effects: Sequence[_Effect], index: int, end: int) -> _Effect | None:
    """What the screen had found by then, first come."""
    first = min(effects, key=lambda effect: effect.screened[index])
    return first if first.screened[index] < end else None


def _sizes(
    rows: _Rows,
    samples: Sequence[Sample],
    zone: Array,
    since: NDArray[np.int64],
    until: NDArray[np.int64],
    bar: Array,
) -> Array:
    """Low and high end of each sample's interval as log ratios, shape (samples, 2).

    Seen from the median outwards, an end is where the capital of the blocks from `since` to `until`
    first reaches the bar: what refutes a shift refutes all beyond it, although a shift that is far
    from the data makes them all look like outliers, which are little bet on.
    """
    ratios = [s.log_ratios[a:b] for s, a, b in zip(samples, since, until, strict=True)]
    middle = np.array([np.median(each) for each in ratios])
    span = np.array([np.ptp(each) for each in ratios]) + 8 * zone
    short = rows.until(int(until.max()))
    at = (until - 1)[:, None]

    def excess(low: Array, high: Array) -> Array:
        """Log capital above the bar of each shift, shape (2, samples, shifts)."""
        tested = np.concatenate([low, high], axis=1)
        direction = np.where(np.arange(tested.shape[1]) < low.shape[1], 1.0, -1.0)
        gains = _shift(short, tested, np.tile(direction, (len(samples), 1)))
        found = [np.take_along_axis(log_capital(each, since=since), at, 1)[:, 0] for each in gains]
        return np.stack(np.split(np.stack(found, axis=1), 2, axis=1)) - bar[:, None]

    steps = np.geomspace(zone / 4, span, _STEPS, axis=1)
    offsets = np.concatenate([np.zeros((len(samples), 1)), steps], axis=1)
    above = excess(middle[:, None] - offsets, middle[:, None] + offsets)
    reached = above > 0
    outer = np.where(reached.any(axis=2), reached.argmax(axis=2), 0)[..., None]
    inner = np.maximum(outer - 1, 0)

    def pick(values: Array, index: NDArray[np.int64]) -> Array:
        spread = np.broadcast_to(values, (2, *offsets.shape))
        return np.take_along_axis(spread, index, 2)[..., 0]

    distance = _roots(
        lambda far: excess(middle[:, None] - far[0][:, None], middle[:, None] + far[1][:, None])[
            ..., 0
        ],
        pick(offsets, inner),
        pick(offsets, outer),
        pick(above, inner),
        pick(above, outer),
    )
    distance = np.where(reached.any(axis=2), distance, np.inf)
    return np.stack([middle - distance[0], middle + distance[1]], axis=1)


def _roots(
    function: Callable[[Array], Array], near: Array, far: Array, at_near: Array, at_far: Array
) -> Array:
    """Where each row of `function`, below 0 at `near` and above it at `far`, passes through 0.

    False position with halved weights (the Illinois rule), on all points at once.
    """
    for _ in range(_FALSE_POSITIONS):
        share = at_near / np.minimum(at_near - at_far, -1e-12)
        point = near + np.clip(share, 0.02, 0.98) * (far - near)
        value = function(point)
        under = value <= 0
        at_near, at_far = np.where(under, value, at_near / 2), np.where(under, at_far / 2, value)
        near, far = np.where(under, point, near), np.where(under, far, point)
    return far
