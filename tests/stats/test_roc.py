"""Replays and the settings chosen on them: the shortcuts are exact, the bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from replay import recorded_pairs
from scipy import stats

from ailab_bot.judge import judge
from ailab_bot.model.calibration import OperatingPoint, RocPoint
from ailab_bot.model.policy import MARGIN, Policy
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.stats import roc
from ailab_bot.stats.replay import Pool, centred, draw, samples, scaled_to
from ailab_bot.stats.sequential import Direction, decide

RECORDED = Pool((centred(recorded_pairs()),), 0.05, level_s=1.1)


def quiet(sigma: float = 0.01, blocks: int = 60, seed: int = 1, bias_sd: float = 0.0) -> Pool:
    values = np.exp(np.random.default_rng(seed).normal(0, sigma / np.sqrt(2), (blocks, 2)))
    return Pool((centred(values),), max(sigma, 0.005), bias_sd, level_s=1.0)


def say_nothing(_: str) -> None: ...


def test_a_replay_keeps_neighbours_together_and_arms_exchangeable() -> None:
    values = np.stack([np.arange(50.0), np.arange(50.0) + 0.5], axis=1)
    drawn = draw(Pool((values,), 0.05), 200, 20, np.random.default_rng(1))
    assert drawn.shape == (200, 20, 2)
    place = np.floor(drawn.min(axis=2))
    steps = np.diff(place.reshape(200, 4, 5), axis=2)
    assert set(np.unique(steps)) <= {1.0, -49.0}
    assert 0.45 < (drawn[..., 1] > drawn[..., 0]).mean() < 0.55


def test_a_run_never_crosses_from_one_build_into_another() -> None:
    pool = Pool((np.zeros((7, 2)), np.ones((3, 2))), 0.05)
    drawn = draw(pool, 300, 20, np.random.default_rng(1))[..., 0].reshape(300, 4, 5)
    assert (np.ptp(drawn, axis=2) == 0).all()
    assert drawn.mean() == pytest.approx(0.3, abs=0.05)


def test_bias_between_builds_is_put_back_once_per_replay() -> None:
    pool = Pool((np.zeros((10, 2)),), 0.05, bias_sd=0.03)
    drawn = draw(pool, 2000, 6, np.random.default_rng(1))
    shifts = drawn[..., 1] - drawn[..., 0]
    assert (np.ptp(shifts, axis=1) < 1e-12).all()
    assert shifts[:, 0].std() == pytest.approx(0.03, rel=0.1)


def test_a_pool_splits_in_time() -> None:
    builds = tuple(np.full((n, 2), float(n)) for n in (4, 6, 10))
    first, later = Pool(builds, 0.05).split()
    assert [len(each) for each in first.builds] == [4, 6]
    assert [len(each) for each in later.builds] == [10]
    one = Pool((np.zeros((1, 2)),), 0.05)
    assert one.split() == (one, one)


def test_a_scenario_with_few_blocks_gets_its_classes_at_its_own_scale() -> None:
    few = Pool((np.zeros((2, 2)),), scale=0.02)
    lent = scaled_to([quiet(0.1, 500), few], few)
    assert lent.blocks == 502
    assert lent.ratios.std() == pytest.approx(0.02, rel=0.1)


def test_fewer_blocks_and_smaller_errors_need_no_replay_of_their_own() -> None:
    """The shortcuts of the sweep give what deciding each setting by itself gives."""
    errors = [1e-2, 1e-3, 1e-4]
    for effect in (0.0, 0.05, 0.1):
        drawn = samples(draw(RECORDED, 60, 60, np.random.default_rng(3)), effect)
        rules = [roc.rule_of(RECORDED, 0.05, 1e-2)] * 60
        for error, fast in zip(errors, roc._by_error(drawn, rules, errors), strict=True):
            for capacity in (20, 40, 60):
                short = [type(s)(s.base[:capacity], s.head[:capacity]) for s in drawn]
                slow = decide(short, [roc.rule_of(RECORDED, 0.05, error)] * 60)
                within = fast.within(capacity)
                assert [d.found is Direction.UP for d in slow] == within.found.tolist()
                assert [d.blocks for d in slow] == within.blocks.tolist()


@pytest.mark.parametrize(("count", "replays"), [(0, 5400), (1, 8540), (7, 1000)])
def test_the_upper_bound_is_the_chi_squared_one(count: int, replays: int) -> None:
    expected = stats.chi2.ppf(0.95, 2 * (count + 1)) / (2 * replays)
    assert roc.upper_bound(count, replays) == pytest.approx(expected)


def test_the_budget_caps_the_error() -> None:
    assert roc.largest_error(1, 1800) == pytest.approx(3.8e-4)
    assert roc.largest_error(1, 7) == 0.05
    assert roc.largest_error(0.7, 4900) == pytest.approx(1e-4)


def point(error: float, found: float, wrong: int = 0, blocks: float = 15) -> RocPoint:
    return RocPoint(OperatingPoint(0.05, 0.02, error, 40), wrong, 1000, 0.003, found, 0.01, blocks)


def test_the_setting_chosen_finds_most_within_the_budget_by_both_counts() -> None:
    points = [point(1e-2, 0.9), point(3e-4, 0.7), point(1e-4, 0.8, wrong=2), point(3e-5, 0.6)]
    assert roc.choose(points, 1, 1800) == points[1], "formally and on the replays"
    assert roc.choose(points, 30, 1800) == points[0]
    cheap = [point(1e-4, 0.70, blocks=10), point(1e-4, 0.71, blocks=40)]
    assert roc.choose(cheap, 1, 1800) == cheap[0], "a block has its price"
    hopeless = [point(1e-4, 0.9, wrong=9), point(1e-4, 0.5, wrong=3)]
    assert roc.choose(hopeless, 1, 1800) == hopeless[1], "the strictest is left"


def test_the_margin_covers_the_bias_between_builds() -> None:
    assert roc.limits_of(quiet(), 0.05).margin == pytest.approx(MARGIN)
    assert roc.limits_of(quiet(bias_sd=0.015), 0.05).margin == pytest.approx(0.03)
    wide = roc.limits_of(quiet(bias_sd=0.05), 0.05)
    assert wide.margin == wide.threshold == pytest.approx(0.1)
    assert Policy(own={("a", "t"): wide}).with_threshold(0.2).own["a", "t"].margin >= 0.1


def test_short_scenarios_have_the_grain_of_the_clock_as_margin() -> None:
    short = Pool(quiet().builds, 0.01, level_s=0.02)
    assert roc.rule_of(short, 0.05, 1e-3).margin == pytest.approx(0.1)


def test_replays_are_decided_by_the_rule_that_the_judge_makes() -> None:
    """Same blocks, once through the judge with the calibrated policy, once as a replay."""
    for pool in (RECORDED, quiet(bias_sd=0.015), Pool(quiet().builds, 0.01, level_s=0.02)):
        limits = roc.limits_of(pool, 0.05)
        policy = Policy(error=3e-4, own={("s", "ttfb_s"): limits})
        (logs,) = draw(pool, 1, 40, np.random.default_rng(5)) + np.log(pool.level_s)
        (sample,) = samples(logs[None], 0.08)
        (decision,) = decide([sample], [roc.rule_of(pool, 0.05, 3e-4)])
        trials = [
            Trial("s", block, order, arm, metrics={"ttfb_s": float(values[block])})
            for block in range(40)
            for order, (arm, values) in enumerate(
                ((Arm.BASE, sample.base), (Arm.HEAD, sample.head))
            )
        ]
        (verdict,) = judge(trials, policy)
        assert verdict.blocks_used == decision.blocks
        assert verdict.confirmed == decision.announced
        assert verdict.effect == pytest.approx(decision.effect, abs=0.01), "grain differs a little"


def test_the_smallest_effect_grows_with_the_noise() -> None:
    at = OperatingPoint(0.05, 0.02, 3.8e-4, 40)
    found = [roc.smallest_found(quiet(sigma), at, 60, 1) for sigma in (0.005, 0.08)]
    assert found[0] is not None
    assert found[1] is not None
    assert MARGIN < found[0] < 0.06
    assert found[0] < found[1] < 0.2
    assert roc.smallest_found(quiet(0.8), at, 60, 1) is None


def test_the_sweep_has_every_setting_and_knows_its_uncertainty() -> None:
    points = roc.sweep([quiet(0.02), quiet(0.03, seed=2)], [1e-2, 1e-4], 40, 1, say_nothing)
    assert len(points) == 2 * len(roc.THRESHOLDS) * len(roc.CAPACITIES)
    assert {row.replays for row in points} == {40}
    for row in points:
        assert 0 <= row.detection <= 1
        assert row.at_most >= row.false_positives / row.replays
    narrow, wide = (
        [row.detection for row in points if row.point.threshold == t] for t in (0.03, 0.1)
    )
    assert max(narrow) > max(wide)


def test_every_scenario_is_replayed_however_few_replays_are_asked_for() -> None:
    pools = [quiet(0.02, seed=seed) for seed in range(5)]
    points = roc.sweep(pools, [1e-2], 1, 1, say_nothing)
    assert {row.replays for row in points} == {roc.enough(1, 5)} == {5 * roc.FEWEST_REPLAYS}
    assert roc._shared_out(1, 5) == [roc.FEWEST_REPLAYS] * 5
    assert roc._shared_out(600, 7) == [86] * 5 + [85] * 2
    told: list[str] = []
    roc.count_false_positives(pools, points[0].point, 1, 1, told.append)
    assert told[-1].endswith("20 of 20 replays")


def test_absurd_budgets_still_give_an_error_between_none_and_all() -> None:
    assert roc.largest_error(1e308, 1e-300) == 0.05
    assert 0 < roc.largest_error(5e-324, 1e9) < 1e-299


def test_a_scale_beyond_what_a_policy_may_hold_is_cut_off() -> None:
    assert roc.limits_of(Pool(quiet().builds, 20.8), 0.05).scale == roc.LARGEST_SCALE
