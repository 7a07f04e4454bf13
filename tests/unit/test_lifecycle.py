"""What may happen to an incident next, without GitHub and git."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ailab_bot.flows.lifecycle import (
    Observed,
    Searched,
    Seen,
    acknowledge,
    attribute,
    lead_of,
    needs_search,
    observe,
    propose,
    reconcile,
)
from ailab_bot.model.culprit import Ending
from ailab_bot.model.incident import Blame, Incident, Moved, State, Step, What, incidents_of
from ailab_bot.model.incidentwire import steps_from_body, steps_to_body
from ailab_bot.model.verdict import Interval

#: A branch: each commit comes after those before it.
COMMITS = [f"{number:040x}" for number in range(1, 20)]
BASE, *_ = COMMITS
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def moved(scenario: str = "train", effect: float = 0.18, metric: str = "ttfb_s") -> Moved:
    interval = Interval(effect - 0.02, effect + 0.02)
    return Moved(scenario, metric, effect, interval, 1.0, 1.0 + effect, 14, 0.02)


def contains(sha: str, head: str) -> bool:
    known = sha in COMMITS and head in COMMITS
    return known and COMMITS.index(sha) <= COMMITS.index(head)


def seen(
    head: int,
    *slower: Moved,
    day: int = 0,
    settled: Sequence[tuple[str, str]] = (),
    baseline: int = 0,
    branch: str = "main",
) -> Seen:
    return Seen(
        COMMITS[head],
        branch,
        COMMITS[baseline],
        NOON + timedelta(days=day),
        100 + day,
        tuple(slower),
        {key: moved(*key[:1], effect=0.001, metric=key[1]) for key in settled},
        contains,
    )


def from_baseline(_: Moved) -> str:
    return BASE


def look(known: Sequence[Step], what: Seen) -> Observed:
    return observe(incidents_of(known), what, from_baseline)


def after(known: Sequence[Step], what: Seen) -> list[Step]:
    return [*known, *look(known, what).steps]


def only(steps: Sequence[Step]) -> Incident:
    (incident,) = incidents_of(steps)
    return incident


def blame(commit: int = 4) -> Blame:
    return Blame(COMMITS[commit], "Record run metadata", "Somebody", probability=0.995)


TRAIN = ("train", "ttfb_s")


def detected(*slower: Moved) -> list[Step]:
    return after([], seen(5, *(slower or (moved(),))))


def attributed() -> list[Step]:
    steps = detected()
    found = Searched(Ending.FOUND, "", blame(), (moved(effect=0.17),))
    return [*steps, *attribute(incidents_of(steps), only(steps), found, NOON, 7)]


def test_a_confirmed_regression_opens_one_incident_for_all_that_began_in_one_range() -> None:
    incident = only(detected(moved("train"), moved("tokenize", 0.06)))
    assert incident.state is State.DETECTED
    assert (incident.good, incident.bad) == (BASE, COMMITS[5])
    assert incident.scenarios == ("train", "tokenize")


def test_regressions_that_began_in_different_ranges_open_different_incidents() -> None:
    goods = {"train": COMMITS[1], "tokenize": COMMITS[3]}
    what = seen(5, moved("train"), moved("tokenize"))
    found = observe((), what, lambda each: goods[each.scenario])
    assert {each.good for each in incidents_of(found.steps)} == set(goods.values())


def test_the_same_measurement_told_twice_opens_the_same_incident() -> None:
    assert only(detected()).id == only(detected()).id
    assert look(detected(), seen(5, moved())).steps == ()


def test_the_next_night_sees_it_again_and_opens_nothing() -> None:
    steps = after(detected(), seen(6, moved(effect=0.17), day=1))
    incident = only(steps)
    assert incident.steps[-1].what is What.SEEN
    assert incident.is_open


def test_an_open_incident_stands_against_a_head_of_which_nothing_is_known() -> None:
    found = look(detected(), seen(6, day=1))
    assert found.steps == ()
    assert len(found.standing) == 1


def test_the_commit_that_was_slow_is_not_found_fast_by_noise() -> None:
    found = look(detected(), seen(5, day=1, settled=[TRAIN]))
    assert found.steps == ()
    assert found.standing


def test_a_measurement_of_another_commit_that_shows_it_gone_is_the_measured_fix() -> None:
    found = look(attributed(), seen(7, day=1, settled=[TRAIN]))
    assert [step.what for step in found.steps] == [What.FIX_MEASURED]
    assert found.steps[0].moved[0].effect == pytest.approx(0.001), "with its figures"
    assert found.standing == ()
    assert only([*attributed(), *found.steps]).state is State.FIX_MEASURED


def test_part_of_it_gone_is_no_fix() -> None:
    steps = detected(moved("train"), moved("tokenize"))
    found = look(steps, seen(6, day=1, settled=[TRAIN]))
    assert found.steps == ()
    assert len(found.standing) == 1


def test_as_fast_as_a_release_that_has_the_culprit_is_no_fix() -> None:
    found = look(attributed(), seen(9, day=30, settled=[TRAIN], baseline=6))
    assert found.steps == ()
    assert len(found.standing) == 1


def test_before_anybody_is_blamed_a_later_baseline_tells_nothing() -> None:
    assert look(detected(), seen(9, day=9, settled=[TRAIN], baseline=5)).steps == ()
    assert look(detected(), seen(9, day=9, settled=[TRAIN])).steps


def test_what_is_slow_again_after_a_measured_fix_is_a_new_incident() -> None:
    steps = after(attributed(), seen(7, day=1, settled=[TRAIN]))
    steps = after(steps, seen(9, moved(), day=3))
    first, second = incidents_of(steps)
    assert not first.is_open
    assert second.is_open
    assert first.id != second.id


def test_a_branch_without_the_culprit_is_not_held_up_by_it() -> None:
    steps = [*attributed()]
    found = look(steps, seen(3, day=1, branch="release/1.3"))
    assert found.standing == ()


def test_on_its_own_branch_an_incident_stands_though_history_was_rewritten() -> None:
    elsewhere = seen(5)
    elsewhere = Seen(**{**vars(elsewhere), "sha": "f" * 40, "settled": {}})
    assert len(look(detected(), elsewhere).standing) == 1


def test_a_second_regression_on_top_of_a_known_one_is_detected_as_its_own() -> None:
    steps = after(detected(), seen(6, moved(), day=1))
    steps = after(steps, seen(8, moved(effect=0.4), day=2))
    first, second = incidents_of(steps)
    assert (second.good, second.bad) == (COMMITS[6], COMMITS[8])
    assert first.is_open
    # The night after, nothing more is added.
    assert len(incidents_of(after(steps, seen(9, moved(effect=0.4), day=3)))) == 2


def test_within_its_interval_a_regression_has_not_grown() -> None:
    steps = after(detected(), seen(8, moved(effect=0.21), day=2))
    assert len(incidents_of(steps)) == 1


# --- the search --------------------------------------------------------------------------------


def test_a_search_is_started_once_and_again_when_it_is_lost() -> None:
    steps = detected()
    assert needs_search(only(steps), NOON)
    steps.append(Step(only(steps).id, What.SEARCHING, NOON))
    assert not needs_search(only(steps), NOON + timedelta(hours=25))
    assert needs_search(only(steps), NOON + timedelta(hours=27))
    for day in (2, 4):
        steps.append(Step(only(steps).id, What.SEARCHING, NOON + timedelta(days=day)))
    assert not needs_search(only(steps), NOON + timedelta(days=9)), "three times is enough"


def test_a_search_looks_at_what_is_furthest_above_its_threshold() -> None:
    incident = only(detected(moved("train", 0.05), moved("tokenize", 0.3)))
    assert lead_of(incident).scenario == "tokenize"


def test_blame_comes_with_what_the_culprit_itself_moves() -> None:
    incident = only(attributed())
    assert incident.state is State.ATTRIBUTED
    assert incident.moved[0].effect == pytest.approx(0.17)
    assert incident.blame == blame()


def test_a_suspect_that_was_not_confirmed_is_not_blamed() -> None:
    steps = detected()
    found = Searched(Ending.UNCONFIRMED, "Fresh blocks say NO_CHANGE.", None)
    steps += attribute(incidents_of(steps), only(steps), found, NOON, 7)
    incident = only(steps)
    assert incident.blame is None
    assert incident.state is State.DETECTED
    assert not needs_search(incident, NOON + timedelta(days=9))


def test_a_cause_outside_the_range_ends_with_the_next_measurement_that_is_calm() -> None:
    steps = detected()
    found = Searched(Ending.NO_CULPRIT, "BAD is as fast as GOOD.", None)
    steps += attribute(incidents_of(steps), only(steps), found, NOON, 7)
    assert look(steps, seen(5, day=1, settled=[TRAIN])).steps[0].what is What.FIX_MEASURED


def test_a_narrowed_range_without_the_culprit_is_widened_to_the_baseline_once() -> None:
    steps = list(observe((), seen(5, moved()), lambda _: COMMITS[3]).steps)
    steps.append(Step(only(steps).id, What.SEARCHING, NOON))
    nobody = Searched(Ending.NO_CULPRIT, "BAD is as fast as GOOD.", None)
    later = NOON + timedelta(hours=1)
    steps += attribute(incidents_of(steps), only(steps), nobody, later, 7)
    assert only(steps).good == BASE
    assert needs_search(only(steps), later)
    steps.append(Step(only(steps).id, What.SEARCHING, later + timedelta(minutes=1)))
    assert not needs_search(only(steps), later + timedelta(hours=1))
    steps += attribute(incidents_of(steps), only(steps), nobody, later + timedelta(hours=2), 8)
    assert only(steps).has(What.UNATTRIBUTED)


def test_two_incidents_of_one_culprit_become_one() -> None:
    first = attributed()
    steps = [
        *first,
        *observe((), seen(5, moved("tokenize"), branch="release/1"), from_baseline).steps,
    ]
    second = next(each for each in incidents_of(steps) if each.scenarios == ("tokenize",))
    found = Searched(Ending.FOUND, "", blame(), (moved("tokenize"),))
    steps += attribute(incidents_of(steps), second, found, NOON + timedelta(hours=2), 8)
    by_id = {each.id: each for each in incidents_of(steps)}
    assert by_id[second.id].state is State.CLOSED
    kept = by_id[only(first).id]
    assert kept.is_open
    assert set(kept.scenarios) == {"train", "tokenize"}


def test_what_the_culprit_does_not_move_is_searched_for_by_itself() -> None:
    steps = detected(moved("train"), moved("tokenize"))
    found = Searched(Ending.FOUND, "", blame(), (moved("train"),), (moved("tokenize"),))
    steps += attribute(incidents_of(steps), only(steps), found, NOON, 7)
    first, second = sorted(incidents_of(steps), key=lambda each: each.blame is None)
    assert first.scenarios == ("train",)
    assert second.scenarios == ("tokenize",)
    assert needs_search(second, NOON)


def test_a_search_that_ends_twice_adds_nothing() -> None:
    steps = attributed()
    found = Searched(Ending.FOUND, "", blame(3), (moved(),))
    assert attribute(incidents_of(steps), only(steps), found, NOON, 9) == ()


# --- people ------------------------------------------------------------------------------------


def test_it_is_taken_on_once_by_each() -> None:
    steps = attributed()
    steps += acknowledge(only(steps), "alice", NOON, 9)
    assert only(steps).state is State.ACKNOWLEDGED
    assert acknowledge(only(steps), "alice", NOON, 10) == ()


def test_a_fix_is_proposed_dropped_and_proposed_again() -> None:
    steps = attributed()
    steps += propose(only(steps), {31: "alice"}, (), NOON, 9)
    assert only(steps).state is State.FIX_PROPOSED
    assert propose(only(steps), {31: "alice"}, (), NOON, 10) == ()
    steps += propose(only(steps), {}, (31,), NOON + timedelta(hours=1), 11)
    assert only(steps).state is State.ATTRIBUTED
    steps += propose(only(steps), {32: "bob"}, (), NOON + timedelta(hours=2), 12)
    assert only(steps).fix == 32


def test_a_fix_that_does_not_help_leaves_it_open() -> None:
    steps = attributed()
    steps += propose(only(steps), {31: "alice"}, (), NOON, 9)
    steps = after(steps, seen(7, moved(), day=1))
    assert only(steps).is_open
    assert only(steps).steps[-1].what is What.SEEN


def test_an_accepted_regression_holds_nothing_up_until_it_grows() -> None:
    steps = attributed()
    steps.append(Step(only(steps).id, What.ACCEPTED, NOON + timedelta(hours=1), by="bob"))
    found = look(steps, seen(6, moved(), day=1))
    assert found.steps == ()
    assert found.standing == ()
    assert len(found.accepted) == 1
    worse = look(steps, seen(7, moved(effect=0.5), day=2))
    assert len(worse.standing) == 1
    assert worse.standing[0].steps[0].what is What.DETECTED


# --- in the ledger -----------------------------------------------------------------------------


def test_steps_come_back_from_the_ledger_as_they_were_in_any_order() -> None:
    steps = attributed()
    steps += acknowledge(only(steps), "alice", NOON + timedelta(hours=1), 9)
    read = steps_from_body(steps_to_body(only(steps).id, steps))
    assert list(read) == steps
    assert only([*reversed(read), *read]) == only(steps)


def test_steps_without_their_detection_are_no_incident() -> None:
    assert incidents_of(attributed()[1:]) == ()


def test_the_time_of_each_state_is_kept() -> None:
    steps = attributed()
    steps += acknowledge(only(steps), "alice", NOON + timedelta(hours=1), 9)
    steps = after(steps, seen(7, day=1, settled=[TRAIN]))
    times = only(steps).times
    assert list(times) == [
        State.DETECTED,
        State.ATTRIBUTED,
        State.ACKNOWLEDGED,
        State.FIX_MEASURED,
    ]
    assert times[State.FIX_MEASURED] == NOON + timedelta(days=1)


def test_what_is_written_can_be_read_however_long_it_is() -> None:
    steps = attributed()
    long = Blame("b" * 40, "x" * 30_000, "y" * 9_000, also=("c" * 40,) * 3_000, why=("z" * 9_000,))
    steps.append(Step(only(steps).id, What.ATTRIBUTED, NOON, blame=long, text="t" * 9_000))
    read = steps_from_body(steps_to_body(only(steps).id, steps))
    assert [step.what for step in read] == [step.what for step in steps]


def test_incidents_with_one_culprit_that_did_not_know_of_each_other_are_joined() -> None:
    first = attributed()
    other = list(observe((), seen(5, moved("tokenize"), branch="release/1"), from_baseline).steps)
    found = Searched(Ending.FOUND, "", blame(), (moved("tokenize"),))
    later = NOON + timedelta(hours=1)
    other += attribute(incidents_of(other), only(other), found, later, 8)
    steps = [*first, *other]
    steps += reconcile(incidents_of(steps), later, 9)
    kept = [each for each in incidents_of(steps) if each.is_open]
    assert [each.id for each in kept] == [only(first).id]
    assert set(kept[0].scenarios) == {"train", "tokenize"}
    assert kept[0].branches == ("main", "release/1")
    assert reconcile(incidents_of(steps), later, 10) == ()


def test_what_was_joined_ends_when_it_is_gone_from_each_of_its_branches() -> None:
    test = attributed()
    other = list(observe((), seen(5, moved(), branch="release/1"), from_baseline).steps)
    found = Searched(Ending.FOUND, "", blame(), (moved(),))
    other = [replace(step, incident="0" * 12) for step in other]
    steps = [*test, *other]
    second = next(each for each in incidents_of(steps) if each.id == "0" * 12)
    steps += attribute(incidents_of(steps), second, found, NOON + timedelta(hours=1), 8)
    steps = after(steps, seen(7, day=1, settled=[TRAIN]))
    kept = next(each for each in incidents_of(steps) if each.is_open)
    assert kept.steps[-1].what is What.CALM
    steps = after(steps, seen(8, day=2, settled=[TRAIN], branch="release/1"))
    assert not any(each.is_open for each in incidents_of(steps))
