"""The rule's operating characteristic on replays, and the setting that serves best.

Every replay is decided by `sequential.decide`, the rule that judges real changes. Two facts save
most of the work, and a test holds them to it: a replay that stops within fewer blocks stops there
at any larger capacity; and what was not announced at one error is not announced at a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ailab_bot.model.calibration import OperatingPoint, RocPoint
from ailab_bot.model.policy import (
    INTERVAL_ERROR,
    MARGIN,
    MARGIN_S,
    STAGE_ERROR,
    Limits,
    margin_of,
)
from ailab_bot.stats.replay import Pool, draw, samples
from ailab_bot.stats.sequential import Decision, Direction, Rule, Sample, decide

Tell = Callable[[str], None]

#: Of every scenario and metric, whatever --replays says: one without any would not count.
FEWEST_REPLAYS = 4
#: The largest scale a policy file may hold: beyond it a block says nothing.
LARGEST_SCALE = 10.0
#: Bounds of the budget's share in a verdict: logarithms of less or more are none.
_SMALLEST_ERROR, _LARGEST_ERROR = 1e-300, 1.0
#: What is swept. A wider threshold has the margin that belongs to it (`margin_of`).
ERRORS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
THRESHOLDS = (0.03, 0.05, 0.075, 0.10)
CAPACITIES = (20, 40, 60)
#: Injected effects and what finding each is worth. Creeping slowness comes in steps of a few per
#: cent, of which each is worth less; a step of 20 % is found by every setting and tells none apart.
EFFECT_WEIGHTS = {0.02: 0.05, 0.05: 0.25, 0.075: 0.25, 0.10: 0.25, 0.15: 0.10, 0.20: 0.10}
#: What a block costs, in weighted detection: ten blocks more must find two in a hundred more.
PRICE_OF_BLOCK = 0.002
#: Share of the budget that the formal bound may use; the rest is for what no bound sees.
BUDGET_SHARE = 0.7
#: Confidence of the bound on a false positive rate.
CONFIDENCE = 0.95
#: The smallest detectable effect is one found in this share of the replays, from these.
FOUND_SHARE = 0.9
MDE_GRID = (
    0.01,
    0.02,
    0.03,
    0.04,
    0.05,
    0.06,
    0.07,
    0.08,
    0.09,
    0.10,
    0.12,
    0.15,
    0.20,
    0.25,
    0.30,
)
#: Margins of so many deviations between builds: one build in forty lies beyond, to one side.
_BIAS_SDS = 2.0
#: A margin beyond this asks for nothing any more; the judge cuts off there as well.
_MOST_BIAS = 0.9


@dataclass(frozen=True)
class _Outcomes:
    """Of replays with one effect: whether a regression was announced, and the blocks used."""

    found: NDArray[np.bool_]
    blocks: NDArray[np.int64]

    def within(self, capacity: int) -> _Outcomes:
        """The same with fewer blocks: what takes longer is not known."""
        return _Outcomes(self.found & (self.blocks <= capacity), np.minimum(self.blocks, capacity))


def upper_bound(count: int, replays: int) -> float:
    """Upper end for a rate of which `count` were seen in `replays`, at CONFIDENCE.

    chi2(.95, 2 (count + 1)) / (2 replays): Garwood, Fiducial limits for the Poisson distribution,
    Biometrika 1936.
    """
    return float(special.gammaincinv(count + 1, CONFIDENCE)) / replays


def limits_of(pool: Pool, threshold: float) -> Limits:
    """What a scenario is judged by: its margin covers the bias between its builds."""
    bias = min(max(MARGIN, _BIAS_SDS * pool.bias_sd), _MOST_BIAS)
    wide = max(threshold, bias)
    return Limits(wide, margin_of(wide, bias), min(pool.scale, LARGEST_SCALE), bias)


def rule_of(pool: Pool, threshold: float, error: float) -> Rule:
    """The rule as the judge would make it for this scenario."""
    limits = limits_of(pool, threshold)
    grain = MARGIN_S / pool.level_s if pool.level_s > 0 else 0.0
    return Rule(
        threshold=min(max(limits.threshold, grain), 0.9),
        margin=min(max(limits.margin, grain), 0.9),
        error=error,
        stage_error=STAGE_ERROR,
        interval_error=INTERVAL_ERROR,
        scale=limits.scale,
    )


def largest_error(false_positives_per_week: float, verdicts_per_week: float) -> float:
    """The error at which the formal bound keeps the budget: two digits, rounded down."""
    exact = BUDGET_SHARE * false_positives_per_week / verdicts_per_week
    exact = min(max(exact, _SMALLEST_ERROR), _LARGEST_ERROR)
    unit = 10.0 ** (np.floor(np.log10(exact)) - 1)
    return min(float(f"{np.floor(exact / unit + 1e-9) * unit:.2g}"), 0.05)


def enough(replays: int, pools: int) -> int:
    """So many replays, or more where each of `pools` would get fewer than FEWEST_REPLAYS."""
    return max(replays, FEWEST_REPLAYS * pools)


def sweep(
    pools: Sequence[Pool], errors: Sequence[float], replays: int, seed: int, tell: Tell
) -> list[RocPoint]:
    """One point per setting. `replays` experiments of equal arms, and per effect a quarter as many,
    shared out among the scenarios; the same ones for every setting, so that settings compare.
    `enough` says when there are more.
    """
    most = max(CAPACITIES)
    null, shifted = _shared_out(replays, len(pools)), _shared_out(replays // 4, len(pools))
    points: list[RocPoint] = []
    ordered = sorted(errors, reverse=True)
    for number, threshold in enumerate(THRESHOLDS, start=1):
        tell(f"trying settings: {number} of {len(THRESHOLDS)} thresholds")
        drawn: list[Sample] = []
        rules: list[Rule] = []
        parts: dict[float, slice] = {}
        for effect in (0.0, *EFFECT_WEIGHTS):
            counts = shifted if effect else null
            some = _experiments(pools, counts, most, effect, threshold, seed)
            parts[effect] = slice(len(drawn), len(drawn) + len(some[0]))
            drawn += some[0]
            rules += some[1]
        for error, all_of_them in zip(ordered, _by_error(drawn, rules, ordered), strict=True):
            for capacity in CAPACITIES:
                point = OperatingPoint(threshold, margin_of(threshold), error, capacity)
                within = all_of_them.within(capacity)
                outcomes = {
                    e: _Outcomes(within.found[p], within.blocks[p]) for e, p in parts.items()
                }
                points.append(_point(point, outcomes))
    return points


def choose(
    points: Sequence[RocPoint], false_positives_per_week: float, verdicts_per_week: float
) -> RocPoint:
    """The point that finds most for its blocks and keeps the budget, formally and on the replays.

    Where no point keeps it on the replays, the strictest one is left.
    """
    cap = largest_error(false_positives_per_week, verdicts_per_week)
    formal = [p for p in points if p.point.error <= cap * (1 + 1e-9)] or [
        min(points, key=lambda p: p.point.error)
    ]
    kept = [
        p
        for p in formal
        if p.false_positives / p.replays * verdicts_per_week <= false_positives_per_week
    ]
    if not kept:
        return min(formal, key=lambda p: (p.false_positives, p.point.error, -p.point.threshold))
    return max(kept, key=_worth)


def count_false_positives(
    pools: Sequence[Pool], point: OperatingPoint, replays: int, seed: int, tell: Tell
) -> int:
    """Regressions announced in `replays` experiments of equal arms, shared out among scenarios.

    There are as many as `enough` says.
    """
    found, done, replays = 0, 0, enough(replays, len(pools))
    for number, (pool, count) in enumerate(
        zip(pools, _shared_out(replays, len(pools)), strict=True)
    ):
        rule = rule_of(pool, point.threshold, point.error)
        random = np.random.default_rng([seed, 1, number])
        for start in range(0, count, 1000):
            some = min(1000, count - start)
            drawn = samples(draw(pool, some, point.max_blocks, random), 0.0)
            found += sum(d.found is Direction.UP for d in decide(drawn, [rule] * some))
            done += some
            tell(f"counting false positives: {done} of {replays} replays")
    return found


def smallest_found(pool: Pool, point: OperatingPoint, replays: int, seed: int) -> float | None:
    """The smallest effect announced in FOUND_SHARE of the replays; None: larger than the grid's.

    The same experiments carry every effect, so the share hardly falls where the effect grows: a
    bisection of the grid, then a straight line between its two neighbours.
    """
    rule = rule_of(pool, point.threshold, point.error)
    drawn = draw(pool, replays, point.max_blocks, np.random.default_rng([seed, 2]))

    def share(effect: float) -> float:
        decisions = decide(samples(drawn, effect), [rule] * replays)
        return sum(d.found is Direction.UP for d in decisions) / replays

    shares: dict[int, float] = {-1: 0.0}
    low, high = -1, len(MDE_GRID)
    while high - low > 1:
        middle = (low + high) // 2
        shares[middle] = share(MDE_GRID[middle])
        low, high = (low, middle) if shares[middle] >= FOUND_SHARE else (middle, high)
    if high == len(MDE_GRID):
        return None
    below = MDE_GRID[low] if low >= 0 else 0.0
    part = (FOUND_SHARE - shares[low]) / max(shares[high] - shares[low], 1e-9)
    return below + part * (MDE_GRID[high] - below)


def _worth(point: RocPoint) -> float:
    return point.detection - PRICE_OF_BLOCK * point.blocks


def _shared_out(replays: int, pools: int) -> list[int]:
    replays = enough(replays, pools)
    return [replays // pools + (number < replays % pools) for number in range(pools)]


def _experiments(
    pools: Sequence[Pool],
    counts: Sequence[int],
    blocks: int,
    effect: float,
    threshold: float,
    seed: int,
) -> tuple[list[Sample], list[Rule]]:
    """Samples and their rules at the most lenient error; every threshold sees the same ones."""
    drawn: list[Sample] = []
    rules: list[Rule] = []
    for number, (pool, count) in enumerate(zip(pools, counts, strict=True)):
        random = np.random.default_rng([seed, 0, number])
        drawn += samples(draw(pool, count, blocks, random), effect)
        rules += [rule_of(pool, threshold, max(ERRORS))] * count
    return drawn, rules


def _by_error(
    drawn: Sequence[Sample], rules: Sequence[Rule], errors: Sequence[float]
) -> list[_Outcomes]:
    """Outcomes per error, errors falling: only what was announced is decided anew."""
    decisions: list[Decision | None] = [None] * len(drawn)
    again = list(range(len(drawn)))
    outcomes: list[_Outcomes] = []
    for error in errors:
        stricter = [replace(rules[i], error=error) for i in again]
        for i, decision in zip(again, decide([drawn[i] for i in again], stricter), strict=True):
            decisions[i] = decision
        known = [decision for decision in decisions if decision is not None]
        again = [i for i, decision in enumerate(known) if decision.announced]
        outcomes.append(
            _Outcomes(
                np.array([d.found is Direction.UP for d in known], dtype=bool),
                np.array([d.blocks for d in known], dtype=np.int64),
            )
        )
    return outcomes


def _point(point: OperatingPoint, outcomes: dict[float, _Outcomes]) -> RocPoint:
    null = outcomes[0.0]
    wrong, replays = int(null.found.sum()), len(null.found)
    shares = {effect: float(outcomes[effect].found.mean()) for effect in EFFECT_WEIGHTS}
    variance = sum(
        weight**2 * shares[effect] * (1 - shares[effect]) / len(outcomes[effect].found)
        for effect, weight in EFFECT_WEIGHTS.items()
    )
    return RocPoint(
        point=point,
        false_positives=wrong,
        replays=replays,
        at_most=upper_bound(wrong, replays),
        detection=sum(weight * shares[effect] for effect, weight in EFFECT_WEIGHTS.items()),
        detection_error=float(np.sqrt(variance)),
        blocks=float(null.blocks.mean()),
    )
