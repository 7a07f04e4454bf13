"""The plan of a change: a pure function, the same in the job that measures and in the one that
judges; what people asked for travels in our own statuses and nobody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.config import Config
from ailab_bot.flows.change import (
    ACCEPT,
    REQUEST,
    Acceptance,
    ChangePlan,
    Request,
    Target,
    acceptance_in,
    acceptance_text,
    plan_change,
    request_text,
    requests_in,
)
from ailab_bot.flows.definitions import Definitions
from ailab_bot.gh.client import CommitStatus
from ailab_bot.model.github import ACTIONS_BOT_ID, GitHub, Pool, Profile, Queue
from ailab_bot.model.policy import Policy
from ailab_bot.model.report import GateMode
from ailab_bot.model.scenario import Scenario
from ailab_bot.report.status import plain

BASE, HEAD, TIP = "a" * 40, "b" * 40, "c" * 40
TARGET = Target(BASE, HEAD, run_id=77, attempt=1)
HOSTED = Pool(("ubuntu-latest",), 2)
KEPT = Pool(("self-hosted", "gpu"))
SCENARIOS = (
    Scenario("a", ("python",), Path("/a")),
    Scenario("b", ("python",), Path("/b")),
    Scenario("big", ("python",), Path("/big"), runner="gpu"),
    Scenario("nightly", ("python",), Path("/n"), tiers=("release",)),
)


def definitions(
    *, github: GitHub | None = None, scenarios: Sequence[Scenario] = SCENARIOS, **config: object
) -> Definitions:
    github = github or GitHub(runners={"cpu": HOSTED})
    loaded = Config(scenarios_dir=Path("/s"), github=github, **config)  # type: ignore[arg-type]
    return Definitions(TIP, (".ailab",), loaded, tuple(scenarios), Policy())


def plan(
    *requests: Request, own: Definitions | None = None, attempt: int = 1, **how: object
) -> ChangePlan:
    target = replace(TARGET, attempt=attempt)
    how = {"public": False, **how}
    return plan_change(own or definitions(), target, requests, **how)  # type: ignore[arg-type]


def ids(scenarios: Sequence[Scenario]) -> list[str]:
    return [scenario.id for scenario in scenarios]


def status(
    description: str, context: str = REQUEST, by: int | None = ACTIONS_BOT_ID
) -> CommitStatus:
    return CommitStatus(context, "success", description, "", by, datetime(2026, 3, 1, tzinfo=UTC))


# The plan


def test_equal_inputs_give_equal_plans_whoever_computes_them() -> None:
    """The two sides read the scenarios into folders of their own; no shard may show that."""
    measuring, judging = (
        plan(),
        plan(own=definitions(scenarios=[replace(s, directory=Path("/other")) for s in SCENARIOS])),
    )
    assert measuring.shards == judging.shards
    assert measuring.plan == judging.plan
    assert plan() == measuring


def test_a_plan_names_its_commits_and_counts_its_verdicts() -> None:
    shards = plan().shards
    assert [shard.index for shard in shards] == list(range(len(shards))) == [0, 1]
    assert {(s.base, s.head, s.definitions) for s in shards} == {(BASE, HEAD, TIP)}
    assert {shard.family for shard in shards} == {2}
    assert {shard.labels for shard in shards} == {("ubuntu-latest",)}


def test_every_scenario_is_taken_or_left_with_a_reason() -> None:
    choices = {choice.scenario: choice for choice in plan().plan.choices}
    assert [name for name, choice in choices.items() if choice.taken] == ["a", "b"]
    assert all(choice.reason for choice in choices.values())


def test_nobody_chooses_the_seed_it_follows_from_commits_and_run() -> None:
    seed = plan().plan.seed
    assert plan(Request(77, 1, ("a",), widens=True)).plan.seed == seed
    assert plan(attempt=2).plan.seed == seed, "attempts of one run continue the same order"
    others = (
        replace(TARGET, base=HEAD),
        replace(TARGET, head=BASE),
        replace(TARGET, run_id=78),
    )
    seeds = {plan_change(definitions(), other, public=False).plan.seed for other in others}
    assert len(seeds | {seed}) == 4
    assert 0 <= seed < 2**31
    assert {shard.seed for shard in plan().shards} == {seed}


def test_a_local_user_may_name_the_seed() -> None:
    assert plan_change(definitions(), replace(TARGET, seed=5), public=False).plan.seed == 5


def test_capacity_is_shared_by_the_expected_time() -> None:
    rows = [Scenario(f"s{n}", ("python",), Path("/")) for n in range(4)]
    own = definitions(scenarios=rows, capacity_s=1000.0)
    times = {"s0": 600.0, "s1": 200.0, "s2": 200.0, "s3": 200.0}
    found = plan(own=own, expected_s=times)
    assert [shard.capacity_s for shard in found.shards] == [500.0, 500.0]
    assert [shard.expected_s for shard in found.shards] == [600.0, 600.0]
    assert found.minutes == 10
    assert plan(own=own, capacity_s=50.0).plan.capacity_s == 50.0
    # Without a capacity a job still ends before GitHub ends it.
    (shard,) = {shard.capacity_s for shard in plan().shards}
    assert shard == 0.75 * 90 * 60
    assert {s.capacity_s for s in plan(own=replace(own, sha=""), capacity_s=None).shards} != {None}
    nobody = definitions(scenarios=rows)
    assert {s.capacity_s for s in plan(own=replace(nobody, sha="")).shards} == {None}


# Why nothing is measured


def test_a_public_repository_with_machines_that_outlive_a_job_is_refused() -> None:
    own = definitions(github=GitHub(runners={"cpu": HOSTED, "gpu": KEPT}))
    refused = plan(own=own, public=True)
    assert refused.shards == refused.now == ()
    assert "gpu" in refused.refusal
    assert plan(own=own, public=False).refusal == ""


@pytest.mark.parametrize(
    "github",
    [
        GitHub(runners={"cpu": HOSTED}),
        GitHub(runners={"cpu": HOSTED, "gpu": KEPT}, hosted=("gpu",)),
    ],
)
def test_a_public_repository_is_measured_where_machines_are_thrown_away(github: GitHub) -> None:
    found = plan(own=definitions(github=github), public=True)
    assert not found.refusal
    assert found.shards


@pytest.mark.parametrize("public", [True, False])
def test_what_a_control_repository_measures_is_not_measured_here(public: bool) -> None:
    found = plan(own=definitions(github=GitHub(profile=Profile.CONTROL)), public=public)
    assert found.refusal.startswith("A control repository measures here")
    assert found.shards == ()


def test_scenarios_that_no_runner_can_take_are_an_error_and_not_a_success() -> None:
    lonely = [Scenario("s", ("python",), Path("/"), runner="gpuu")]
    assert "No scenario has runners (s)" in plan(own=definitions(scenarios=lonely)).refusal
    both = [*lonely, Scenario("t", ("python",), Path("/"))]
    found = plan(own=definitions(scenarios=both))
    assert not found.refusal
    (left,) = found.plan.left
    assert left.reason == "there are no runners of kind gpuu"


def test_a_protected_branch_is_measured_on_kept_machines() -> None:
    own = definitions(github=GitHub(runners={"cpu": KEPT}))
    target = replace(TARGET, tier="release")
    found = plan_change(own, target, public=True)
    assert not found.refusal
    assert ids(found.now) == ["a", "b", "nightly"]
    assert plan(own=own, public=True).refusal


def test_off_measures_nothing_but_a_refusal_comes_first() -> None:
    own = definitions(github=GitHub(mode=GateMode.OFF, runners={"cpu": HOSTED}))
    found = plan(own=own)
    assert (found.shards, found.expected) == ((), ())
    assert found.skip.startswith("Off")
    assert not found.plan.taken
    assert {choice.reason for choice in found.plan.left} == {
        "the bot is off in this repository's configuration"
    }
    unsafe = definitions(github=GitHub(mode=GateMode.OFF, runners={"cpu": KEPT}))
    assert plan(own=unsafe, public=True).refusal


def test_a_merge_queue_passes_unless_it_is_to_be_measured() -> None:
    found = plan(in_queue=True)
    assert found.shards == ()
    assert "before the queue" in found.skip
    own = definitions(github=GitHub(merge_queue=Queue.MEASURE, runners={"cpu": HOSTED}))
    assert ids(plan(own=own, in_queue=True).now) == ["a", "b"]


def test_no_scenario_and_none_that_applies_are_told_apart() -> None:
    assert plan(own=definitions(scenarios=())).skip.startswith("The base has no scenario yet")
    assert plan(own=definitions(scenarios=SCENARIOS[3:])).skip.startswith("No scenario applies")


# What people asked for


def test_an_attempt_measures_what_was_asked_of_it_and_expects_everything() -> None:
    found = plan(Request(77, 2, ("b",), widens=False), attempt=2)
    assert ids(found.now) == ["b"]
    assert ids(found.expected) == ["a", "b"]
    assert [shard.scenarios for shard in found.shards] == [("b",)]
    assert found.shards[0].family == 2, "the error is shared with what is not measured again"


def test_a_request_for_one_attempt_is_none_for_the_next() -> None:
    found = plan(Request(77, 2, ("b",), widens=False), attempt=3)
    assert ids(found.now) == ["a", "b"]


def test_a_request_that_widens_stays_part_of_the_change() -> None:
    own = definitions(github=GitHub(runners={"cpu": HOSTED, "gpu": KEPT}))
    asked = Request(77, 2, ("big", "nightly"), widens=True)
    before, then, later = (plan(asked, own=own, attempt=attempt) for attempt in (1, 2, 3))
    assert ids(before.expected) == ["a", "b"]
    assert ids(then.now) == ["big", "nightly"]
    assert ids(then.expected) == ids(later.now) == ["a", "b", "big", "nightly"]
    assert {c.scenario: c.reason for c in then.plan.choices}["big"] == "asked for"


def test_a_scenario_without_a_runner_cannot_be_asked_for() -> None:
    found = plan(Request(77, 2, ("big",), widens=True), attempt=2)
    assert ids(found.expected) == ["a", "b"]
    assert found.now == found.shards == ()


def test_everything_may_be_asked_for() -> None:
    own = definitions(github=GitHub(runners={"cpu": HOSTED, "gpu": KEPT}))
    found = plan(Request(77, 2, ("all",), widens=True), own=own, attempt=2)
    assert ids(found.now) == ids(SCENARIOS)
    again = plan(Request(77, 2, ("all",), widens=False), own=own, attempt=2)
    assert ids(again.now) == ["a", "b"], "all of the plan, not all that there are"


def test_commands_are_lower_case_and_still_find_a_scenario_that_is_not() -> None:
    own = definitions(scenarios=[Scenario("BERT", ("python",), Path("/"), tiers=("release",))])
    assert ids(plan(Request(77, 2, ("bert",), widens=True), own=own, attempt=2).now) == ["BERT"]


# How it travels

_NAME = st.from_regex(r"[a-z0-9_.-]{1,12}", fullmatch=True)
_REQUESTS = st.builds(
    Request,
    st.integers(1, 10**17),
    st.integers(1, 10**5),
    st.lists(_NAME, min_size=1, max_size=4).map(tuple),
    st.booleans(),
)


@given(_REQUESTS)
def test_a_request_travels_through_the_description_of_a_status(request: Request) -> None:
    text = request_text(request)
    assert 0 < len(text) <= 140
    assert requests_in([status(text)], ACTIONS_BOT_ID, request.run_id) == (request,)


@pytest.mark.parametrize("names", [("x" * 64, "y" * 64), (), ("a\nb",), ("UPPER",)])
def test_a_request_that_does_not_fit_is_none(names: tuple[str, ...]) -> None:
    assert request_text(Request(10**17, 10, names, widens=False)) == ""


def test_only_our_own_requests_for_this_run_count_oldest_first() -> None:
    rows = [  # newest first, as GitHub gives them
        status("run 77 attempt 3 only: b"),
        status("run 77 attempt 2 also: a"),
        status("run 77 attempt 2 only: evil", by=5),
        status("run 77 attempt 2 only: evil", by=None),
        status("run 77 attempt 2 only: evil", context="ci/other"),
        status("run 78 attempt 2 only: other"),
        status("run 77 attempt 2 only: a; rm"),
        status("prefix run 77 attempt 2 only: a"),
        status("run 77 attempt 2 only: a\n"),
    ]
    found = requests_in(rows, ACTIONS_BOT_ID, 77)
    assert [(r.attempt, r.scenarios, r.widens) for r in found] == [
        (2, ("a",), True),
        (3, ("b",), False),
    ]


@given(st.integers(1, 10**12 - 1), st.from_regex(r"[A-Za-z0-9-]{1,39}", fullmatch=True), st.text())
def test_an_acceptance_travels_whatever_its_reason_is(user: int, login: str, why: str) -> None:
    text = acceptance_text(Acceptance(user, login, f"because {why}"))
    assert len(text) <= 140
    found = acceptance_in([status(text, ACCEPT)], ACTIONS_BOT_ID)
    assert found is not None
    assert (found.user_id, found.login) == (user, login)
    kept = plain(" ".join(f"because {why}".split()))
    assert found.reason[:-1] == kept[: len(found.reason) - 1]
    assert found.reason == kept or len(text) == 140


def test_an_app_may_accept_and_its_name_is_kept() -> None:
    text = acceptance_text(Acceptance(1, "release-bot[bot]", "planned"))
    assert acceptance_in([status(text, ACCEPT)], ACTIONS_BOT_ID) == Acceptance(
        1, "release-bot[bot]", "planned"
    )


def test_only_our_own_latest_acceptance_counts() -> None:
    newest = acceptance_text(Acceptance(2, "bob", "second"))
    older = acceptance_text(Acceptance(1, "alice", "first"))
    forged = [
        status(older, ACCEPT, by=5),
        status(older, ACCEPT, by=None),
        status(older, REQUEST),
        status("accepted by user 1 (alice)", ACCEPT),
        status("accepted by user x (alice): yes", ACCEPT),
    ]
    assert acceptance_in(forged, ACTIONS_BOT_ID) is None
    ours = [*forged, status(newest, ACCEPT), status(older, ACCEPT)]
    assert acceptance_in(ours, ACTIONS_BOT_ID) == Acceptance(2, "bob", "second")
