"""Known noise is recovered: its scale, its dependence, and what separate builds add."""

from __future__ import annotations

import numpy as np
import pytest

from ailab_bot.model.policy import SCALE
from ailab_bot.stats import noise
from ailab_bot.stats.compare import robust_deviation


def autoregressive(rho: float, count: int, sd: float = 0.05, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = [random.normal(0, sd)]
    for _ in range(count - 1):
        values.append(rho * values[-1] + random.normal(0, sd * np.sqrt(1 - rho**2)))
    return np.array(values)


def test_one_block_has_its_classes_noise_and_a_thousand_have_their_own() -> None:
    assert noise.shrunk(0.0, 1, 0.05) == pytest.approx(0.05)
    assert noise.shrunk(0.2, 1, 0.05) == pytest.approx(0.05)
    assert noise.shrunk(0.2, 0, 0.05) == pytest.approx(0.05)
    assert noise.shrunk(0.02, 1000, 0.05) == pytest.approx(0.02, rel=0.04)
    halfway = noise.shrunk(0.02, 11, 0.05)
    assert halfway**2 == pytest.approx((0.02**2 + 0.05**2) / 2)


def test_a_classes_noise_is_that_of_its_scenarios_about_their_own_medians() -> None:
    random = np.random.default_rng(1)
    groups = [random.normal(shift, 0.03, 100) for shift in (-0.5, 0.0, 0.5)]
    assert noise.class_deviation(groups, SCALE) == pytest.approx(0.03, rel=0.15)
    assert noise.class_deviation([], SCALE) == SCALE
    assert noise.class_deviation([np.array([0.4])], SCALE) == pytest.approx(SCALE)


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.7])
def test_autocorrelation_is_recovered_in_spite_of_outliers(rho: float) -> None:
    values = autoregressive(rho, 3000)
    values[::100] += 5.0
    assert noise.autocorrelation(values) == pytest.approx(rho, abs=0.1)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], [0.0] * 50])
def test_autocorrelation_of_too_little_is_none(values: list[float]) -> None:
    assert noise.autocorrelation(np.array(values)) == 0.0


def test_dependent_blocks_are_worth_fewer_independent_ones() -> None:
    free = noise.independent_blocks(autoregressive(0.0, 400))
    bound = noise.independent_blocks(autoregressive(0.6, 400, seed=2))
    assert 300 < free <= 400
    assert bound == pytest.approx(400 * 0.4 / 1.6, rel=0.35)
    assert noise.independent_blocks(np.array([])) == 0


def test_clustered_sizes_count_as_dependence_whatever_the_signs() -> None:
    random = np.random.default_rng(2)
    sizes = np.exp(autoregressive(0.8, 600, sd=1.0))
    signs = random.choice([-1.0, 1.0], 600)
    assert noise.independent_blocks(sizes * signs) < 400


def test_far_slow_trials_are_counted() -> None:
    ratios = np.zeros(100)
    ratios[:4], ratios[4:10] = 1.0, -1.0
    assert noise.far_slow_share(ratios, 0.05) == pytest.approx(0.05)
    assert noise.far_slow_share(np.array([]), 0.05) == 0.0


def spread(bias: float, builds: int, blocks: int = 40, sigma: float = 0.05) -> float:
    random = np.random.default_rng(builds)
    drawn = [random.normal(random.normal(0, bias), sigma, blocks) for _ in range(builds)]
    variances = [noise.variance_of_median(each, robust_deviation(each)) for each in drawn]
    return noise.between_builds([float(np.median(each)) for each in drawn], variances)


def test_bias_between_builds_is_recovered_beyond_the_noise_within() -> None:
    assert spread(0.03, 400) == pytest.approx(0.03, rel=0.1)
    assert spread(0.0, 400) < 0.004
    assert spread(0.0, 3) < 0.02


def test_a_bias_that_comes_back_in_every_build_is_one_too() -> None:
    assert noise.between_builds([0.02, 0.02, 0.02], [1e-6] * 3) == pytest.approx(0.02, rel=0.01)


def test_without_noise_within_builds_all_that_differs_is_bias() -> None:
    assert noise.between_builds([0.01, -0.01], [0.0, 0.0]) == pytest.approx(0.01)
    assert noise.between_builds([0.0, 0.0], [0.0, 0.0]) == 0.0
    assert noise.between_builds([], []) == 0.0


def test_chance_within_builds_is_rarely_taken_for_a_bias() -> None:
    random = np.random.default_rng(7)
    unbiased = random.normal(0, 0.01, (2000, 3))
    share = np.mean([noise.beyond_chance(list(each), [1e-4] * 3) for each in unbiased])
    assert 0.003 < share < 0.02
    assert noise.beyond_chance([0.1], [1e-4])
    assert noise.beyond_chance([0.1], [0.0])
    assert not noise.beyond_chance([0.0], [0.0])
