"""What a claim of equal counts does to a verdict: NO_CHANGE sooner, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from test_judge import blocks, noisy, only

from ailab_bot.errors import UserError
from ailab_bot.judge import judge
from ailab_bot.model.policy import EQUAL_BLOCKS, Policy
from ailab_bot.model.signature import Likeness
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.model.verdict import VerdictKind
from ailab_bot.model.wire import parse_trials, trial_to_json

POLICY = Policy()


def claiming(trials: Iterable[Trial], likeness: Likeness | None = Likeness.EQUAL) -> list[Trial]:
    return [replace(trial, signature=likeness) for trial in trials]


def test_with_equal_counts_no_change_needs_fewer_blocks_and_says_why() -> None:
    trials = blocks(noisy(0.0, noise=0.04))
    plain, equal = only(judge(trials, POLICY)), only(judge(claiming(trials), POLICY))
    assert plain.kind is equal.kind is VerdictKind.NO_CHANGE
    assert EQUAL_BLOCKS <= equal.blocks_used < plain.blocks_used
    assert equal.reason == (
        f"the same modules, calls and files in both arms; with that, {equal.blocks_used} blocks "
        "that outweigh an effect beyond the threshold ±5 % by 3.6 to 1 are enough, without it "
        "14 to 1 would be asked for"
    )


def test_its_interval_is_the_usual_one_and_may_reach_beyond_the_threshold() -> None:
    equal = only(judge(claiming(blocks(noisy(0.0, noise=0.04))), POLICY))
    assert equal.level == POLICY.level
    assert equal.interval is not None
    assert equal.interval.low < -POLICY.threshold or equal.interval.high > POLICY.threshold


def test_however_quiet_the_machine_some_blocks_are_timed() -> None:
    equal = only(judge(claiming(blocks([1.0] * 40)), POLICY))
    assert (equal.kind, equal.blocks_used) == (VerdictKind.NO_CHANGE, EQUAL_BLOCKS)


@pytest.mark.parametrize("likeness", [None, Likeness.DIFFERENT])
def test_other_counts_or_none_leave_every_verdict_as_it_was(likeness: Likeness | None) -> None:
    for effect in (0.0, 0.05, 0.2, -0.1):
        trials = blocks(noisy(effect))
        assert judge(claiming(trials, likeness), POLICY) == judge(trials, POLICY)


def test_a_regression_that_counts_do_not_show_is_announced_with_the_same_blocks() -> None:
    for effect in (0.1, 0.2):
        trials = blocks(noisy(effect))
        verdict = only(judge(claiming(trials), POLICY))
        assert verdict.kind is VerdictKind.REGRESSION
        assert verdict == only(judge(trials, POLICY))


def test_a_claim_of_one_arm_or_of_later_blocks_alone_is_none() -> None:
    trials = blocks(noisy(0.0, noise=0.04))
    plain = only(judge(trials, POLICY))
    one_arm = [replace(t, signature=Likeness.EQUAL) if t.arm is Arm.HEAD else t for t in trials]
    assert only(judge(one_arm, POLICY)) == plain
    assert only(judge([*trials[:2], *claiming(trials[2:])], POLICY)) == plain


def test_the_claim_ends_with_the_first_block_that_does_not_make_it() -> None:
    """So a file that grows, and a rerun that knows less, take no verdict back."""
    trials = blocks(noisy(0.0, noise=0.04))
    equal = only(judge(claiming(trials), POLICY))
    cut = 2 * equal.blocks_used
    later = [*claiming(trials[:cut]), *claiming(trials[cut:], Likeness.DIFFERENT)]
    assert replace(only(judge(later, POLICY))) == equal
    early = [*claiming(trials[: cut - 2]), *trials[cut - 2 :]]
    assert only(judge(early, POLICY)) == only(judge(trials, POLICY))


def test_the_live_measurement_stops_where_the_file_does() -> None:
    trials = claiming(blocks(noisy(0.0, noise=0.04)))
    whole = only(judge(trials, POLICY))
    for done in range(1, whole.blocks_used):
        assert only(judge(trials[: 2 * done], POLICY)).kind is VerdictKind.INCONCLUSIVE
    last = only(judge(trials[: 2 * whole.blocks_used], POLICY))
    assert replace(last, blocks_available=40) == whole


def test_a_scenario_judged_on_what_was_not_counted_is_measured_as_ever() -> None:
    """Counts end with the first batch, and the time of a step comes after it."""
    trials = [
        replace(trial, metrics={**trial.metrics, "step_time_s": trial.metrics["ttfb_s"] / 10})
        for trial in blocks(noisy(0.0, noise=0.04))
    ]
    assert judge(claiming(trials), POLICY) == judge(trials, POLICY)
    asked = {"a": ("ttfb_s",)}
    assert judge(claiming(trials), POLICY, asked) != judge(trials, POLICY, asked)


def test_a_claim_in_one_scenario_moves_no_verdict_of_another() -> None:
    first, second = blocks(noisy(0.0, seed=1), "a"), blocks(noisy(0.0, seed=2), "b")
    alone = judge([*first, *second], POLICY)
    assert judge([*claiming(first), *second], POLICY)[1] == alone[1]


def test_the_claim_is_written_and_read_back_and_old_lines_have_none() -> None:
    for likeness in (None, *Likeness):
        (trial, _) = claiming(blocks([1.0]), likeness)
        line = trial_to_json(trial)
        assert ("signature" in json.loads(line)) is (likeness is not None)
        assert parse_trials([line], "it") == [trial]


@pytest.mark.parametrize("claim", ["same", "", None, True, 1, ["equal"], {"equal": 1}, "EQUAL"])
def test_a_claim_that_is_none_is_refused_with_its_line(claim: object) -> None:
    row = json.loads(trial_to_json(blocks([1.0])[0]))
    with pytest.raises(UserError) as caught:
        parse_trials(["", json.dumps({**row, "signature": claim})], "trials.jsonl")
    assert "trials.jsonl:2" in caught.value.what
    assert "signature" in caught.value.why
