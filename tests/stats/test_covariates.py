"""Covariates take noise out where they explain it, and never hide what they cause."""

from __future__ import annotations

import numpy as np
import pytest

from ailab_bot.judge import judge
from ailab_bot.model.calibration import UNKNOWN_CLASS
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Block, Trial
from ailab_bot.model.verdict import VerdictKind
from ailab_bot.stats.covariates import (
    BURN_IN,
    adjusted,
    fit_halves,
    huber,
    present_in,
    without_covariates,
)
from ailab_bot.stats.history import fit_covariates


def history(
    slope: float, count: int = 200, head_delay: float = 0.0, effect: float = 0.0, seed: int = 1
) -> list[Trial]:
    """Trials whose run delay, a share of their time, slows them down by `slope` times itself."""
    random = np.random.default_rng(seed)
    trials = []
    for block in range(count):
        for order, arm in enumerate(Arm):
            delay = random.exponential(0.05) + (head_delay if arm is Arm.HEAD else 0.0)
            seconds = np.exp(slope * delay + random.normal(0, 0.01))
            seconds *= 1 + effect if arm is Arm.HEAD else 1
            trials.append(
                Trial(
                    "a",
                    block,
                    order,
                    arm,
                    metrics={"ttfb_s": float(seconds)},
                    covariates={"run_delay_s": float(delay * seconds)},
                )
            )
    return trials


def blocks(trials: list[Trial]) -> list[Block]:
    return [Block(i, *trials[2 * i : 2 * i + 2]) for i in range(len(trials) // 2)]


def test_the_coefficients_are_robust() -> None:
    random = np.random.default_rng(1)
    x = random.normal(0, 1, (400, 2)) * [1.0, 1e9]
    y = x @ [0.5, 2e-9] + random.normal(0, 0.1, 400)
    y[:20] += 50
    assert huber(x, y) == pytest.approx([0.5, 2e-9], rel=0.1)
    assert huber(np.zeros((10, 1)), y[:10]) == pytest.approx([0.0])


def test_a_covariate_that_explains_the_noise_is_used() -> None:
    (fit,) = fit_covariates([{"a": blocks(history(1.0))}], 1).values()
    assert fit.used
    assert fit.coefficients["run_delay_s"] == pytest.approx(1.0, rel=0.15)
    assert fit.sigma_after < 0.5 * fit.sigma_before


def test_a_covariate_that_explains_nothing_is_not_used_and_the_reason_is_told() -> None:
    (fit,) = fit_covariates([{"a": blocks(history(0.0))}], 1).values()
    assert not fit.used
    assert "noise" in fit.why or "noisy" in fit.why
    (few,) = fit_covariates([{"a": blocks(history(1.0, count=20))}], 1).values()
    assert not few.used
    assert "too few" in few.why
    bare = [Trial("a", 0, n, arm, metrics={"ttfb_s": 1.0}) for n, arm in enumerate(Arm)]
    (none,) = fit_covariates([{"a": blocks(bare)}], 1).values()
    assert "no covariate" in none.why


def test_too_few_blocks_are_not_fitted() -> None:
    assert fit_halves(np.zeros(59), np.zeros((59, 1)), np.random.default_rng(1)) is None


def test_adjusting_leaves_the_arms_exchangeable_and_the_first_blocks_as_they_were() -> None:
    random = np.random.default_rng(1)
    base, head = random.normal(0, 1, (2, 30))
    x, y = random.normal(0, 1, (2, 30, 1))
    coefficients = np.array([0.7])
    one, other = adjusted(base, head, x, y, coefficients)
    swapped = adjusted(head, base, y, x, coefficients)
    assert (one == swapped[1]).all()
    assert (other == swapped[0]).all()
    early = adjusted(base[:12], head[:12], x[:12], y[:12], coefficients)
    assert (one[:12] == early[0]).all()
    assert (one[:BURN_IN] == base[:BURN_IN]).all()
    assert (one[BURN_IN:] != base[BURN_IN:]).all()


def test_a_covariate_that_the_change_moves_is_left_alone() -> None:
    """A head that starts more threads waits more: that is its regression, not the machine's."""
    trials = history(1.0, count=40, head_delay=0.2)
    policy = Policy(covariates={UNKNOWN_CLASS: {"run_delay_s": 1.0}})
    assert present_in(blocks(trials)) == ("run_delay_s",)
    found = without_covariates(blocks(trials), policy.covariates)
    assert found is not None
    assert found[1] == pytest.approx([b.head.metrics["ttfb_s"] for b in blocks(trials)])
    (verdict,) = judge(trials, policy)
    assert verdict.kind is VerdictKind.REGRESSION


def test_adjusted_blocks_reach_the_same_verdict_sooner_and_live_as_from_the_file() -> None:
    trials = history(1.0, count=40, effect=0.06)
    plain, policy = Policy(), Policy(covariates={UNKNOWN_CLASS: {"run_delay_s": 1.0}})
    (before,), (after,) = judge(trials, plain), judge(trials, policy)
    assert before.kind is after.kind is VerdictKind.REGRESSION
    assert after.blocks_used <= before.blocks_used
    assert after.base_median == pytest.approx(before.base_median, rel=0.05)
    (live,) = judge(trials[: 2 * after.blocks_used], policy)
    assert (live.effect, live.interval, live.reason) == (after.effect, after.interval, after.reason)


def test_trials_without_the_covariate_and_other_machines_stay_as_they_are() -> None:
    bare = [Trial("a", 0, n, arm, metrics={"ttfb_s": 2.0}) for n, arm in enumerate(Arm)]
    fits = {UNKNOWN_CLASS: {"run_delay_s": 1.0}}
    found = without_covariates(blocks(bare), fits)
    assert found is not None
    assert found[0] == pytest.approx((2.0,))
    assert without_covariates(blocks(bare), {"another": {"run_delay_s": 1.0}}) is None
    assert without_covariates(blocks(bare), {}) is None
