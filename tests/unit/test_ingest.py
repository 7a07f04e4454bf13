"""Results of shards, read as hostile input: what can be true is kept, and the rest has a reason."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.config import Config
from ailab_bot.errors import UserError
from ailab_bot.flows.assemble import Findings
from ailab_bot.flows.change import ChangePlan, Target, plan_change
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.ingest import (
    CHANGED,
    NO_RESULT,
    SHORTEST_TTFB_S,
    UNKNOWN_MACHINE,
    Parcel,
    ingest,
)
from ailab_bot.gh.client import GitHubError, NotFoundError, TooLargeError
from ailab_bot.model.exchange import RESULT, TRIALS, fingerprint, result_to_json
from ailab_bot.model.github import GitHub, Pool
from ailab_bot.model.policy import Policy
from ailab_bot.model.report import Machine
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.shard import Loss, LossKind, ShardResult
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.verdict import Explanation, ImportChange
from ailab_bot.model.wire import trial_to_json
from ailab_bot.plan.schedule import arms_of_block

BASE, HEAD, OTHER = "a" * 40, "b" * 40, "c" * 40
SCENARIOS = tuple(Scenario(name, ("python",), Path("/s"), timeout_s=20.0) for name in "abcd")
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}


def change_of(scenarios: Sequence[Scenario] = SCENARIOS) -> ChangePlan:
    config = Config(Path("/s"), github=GitHub(runners={"cpu": Pool(("ubuntu-latest",), 2)}))
    definitions = Definitions(OTHER, (), config, tuple(scenarios), Policy())
    return plan_change(definitions, Target(BASE, HEAD, 7, 2), public=True)


CHANGE = change_of()
SEED = CHANGE.plan.seed


def honest(name: str, blocks: int = 6, seed: int = SEED, at: float = 1.0) -> list[Trial]:
    """A scenario's trials as an honest shard leaves them; `at`: seconds that one takes."""
    rng = random.Random(name)
    trials = []
    for block in range(blocks):
        for order, arm in enumerate(arms_of_block(seed, name, block)):
            ttfb_s = round(at * rng.uniform(0.95, 1.05), 6)
            imports_s = round(ttfb_s / 2, 6)
            trials.append(
                Trial(
                    name, block, order, arm,
                    metrics={"ttfb_s": ttfb_s},
                    phases={"import": imports_s, "model": round(ttfb_s - imports_s, 6)},
                )
            )  # fmt: skip
    return trials


def machine(index: int) -> Machine:
    return Machine(f"CPU {index}", 2, 8 << 30, "Linux", "3.12.1")


def members(
    trials: Sequence[Trial], index: int = 0, names: str = "", **changes: object
) -> dict[str, bytes]:
    """An artifact's files: these trials, and a result that fits them but for `changes`."""
    own = names or "".join(dict.fromkeys(trial.scenario for trial in trials))
    result = ShardResult(
        index, BASE, HEAD, SEED, machine(index), 10.0,
        {name: fingerprint(BY_ID[name]) for name in own},
    )  # fmt: skip
    text = "".join(trial_to_json(trial) + "\n" for trial in trials)
    if "lost" in changes:
        reasons = changes.pop("lost")
        assert isinstance(reasons, dict)
        changes["lost"] = {name: Loss(LossKind.ERROR, why) for name, why in reasons.items()}
    changed = replace(result, **changes)  # type: ignore[arg-type]
    return {TRIALS: text.encode(), RESULT: result_to_json(changed).encode()}


def parcel(content: Mapping[str, bytes], attempt: int = 1, index: int = 0) -> Parcel:
    return Parcel(attempt, index, lambda: content)


def shard(names: str, attempt: int = 1, index: int = 0, **changes: object) -> Parcel:
    """An honest shard of these scenarios but for `changes` of its result."""
    trials = [trial for name in names for trial in honest(name)]
    return parcel(members(trials, index, names, **changes), attempt, index)


def of(found: Findings, name: str) -> list[Trial]:
    return [trial for trial in found.trials if trial.scenario == name]


# What is kept


def test_honest_shards_are_merged_whole() -> None:
    found, lost = ingest([shard("ac"), shard("bd", index=1)], CHANGE)
    assert lost == {}
    assert found.lost == {}
    assert {name: of(found, name) for name in "abcd"} == {name: honest(name) for name in "abcd"}
    assert found.machines == (machine(0), machine(1))
    assert found.spent_s == 20.0
    assert found.notes == ()


def test_results_merge_in_any_order() -> None:
    explained = Explanation("a", imports_added=(ImportChange("torch", 0.2, 9, "x.py:1"),))
    parcels = [
        shard("ab", 1, 0, notes=("first",)),
        shard("cd", 1, 1, lost={"d": "the disk is full"}),
        shard("a", 2, 0, explanations=(explained,)),
        shard("d", 2, 1, notes=("second",)),
        Parcel(2, 2, lambda: {TRIALS: b"", RESULT: b"{"}),
    ]
    first = ingest(parcels, CHANGE)
    assert first[1] == {}
    for order in itertools.permutations(parcels):
        assert ingest(order, CHANGE) == first


