"""Stories of the sweeper: every status ends, and none that somebody is still working on."""

from __future__ import annotations

import random

import pytest
from hub.state import Pull, Run
from office import Office

from ailab_bot.flows.hosted import Clock
from ailab_bot.flows.sweep import Swept, sweep
from ailab_bot.flows.trusted import open_desk
from ailab_bot.gh.actions import artifact_name, read_surroundings
from ailab_bot.model.github import ACTIONS_BOT_ID

HALF_AN_HOUR_S, DAY_S = 1800.0, 86_400.0


def ends_unreported(office: Office, run: Run, *, lost: bool = False) -> None:
    """The run ends; what GitHub would start of it never starts."""
    parcels = {
        artifact_name(run.attempt, shard.index): office.parcel(shard, {})
        for shard in office.plan(run)
    }
    office.github.finish_run(run, artifacts={} if lost else parcels)
    office.lose_reports()


def started_again(office: Office, days: float) -> tuple[Pull, Run]:
    """A measurement of `days` ago, of which another attempt has just begun, unseen."""
    pull = office.open_pull()
    run = office.measure(pull, slower={"train": 0.2})
    office.github.wait(days * DAY_S)
    office.say(pull, "alice", "/ailab rerun")
    office.github.begin(run)
    office.lose_reports()
    assert office.gate(pull).state == "pending"
    return pull, run


@pytest.mark.parametrize("days", [2, 4, 29])
def test_an_old_run_that_is_started_again_is_live_and_its_result_is_published(
    days: float, office: Office
) -> None:
    """Its run keeps the day on which it was made."""
    pull, run = started_again(office, days)
    for _ in range(3):
        office.github.wait(HALF_AN_HOUR_S)
        office.sweep()
        assert office.gate(pull).state == "pending"
    ends_unreported(office, run)
    office.sweep()
    assert office.gate(pull).state == "pending", "its report may still come"
    office.github.wait(HALF_AN_HOUR_S)
    office.sweep()
    assert office.gate(pull).state == "success"


def test_an_old_run_that_is_started_again_and_never_ends_is_ended(office: Office) -> None:
    pull, _ = started_again(office, 4)
    office.github.wait(25 * 3600)
    office.sweep()
    assert office.gate(pull).state == "pending"
    office.github.wait(2 * 3600)
    office.sweep()
    assert office.gate(pull).state == "error"
    assert office.gate(pull).description.startswith("No result after 27 h")


def test_a_result_that_nobody_could_read_for_hours_is_not_read_any_more(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    ends_unreported(office, run)
    office.github.wait(7 * 3600)
    office.sweep()
    assert office.gate(pull).state == "error"
    assert office.gate(pull).description.startswith("No result after 7 h")


def test_a_workflow_that_is_not_installed_stops_nothing(office: Office) -> None:
    office.github.workflows.discard("ailab-merge-queue.yml")
    pull = office.open_pull()
    run = office.begin(pull)
    ends_unreported(office, run)
    office.github.wait(HALF_AN_HOUR_S)
    assert office.sweep() == 0
    assert office.gate(pull).state == "success"


@pytest.mark.parametrize("ends", [True, False])
def test_a_default_branch_that_cannot_be_read_stops_nothing(ends: bool, office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    if ends:
        ends_unreported(office, run)
    office.merge_to_main({".ailab/config.yml": "github: {mode: nonsense}\n"})
    office.github.wait(HALF_AN_HOUR_S if ends else 27 * 3600)
    office.sweep()
    assert office.gate(pull).state == "error"
    assert "configuration is not used" in office.said


def few(office: Office, rng: random.Random, most: int) -> Swept:
    """A sweep that looks at no more than so many commits."""
    env = office.timer()
    around = read_surroundings(env)
    clock = Clock(lambda: office.github.now, office.github.wait)
    desk = open_desk(around, env, around.event().repository, clock)
    return sweep(desk, ACTIONS_BOT_ID, rng, most)


def test_more_commits_than_one_sweep_looks_at_have_their_turn(office: Office) -> None:
    """Three lost their reports long ago, two never ended; one that was decided is among them."""
    decided = office.open_pull(head="decided")
    office.measure(decided)
    reports = [office.open_pull(head=f"report-{number}") for number in range(3)]
    for pull in reports:
        ends_unreported(office, office.begin(pull))
    lost = [office.open_pull(head=f"lost-{number}") for number in range(2)]
    for pull in lost:
        office.begin(pull)
    office.github.wait(27 * 3600)
    rng = random.Random(5)
    first = few(office, rng, 2)
    assert first.left == 4
    for _ in range(20):
        few(office, rng, 2)
    assert {office.gate(pull).state for pull in (*reports, *lost)} == {"error"}
    assert office.gate(decided).state == "success"


def test_what_has_just_ended_comes_before_what_is_older(office: Office) -> None:
    for number in range(5):
        ends_unreported(office, office.begin(office.open_pull(head=f"old-{number}")))
    office.github.wait(3 * 3600)
    new = office.open_pull(head="new")
    ends_unreported(office, office.begin(new))
    office.github.wait(HALF_AN_HOUR_S)
    assert few(office, random.Random(5), 1).ended == [new.head_sha]
    assert office.gate(new).state == "success"
