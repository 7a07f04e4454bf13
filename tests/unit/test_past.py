"""What earlier measurements teach, how it fades, and what it refuses to learn from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.model.strictjson import BadJsonError
from ailab_bot.plan import past as module
from ailab_bot.plan.past import HALF_LIFE_DAYS, Outcome, Past, day_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def outcome(
    scenario: str = "a",
    moved: bool = False,
    *,
    days: float = 0.0,
    sha: str = "1" * 40,
    paths: tuple[str, ...] = ("m.py",),
    cost_s: float | None = 100.0,
    origin: str = "release",
) -> Outcome:
    when = NOON + timedelta(days=days)
    return Outcome(sha, when, paths, scenario, moved, cost_s, origin=origin)


def test_a_pull_request_teaches_what_measuring_costs_and_nothing_else() -> None:
    past = Past().with_outcome(outcome(moved=True, cost_s=70, origin="pull_request"))
    assert past.expected_s("a") == 70
    assert Past(costs=past.costs) == past


def test_a_desk_teaches_nothing() -> None:
    assert Past().with_outcome(outcome(moved=True, origin="local")) == Past()


def test_a_release_teaches_rates_of_scenario_path_and_pair() -> None:
    past = Past().with_outcomes([outcome(moved=True), outcome(moved=False)])
    for count in (past.overall, past.scenarios["a"], past.paths["m.py"], past.pairs["m.py"]["a"]):
        assert (count.times, count.moved) == (2, 1)


def test_the_blame_is_shared_by_the_files_that_touch() -> None:
    past = Past().with_outcome(outcome(moved=True, paths=("m.py", "n.py")))
    assert past.pairs["m.py"]["a"].moved == past.pairs["n.py"]["a"].moved == 0.5
    many = tuple(f"f{n}.py" for n in range(module.MOST_PATHS_OF_OUTCOME + 1))
    assert not Past().with_outcome(outcome(moved=True, paths=many)).pairs


def test_an_effect_counts_half_after_the_half_life() -> None:
    past = Past().with_outcome(outcome(moved=True))
    later = past.scenarios["a"].at(day_of(NOON) + HALF_LIFE_DAYS)
    assert later.moved == pytest.approx(0.5)
    assert later.lately < 0.01


def test_time_that_runs_backwards_lets_nothing_grow() -> None:
    past = Past().with_outcomes([outcome(moved=True), outcome(moved=True, days=-500)])
    assert past.scenarios["a"].moved == 2
    assert past.scenarios["a"].day == day_of(NOON)


def test_the_expected_cost_is_the_median_of_the_last_ten_within_bounds() -> None:
    costs = [9000.0] * 5 + [10.0] * 10
    past = Past().with_outcomes([outcome(cost_s=each) for each in costs])
    assert past.expected_s("a") == 10
    assert Past().with_outcome(outcome(cost_s=1e9)).expected_s("a") == 6 * 3600
    assert Past().with_outcome(outcome(cost_s=0.01)).expected_s("a") == 1
    assert Past().with_outcome(outcome(cost_s=float("nan"))).expected_s("a") is None
    assert past.expected_s("unknown") is None


def test_scenarios_that_move_in_the_same_commits_are_known_to_move_together() -> None:
    rows = [
        outcome(name, moved=name != "c", sha=f"{number:040x}")
        for number in range(20)
        for name in "abc"
    ]
    past = Past().with_outcomes(rows)
    assert past.moves_with("a")["b"] > 0.9
    assert "c" not in past.moves_with("a")
    assert past.moves_with("nobody") == {}


def test_one_outcome_told_twice_is_one_meeting() -> None:
    rows = [outcome("a", True), outcome("b", True), outcome("b", True)]
    assert Past().with_outcomes(rows).alike == {"a": {"b": 1}, "b": {"a": 1}}


def test_what_is_remembered_is_bounded_and_the_newest_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 10)
    monkeypatch.setattr(module, "MOST_PATHS", 5)
    rows = [outcome(days=n, paths=(f"f{n}.py",), sha=f"{n:040x}") for n in range(30)]
    past = Past().with_outcomes(rows)
    assert set(past.pairs) == {f"f{n}.py" for n in range(20, 30)}
    assert set(past.paths) == {f"f{n}.py" for n in range(25, 30)}
    everything = [outcome(f"s{n}", True) for n in range(500)]
    crowd = Past().with_outcomes(everything)
    assert max(map(len, crowd.alike.values())) <= module.MOST_ALIKE
    assert max(map(len, crowd.commits.values())) <= module.MOST_TOGETHER


OUTCOMES = st.builds(
    outcome,
    st.sampled_from("abcd"),
    st.booleans(),
    days=st.integers(0, 400),
    sha=st.sampled_from(["1" * 40, "2" * 40, "3" * 40]),
    paths=st.lists(st.sampled_from(["x.py", "y.py", "\udcff.py"]), max_size=3).map(tuple),
    origin=st.sampled_from(["release", "pull_request"]),
)


@given(st.lists(OUTCOMES, max_size=30))
def test_the_document_comes_back_as_it_was_but_for_the_fourth_digit(rows: list[Outcome]) -> None:
    past = Past().with_outcomes(rows)
    document = past.to_json()
    again = Past.from_json(document)
    assert again.to_json() == document
    assert again.costs == past.costs
    assert again.alike == past.alike
    assert set(again.pairs) == set(past.pairs)
    assert again.overall.times == pytest.approx(past.overall.times, abs=1e-3)


@given(st.lists(OUTCOMES, max_size=12))
def test_one_by_one_and_all_at_once_are_the_same(rows: list[Outcome]) -> None:
    past = Past()
    for row in rows:
        past = past.with_outcome(row)
    assert past == Past().with_outcomes(rows)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text.replace('"schema":1', '"schema":2'),
        lambda text: text.replace('"overall":[', '"overall":[-'),
        lambda text: text.replace('"pairs":[[', '"pairs":[[99,'),
        lambda text: text.replace('"texts"', '"words"'),
    ],
)
def test_a_damaged_document_is_refused(damage: object) -> None:
    document = Past().with_outcomes([outcome(moved=True), outcome("b", True)]).to_json()
    with pytest.raises(BadJsonError):
        Past.from_json(damage(document))  # type: ignore[operator]


def test_ten_thousand_scenarios_come_back() -> None:
    past = Past().with_outcomes(outcome(f"s{n}", n % 50 == 0) for n in range(10_000))
    assert len(Past.from_json(past.to_json()).scenarios) == 10_000
