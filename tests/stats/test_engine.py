"""What the engine promises, shown by simulation at the number of blocks that we really use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from replay import Array, heavy_tailed, recorded_pairs, replay
from scipy import stats

from ailab_bot.model.policy import EQUAL_BLOCKS, Policy
from ailab_bot.stats.compare import describe, log_ratios
from ailab_bot.stats.evidence import Pairs, log_capital, shift_gains, tail_gains
from ailab_bot.stats.sequential import (
    Decision,
    Direction,
    Rule,
    Sample,
    Shape,
    decide,
    log_odds_of_sides,
    sample_of,
)

POLICY = Policy()
LIMITS = POLICY.limits("any", "ttfb_s")
RULE = Rule(
    threshold=LIMITS.threshold,
    margin=LIMITS.margin,
    error=POLICY.error,
    stage_error=POLICY.stage_error,
    interval_error=POLICY.interval_error,
    scale=LIMITS.scale,
)
PAIRS = recorded_pairs()


def bimodal(blocks: int, effect: float, random: np.random.Generator) -> Array:
    """A machine that slows one trial in five down by 40 %, whichever arm it is."""
    slow = np.where(random.random((blocks, 2)) < 0.2, 1.4, 1.0)
    return slow * np.exp(random.normal(0, 0.02, (blocks, 2))) * np.array([1.0, 1.0 + effect])


SOURCES: dict[str, Callable[[float, np.random.Generator], Array]] = {
    "recorded": lambda effect, random: replay(PAIRS, POLICY.max_blocks, effect, random),
    "synthetic": lambda effect, random: heavy_tailed(POLICY.max_blocks, effect, random),
    "bimodal": lambda effect, random: bimodal(POLICY.max_blocks, effect, random),
}


@cache
def decisions(source: str, effect: float, replays: int, rule: Rule = RULE) -> list[Decision]:
    random = np.random.default_rng(20_26)
    drawn = [SOURCES[source](effect, random) for _ in range(replays)]
    return decide([Sample(*seconds.T) for seconds in drawn], [rule] * replays)


def share(found: list[Decision], direction: Direction | None) -> float:
    return sum(decision.found is direction for decision in found) / len(found)


def at_most(count: int, trials: int, rate: float) -> bool:
    """Whether `count` is compatible with a true rate of at most `rate` (p above 0.001)."""
    return bool(stats.binomtest(count, trials, rate, alternative="greater").pvalue > 0.001)


@pytest.mark.parametrize("source", SOURCES)
def test_without_effect_nothing_is_announced(source: str) -> None:
    found = decisions(source, 0.0, 4000)
    announced = sum(decision.announced for decision in found)
    assert at_most(announced, len(found), POLICY.error)
    assert share(found, Direction.CLEAN) > 0.9


def test_a_bias_within_the_margin_is_hardly_ever_announced() -> None:
    """Layout or cache can shift an arm by about 1 %: no number of blocks may turn it into news."""
    found = decisions("recorded", 0.011, 3000)
    assert at_most(round(share(found, Direction.UP) * len(found)), len(found), 1e-3)


def quieter(by: float, replays: int, seed: int) -> Array:
    """Logs of the recorded noise at a share of its size, shape (replays, blocks, 2)."""
    random = np.random.default_rng(seed)
    logs = np.log([replay(PAIRS, POLICY.max_blocks, 0.0, random) for _ in range(replays)])
    shrunk: Array = by * (logs - np.median(logs, axis=(1, 2), keepdims=True))
    return shrunk


def test_a_bias_as_large_as_the_margin_is_refuted_before_it_is_announced() -> None:
    """On a quiet machine "no effect" is soon refuted: then the margin alone holds a bias back."""
    rule = Rule(**{**vars(RULE), "margin": 0.04})
    logs = quieter(0.25, 400, seed=4)
    logs[..., 1] += np.log1p(rule.margin)
    found = decide([Sample(*np.exp(each).T) for each in logs], [rule] * len(logs))
    announced = sum(decision.announced for decision in found)
    assert at_most(announced, len(found), rule.interval_error)


def test_a_head_that_is_somewhat_slower_in_most_blocks_is_seldom_called_no_change() -> None:
    """Its floor is base's, so the evidence sees nothing; but most of the blocks do."""
    logs = quieter(0.25, 300, seed=4)
    slow = np.random.default_rng(5).random(logs.shape[:2]) < 0.6
    logs[..., 1] += np.log(1.15) * slow
    found = decide([Sample(*np.exp(each).T) for each in logs], [RULE] * len(logs))
    assert share(found, Direction.CLEAN) < 0.3
    assert share(found, Direction.DOWN) == 0.0


