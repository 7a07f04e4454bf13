"""Verdicts from trials: the same live and from a file, and never from a failure."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from ailab_bot.judge import conclude, judge, summarise_failures
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.verdict import Conclusion, Stopped, Verdict, VerdictKind

POLICY = Policy()


def blocks(
    ratios: Iterable[float], scenario: str = "a", start: int = 0, metric: str = "ttfb_s"
) -> list[Trial]:
    """Blocks whose head takes `ratio` times as long as base."""
    trials = []
    for block, ratio in enumerate(ratios, start):
        trials.append(Trial(scenario, block, 0, Arm.BASE, metrics={metric: 2.0}))
        trials.append(Trial(scenario, block, 1, Arm.HEAD, metrics={metric: 2.0 * ratio}))
    return trials


def noisy(effect: float, count: int = 40, noise: float = 0.03, seed: int = 1) -> list[float]:
    source = random.Random(seed)
    return [(1 + effect) * (1 + source.gauss(0, noise)) for _ in range(count)]


def only(verdicts: tuple[Verdict, ...]) -> Verdict:
    (verdict,) = verdicts
    return verdict


def test_a_clear_slowdown_is_a_confirmed_regression() -> None:
    verdict = only(judge(blocks(noisy(0.2)), POLICY))
    assert verdict.kind is VerdictKind.REGRESSION
    assert verdict.confirmed
    assert verdict.stopped is Stopped.DECIDED
    assert verdict.confirmation_blocks > 0
    assert verdict.blocks_used < verdict.blocks_available == 40
    assert verdict.interval is not None
    assert POLICY.margin < verdict.interval.low < 0.2 < verdict.interval.high
    assert "fresh blocks confirmed it" in verdict.reason
    assert verdict.base_median == 2.0


def test_a_clear_speed_up_is_a_confirmed_improvement() -> None:
    verdict = only(judge(blocks(noisy(-0.2)), POLICY))
    assert verdict.kind is VerdictKind.IMPROVEMENT
    assert verdict.effect is not None
    assert -0.25 < verdict.effect < -0.15


def test_no_change_means_that_the_interval_lies_inside_the_threshold() -> None:
    verdict = only(judge(blocks(noisy(0.0)), POLICY))
    assert verdict.kind is VerdictKind.NO_CHANGE
    assert verdict.interval is not None
    assert -POLICY.threshold < verdict.interval.low < verdict.interval.high < POLICY.threshold


def test_a_significant_effect_below_the_threshold_is_not_announced() -> None:
    verdict = only(judge(blocks(noisy(0.035, noise=0.002)), POLICY))
    assert verdict.kind is VerdictKind.NO_CHANGE
    assert verdict.interval is not None
    assert verdict.interval.low > POLICY.margin


def test_too_few_or_too_noisy_blocks_are_inconclusive() -> None:
    for ratios in ([1.0], [1.3] * 4, noisy(0.0, noise=0.5)):
        verdict = only(judge(blocks(ratios), POLICY))
        assert verdict.kind is VerdictKind.INCONCLUSIVE
        assert verdict.stopped is Stopped.CAPACITY
        assert not verdict.confirmed


def test_an_effect_that_fresh_blocks_do_not_show_is_withdrawn() -> None:
    lucky = [1.3] * 8 + noisy(0.0, 32)
    verdict = only(judge(blocks(lucky), POLICY))
    assert verdict.kind is VerdictKind.NO_CHANGE
    assert "fresh blocks show no relevant effect" in verdict.reason


def test_an_effect_without_blocks_to_confirm_it_is_not_announced() -> None:
    verdict = only(judge(blocks([1.3] * 9), POLICY))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "not enough to confirm" in verdict.reason


def test_a_contradiction_is_inconclusive() -> None:
    verdict = only(judge(blocks([1.3] * 8 + [0.7] * 12), POLICY))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "the opposite" in verdict.reason


@pytest.mark.parametrize("effect", [-0.2, 0.0, 0.04, 0.07, 0.2])
def test_the_live_measurement_gets_the_same_verdict_as_the_file(effect: float) -> None:
    trials = blocks(noisy(effect))
    at_once = only(judge(trials, POLICY))
    for count in range(2, len(trials) + 1, 2):
        live = only(judge(trials[:count], POLICY))
        if live.stopped is Stopped.DECIDED:
            break
    shared = [name for name in vars(at_once) if name != "blocks_available"]
    assert [getattr(live, name) for name in shared] == [getattr(at_once, name) for name in shared]


def test_the_sizes_come_from_the_confirmation_alone() -> None:
    verdict = only(judge(blocks([1.5] * 8 + [1.2] * 8), POLICY))
    assert verdict.kind is VerdictKind.REGRESSION
    assert verdict.effect == pytest.approx(0.2)


def test_metrics_that_do_not_gate_use_the_blocks_that_the_gating_ones_used() -> None:
    trials = []
    for trial in blocks(noisy(0.2)):
        memory = 100.0 if trial.arm is Arm.BASE else 150.0
        trials.append(
            Trial(
                trial.scenario,
                trial.block,
                trial.order,
                trial.arm,
                metrics={**trial.metrics, "peak_rss_bytes": memory},
            )
        )
    time, memory = judge(trials, POLICY)
    assert (time.gates, memory.gates) == (True, False)
    assert memory.blocks_available == time.blocks_used
    assert memory.kind is VerdictKind.REGRESSION


def test_identical_trials_give_identical_verdicts() -> None:
    trials = blocks(noisy(0.05)) + blocks(noisy(0.3, seed=2), "b")
    assert judge(trials, POLICY) == judge(list(trials), POLICY)
    assert {verdict.scenario for verdict in judge(trials, POLICY)} == {"a", "b"}


def test_equal_times_without_any_variance_are_no_change() -> None:
    verdict = only(judge(blocks([1.0] * 40), POLICY))
    assert verdict.kind is VerdictKind.NO_CHANGE
    assert verdict.p_value is None
    assert verdict.noise == 0.0


def failed(block: int, arm: Arm, outcome: Outcome = Outcome.CRASH, scenario: str = "a") -> Trial:
    return Trial(scenario, block, 0, arm, outcome, failure=Failure("exited with status 1"))


def ok(block: int, arm: Arm, scenario: str = "a") -> Trial:
    return Trial(scenario, block, 1, arm, metrics={"ttfb_s": 1.0})


def test_blocks_with_a_failed_trial_are_left_out_whole() -> None:
    trials = [*blocks(noisy(0.0)), failed(40, Arm.HEAD), ok(40, Arm.BASE)]
    assert only(judge(trials, POLICY)).blocks_available == 40


def test_a_scenario_without_complete_block_has_no_verdict() -> None:
    trials = [failed(0, Arm.HEAD), ok(0, Arm.BASE), failed(1, Arm.HEAD), ok(1, Arm.BASE)]
    assert judge(trials, POLICY) == ()
    (summary,) = summarise_failures(trials)
    assert (summary.arms, summary.failed, summary.trials) == ("head", 2, 2)
    assert summary.blocks_the_change
    assert conclude([], [summary], ["a"], interrupted=False) is Conclusion.FAILURE


def test_failures_of_both_arms_are_the_scenarios_own() -> None:
    trials = [failed(0, Arm.HEAD, Outcome.OOM), failed(0, Arm.BASE, Outcome.OOM)]
    (summary,) = summarise_failures(trials)
    assert summary.arms == "both"
    assert not summary.blocks_the_change
    assert conclude([], [summary], ["a"], interrupted=False) is Conclusion.ERROR


def test_a_head_that_fails_only_sometimes_is_shown_and_does_not_block() -> None:
    flaky = [t for n in (40, 41, 42) for t in (failed(n, Arm.HEAD), ok(n, Arm.BASE))]
    (summary,) = summarise_failures([*blocks(noisy(0.0)), *flaky])
    assert (summary.arms, summary.failed, summary.trials) == ("head", 3, 43)
    assert not summary.blocks_the_change


def test_a_head_that_fails_without_a_base_to_compare_does_not_block() -> None:
    (summary,) = summarise_failures([failed(0, Arm.HEAD), failed(1, Arm.HEAD)])
    assert not summary.blocks_the_change


def test_one_failure_of_head_is_shown_and_does_not_block() -> None:
    trials = [*blocks(noisy(0.0)), failed(40, Arm.HEAD), ok(40, Arm.BASE)]
    (summary,) = summarise_failures(trials)
    assert not summary.blocks_the_change
    verdicts = judge(trials, POLICY)
    assert conclude(verdicts, [summary], ["a"], interrupted=False) is Conclusion.SUCCESS


def test_the_conclusion_follows_from_gating_verdicts_and_missing_data() -> None:
    regression = judge(blocks(noisy(0.2)), POLICY)
    memory = judge(blocks(noisy(0.2), metric="peak_rss_bytes"), POLICY)
    clean = judge(blocks(noisy(0.0)), POLICY)
    unknown = judge(blocks([1.0]), POLICY)
    assert conclude(regression, [], ["a"], interrupted=False) is Conclusion.FAILURE
    assert conclude(regression, [], ["a"], interrupted=True) is Conclusion.FAILURE
    assert conclude(memory, [], ["a"], interrupted=False) is Conclusion.SUCCESS
    assert conclude(clean, [], ["a"], interrupted=False) is Conclusion.SUCCESS
    assert conclude(unknown, [], ["a"], interrupted=False) is Conclusion.SUCCESS
    assert conclude(clean, [], ["a"], interrupted=True) is Conclusion.ERROR
    assert conclude(clean, [], ["a", "b"], interrupted=False) is Conclusion.ERROR
    assert conclude([], [], [], interrupted=False) is Conclusion.SUCCESS
