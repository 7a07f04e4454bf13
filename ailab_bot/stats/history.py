"""A history of equal arms as series, and what each series says about noise: the calibration's data.

A series is one metric of one scenario on one class of machines, by build. Blocks whose values are
not positive are left out, as the judge leaves them out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ailab_bot.model.calibration import UNKNOWN_CLASS, CovariateFit, NoiseRow
from ailab_bot.model.policy import SCALE, SCALES
from ailab_bot.model.trial import Block
from ailab_bot.stats import covariates, noise, roc
from ailab_bot.stats.compare import robust_deviation
from ailab_bot.stats.replay import Array, Pool, centred, scaled_to
from ailab_bot.stats.sequential import Direction, Sample, decide

#: With fewer blocks of its own, a scenario is replayed with those of its class.
LEAST_OWN_BLOCKS = 20

#: Blocks of one build by scenario, in the order they ran.
Build = Mapping[str, Sequence[Block]]


@dataclass(frozen=True)
class Series:
    """`builds`: values of base and head, each of shape (blocks, 2) and with a block or more."""

    scenario: str
    metric: str
    machine: str
    builds: tuple[Array, ...]

    @property
    def by_build(self) -> tuple[Array, ...]:
        """Log ratios."""
        return tuple(np.log(each[:, 1]) - np.log(each[:, 0]) for each in self.builds)

    @property
    def blocks(self) -> int:
        return sum(len(build) for build in self.builds)


def series_of(builds: Sequence[Build]) -> list[Series]:
    """All series, scenarios, metrics and machines in order of first appearance."""
    values: dict[tuple[str, str, str], dict[int, list[tuple[float, float]]]] = {}
    for number, build in enumerate(builds):
        for scenario, blocks in build.items():
            for block in blocks:
                machine = block.base.machine or UNKNOWN_CLASS
                for metric, base in block.base.metrics.items():
                    head = block.head.metrics.get(metric, 0.0)
                    if base > 0 and head > 0:
                        rows = values.setdefault((scenario, metric, machine), {})
                        rows.setdefault(number, []).append((base, head))
    return [
        Series(*key, tuple(np.array(rows) for rows in by_build.values()))
        for key, by_build in values.items()
    ]


def noise_rows(series: Sequence[Series]) -> list[NoiseRow]:
    """One row per series, in order; scales and biases draw on all series of their class."""
    rows = []
    for own in series:
        kin = [s for s in series if (s.metric, s.machine) == (own.metric, own.machine)]
        scale = _scale(own, kin)
        ratios = np.concatenate(own.by_build)
        told = own.by_build
        rows.append(
            NoiseRow(
                scenario=own.scenario,
                metric=own.metric,
                machine=own.machine,
                blocks=own.blocks,
                builds=len(own.builds),
                sigma=robust_deviation(ratios),
                scale=max(scale, noise.SMALLEST_SCALE),
                autocorrelation=_mean([(noise.autocorrelation(r), len(r)) for r in told]),
                far_slow=noise.far_slow_share(ratios, max(scale, noise.SMALLEST_SCALE)),
                bias_sd=_bias(own, kin),
                independent_blocks=sum(noise.independent_blocks(r) for r in told),
            )
        )
    return rows


def pools_of(
    series: Sequence[Series], rows: Sequence[NoiseRow], metrics: Collection[str]
) -> dict[tuple[str, str], Pool]:
    """Blocks to replay, by scenario and metric: those of its noisiest class of machines.

    Where that class has few, it sets the scale of all; a scenario with few gets its class's.
    """
    own: dict[tuple[str, str], Pool] = {}
    for key in dict.fromkeys((s.scenario, s.metric) for s in series if s.metric in metrics):
        mine = [
            (s, row) for s, row in zip(series, rows, strict=True) if (s.scenario, s.metric) == key
        ]
        values = [build for s in replayed(series, rows, *key) for build in s.builds]
        own[key] = Pool(
            builds=tuple(centred(build) for build in values),
            scale=max(row.scale for _, row in mine),
            bias_sd=max(row.bias_sd for _, row in mine),
            level_s=float(np.median(np.concatenate(values))) if key[1].endswith("_s") else 0.0,
        )
    machines = {key: {s.machine for s in series if (s.scenario, s.metric) == key} for key in own}
    pools = {}
    for key, pool in own.items():
        if pool.blocks >= LEAST_OWN_BLOCKS:
            pools[key] = pool
            continue
        kin = [own[k] for k in own if k[1] == key[1] and machines[k] & machines[key]]
        pools[key] = scaled_to(kin, pool)
    return pools


def replayed(
    series: Sequence[Series], rows: Sequence[NoiseRow], scenario: str, metric: str
) -> list[Series]:
    """The noisiest class of machines alone, as calmer ones would hide it; all where it is small."""
    mine = [
        (row.scale, s)
        for s, row in zip(series, rows, strict=True)
        if (s.scenario, s.metric) == (scenario, metric)
    ]
    _, noisiest = max(mine, key=lambda each: each[0])
    return [noisiest] if noisiest.blocks >= LEAST_OWN_BLOCKS else [s for _, s in mine]


def announced(
    series: Sequence[Series], pools: Mapping[tuple[str, str], Pool], threshold: float, error: float
) -> list[str]:
    """Recorded builds of equal arms in which the rule finds an effect, said in words.

    Replays swap the arms, which hides what comes back in every block of a build: this does not.
    """
    said: dict[str, None] = {}
    for own in series:
        pool = pools.get((own.scenario, own.metric))
        if pool is None:
            continue
        rule = roc.rule_of(pool, threshold, error)
        samples = [Sample(build[:, 0], build[:, 1]) for build in own.builds]
        for decision in decide(samples, [rule] * len(samples)):
            if decision.announced:
                words = "slower" if decision.found is Direction.UP else "faster"
                said[f"equal arms of {own.scenario} were announced as {words}: {own.metric}"] = None
    return list(said)


def fit_covariates(builds: Sequence[Build], seed: int) -> dict[str, CovariateFit]:
    """Per class of machines: does what the machine did explain the noise of the TTFB?"""
    classes: dict[str, list[Block]] = {}
    for build in builds:
        for blocks in build.values():
            for block in blocks:
                if block.base.metrics.get("ttfb_s") and block.head.metrics.get("ttfb_s"):
                    classes.setdefault(block.base.machine or UNKNOWN_CLASS, []).append(block)
    return {machine: _fit(blocks, seed) for machine, blocks in classes.items()}


def _fit(blocks: Sequence[Block], seed: int) -> CovariateFit:
    names = covariates.present_in(blocks)
    if not names:
        return CovariateFit(False, {}, 0.0, 0.0, "no covariate that every trial has")
    ratios = np.array(
        [np.log(b.head.metrics["ttfb_s"]) - np.log(b.base.metrics["ttfb_s"]) for b in blocks]
    )
    differences = np.array(
        [covariates.rates(b.head, names) - covariates.rates(b.base, names) for b in blocks]
    )
    fit = covariates.fit_halves(ratios, differences, np.random.default_rng([seed, 3]))
    if fit is None:
        needed = 2 * covariates.LEAST_HALF
        why = f"{len(blocks)} blocks are too few to fit and to check: {needed} are needed"
        return CovariateFit(False, {}, 0.0, 0.0, why)
    fall = 1 - fit.sigma_after / fit.sigma_before if fit.sigma_before > 0 else 0.0
    if fit.helps:
        why = f"takes {fall:.0%} of the noise off blocks that the fit has not seen"
    elif fit.sigma_after >= fit.sigma_before:
        why = "blocks that the fit has not seen get no less noisy"
    elif fit.reduction_low <= 0:
        why = f"takes {fall:.0%} of the noise off unseen blocks, which chance may have done"
    else:
        least = f"{covariates.LEAST_REDUCTION:.0%}"
        why = f"takes {fall:.0%} of the noise off unseen blocks, and less than {least} is no gain"
    values = dict(zip(names, (float(c) for c in fit.coefficients), strict=True))
    return CovariateFit(fit.helps, values, fit.sigma_before, fit.sigma_after, why)


def _scale(own: Series, kin: Sequence[Series]) -> float:
    """The series' deviation drawn toward its class's, which is drawn toward the built-in one."""
    built_in = SCALES.get(own.metric, SCALE)
    prior = noise.class_deviation([np.concatenate(s.by_build) for s in kin], built_in)
    return noise.shrunk(robust_deviation(np.concatenate(own.by_build)), own.blocks, prior)


def _bias(own: Series, kin: Sequence[Series]) -> float:
    """Between the series' own builds where they are enough, else between those of its class.

    The class must not hide a bias that the series' own few builds show beyond chance.
    """
    if len(own.builds) >= noise.LEAST_BUILDS:
        return noise.between_builds(*_medians(own, _within(own)))
    medians, variances = [], []
    for series in kin:
        some = _medians(series, _within(series))
        medians += some[0]
        variances += some[1]
    # One median is one draw: nothing but its own size tells a bias from chance in it.
    pooled = noise.between_builds(medians, variances) if len(medians) > 1 else 0.0
    # Few blocks hardly know their own noise, and would call chance a bias.
    prior = noise.class_deviation(
        [ratios for series in kin for ratios in series.by_build],
        SCALES.get(own.metric, SCALE),
    )
    few = _medians(own, noise.shrunk(_within(own), own.blocks, prior))
    return max(pooled, noise.between_builds(*few)) if noise.beyond_chance(*few) else pooled


def _within(series: Series) -> float:
    """Deviation within builds: a bias between them would count as noise."""
    return robust_deviation(np.concatenate([r - np.median(r) for r in series.by_build]))


def _medians(series: Series, sigma: float) -> tuple[list[float], list[float]]:
    """Median log ratio of each build, and its variance."""
    return (
        [float(np.median(ratios)) for ratios in series.by_build],
        [noise.variance_of_median(ratios, sigma) for ratios in series.by_build],
    )


def _mean(weighted: Sequence[tuple[float, int]]) -> float:
    whole = sum(weight for _, weight in weighted)
    return sum(value * weight for value, weight in weighted) / whole if whole else 0.0
