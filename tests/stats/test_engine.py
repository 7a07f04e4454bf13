"""What the engine promises, shown by simulation at the number of blocks that we really use."""

from __future__ import annotations

import numpy as np
import pytest
from replay import heavy_tailed, recorded_pairs, replay
from scipy import stats
from verdicts import POLICY, by_judge, to_trials

from ailab_bot.judge import judge
from ailab_bot.stats.compare import (
    Direction,
    describe,
    interval,
    log_ratios,
    pseudomedian,
    run_stage,
)

PAIRS = recorded_pairs()
RULE = {
    "margin": POLICY.margin,
    "threshold": POLICY.threshold,
    "stage_error": POLICY.stage_error,
    "clean_error": POLICY.clean_error,
    "scale": POLICY.scale,
}
REPLAYS = 600


def decisions(source: str, effect: float, replays: int = REPLAYS) -> list[tuple[str, int]]:
    random = np.random.default_rng(20_26)
    draw = {
        "recorded": lambda: replay(PAIRS, POLICY.max_blocks, effect, random),
        "synthetic": lambda: heavy_tailed(POLICY.max_blocks, effect, random),
    }[source]
    return [by_judge(draw()) for _ in range(replays)]


def at_most(count: int, trials: int, rate: float) -> bool:
    """Whether `count` is compatible with a true rate of at most `rate` (p above 0.001)."""
    return bool(stats.binomtest(count, trials, rate, alternative="greater").pvalue > 0.001)


@pytest.mark.parametrize("source", ["recorded", "synthetic"])
def test_without_effect_nothing_is_announced(source: str) -> None:
    kinds = [kind for kind, _ in decisions(source, 0.0)]
    announced = kinds.count("REGRESSION") + kinds.count("IMPROVEMENT")
    assert at_most(announced, REPLAYS, 1e-3)
    assert kinds.count("NO_CHANGE") > 0.8 * REPLAYS


def test_a_bias_within_the_margin_is_not_announced() -> None:
    """Layout or cache can shift an arm by about 1 %: no number of blocks may turn it into news."""
    kinds = [kind for kind, _ in decisions("recorded", 0.015)]
    assert at_most(kinds.count("REGRESSION"), REPLAYS, 1e-3)


@pytest.mark.parametrize("source", ["recorded", "synthetic"])
def test_twenty_percent_is_found_with_few_blocks(source: str) -> None:
    found = decisions(source, 0.20)
    assert [kind for kind, _ in found].count("REGRESSION") > 0.98 * REPLAYS
    assert np.mean([blocks for _, blocks in found]) < 22


def test_the_size_is_not_inflated_and_the_sign_is_right() -> None:
    random = np.random.default_rng(7)
    sizes = []
    for _ in range(200):
        verdict = judge(to_trials(replay(PAIRS, POLICY.max_blocks, 0.15, random)), POLICY)[0]
        if verdict.confirmed:
            assert verdict.effect is not None
            assert verdict.effect > 0
            sizes.append(verdict.effect)
    assert len(sizes) > 150
    assert abs(np.median(sizes) - 0.15) < 0.02


@pytest.mark.parametrize("blocks", [8, 20, 40])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_interval_covers_the_true_shift_at_its_level(blocks: int, shift: float) -> None:
    random = np.random.default_rng(blocks)
    missed = 0
    for _ in range(1000):
        # Symmetric about the shift, heavy-tailed, one machine-wide scale per experiment.
        sample = np.log1p(shift) + random.standard_t(3, blocks) * 0.04
        low, high = interval(sample, POLICY.clean_error, POLICY.scale)
        missed += not low <= shift <= high
    assert at_most(missed, 1000, 1 - POLICY.level)


def test_looking_after_every_block_does_not_raise_the_error() -> None:
    random = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        sample = random.standard_t(3, 60) * 0.05 + np.log1p(POLICY.margin)  # the null's edge
        stage = run_stage(sample, **{**RULE, "threshold": POLICY.margin})
        wrong += stage.found is Direction.UP
    assert at_most(wrong, 2000, POLICY.stage_error)
    assert wrong > 0, "a rule that can never err says nothing"


def test_the_interval_narrows_around_the_truth_and_starts_unbounded() -> None:
    sample = np.random.default_rng(1).normal(0.05, 0.03, 60)
    assert interval(sample[:3], 0.05, 0.05) == (-1.0, float("inf")), (
        "a head may take no time or for ever"
    )
    widths = [np.ptp(interval(sample[:n], 0.05, 0.05)) for n in (8, 20, 60)]
    assert widths[0] > widths[1] > widths[2]


def test_the_interval_mirrors_when_arms_are_swapped() -> None:
    sample = np.random.default_rng(2).normal(0.1, 0.05, 20)
    low, high = interval(sample, 0.05, 0.05)
    swapped = interval(-sample, 0.05, 0.05)
    assert swapped == pytest.approx((1 / (1 + high) - 1, 1 / (1 + low) - 1))


def test_the_pseudomedian_is_the_median_of_pair_means() -> None:
    assert pseudomedian(np.array([1.0, 2.0, 10.0])) == pytest.approx(3.75)
    assert pseudomedian(np.array([4.0])) == 4.0


def test_the_description_is_robust_and_its_t_test_is_scipys() -> None:
    sample = np.array([0.1, 0.11, 0.09, 0.1, 2.0])
    described = describe(sample)
    assert described.effect == pytest.approx(np.expm1(0.105), abs=0.02)
    assert described.noise < 0.02
    assert described.p_value == pytest.approx(stats.ttest_1samp(sample, 0).pvalue)
    assert np.isnan(describe(np.array([0.1])).p_value)
    assert np.isnan(describe(np.array([0.1, 0.1])).p_value)


def test_log_ratios_are_of_head_to_base() -> None:
    assert log_ratios([1.0, 2.0], [1.0, 4.0]) == pytest.approx([0.0, np.log(2)])
