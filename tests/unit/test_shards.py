"""Scenarios over runners: each exactly once, balanced, and never more jobs than there is work."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.model.github import MOST_SHARDS, Pool
from ailab_bot.model.scenario import Scenario
from ailab_bot.plan.shards import (
    EXPECTED_S,
    SHORTEST_SHARD_S,
    Load,
    family_of,
    share_out,
)


def scenario(name: str, runner: str = "cpu", metrics: tuple[str, ...] = ("ttfb_s",)) -> Scenario:
    return Scenario(name, ("python",), Path("/nowhere"), runner=runner, metrics=metrics)


def pools(**counts: int) -> dict[str, Pool]:
    return {name: Pool((name,), count) for name, count in counts.items()}


def shared(seconds: Sequence[float], runners: int) -> tuple[Load, ...]:
    own = [scenario(f"s{number}") for number in range(len(seconds))]
    expected = {each.id: value for each, value in zip(own, seconds, strict=True)}
    return share_out(own, pools(cpu=runners), expected)


def best_s(seconds: Sequence[float], runners: int) -> float:
    """The longest runner's time in the best of all ways to share."""
    return min(
        max(
            sum(s for s, place in zip(seconds, places, strict=True) if place == runner)
            for runner in range(runners)
        )
        for places in itertools.product(range(runners), repeat=len(seconds))
    )


@given(st.lists(st.integers(200, 2000), min_size=1, max_size=6), st.integers(1, 3))
def test_the_longest_shard_takes_at_most_four_thirds_of_the_best(
    seconds: list[int], runners: int
) -> None:
    loads = shared(seconds, runners)
    longest = max(load.expected_s for load in loads)
    most = 4 / 3 - 1 / (3 * runners)  # Graham's bound for longest first
    assert longest <= most * best_s(seconds, runners) + 1e-6


@given(
    st.lists(st.tuples(st.sampled_from(["cpu", "gpu", "tpu"]), st.integers(0, 5000)), max_size=40),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(2, MOST_SHARDS),
)
def test_every_scenario_is_in_exactly_one_shard_of_its_own_pool(
    rows: list[tuple[str, int]], cpus: int, gpus: int, most: int
) -> None:
    own = [scenario(f"s{number}", runner) for number, (runner, _) in enumerate(rows)]
    expected = {each.id: float(row[1]) for each, row in zip(own, rows, strict=True)}
    loads = share_out(own, pools(cpu=cpus, gpu=gpus), expected, most)
    runners = {each.id: each.runner for each in own}
    # A name is there once: one job, and so one machine, runs both of its arms.
    assert sorted(name for load in loads for name in load.scenarios) == sorted(
        each.id for each in own if each.runner in {"cpu", "gpu"}
    )
    assert all(runners[name] == load.pool for load in loads for name in load.scenarios)
    assert all(load.scenarios for load in loads)
    assert len(loads) <= most
    for pool, count in (("cpu", cpus), ("gpu", gpus)):
        assert sum(load.pool == pool for load in loads) <= count
    for load in loads:
        assert load.expected_s == pytest.approx(sum(expected[name] for name in load.scenarios))


def test_the_same_scenarios_give_the_same_shards_in_whatever_order_they_come() -> None:
    own = [scenario(f"s{number}") for number in range(20)]
    expected = {each.id: 100.0 + (number * 37) % 11 for number, each in enumerate(own)}
    loads = share_out(own, pools(cpu=4), expected)
    assert share_out(own[::-1], pools(cpu=4), expected) == loads
    assert [load.expected_s for load in loads] == sorted(
        (load.expected_s for load in loads), reverse=True
    )


def test_three_hundred_scenarios_fill_all_shards_evenly() -> None:
    loads = shared([60.0 + number % 50 for number in range(300)], 100)
    assert len(loads) == MOST_SHARDS
    assert sum(len(load.scenarios) for load in loads) == 300
    assert loads[0].expected_s - loads[-1].expected_s < 110  # a scenario


def test_a_job_is_not_started_for_less_work_than_it_costs() -> None:
    assert len(shared([SHORTEST_SHARD_S / 4] * 7, 4)) == 1
    assert len(shared([SHORTEST_SHARD_S / 4] * 8, 4)) == 2
    assert len(shared([SHORTEST_SHARD_S] * 8, 4)) == 4


def test_a_scenario_that_is_longer_than_all_others_has_a_shard_of_its_own() -> None:
    loads = shared([3000, 200, 200, 200, 200], 2)
    assert loads[0].scenarios == ("s0",)
    assert loads[1].expected_s == 800


def test_what_nothing_is_known_of_takes_the_usual_time() -> None:
    (load,) = share_out([scenario("a")], pools(cpu=4), {"other": 1.0})
    assert load == Load("cpu", ("a",), EXPECTED_S)


def test_nothing_to_share_gives_no_shard() -> None:
    assert share_out([], pools(cpu=4)) == ()
    assert share_out([scenario("a", "gpu")], pools(cpu=4)) == ()


def test_a_familys_size_counts_metrics() -> None:
    two = scenario("b", metrics=("ttfb_s", "peak_rss_bytes"))
    assert family_of([scenario("a"), two]) == 3
    assert family_of([]) == 0