def test_the_newest_attempt_of_a_scenario_wins_whole() -> None:
    again = [replace(trial, metrics={"ttfb_s": 2.0}, phases={}) for trial in honest("a", 3)]
    found, lost = ingest([shard("ab"), parcel(members(again, 5), attempt=2)], CHANGE)
    assert of(found, "a") == again
    assert of(found, "b") == honest("b")
    assert found.machines == (machine(5), machine(0))
    assert lost == {"c": NO_RESULT, "d": NO_RESULT}


def test_what_the_newest_attempt_lost_is_taken_whole_from_an_older_one() -> None:
    found, lost = ingest(
        [shard("ab"), shard("a", attempt=2, lost={"a": "the disk is full"})], CHANGE
    )
    assert of(found, "a") == honest("a")
    assert "a" not in lost


def test_what_no_attempt_has_is_lost_for_its_newest_reason() -> None:
    found, lost = ingest(
        [
            shard("a", attempt=1, lost={"a": "an old reason"}),
            shard("a", attempt=2, lost={"a": "the disk is full"}),
        ],
        CHANGE,
    )
    full = Loss(LossKind.ERROR, "the disk is full")
    assert lost == {"a": full, "b": NO_RESULT, "c": NO_RESULT, "d": NO_RESULT}
    assert found.lost == lost
    assert found.trials == []


def test_without_any_parcel_everything_is_lost_and_the_machine_not_known() -> None:
    found, lost = ingest([], CHANGE)
    assert lost == dict.fromkeys("abcd", NO_RESULT)
    assert found.machines == (UNKNOWN_MACHINE,)
    assert found.spent_s == 0


def test_what_was_not_expected_is_noted_and_not_used() -> None:
    trials = honest("a") + honest("evil") + honest("b")
    content = members(trials, names="ab")
    found, lost = ingest([parcel(content)], change_of(SCENARIOS[:1]))
    assert found.trials == honest("a")
    assert lost == {}
    assert found.notes == ("Trials of 2 scenarios that the plan lacks are not used.",)


def test_trials_of_a_scenario_that_the_shard_did_not_begin_are_not_used() -> None:
    found, lost = ingest([parcel(members(honest("a") + honest("b"), names="a"))], CHANGE)
    assert of(found, "b") == []
    assert lost["b"] == NO_RESULT


def test_imports_are_kept_of_the_scenarios_that_are_used_the_newest_first() -> None:
    def traced(name: str, module: str) -> Explanation:
        return Explanation(name, imports_added=(ImportChange(module, 0.1, 1, "x.py:1"),))

    old = (traced("a", "old"), traced("b", "kept"), traced("evil", "x"), traced("c", "lost"))
    found, _ = ingest(
        [
            shard("abc", 1, explanations=old, lost={"c": "crashed"}),
            shard("a", 2, explanations=(traced("a", "new"), traced("d", "not its own"))),
            shard("d", 1, index=1),
        ],
        CHANGE,
    )
    kept = {item.scenario: item.imports_added[0].module for item in found.explanations}
    assert kept == {"a": "new", "b": "kept"}


# Parcels that are not used at all


def fails(error: Exception) -> Callable[[], Mapping[str, bytes]]:
    def open_it() -> Mapping[str, bytes]:
        raise error

    return open_it