@pytest.mark.parametrize(
    ("effect", "least_found", "most_blocks"), [(0.05, 0.85, 28), (0.10, 0.99, 18), (0.20, 0.99, 20)]
)
def test_effects_are_found_on_the_recorded_noise(
    effect: float, least_found: float, most_blocks: float
) -> None:
    found = decisions("recorded", effect, 2000)
    assert share(found, Direction.UP) > least_found
    assert np.mean([decision.blocks for decision in found]) < most_blocks
    assert share(found, Direction.DOWN) == 0.0


def test_a_clean_change_ends_soon() -> None:
    found = decisions("recorded", 0.0, 4000)
    assert np.mean([decision.blocks for decision in found]) < 13


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("effect", [0.0, 0.05, 0.1])
def test_the_interval_at_the_stopping_time_covers_the_truth_at_its_level(
    source: str, effect: float
) -> None:
    found = decisions(source, effect, 2000 if source == "recorded" else 600)
    missed = sum(not decision.low <= effect <= decision.high for decision in found)
    assert at_most(missed, len(found), 1 - POLICY.level)


def test_the_size_is_not_inflated() -> None:
    sizes = [d.effect for d in decisions("recorded", 0.10, 2000) if d.announced]
    assert abs(np.median(sizes) - 0.10) < 0.01


def capital(source: str, effect: float, replays: int, tested: float) -> Array:
    random = np.random.default_rng(5)
    logs = np.log(np.stack([SOURCES[source](effect, random) for _ in range(replays)]))
    ones = np.ones(replays)
    pairs = Pairs(logs[..., 0], logs[..., 1], LIMITS.scale * ones, RULE.zone * ones)
    return log_capital(shift_gains(pairs, np.log1p(tested) * ones, ones))


@pytest.mark.parametrize("source", SOURCES)
def test_the_capital_cannot_be_expected_to_grow_without_an_effect(source: str) -> None:
    """The e-process itself, on the null's edge: it reaches 1/a in at most a share a of the runs."""
    best = capital(source, 0.0, 3000, tested=0.0).max(axis=1)
    for error in (0.2, 0.05, 0.01):
        hits = int((best >= -np.log(error)).sum())
        assert at_most(hits, len(best), error)
    assert (best >= np.log(2)).any(), "a bet that can never win says nothing"


@pytest.mark.parametrize("gap", [0.05, 0.06, 0.34])
def test_nor_can_it_with_less_than_the_tested_effect_under_noise_of_two_modes(gap: float) -> None:
    """Below the tested effect the coin is fair or worse only under unimodal noise: the worst case
    that we know, two narrow modes as far apart as the bets look.
    """
    random = np.random.default_rng(6)
    slow = np.where(random.random((2000, POLICY.max_blocks, 2)) < 0.5, gap, 0.0)
    logs = slow + random.normal(0, 0.002, slow.shape)
    ones = np.ones(len(logs))
    pairs = Pairs(logs[..., 0], logs[..., 1], LIMITS.scale * ones, RULE.zone * ones)
    for tested in (RULE.margin, RULE.threshold):
        best = log_capital(shift_gains(pairs, tested * ones, ones)).max(axis=1)
        assert at_most(int((best >= np.log(20)).sum()), len(best), 0.01)


