"""Verdicts from trials: the same live and from a file, and never from a failure."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from ailab_bot.judge import conclude, judge, summarise_failures
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.verdict import (
    Conclusion,
    FailureSummary,
    Pattern,
    Stopped,
    Verdict,
    VerdictKind,
)

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
    assert 0.01 < verdict.interval.low < verdict.interval.high <= POLICY.threshold


def test_too_few_or_too_noisy_blocks_are_inconclusive() -> None:
    source = random.Random(4)
    wild = [
        replace(trial, metrics={"ttfb_s": source.lognormvariate(0, 0.3)})
        for trial in blocks([1.0] * 40)
    ]
    for trials in (blocks([1.0]), blocks([1.3] * 4), wild):
        verdict = only(judge(trials, POLICY))
        assert verdict.kind is VerdictKind.INCONCLUSIVE
        assert verdict.stopped is Stopped.CAPACITY
        assert not verdict.confirmed


def test_an_effect_that_fresh_blocks_do_not_show_is_withdrawn() -> None:
    lucky = [1.1] * 6 + noisy(0.0, 34)
    verdict = only(judge(blocks(lucky), POLICY))
    assert verdict.kind is VerdictKind.NO_CHANGE
    assert verdict.reason.startswith("5 blocks found head slower, but with ")
    assert "the interval lies inside the threshold ±5 %" in verdict.reason


def test_an_effect_without_blocks_to_confirm_it_is_not_announced() -> None:
    verdict = only(judge(blocks([1.3] * 8), POLICY))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "not enough to confirm" in verdict.reason


def test_a_contradiction_is_inconclusive() -> None:
    verdict = only(judge(blocks([1.1] * 8 + [0.9] * 8), POLICY))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert not verdict.confirmed


def slow_in_some(share: float, by: float, count: int = 40, seed: int = 3) -> list[float]:
    source = random.Random(seed)
    return [
        (1 + by if source.random() < share else 1.0) * (1 + source.gauss(0, 0.01))
        for _ in range(count)
    ]


def test_a_head_that_is_slow_in_some_trials_is_announced_as_that() -> None:
    verdict = only(judge(blocks(slow_in_some(0.5, 0.6)), POLICY))
    assert verdict.kind is VerdictKind.REGRESSION
    assert verdict.pattern is Pattern.SLOW_IN_SOME
    assert verdict.interval is None, "the interval is of the middle, which did not move"
    assert verdict.effect is not None
    assert verdict.effect > 0.1
    assert verdict.reason.startswith("slow in some trials only: head was far slower than base in ")


def test_too_few_slow_trials_are_named_and_not_called_no_change() -> None:
    verdict = only(judge(blocks(slow_in_some(0.3, 0.6, count=30)), POLICY))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.pattern is Pattern.SLOW_IN_SOME
    assert "too often to call it no change" in verdict.reason


def test_a_head_that_is_slow_in_every_trial_is_not_called_slow_in_some() -> None:
    verdict = only(judge(blocks(noisy(1.0)), POLICY))
    assert verdict.kind is VerdictKind.REGRESSION
    assert verdict.pattern is Pattern.NONE
    assert verdict.interval is not None


def test_the_evidence_of_two_machines_multiplies() -> None:
    """Each machine has its own speed; a block belongs to one of them."""
    trials = []
    for trial in blocks(noisy(0.06, noise=0.02)):
        fast = trial.block % 2 == 0
        seconds = trial.metrics["ttfb_s"] * (0.5 if fast else 1.0)
        trials.append(
            replace(trial, metrics={"ttfb_s": seconds}, machine="fast" if fast else "slow")
        )
    together = only(judge(trials, POLICY))
    alone = only(judge([t for t in trials if t.machine == "fast"], POLICY))
    assert together.kind is VerdictKind.REGRESSION
    assert together.confirmed
    assert alone.evidence < together.evidence


def test_many_verdicts_in_one_change_ask_for_more_evidence() -> None:
    trials = blocks(noisy(0.08))
    one, many = only(judge(trials, POLICY)), only(judge(trials, POLICY, family=5000))
    assert one.confirmed
    assert many.confirmed
    assert many.evidence > 5000 / 0.1 > one.evidence
    assert many.blocks_used > one.blocks_used


def test_many_regressions_in_one_change_do_not() -> None:
    trials = [t for n in range(150) for t in blocks(noisy(0.2, count=20, seed=n), f"s{n}")]
    evidence = [verdict.evidence for verdict in judge(trials, POLICY)]
    assert min(evidence) >= 1 / POLICY.error
    assert min(evidence) < 150 / 0.1


def test_milliseconds_are_no_effect_however_short_the_scenario() -> None:
    short = [replace(t, metrics={"ttfb_s": t.metrics["ttfb_s"] / 100}) for t in blocks(noisy(0.08))]
    verdict = only(judge(short, POLICY))  # 20 ms and 1.6 ms more
    assert verdict.kind is not VerdictKind.REGRESSION
    assert verdict.margin == pytest.approx(0.1, rel=0.2)


def test_one_trial_that_ends_at_once_does_not_widen_the_threshold() -> None:
    """A head that signals its first batch at once, in one trial, does not buy itself 90 %."""
    verdict = only(judge(blocks([0.001, *noisy(0.3, 39)]), POLICY))
    assert verdict.kind is VerdictKind.REGRESSION
    assert verdict.threshold == POLICY.threshold


def test_a_reason_counts_as_people_do() -> None:
    assert only(judge(blocks([1.5]), POLICY)).reason.startswith("1 block shows neither")
    assert only(judge(blocks([1.5, 1.5]), POLICY)).reason.startswith("2 blocks show neither")


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
    assert verdict.effect == pytest.approx(0.2, abs=0.01)


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
    assert (
        conclude([], [summary], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.FAILURE
    )


def test_failures_of_both_arms_are_the_scenarios_own() -> None:
    trials = [failed(0, Arm.HEAD, Outcome.OOM), failed(0, Arm.BASE, Outcome.OOM)]
    (summary,) = summarise_failures(trials)
    assert summary.arms == "both"
    assert not summary.blocks_the_change
    assert (
        conclude([], [summary], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.ERROR
    )


def test_a_head_that_fails_only_sometimes_is_shown_and_does_not_block() -> None:
    flaky = [t for n in (40, 41, 42) for t in (failed(n, Arm.HEAD), ok(n, Arm.BASE))]
    (summary,) = summarise_failures([*blocks(noisy(0.0)), *flaky])
    assert (summary.arms, summary.failed, summary.trials) == ("head", 3, 43)
    assert not summary.blocks_the_change


def test_a_head_that_fails_far_more_often_than_base_is_named_and_in_the_end_blocks() -> None:
    def summary(head: int, base: int) -> FailureSummary:
        flaky = [t for n in range(head) for t in (failed(n, Arm.HEAD), ok(n, Arm.BASE))]
        flaky += [t for n in range(50, 50 + base) for t in (failed(n, Arm.BASE), ok(n, Arm.HEAD))]
        (found,) = summarise_failures([*flaky, *blocks(noisy(0.0, 20), start=100)])
        return found

    assert not summary(4, 0).head_fails_more
    assert summary(6, 0).head_fails_more
    assert not summary(6, 0).blocks_the_change
    assert not summary(6, 4).head_fails_more
    assert summary(13, 0).blocks_the_change
    assert summary(20, 1).blocks_the_change
    assert summary(0, 20).evidence < 1


def test_a_head_that_fails_without_a_base_to_compare_does_not_block() -> None:
    (summary,) = summarise_failures([failed(0, Arm.HEAD), failed(1, Arm.HEAD)])
    assert not summary.blocks_the_change


def test_one_failure_of_head_is_shown_and_does_not_block() -> None:
    trials = [*blocks(noisy(0.0)), failed(40, Arm.HEAD), ok(40, Arm.BASE)]
    (summary,) = summarise_failures(trials)
    assert not summary.blocks_the_change
    verdicts = judge(trials, POLICY)
    assert (
        conclude(verdicts, [summary], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.SUCCESS
    )


def test_the_conclusion_follows_from_gating_verdicts_and_missing_data() -> None:
    regression = judge(blocks(noisy(0.2)), POLICY)
    memory = judge(blocks(noisy(0.2), metric="peak_rss_bytes"), POLICY)
    clean = judge(blocks(noisy(0.0)), POLICY)
    unknown = judge(blocks([1.0]), POLICY)
    assert (
        conclude(regression, [], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.FAILURE
    )
    assert (
        conclude(regression, [], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=True)
        is Conclusion.FAILURE
    )
    assert (
        conclude(memory, [], {"a": ["peak_rss_bytes"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.SUCCESS
    )
    assert (
        conclude(memory, [], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False) is Conclusion.ERROR
    )
    assert (
        conclude(clean, [], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False) is Conclusion.SUCCESS
    )
    assert (
        conclude(unknown, [], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.SUCCESS
    )
    assert conclude(clean, [], {"a": ["ttfb_s"]}, ("ttfb_s",), interrupted=True) is Conclusion.ERROR
    assert (
        conclude(clean, [], {"a": ["ttfb_s"], "b": ["ttfb_s"]}, ("ttfb_s",), interrupted=False)
        is Conclusion.ERROR
    )
    assert conclude([], [], {}, ("ttfb_s",), interrupted=False) is Conclusion.SUCCESS


def test_more_failures_than_a_number_can_weigh_block_the_change() -> None:
    """1,200 blocks in which only head failed: e to that power is no float any more."""
    trials = []
    for block in range(1200):
        trials.append(Trial("a", block, 0, Arm.BASE, metrics={"ttfb_s": 2.0}))
        trials.append(Trial("a", block, 1, Arm.HEAD, Outcome.CRASH, failure=Failure("it crashed")))
    (summary,) = summarise_failures(trials)
    assert summary.evidence == 1e12
    assert summary.blocks_the_change


@pytest.mark.parametrize("first", [1.0, 2.0, 100.0, 0.001])
def test_one_odd_trial_does_not_take_the_margin_of_a_short_scenario_away(first: float) -> None:
    trials = blocks([1.0] * 40)
    trials = [replace(t, metrics={"ttfb_s": t.metrics["ttfb_s"] / 100}) for t in trials]
    odd = {"ttfb_s": trials[1].metrics["ttfb_s"] * first}
    trials[1] = replace(trials[1], metrics=odd)
    assert only(judge(trials, POLICY)).margin == pytest.approx(POLICY.margin_s / 0.02, rel=1e-5)


def test_the_file_of_a_large_change_has_the_evidence_that_the_live_measurement_asked_for() -> None:
    """The trials carry how many verdicts the change has: fewer of them do not ask for less."""
    alone = only(judge(blocks(noisy(0.2)), POLICY))
    of_many = only(judge(blocks(noisy(0.2)), POLICY, family=100_000))
    assert of_many.kind is VerdictKind.REGRESSION
    assert of_many.evidence > 1e6 > alone.evidence
    assert only(judge(blocks(noisy(0.2)), POLICY, family=0)) == alone


def test_other_metrics_are_judged_on_the_blocks_that_the_gating_one_used() -> None:
    """A metric that only later blocks have was not there when the measurement stopped."""
    trials = blocks(noisy(0.2))
    used = only(judge(trials, POLICY)).blocks_used
    late = [
        replace(t, metrics={**t.metrics, "cpu_s": t.metrics["ttfb_s"]}) if t.block >= used else t
        for t in trials
    ]
    assert [verdict.metric for verdict in judge(late, POLICY)] == ["ttfb_s"]
    last = [
        replace(t, metrics={**t.metrics, "cpu_s": 1.0}) if t.block >= used - 2 else t
        for t in trials
    ]
    (_, cpu) = judge(last, POLICY)
    assert (cpu.metric, cpu.blocks_used) == ("cpu_s", 2)


def test_a_gating_metric_that_has_no_verdict_is_no_success() -> None:
    verdicts = judge(blocks(noisy(0.0)), POLICY)
    expected = {"a": ("ttfb_s", "peak_rss_bytes")}
    gate = ("ttfb_s", "peak_rss_bytes")
    assert conclude(verdicts, [], expected, gate, interrupted=False) is Conclusion.ERROR
    assert conclude(verdicts, [], expected, ("ttfb_s",), interrupted=False) is Conclusion.SUCCESS


def test_the_reason_says_what_an_effect_that_is_not_announced_lacks() -> None:
    """The blocks agree on a slowdown that the margin may explain."""
    wide = Policy(margin=0.045)
    unknown = only(judge(blocks(noisy(0.047, noise=0.004)), wide))
    assert unknown.kind is VerdictKind.INCONCLUSIVE
    assert unknown.reason.endswith("agree, but not clearly enough beyond the margin of 4.5 %")
