"""Which scenarios are taken: capacity, smoke, chance, proofs, and the words for each."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_bot.model.report import Choice, Why
from ailab_bot.plan.capacity import Candidate, choose, least_worth_of
from ailab_bot.plan.relation import Relation
from ailab_bot.plan.shards import EXPECTED_S
from ailab_bot.plan.value import Logged, value_of


def candidate(
    name: str, probability: float = 0.1, cost_s: float | None = 100.0, width: int = 10
) -> Candidate:
    relation = Relation.TOUCHED if probability else Relation.APART
    return Candidate(name, relation, f"reason of {name}", probability, cost_s, width)


def taken(choices: tuple[Choice, ...]) -> set[str]:
    return {choice.scenario for choice in choices if choice.taken}


def spent(choices: tuple[Choice, ...]) -> float:
    return sum(choice.cost_s or 0.0 for choice in choices if choice.taken)


MANY = [candidate(f"s{n:02d}", 0.01 * (n + 1), 50.0 + 7 * n) for n in range(30)]
PROVED = [candidate(f"p{n:02d}", 0.0) for n in range(20)]


def test_without_a_limit_everything_that_is_not_proved_apart_is_taken() -> None:
    choices = choose([*MANY, *PROVED], None, 1)
    assert taken(choices) == {each.scenario for each in MANY}
    assert {choice.propensity for choice in choices if choice.taken} == {1.0}
    assert {choice.propensity for choice in choices if not choice.taken} == {0.0}
    assert {choice.rule for choice in choices if not choice.taken} == {Why.PROVED}


def test_what_promises_most_per_second_is_taken_first() -> None:
    rows = [
        candidate("dear", 0.9, 900, 1),
        candidate("cheap", 0.3, 100, 1),
        candidate("dull", 0.01, 100, 1),
        candidate("smoke", 0.01, 20, 100),
    ]
    choices = choose(rows, 150, 1, explore=0.0)
    assert taken(choices) == {"cheap", "smoke"}
    assert [c.rule for c in choices] == [Why.CAPACITY, Why.PREDICTED, Why.CAPACITY, Why.SMOKE]
    assert choices[1].reason == "0.3 likely to move, 100 s, number 2 of 4: reason of cheap"
    assert choices[0].reason == "left for capacity: 0.9 likely to move, 900 s"


def test_smoke_runs_though_the_capacity_is_smaller_than_anything() -> None:
    choices = choose(MANY, 1.0, 1)
    (only,) = taken(choices)
    assert only == "s00"
    assert choose(MANY, 1.0, 1)[0].reason == (
        "always runs, over the limit of 1 s; 0.01 likely to move, 50 s"
    )
    assert choose(MANY, 50.0, 1)[0].reason == "always runs; 0.01 likely to move, 50 s"
    assert choose(MANY, 0.0, 1, smoke=["s07"])[7].rule is Why.SMOKE
    assert taken(choose(MANY, 0.0, 1, smoke=["s07"])) == {"s07"}
    assert taken(choose(MANY, 1e9, 1, day_left_s=-5.0, smoke=["s07"])) == {"s07"}


def test_the_smoke_scenario_is_the_cheapest_of_those_with_wide_footprints() -> None:
    rows = [candidate("wide", 0.1, 300, 100), candidate("less", 0.1, 100, 60)]
    rows += [candidate("narrow", 0.1, 10, 5)]
    assert choose(rows, 10, 1)[1].rule is Why.SMOKE


def test_a_change_that_is_proved_apart_costs_nothing_smoke_included() -> None:
    for capacity_s in (None, 1000.0):
        assert not taken(choose(PROVED, capacity_s, 1, smoke=["p01"]))
    assert choose([], 100.0, 1) == ()


def test_a_proof_is_overruled_only_by_smoke_that_was_named() -> None:
    choices = choose([*MANY, *PROVED], None, 1, smoke=["p01"])
    assert [c.scenario for c in choices if c.taken and c.probability == 0] == ["p01"]


def test_what_was_never_measured_costs_what_a_measurement_usually_does() -> None:
    (choice,) = choose([candidate("new", 0.2, None)], None, 1)
    assert choice.cost_s == EXPECTED_S
    assert "200 s (never measured)" in choice.reason


def test_the_same_seed_gives_the_same_plan_whatever_the_order() -> None:
    rows = [*MANY, *PROVED]
    together = {"s29": {"s28": 0.9, "s27": 0.9}, "s28": {"s29": 0.9}}
    plan = {c.scenario: c for c in choose(rows, 900, 7, together=together)}
    for shuffle in range(5):
        mixed = random.Random(shuffle).sample(rows, len(rows))
        turned = {name: dict(reversed(row.items())) for name, row in reversed(together.items())}
        again = choose(mixed, 900, 7, together=turned)
        assert {c.scenario: c for c in again} == plan


def test_of_two_that_always_move_together_the_second_is_worth_half() -> None:
    rows = [candidate("a", 0.30), candidate("b", 0.29), candidate("c", 0.20)]
    rows += [candidate("smoke", 0.001, 1, 99)]
    rows = [*rows[:3], Candidate("smoke", Relation.TOUCHED, "x", 0.001, 1.0, 9999)]
    alone = choose(rows, 201, 1, explore=0.0)
    assert taken(alone) == {"a", "b", "smoke"}
    together = {"b": {"a": 1.0}, "a": {"b": 1.0}}
    assert taken(choose(rows, 201, 1, explore=0.0, together=together)) == {"a", "c", "smoke"}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.1, 0.5, 0.99]), st.floats(1, 2000)), max_size=25
    ),
    st.floats(0, 5000),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_only_smoke_exceeds_the_capacity(
    pairs: list[tuple[float, float]], capacity_s: float, seed: int, explore: float
) -> None:
    rows = [candidate(f"s{n}", p, cost, n) for n, (p, cost) in enumerate(pairs)]
    choices = choose(rows, capacity_s, seed, explore=explore)
    assert [c.scenario for c in choices] == [each.scenario for each in rows]
    smoke_s = sum(c.cost_s or 0 for c in choices if c.rule is Why.SMOKE)
    assert spent(choices) <= max(capacity_s, smoke_s) + 1e-6
    for choice in choices:
        assert 0 <= (choice.propensity or 0) <= 1
        if choice.taken:
            assert (choice.propensity or 0) > 0


@pytest.mark.parametrize(("capacity_s", "audit"), [(300.0, 0.1), (900.0, 0.5), (1e5, 0.1)])
def test_propensities_are_what_happens_over_seeds(capacity_s: float, audit: float) -> None:
    """z of each scenario's frequency against its mean propensity: of 50 none beyond 4.5, which
    chance lets happen in 1 of 3,000 tests."""
    seeds = 1500
    count: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    rows = [*MANY, *PROVED]
    for seed in range(seeds):
        for choice in choose(rows, capacity_s, seed, audit=audit):
            count[choice.scenario] += choice.taken
            expected[choice.scenario] += choice.propensity or 0.0
    for name, mean in expected.items():
        variance = max(mean * (1 - mean / seeds), 1e-9)
        assert abs(count[name] - mean) <= 4.5 * variance**0.5 + 1e-3, name


def test_the_dice_of_a_small_plan_by_hand() -> None:
    """201 s, of which 80 are for chance: with 0.8 one of 100 s is drawn and one promising gives
    way. Of the draws half check one of two proofs, half take one of three that are left."""
    rows = [candidate("smoke", 0.5, 1, 99), *(candidate(f"s{n}", 0.4 - n / 10) for n in range(4))]
    rows += [candidate("p0", 0.0), candidate("p1", 0.0)]
    count: Counter[str] = Counter()
    for seed in range(3000):
        choices = choose(rows, 201, seed, explore=80 / 201, audit=0.5)
        count.update(taken(choices))
    odds = {choice.scenario: choice.propensity for choice in choices}
    third, fifth = 0.8 * 0.5 / 3, 0.8 * 0.5 / 2
    expected = {
        "smoke": 1,
        "s0": 1,
        "s1": 0.2 + third,
        "s2": third,
        "s3": third,
        "p0": fifth,
        "p1": fifth,
    }
    assert odds == pytest.approx(expected)
    assert {name: count[name] / 3000 for name in expected} == pytest.approx(expected, abs=0.035)


def test_all_that_is_left_and_no_dearer_than_half_has_a_chance() -> None:
    choices = choose(MANY, 900, 3)
    for choice in choices:
        if not choice.taken and (choice.cost_s or 0) < 400:
            assert (choice.propensity or 0) > 0


def test_chance_gets_a_tenth_of_the_capacity() -> None:
    seeds, drawn_s = 1000, 0.0
    for seed in range(seeds):
        chosen = choose([*MANY, *PROVED], 900, seed)
        drawn_s += sum(c.cost_s or 0 for c in chosen if c.rule is Why.EXPLORED)
    assert 0.05 < drawn_s / (seeds * 900) <= 0.1


def test_a_draw_says_its_odds_and_a_proof_that_it_is_checked() -> None:
    rules = {}
    for seed in range(400):
        for choice in choose([*MANY, *PROVED], 900, seed, audit=0.1):
            if choice.rule is Why.EXPLORED:
                rules[choice.probability == 0] = choice.reason
    assert rules[False].startswith("drawn by chance (1 in ")
    assert "to check a proof: reason of p" in rules[True]


def test_no_proof_is_checked_by_chance_unless_asked_for() -> None:
    for seed in range(200):
        for choice in choose([*MANY, *PROVED], 900, seed):
            if choice.probability == 0:
                assert (choice.taken, choice.propensity, choice.rule) == (False, 0.0, Why.PROVED)


def test_whole_proofs_are_checked_only_when_asked_for() -> None:
    drawn = [taken(choose(PROVED, 500, seed, audit_whole=0.2)) for seed in range(2000)]
    assert 0.17 < sum(map(bool, drawn)) / 2000 < 0.23
    assert max(map(len, drawn)) == 1
    assert choose(PROVED, 500, 1, audit_whole=0.2)[0].propensity == pytest.approx(0.01)


def test_a_limit_on_worth_saves_capacity_for_other_changes() -> None:
    rows = [(0.5, 100.0), (0.001, 100.0), (0.2, 100.0), (0.01, 100.0), (0.0, 9.0)]
    worth = least_worth_of(rows, 250)
    assert sum(cost for p, cost in rows if p > 0 and p / cost >= worth) == 200
    assert least_worth_of(rows, 1e9) == 0
    wide = candidate("smoke", 0.3, 10, 10**6)
    choices = choose([wide, *MANY], 1e5, 1, explore=0.0, least_worth=0.0015)
    cheap = {c.scenario for c in [wide, *MANY] if c.probability / c.expected_s >= 0.0015}
    assert taken(choices) == cheap


# --- the value of a selector -------------------------------------------------------------------


def plans_of(seed: int, changes: int = 60) -> tuple[list[Logged], float, float]:
    """Logged plans with outcomes; the recall that they truly have, over all dice, and the number of
    effects there were."""
    dice = random.Random(seed)
    log, found, there = [], 0.0, 0.0
    for change in range(changes):
        rows = [candidate(f"s{n}", max(1e-4, dice.random() ** 4), 50 + 100 * dice.random())
                for n in range(12)]  # fmt: skip
        for each, choice in zip(rows, choose(rows, 300, dice.getrandbits(30)), strict=True):
            # Truth is not what was predicted: half of it falls anywhere.
            moved = dice.random() < (each.probability + 0.2) / 2
            propensity = choice.propensity or 0.0
            if propensity:
                there += moved
                found += moved * propensity
            log.append(
                Logged(str(change), each.scenario, propensity, moved if choice.taken else None)
            )
    return log, found / there, there


def test_the_estimated_number_of_effects_is_unbiased() -> None:
    """Over 150 histories the mean of estimate - truth lies within 3.5 standard errors of 0, and
    what was only measured is far from it."""
    gaps, seen = [], 0.0
    for seed in range(150):
        log, _, there = plans_of(seed)
        gaps.append(value_of(log).effects / there - 1)
        seen += sum(bool(each.moved) for each in log) / there / 150
    mean = sum(gaps) / len(gaps)
    error = (sum((gap - mean) ** 2 for gap in gaps)) ** 0.5 / len(gaps)
    assert abs(mean) < 3.5 * error
    assert seen < 0.6


def test_the_estimated_recall_comes_to_the_truth_within_its_error() -> None:
    """Of 30 histories of 400 changes at least 24 lie within two stated standard errors (chance:
    28.6; a ratio of few large weights covers a little less), and their mean within 0.03."""
    gaps, inside = [], 0
    for seed in range(30):
        log, truth, _ = plans_of(seed, 400)
        value = value_of(log)
        assert value.recall is not None
        assert value.error is not None
        gaps.append(value.recall - truth)
        inside += abs(gaps[-1]) < 2 * value.error
    assert abs(sum(gaps) / len(gaps)) < 0.03
    assert inside >= 24


def test_another_selector_is_valued_on_the_same_log() -> None:
    log, _, _ = plans_of(3, 400)
    assert value_of(log, takes=lambda each: 1.0).recall == 1.0
    assert value_of(log, takes=lambda each: 0.0).recall == 0.0


def test_counting_only_what_was_measured_would_praise_the_selector() -> None:
    """The trap that propensities are there for: of what it measured it found everything."""
    log, truth, _ = plans_of(1)
    measured = [each for each in log if each.moved is not None]
    naive = value_of([Logged(e.change, e.scenario, 1.0, e.moved) for e in measured])
    assert naive.recall == 1.0
    assert truth < 0.9


def test_what_had_no_chance_is_called_blind() -> None:
    value = value_of([Logged("c", "a", 0.0), Logged("c", "b", 1.0, False)])
    assert (value.recall, value.blind, value.measured) == (None, 1, 1)