def test_evidence_goes_on_where_it_stopped_so_a_rerun_cannot_buy_a_verdict() -> None:
    """Five reruns of 40 blocks, each looked at after every block, all without an effect."""
    random = np.random.default_rng(11)
    long = [replay(PAIRS, 200, 0.0, random) for _ in range(400)]
    rule = Rule(**{**vars(RULE), "error": 0.05, "margin": 1e-6})
    found = decide([Sample(*seconds.T) for seconds in long], [rule] * len(long))
    announced = sum(decision.found is Direction.UP for decision in found)
    assert at_most(announced, len(found), 0.05)


def test_a_stage_on_fresh_blocks_forgets_what_was_won_before() -> None:
    gains = np.log1p(np.full((1, 1, 6), 0.5))
    assert log_capital(gains)[0, -1] == pytest.approx(6 * np.log(1.5))
    fresh = log_capital(gains, since=np.array([4]))
    assert fresh[0] == pytest.approx(np.log([1, 1, 1, 1, 1.5, 2.25]))


def test_the_block_that_ends_the_screen_is_no_fresh_one() -> None:
    """A block outweighs "no effect" by two at most, so 20 to 1 take five blocks of their own."""
    rule = Rule(**{**vars(RULE), "error": RULE.stage_error})
    certain = [Sample(np.full(40, 1.0), np.full(40, ratio)) for ratio in (1.1, 1.3, 0.8, 2.0)]
    for decision in decide(certain, [rule] * len(certain)):
        assert decision.announced
        assert decision.screen_blocks >= 5
        assert decision.fresh_blocks >= 5


def test_slow_trials_of_one_arm_are_evidence_and_of_both_are_not() -> None:
    base = np.zeros((1, 30))
    head = np.where(np.arange(30) % 3 == 0, 0.5, 0.0)[None, :]
    one = log_capital(tail_gains(Pairs(base, head, np.full(1, 0.05), np.ones(1)), np.ones(1)))
    both = log_capital(tail_gains(Pairs(head, head, np.full(1, 0.05), np.ones(1)), np.ones(1)))
    assert one[0, -1] > np.log(100)
    assert both[0, -1] == 0.0


@pytest.mark.parametrize("by", [0.5, 1.0])
def test_a_head_that_is_slow_in_some_trials_is_seldom_called_no_change(by: float) -> None:
    random = np.random.default_rng(3)
    slow = random.random((400, POLICY.max_blocks)) < 0.3
    samples = []
    for row in slow:
        seconds = np.exp(random.normal(0, 0.015, (POLICY.max_blocks, 2)))
        seconds[row, 1] *= 1 + by
        samples.append(Sample(*seconds.T))
    found = decide(samples, [RULE] * len(samples))
    named = [d for d in found if d.tail_doubt or (d.announced and d.shape is Shape.TAIL)]
    assert share(found, Direction.CLEAN) < 0.2
    assert len(named) > 0.75 * len(found)


def test_a_head_that_scatters_more_to_both_sides_is_seldom_called_faster() -> None:
    logs = quieter(0.25, 200, seed=8)
    logs[..., 1] += np.random.default_rng(9).normal(0, 0.15, logs.shape[:2])
    found = decide([Sample(*np.exp(each).T) for each in logs], [RULE] * len(logs))
    assert share(found, Direction.DOWN) < 0.1, "its floor is lower, but not most of its blocks"
    assert share(found, Direction.UP) < 0.05


def test_a_decision_does_not_depend_on_its_neighbours_or_on_later_blocks() -> None:
    random = np.random.default_rng(8)
    samples = [Sample(*replay(PAIRS, n, 0.1, random).T) for n in (40, 7, 23, 40, 1)]
    together = decide(samples, [RULE] * len(samples))
    alone = [decide([sample], [RULE])[0] for sample in samples]
    assert together == alone
    stopped = together[0].blocks
    short = Sample(samples[0].base[:stopped], samples[0].head[:stopped])
    assert decide([short], [RULE])[0] == together[0]