BROKEN: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "other commits": lambda: members(honest("a"), base=OTHER),
    "swapped commits": lambda: members(honest("a"), base=HEAD, head=BASE),
    "another seed": lambda: members(honest("a"), seed=SEED + 1),
    "no JSON": lambda: {TRIALS: b"", RESULT: b"{"},
    "no UTF-8": lambda: {**members(honest("a")), TRIALS: b"\xff"},
    "no trial": lambda: {**members(honest("a")), TRIALS: b'{"schema": 1}\n'},
    "a second trial of an arm": lambda: members([*honest("a"), honest("a")[0]]),
    "no archive": fails(UserError("not a zip", why="it is not a zip archive")),
    "gone": fails(NotFoundError("no such artifact", status=404)),
    "too large": fails(TooLargeError("it is larger than we take")),
}
REASONS = {
    "other commits": "other commits than this pull request's",
    "swapped commits": "other commits than this pull request's",
    "another seed": "from another seed than the plan's",
    "no JSON": "not JSON",
    "no UTF-8": "is not UTF-8",
    "no trial": "missing",
    "a second trial of an arm": "has a second",
    "no archive": "not a zip archive",
    "gone": "no such artifact",
    "too large": "larger than we take",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_parcel_that_cannot_be_ours_costs_only_its_own_scenarios(name: str) -> None:
    found, lost = ingest([Parcel(1, 0, BROKEN[name]), shard("bcd", index=1)], CHANGE)
    assert set(lost) == {"a"}
    assert lost["a"].kind in {LossKind.REFUSED, LossKind.UNREADABLE}
    (note,) = found.notes
    assert note.startswith("shard 0 of attempt 1 is not used: ")
    assert REASONS[name] in note
    assert found.spent_s == 10.0


def test_a_github_that_does_not_answer_says_nothing_about_the_shard() -> None:
    silent = Parcel(1, 0, fails(GitHubError("no answer", status=502)))
    with pytest.raises(GitHubError):
        ingest([silent, shard("bcd", index=1)], CHANGE)


# Scenarios of an otherwise honest shard that are not used


def changed(at: int, **changes: object) -> list[Trial]:
    trials = honest("a")
    trials[at] = replace(trials[at], **changes)  # type: ignore[arg-type]
    return trials


def swapped_arms() -> list[Trial]:
    """Head's times as base's, and the other way round: what a forger would write."""
    other = {Arm.BASE: Arm.HEAD, Arm.HEAD: Arm.BASE}
    return [replace(trial, arm=other[trial.arm]) for trial in honest("a")]


DOUBTS: dict[str, tuple[list[Trial], str]] = {
    "no trial": ([], "recorded no trial"),
    "too short": (changed(5, metrics={"ttfb_s": 0.001}, phases={}), "0.001 s is no measurement"),
    "too long": (changed(5, metrics={"ttfb_s": 22.5}, phases={}), "longer than its time-out"),
    "phases too small": (changed(5, phases={"import": 0.1}), "phases do not sum"),
    "phases too large": (changed(5, phases={"import": 1.2}), "phases do not sum"),
    "a block is missing": ([t for t in honest("a") if t.block != 2], "blocks are missing"),
    "the first is missing": ([t for t in honest("a") if t.block], "blocks are missing"),
    "an arm is missing": (
        [t for t in honest("a") if (t.block, t.arm) != (2, Arm.HEAD)], "lacks an arm",
    ),
    "order of one block": (
        [replace(t, order=1 - t.order) if t.block == 3 else t for t in honest("a")],
        "in the order that was drawn",
    ),
    "arms swapped": (swapped_arms(), "in the order that was drawn"),
    "another seed's order": (honest("a", 12, seed=SEED + 1), "in the order that was drawn"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTS)
def test_a_scenario_that_cannot_be_true_is_lost_with_its_reason(name: str) -> None:
    trials, reason = DOUBTS[name]
    content = members([*trials, *honest("b")], names="ab")
    found, lost = ingest([parcel(content), shard("cd", index=1)], CHANGE)
    assert set(lost) == {"a"}
    assert reason in lost["a"].reason
    assert of(found, "a") == []
    assert of(found, "b") == honest("b")


def test_another_definition_than_the_bases_is_not_judged() -> None:
    """The base branch has gone on since, or the shard measured the change's own definition."""
    forged = fingerprint(replace(BY_ID["a"], command=("true",)))
    content = members(honest("a"), definitions={"a": forged})
    found, lost = ingest([parcel(content), shard("bcd", index=1)], CHANGE)
    assert lost["a"] == CHANGED
    assert of(found, "a") == []


NO_DOUBT = {
    "the shortest": changed(5, metrics={"ttfb_s": SHORTEST_TTFB_S + 1e-6}, phases={}),
    "a moment after its time-out": changed(5, metrics={"ttfb_s": 21.0}, phases={}),
    "no phases": changed(5, phases={}),
    "phases rounded": changed(5, phases={"import": honest("a")[5].metrics["ttfb_s"] + 0.0009}),
    "the last block was cut": honest("a")[:-1],
    "one block": honest("a", 1),
    "another metric": changed(5, metrics={"cpu_s": 0.0001}, phases={}),
}


@pytest.mark.parametrize("name", NO_DOUBT)
def test_what_honest_runners_leave_is_used(name: str) -> None:
    found, lost = ingest([parcel(members(NO_DOUBT[name])), shard("bcd", index=1)], CHANGE)
    assert lost == {}
    assert of(found, "a") == NO_DOUBT[name]


@pytest.mark.parametrize("order", [(Arm.BASE, Arm.HEAD), (Arm.HEAD, Arm.BASE)])
def test_a_warm_up_that_failed_has_an_order_of_its_own(order: tuple[Arm, Arm]) -> None:
    crash = Failure("exit status 1")
    trials = [
        Trial("a", 0, place, arm, Outcome.CRASH, failure=crash) for place, arm in enumerate(order)
    ]
    found, lost = ingest([parcel(members(trials)), shard("bcd", index=1)], CHANGE)
    assert lost == {}
    assert of(found, "a") == trials


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.booleans()), max_size=8))
def test_whatever_arrives_each_scenario_is_whole_or_lost(
    rows: list[tuple[int, int, bool]],
) -> None:
    parcels = [
        shard("abcd"[which], attempt, number, lost={"abcd"[which]: "lost"} if gone else {})
        for number, (which, attempt, gone) in enumerate(rows)
    ]
    found, lost = ingest(parcels, CHANGE)
    whole = {"abcd"[which] for which, _, gone in rows if not gone}
    assert set(lost) == set("abcd") - whole
    for name in whole:
        assert of(found, name) == honest(name)
