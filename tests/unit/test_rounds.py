"""A search in rounds: what workers left -> the next round, or the end. No processes, no git."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ailab_bot.flows.finding import Subject
from ailab_bot.flows.parcels import Asked, Parcel, merge, read_parcel
from ailab_bot.flows.rounds import MOST_ROUNDS, Ground, standing_of
from ailab_bot.flows.seeking import Range, bias_sd_of
from ailab_bot.measure.git import Repository
from ailab_bot.model.culprit import Check, Culprit, Ending, RangeCommit
from ailab_bot.model.culpritwire import culprit_from_json, culprit_to_json
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.policy import Limits, Policy
from ailab_bot.model.report import Commit
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Part, Phase, Quest, Refusal, WorkerResult
from ailab_bot.model.searchwire import (
    RESULT,
    TRIALS,
    Line,
    evidence_from_row,
    evidence_to_row,
    line_of,
    result_from_json,
    result_to_json,
)
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.model.verdict import Explanation, ImportChange, VerdictKind

GOOD = "0" * 40
SHAS = [f"{number:040x}" for number in range(1, 9)]
COMMITS = tuple(
    RangeCommit(sha, (parent,), "Ada", "ada@example.invalid", f"Change {number}")
    for number, (sha, parent) in enumerate(zip(SHAS, [GOOD, *SHAS], strict=False), 1)
)
SLOW = 4  # commit 5 is the culprit
SCENARIO = Scenario("launch", ("python", "train.py"), Path("/nowhere"))
OTHER = replace(SCENARIO, id="tokenize")
QUEST = Quest(GOOD, SHAS[-1], "launch")
ASKED = Asked(QUEST, SCENARIO, fingerprint(SCENARIO), set(SHAS))
RESULT_OF_WORKER = WorkerResult(QUEST, 0, 1, 7, ASKED.definition, spent_s=10.0)
GROUND = Ground(
    Repository(Path("/nowhere")), ASKED, Range(COMMITS, Policy().limits("launch", "ttfb_s")),
    Subject("launch", "ttfb_s", Commit("", GOOD), Commit("", SHAS[-1]), "ailab bisect …"),
    Policy(), (OTHER,),
)  # fmt: skip


def blocks(
    part: Part, base: str, head: str, effect: float, count: int, scenario: str = "launch"
) -> list[Line]:
    rng = random.Random(f"{base} {head} {scenario}")
    found: list[Line] = []
    for block in range(count):
        for order, (arm, factor) in enumerate([(Arm.BASE, 1.0), (Arm.HEAD, 1 + effect)]):
            seconds = round(factor * (1 + rng.gauss(0, 0.005)), 6)
            trial = Trial(scenario, block, order, arm, metrics={"ttfb_s": seconds}, machine="cpu")
            found.append((part, base, head, trial))
    return found


def worker(place: str, commits: Iterable[int], count: int = 3, **more: object) -> Parcel:
    """One that measured these commits, `count` blocks each."""
    lines = [
        line
        for number in commits
        for line in blocks(Part.RANGE, GOOD, SHAS[number], 0.3 if number >= SLOW else 0.0, count)
    ]
    return Parcel(place, replace(RESULT_OF_WORKER, **more), tuple(lines))  # type: ignore[arg-type]


def finish(
    place: str, culprit: int, effect: float, *, ending: Ending = Ending.FOUND, other: float = 0.0
) -> Parcel:
    commit = COMMITS[culprit]
    parent, sha = commit.parents[0], commit.sha
    told = Culprit(
        "launch", "ttfb_s", Commit("", GOOD), Commit("", SHAS[-1]), Ending.FOUND, "",
        culprit=commit,
        checks=(Check("anything", parent, sha, held=True),),
        others=(Check("anything", parent, sha, held=True, scenario="tokenize"),),
        explanations=(
            Explanation("launch", imports_added=(ImportChange("torch", 0.4, 9, "train.py:1"),)),
            Explanation("a stranger's"),
        ),
    )  # fmt: skip
    if not ending.names_one:
        told = told.nobody(ending, "")
    lines = blocks(Part.CHECK, parent, sha, effect, 30)
    lines += blocks(Part.CHECK, parent, sha, other, 30, "tokenize")
    return Parcel(place, replace(RESULT_OF_WORKER, found=told), tuple(lines))


SURE = [worker(f"01-0001-00{number}", [7, 4, 3, 5], 6) for number in range(2)]


def members(parcel: Parcel) -> dict[str, bytes]:
    lines = "".join(line_of(*line) + "\n" for line in parcel.lines)
    return {RESULT: result_to_json(parcel.result).encode(), TRIALS: lines.encode()}


def test_a_search_begins_with_a_round_that_measures() -> None:
    standing = standing_of(GROUND, [])
    assert (standing.phase, standing.found) == (Phase.SEARCH, None)
    assert standing.evidence.blocks == ()


def test_when_the_workers_together_are_certain_the_next_round_confirms() -> None:
    standing = standing_of(GROUND, [SURE])
    assert (standing.phase, standing.found) == (Phase.FINISH, None)
    assert max(standing.belief.posterior) == standing.belief.posterior[SLOW] > 0.99


def test_a_worker_that_is_lost_costs_what_it_measured_alone() -> None:
    with_both = standing_of(GROUND, [SURE])
    with_one = standing_of(GROUND, [SURE[:1]])
    assert len(with_one.evidence.blocks) * 2 == len(with_both.evidence.blocks)
    assert with_one.phase is not None


def test_what_a_finish_confirmed_ends_the_search_with_its_checks() -> None:
    standing = standing_of(GROUND, [SURE, [finish("02-0001-000", SLOW, 0.3)]])
    found = standing.found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.FOUND, COMMITS[SLOW])
    assert [(check.what, check.held) for check in found.checks] == [("against its parent", True)]
    assert found.checks[0].verdict is not None
    assert found.checks[0].verdict.kind is VerdictKind.REGRESSION
    assert [(check.scenario, check.held) for check in found.others] == [("tokenize", False)]
    assert [each.scenario for each in found.explanations] == ["launch"]
    assert found.trials == sum(len(parcel.lines) for parcel in SURE) + 120


def test_what_regressed_with_it_is_confirmed_by_its_own_trials() -> None:
    standing = standing_of(GROUND, [SURE, [finish("02-0001-000", SLOW, 0.3, other=0.2)]])
    assert standing.found is not None
    assert [(check.scenario, check.held) for check in standing.found.others] == [("tokenize", True)]


def test_a_finish_is_judged_by_its_trials_and_not_by_what_it_says() -> None:
    for says in (Ending.FOUND, Ending.UNCONFIRMED):
        standing = standing_of(GROUND, [SURE, [finish("02-0001-000", SLOW, 0.0, ending=says)]])
        assert (standing.phase, standing.found) == (Phase.SEARCH, None)
        assert [each.sha for each in standing.evidence.refusals] == [SHAS[SLOW]]


def test_who_is_refused_gets_more_blocks_as_does_its_parent_before_anybody_is_suspected() -> None:
    rounds = [SURE, [finish("02-0001-000", SLOW, 0.0)]]
    (refusal,) = standing_of(GROUND, rounds).evidence.refusals
    assert refusal.needed == {SHAS[SLOW]: 15, SHAS[SLOW - 1]: 15}
    assert 0 < refusal.blocks <= 30
    one = standing_of(GROUND, [*rounds, [worker("03-0001-000", [SLOW])]])
    assert one.phase is Phase.SEARCH
    assert GROUND.range.wanting(one.evidence) == [SLOW]  # its parent, counted from 1


def test_a_suspect_that_was_refused_is_not_compared_again() -> None:
    rounds = [SURE, [finish("02-0001-000", SLOW, 0.0)], [worker("03-0001-000", [SLOW, SLOW - 1])]]
    found = standing_of(GROUND, rounds).found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.UNCONFIRMED, None)
    assert found.suspects == (COMMITS[SLOW],)
    assert "suspected again" in found.reason
    assert "nobody is blamed" in found.reason


def test_after_a_refusal_somebody_else_may_be_found_and_is_confirmed() -> None:
    lines = [
        *blocks(Part.RANGE, GOOD, SHAS[7], 0.3, 8),
        *blocks(Part.RANGE, GOOD, SHAS[3], 0.0, 8),
        *blocks(Part.RANGE, GOOD, SHAS[4], 0.3, 3),  # a slow moment of the machine
        *blocks(Part.RANGE, GOOD, SHAS[5], 0.3, 8),
    ]
    rounds = [[Parcel("01-0001-000", RESULT_OF_WORKER, tuple(lines))]]
    assert standing_of(GROUND, rounds).belief.suspects[0].commits == (5,)
    rounds.append([finish("02-0001-000", 4, 0.0)])
    more = [
        *blocks(Part.RANGE, GOOD, SHAS[3], 0.0, 3),
        *blocks(Part.RANGE, GOOD, SHAS[4], 0.0, 14),
    ]
    rounds.append([Parcel("03-0001-000", RESULT_OF_WORKER, tuple(more))])
    assert standing_of(GROUND, rounds).phase is Phase.FINISH
    found = standing_of(GROUND, [*rounds, [finish("04-0001-000", 5, 0.3)]]).found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.FOUND, COMMITS[5])
    assert any(SHAS[4][:12] in note for note in found.notes)


def test_when_the_capacity_is_spent_a_refusal_is_the_end() -> None:
    ground = replace(GROUND, range=replace(GROUND.range, capacity=50))
    rounds = [SURE, [finish("02-0001-000", SLOW, 0.0)]]
    found = standing_of(ground, rounds).found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.UNCONFIRMED, None)
    assert "fresh blocks against its parent say" in found.reason


def test_a_finish_that_names_somebody_else_is_not_used() -> None:
    rounds = [SURE, [finish("02-0001-000", 2, 0.3)]]
    assert standing_of(GROUND, rounds).phase is Phase.FINISH


def cut_short(parcel: Parcel, blocks_kept: int) -> Parcel:
    """Its runner was stopped after so many blocks."""
    kept = tuple(line for line in parcel.lines if line[3].block < blocks_kept)
    return replace(parcel, lines=kept)


STOPPED = finish("02-0001-000", SLOW, 0.3, ending=Ending.INTERRUPTED)


def test_what_was_decided_before_a_finish_was_stopped_counts() -> None:
    found = standing_of(GROUND, [SURE, [STOPPED]]).found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.FOUND, COMMITS[SLOW])


def test_a_finish_that_could_not_measure_refuses_nobody() -> None:
    told = STOPPED.result.found
    assert told is not None
    check = replace(told.checks[0], held=False, why_not="its set-up failed: no space left")
    broken = replace(told.nobody(Ending.UNCONFIRMED, ""), checks=(check,))
    parcel = replace(STOPPED, result=replace(STOPPED.result, found=broken), lines=())
    assert standing_of(GROUND, [SURE, [parcel]]).phase is Phase.FINISH
    found = standing_of(GROUND, [SURE, [parcel], [parcel]]).found
    assert found is not None
    assert found.ending is Ending.FAILED
    assert "no space left" in found.reason


@pytest.mark.parametrize("lost", [(), (cut_short(STOPPED, 2),)])
def test_a_finish_that_came_to_no_end_is_tried_twice(lost: Sequence[Parcel]) -> None:
    assert standing_of(GROUND, [SURE, lost]).phase is Phase.FINISH
    found = standing_of(GROUND, [SURE, lost, lost]).found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.FAILED, None)
    assert "nobody is blamed" in found.reason


def test_when_all_workers_are_lost_twice_the_search_has_failed() -> None:
    assert standing_of(GROUND, [[]]).phase is Phase.SEARCH
    found = standing_of(GROUND, [[], []]).found
    assert found is not None
    assert found.ending is Ending.FAILED
    assert "could not be measured" in found.reason


def test_when_good_does_not_run_another_round_is_not_tried() -> None:
    why = "`launch` does not run at GOOD: no module named torch"
    gave_up = worker("01-0001-000", [], failed=why, for_good=True)
    found = standing_of(GROUND, [[gave_up, replace(gave_up, place="01-0001-001")]]).found
    assert found is not None
    assert found.ending is Ending.FAILED
    assert why in found.reason
    # One runner alone may be at fault.
    assert standing_of(GROUND, [[gave_up, worker("01-0001-001", [0], 1)]]).found is None


def test_after_the_last_round_the_likeliest_are_told() -> None:
    rounds = [[worker(f"{number:02}-0001-000", [7], 1)] for number in range(1, MOST_ROUNDS + 1)]
    found = standing_of(GROUND, rounds).found
    assert found is not None
    assert found.ending is Ending.CAPACITY
    assert found.posterior


def test_a_range_that_is_no_slower_ends_without_a_finish() -> None:
    same = blocks(Part.RANGE, GOOD, SHAS[-1], 0.0, 20)
    found = standing_of(GROUND, [[Parcel("01-0001-000", RESULT_OF_WORKER, tuple(same))]]).found
    assert found is not None
    assert (found.ending, found.culprit) == (Ending.NO_CULPRIT, None)


# --- merging -----------------------------------------------------------------------------------


def test_the_order_of_arrival_does_not_matter() -> None:
    first = worker("01-0001-000", [7, 3], skipped={SHAS[1]: "does not build"})
    second = worker("02-0001-000", [4])
    assert merge([second, first], ASKED) == merge([first, second], ASKED)


def test_each_workers_machine_has_a_level_of_its_own() -> None:
    evidence = merge(SURE, ASKED)
    assert {block.machine for block in evidence.blocks} == {
        "01-0001-000: cpu", "01-0001-001: cpu",
    }  # fmt: skip
    one = [block.sha for block in evidence.blocks if block.machine.startswith("01-0001-000")]
    assert one == [SHAS[number] for number in (7, 4, 3, 5) for _ in range(6)]


def test_a_commit_that_somebody_measured_is_not_left_out() -> None:
    could_not = worker("01-0001-000", [7], skipped={SHAS[1]: "no network", SHAS[2]: "no module"})
    could = worker("01-0001-001", [1])
    assert set(merge([could_not, could], ASKED).skipped) == {SHAS[2]}


def test_evidence_comes_back_from_its_document() -> None:
    evidence = merge([worker("01-0001-000", [7, 3], skipped={SHAS[1]: "no"}), SURE[1]], ASKED)
    assert evidence_from_row(json.loads(json.dumps(evidence_to_row(evidence)))) == evidence
    assert evidence_from_row(evidence_to_row(Evidence())) == Evidence()
    refused = evidence.refusing(Refusal(SHAS[3], 30, {SHAS[3]: 6, SHAS[2]: 4}))
    assert evidence_from_row(json.loads(json.dumps(evidence_to_row(refused)))) == refused
    assert refused.spent_blocks == len(evidence.blocks) + 30


# --- hostile and foreign parcels ---------------------------------------------------------------


def test_a_parcel_comes_back_as_it_was_written() -> None:
    for parcel in (worker("x", [7, 3], skipped={SHAS[1]: "no"}), finish("x", SLOW, 0.3)):
        read, why = read_parcel("x", members(parcel), ASKED)
        assert (read is not None, why) == (True, "")
        assert read is not None
        assert read.lines == parcel.lines
        assert read.result.skipped == parcel.result.skipped


def test_a_line_that_was_cut_off_in_writing_is_none() -> None:
    parcel = worker("x", [7])
    cut = members(parcel)
    cut[TRIALS] = cut[TRIALS][:-20]
    read, _ = read_parcel("x", cut, ASKED)
    assert read is not None
    assert read.lines == parcel.lines[:-1]


@pytest.mark.parametrize(
    ("parcel", "said"),
    [
        (worker("x", [7], quest=replace(QUEST, bad="f" * 40)), "another search"),
        (worker("x", [7], definition="other"), "definition has changed"),
        (worker("x", [7], skipped={"e" * 40: "no"}), "not in the range"),
        (
            Parcel("x", RESULT_OF_WORKER, tuple(blocks(Part.RANGE, GOOD, "e" * 40, 0.1, 1))),
            "not what was asked",
        ),
        (
            Parcel("x", RESULT_OF_WORKER, tuple(blocks(Part.RANGE, SHAS[0], SHAS[1], 0.1, 1))),
            "not what was asked",
        ),
        (
            Parcel("x", RESULT_OF_WORKER, tuple(blocks(Part.RANGE, GOOD, SHAS[1], -0.9999, 1))),
            "no measurement",
        ),
        (
            Parcel("x", RESULT_OF_WORKER, tuple(blocks(Part.RANGE, GOOD, SHAS[1], 1e4, 1))),
            "time-out",
        ),
        (
            Parcel("x", RESULT_OF_WORKER, tuple(blocks(Part.RANGE, GOOD, SHAS[1], 0, 1, "other"))),
            "another scenario",
        ),
    ],
)
def test_a_parcel_that_cannot_be_true_is_not_used(parcel: Parcel, said: str) -> None:
    read, why = read_parcel("x", members(parcel), ASKED)
    assert read is None
    assert said in why


@pytest.mark.parametrize(
    "bad",
    [
        {RESULT: b"{"},
        {RESULT: b"[]"},
        {RESULT: b'{"schema": 1}'},
        {TRIALS: b"nonsense\n"},
        {TRIALS: b'{"part": "range", "base": "x", "head": "y", "trial": {}}\n'},
        {TRIALS: b'{"part": "other"}\n'},
        {TRIALS: b"[" * 5000 + b"\n"},
        {TRIALS: b"\xff\xfe\n"},
    ],
)
def test_what_is_no_parcel_is_refused_with_a_reason(bad: dict[str, bytes]) -> None:
    read, why = read_parcel("x", members(worker("x", [7])) | bad, ASKED)
    assert read is None
    assert why


def test_two_trials_of_one_arm_are_refused() -> None:
    parcel = worker("x", [7], 1)
    twice = replace(parcel, lines=(*parcel.lines, parcel.lines[0]))
    assert read_parcel("x", members(twice), ASKED)[0] is None


def test_what_a_finish_found_survives_the_way() -> None:
    result = finish("x", SLOW, 0.3).result
    back = result_from_json(result_to_json(result).encode())
    assert back.found is not None
    assert back.found.culprit == COMMITS[SLOW]
    assert result.found is not None
    assert back.found.explanations == result.found.explanations


def test_the_document_of_a_culprit_is_read_as_it_was_written() -> None:
    standing = standing_of(GROUND, [SURE, [finish("02-0001-000", SLOW, 0.3, other=0.2)]])
    assert standing.found is not None
    document = culprit_to_json(standing.found)
    back = culprit_from_json(json.dumps(document))
    assert culprit_to_json(back) == document
    assert back.checks[0].verdict is not None
    assert back.checks[0].verdict.interval is not None


# --- noise of builds ---------------------------------------------------------------------------


def test_a_calibration_that_saw_builds_differ_widens_what_a_build_may_do() -> None:
    assert bias_sd_of(Limits(0.05, 0.02, 0.05)) == 0.005
    assert bias_sd_of(Limits(0.1, 0.06, 0.05, bias=0.06)) == 0.03