def test_machines_are_kept_apart_and_their_evidence_multiplies() -> None:
    random = np.random.default_rng(9)
    one, two = (replay(PAIRS, 12, 0.08, random) for _ in range(2))
    mixed = np.empty((24, 2))
    mixed[::2], mixed[1::2] = one, 3 * two  # a machine three times as slow, block by block in turn
    names = ["fast", "slow"] * 12
    (joint,) = decide([sample_of(*mixed.T.tolist(), names)], [RULE])
    logs = np.log(np.stack([one, two]))
    pairs = Pairs(logs[..., 0], logs[..., 1], np.full(2, RULE.scale), np.full(2, RULE.zone))
    each = shift_gains(pairs, np.zeros(2), np.ones(2))
    in_turn = np.empty((1, each.shape[1], 24))
    in_turn[0, :, ::2], in_turn[0, :, 1::2] = each
    assert joint.log_evidence == pytest.approx(log_capital(in_turn)[0, joint.blocks - 1])


def test_the_interval_mirrors_when_arms_are_swapped() -> None:
    seconds = replay(PAIRS, 30, 0.1, np.random.default_rng(2))
    one, other = decide([Sample(*seconds.T), Sample(*seconds.T[::-1])], [RULE] * 2)
    assert (one.found, other.found) == (Direction.UP, Direction.DOWN)
    assert other.effect == pytest.approx(1 / (1 + one.effect) - 1)
    # The floor makes the evidence lopsided, so only roughly.
    assert other.low == pytest.approx(1 / (1 + one.high) - 1, abs=0.02)


def test_the_interval_starts_unbounded_and_narrows() -> None:
    seconds = replay(PAIRS**3, 40, 0.0, np.random.default_rng(1))  # too noisy to decide
    widths = []
    for blocks in (1, 10, 20, 40):
        (decision,) = decide([Sample(*seconds[:blocks].T)], [RULE])
        assert decision.found is None
        widths.append(decision.high - decision.low)
    assert widths[0] == float("inf")
    assert widths[1] > widths[2] > widths[3]


def test_sides_that_a_fair_coin_would_give_are_no_evidence() -> None:
    assert log_odds_of_sides([]) == 0.0
    assert log_odds_of_sides([1] * 12) > np.log(1000)
    assert log_odds_of_sides([1, -1] * 6) < 0
    assert log_odds_of_sides([-1] * 12) < 0


def test_the_description_is_robust_and_its_t_test_is_scipys() -> None:
    sample = np.array([0.1, 0.11, 0.09, 0.1, 2.0])
    described = describe(sample)
    assert described.mean == pytest.approx(0.48)
    assert described.noise < 0.02
    assert described.p_value == pytest.approx(stats.ttest_1samp(sample, 0).pvalue)
    assert np.isnan(describe(np.array([0.1])).p_value)
    assert np.isnan(describe(np.array([0.1, 0.1])).p_value)


def test_log_ratios_are_of_head_to_base() -> None:
    assert log_ratios([1.0, 2.0], [1.0, 4.0]) == pytest.approx([0.0, np.log(2)])


def two_modes(gap: float, spread: float, effect: float, count: int) -> list[Sample]:
    """A machine on which every trial is quick or slow, `gap` (log) apart, with equal chances."""
    random = np.random.default_rng(7)
    shape = (count, POLICY.max_blocks, 2)
    logs = np.where(random.random(shape) < 0.5, gap, 0.0) + random.normal(0, spread, shape)
    return [Sample(*seconds.T) for seconds in np.exp(logs) * np.array([1.0, 1.0 + effect])]


@pytest.mark.parametrize(("effect", "gap"), [(0.05, 0.35), (0.10, 0.20), (0.30, 0.35)])
def test_what_is_shown_of_an_announced_effect_lies_on_the_side_that_is_announced(
    effect: float, gap: float
) -> None:
    """The size is that of the fresh blocks, and must not contradict what all blocks say."""
    samples = two_modes(gap, 0.01, effect, 800)
    found = decide(samples, [RULE] * len(samples))
    announced = [d for d in found if d.announced]
    assert len(announced) > 50
    for decision in announced:
        up = decision.found is Direction.UP
        if decision.shape is Shape.SHIFT:
            assert decision.effect > 0 if up else decision.effect < 0
            assert decision.low >= 0 if up else decision.high <= 0
        assert decision.low <= decision.effect <= decision.high


def test_a_bias_does_not_carry_trials_over_the_gap_that_makes_them_slow() -> None:
    """Two sharp modes as far apart as a slow trial has to be: a bias shifts one arm's beyond."""
    samples = two_modes(0.25, 0.005, 0.011, 600)
    found = decide(samples, [RULE] * len(samples))
    in_some = sum(d.announced and d.shape is Shape.TAIL for d in found)
    assert at_most(in_some, len(found), POLICY.error)


EQUAL = replace(
    RULE, equal_blocks=POLICY.max_blocks, equal_odds=POLICY.equal_odds, equal_least=EQUAL_BLOCKS
)


@pytest.mark.parametrize("source", SOURCES)
def test_equal_counts_announce_nothing_that_would_not_be_announced_without(source: str) -> None:
    """A claim of them, true or forged, can stop a measurement and never start an alarm."""
    for effect in (0.0, 0.02):
        plain, equal = (decisions(source, effect, 400, rule) for rule in (RULE, EQUAL))
        for before, after in zip(plain, equal, strict=True):
            assert after.blocks <= before.blocks
            if after.announced:
                assert after == before
    clean = decisions(source, 0.0, 400, EQUAL)
    announced = sum(decision.announced for decision in clean)
    assert at_most(announced, len(clean), POLICY.error)


def test_equal_counts_end_a_clean_measurement_much_sooner() -> None:
    plain, equal = (
        np.mean([decision.blocks for decision in decisions("recorded", 0.0, 400, rule)])
        for rule in (RULE, EQUAL)
    )
    assert equal < 0.8 * plain
    found = decisions("recorded", 0.0, 400, EQUAL)
    assert min(decision.blocks for decision in found) == EQUAL_BLOCKS
    assert any(decision.by_counts for decision in found)
    assert not any(decision.by_counts for decision in decisions("recorded", 0.0, 400))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("effect", "found", "missed"), [(0.05, 0.6, 0.15), (0.10, 0.98, 0.004)])
def test_an_effect_that_counts_do_not_show_is_still_found(
    source: str, effect: float, found: float, missed: float
) -> None:
    decided = decisions(source, effect, 1000, EQUAL)
    assert share(decided, Direction.UP) > found
    assert at_most(sum(d.found is Direction.CLEAN for d in decided), len(decided), missed)


def test_equal_counts_weigh_nothing_once_the_blocks_speak_of_an_effect() -> None:
    found = decisions("recorded", 0.05, 1000, EQUAL)
    assert all(decision.screen is None for decision in found if decision.by_counts)
    assert any(decision.by_counts for decision in found)
    withdrawn = [d for d in found if d.found is Direction.CLEAN and d.screen is not None]
    assert withdrawn
    assert all(d in decisions("recorded", 0.05, 1000) for d in withdrawn)


def test_slow_trials_of_head_take_the_advantage_away() -> None:
    base = np.exp(np.random.default_rng(6).normal(0, 0.005, 40))
    head = base * np.where(np.isin(np.arange(40), (1, 3, 4, 5)), 1.6, 1.0)
    plain, equal = decide([Sample(base, head)] * 2, [RULE, EQUAL])
    assert plain.blocks > EQUAL_BLOCKS
    assert equal == plain
