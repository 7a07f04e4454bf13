"""Stories in which GitHub, a runner or somebody's code misbehaves: no failure is ever a success."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hub.faults import answer, drop, lost, secondary_limit
from office import Office, drawn, zip_of, zipped
from shard_results import result_of
from standin import running

from ailab_bot.errors import AilabError
from ailab_bot.gh.api import client_from
from ailab_bot.model.exchange import result_to_json
from ailab_bot.model.trial import Arm, Trial

STATUS, COMMENT = "repos/create-commit-status", "issues/create-comment"


def swapped(trials: list[Trial]) -> list[Trial]:
    other = {Arm.BASE: Arm.HEAD, Arm.HEAD: Arm.BASE}
    return [replace(trial, arm=other[trial.arm]) for trial in trials]


def too_fast(trials: list[Trial]) -> list[Trial]:
    return [replace(t, metrics={"ttfb_s": 0.001}, phases={}) for t in trials]


FORGERIES = {
    "0.001 s": lambda o, s: zipped(too_fast(drawn("train", s.seed, 0)), result_of(o, s)),
    "swapped arms": lambda o, s: zipped(swapped(drawn("train", s.seed, 0.3)), result_of(o, s)),
    "another head": lambda o, s: zipped(
        drawn("train", s.seed, 0), result_of(o, s, head="0" * 39 + "1")
    ),
    "another base": lambda o, s: zipped(drawn("train", s.seed, 0), result_of(o, s, base=s.head)),
    "another seed": lambda o, s: zipped(
        drawn("train", s.seed + 1, 0), result_of(o, s, seed=s.seed + 1)
    ),
    "chosen blocks": lambda o, s: zipped(
        [t for t in drawn("train", s.seed, 0.3) if t.block % 3], result_of(o, s)
    ),
    "no trial": lambda o, s: zipped([], result_of(o, s)),
    "a verdict": lambda o, s: zip_of(
        {"trials.jsonl": "", "shard.json": json.dumps({"conclusion": "success"})}
    ),
    "a verdict beside it": lambda o, s: zip_of(
        {
            "trials.jsonl": "",
            "shard.json": result_to_json(result_of(o, s)),
            "report.json": json.dumps({"conclusion": "success"}),
        }
    ),
    "a truncated zip": lambda o, s: o.parcel(s, {})[:-200],
    "no zip": lambda o, s: b"success",
    "a NaN": lambda o, s: zip_of(
        {
            "trials.jsonl": '{"schema": 1, "scenario": "train", "block": 0, "order": 0, '
            '"arm": "base", "outcome": "ok", "metrics": {"ttfb_s": NaN}}\n',
            "shard.json": result_to_json(result_of(o, s)),
        }
    ),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_result_is_no_result(what: str, office: Office) -> None:
    """Test 7 of the nineteen: invalid, never success."""
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    forged = FORGERIES[what](office, shard)
    for attempt in (1, 2):
        name = f"ailab-trials-{attempt}-0"
        office.github.finish_run(run, artifacts={name: forged})
        office.deliver()
        assert office.gate(pull).state != "success"
        if run.status == "queued":
            office.github.begin(run)
            office.deliver()
    assert office.gate(pull).state == "error"
    assert "Not measured" in office.comment_of(pull)


def test_an_honest_result_of_the_same_making_is_one(office: Office) -> None:
    """The forgeries above fail for what they forge, not for how they are made."""
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    honest = zipped(drawn("train", shard.seed, 0), result_of(office, shard))
    office.github.finish_run(run, artifacts={"ailab-trials-1-0": honest})
    office.deliver()
    assert office.gate(pull).state == "success"


def test_two_bad_answers_then_one_final_state(office: Office) -> None:
    """Test 14 of the nineteen."""
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will(STATUS, answer(502), answer(502))
    office.finish(run)
    states = [s.state for s in office.github.statuses(pull.head_sha) if s.context == "ailab/gate"]
    assert states == ["success", "pending"]


def test_a_status_that_cannot_be_set_fails_the_job_and_the_sweeper_ends_it(
    office: Office,
) -> None:
    """Test 14 of the nineteen."""
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will(STATUS, *[answer(502) for _ in range(20)])
    with pytest.raises(AilabError):
        office.finish(run)
    office.github.server.faults[STATUS].clear()
    assert office.gate(pull).state == "pending"
    office.github.wait(15 * 60)
    assert office.sweep() == 0
    assert office.gate(pull).state == "success"
    assert "No change" in office.comment_of(pull)


def test_a_stale_pending_is_swept_and_a_live_one_is_not(office: Office) -> None:
    """Test 15 of the nineteen: one final state each, however often the sweeper comes."""
    stale, live = office.open_pull(head="stale"), office.open_pull(head="live")
    run = office.begin(stale)
    office.plan(run)
    office.begin(live)
    office.github.finish_run(run, "failure")
    office.lose_reports()
    office.sweep()
    assert office.gate(stale).state == "pending", "the report may still come"
    office.github.wait(11 * 60)
    office.sweep()
    assert office.gate(stale).state == "pending"
    assert run.attempt == 2, "what was lost is measured once more"
    assert office.gate(live).state == "pending"
    office.github.wait(27 * 3600)
    for _ in range(3):
        office.sweep()
        office.github.wait(1800)
    for pull in (stale, live):
        states = [s.state for s in office.github.statuses(pull.head_sha)]
        assert [state for state in states if state != "pending"] == ["error"]
        assert states[0] == "error"
        assert "No result after 27 h" in office.gate(pull).description


def test_a_comment_whose_answer_is_lost_is_not_posted_twice(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will(COMMENT, lost(502))
    office.finish(run)
    assert len(office.github.bot_comments(pull)) == 1
    assert office.gate(pull).state == "success"


def test_a_comment_that_was_deleted_is_posted_anew(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull)
    office.github.delete_comment(office.github.bot_comment(pull))
    office.push(pull, {"train.py": "import os  # 2\n"})
    office.measure(pull)
    assert "No change" in office.comment_of(pull)


def test_a_comment_that_is_deleted_while_it_is_edited_is_posted_anew(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull)
    office.push(pull, {"train.py": "import os  # 2\n"})
    run = office.begin(pull)
    office.github.will("issues/update-comment", answer(404, "Not Found"))
    office.finish(run)
    assert office.gate(pull).state == "success"
    assert "What follows" not in office.comment_of(pull)


def test_somebody_elses_comment_with_our_marker_is_left_alone(office: Office) -> None:
    pull = office.open_pull()
    theirs = office.say(pull, "mallory", "<!-- ailab:comment -->\n### ✅ All is well")
    office.measure(pull, slower={"train": 0.2})
    assert theirs.body.endswith("All is well")
    assert "Slower" in office.comment_of(pull)


def test_somebody_elses_status_is_not_believed(office: Office) -> None:
    pull = office.open_pull()
    maria = office.github.user("maria", "write")
    token = office.github.add_token("ghp_maria", maria)
    env = {"AILAB_TOKEN": token}
    run = office.begin(pull)
    client = client_from(
        {**env, "GITHUB_API_URL": office.github.server.url, "GITHUB_REPOSITORY": "acme/models"},
        deadline_s=1e12,
    )
    for context, text in (
        ("ailab/accept", "accepted by user 5 (zoe): fine"),
        ("ailab/request", f"run {run.id} attempt 1 only: nothing"),
    ):
        client.create_status(
            pull.head_sha, context=context, state="success", description=text, url=""
        )
    office.finish(run, slower={"train": 0.2})
    assert office.gate(pull).state == "failure"


def test_attempt_one_that_ends_after_attempt_two_yields(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    first = office.github.event("workflow_run", "completed")
    office.say(pull, "alice", "/ailab rerun")
    (run,) = office.github.runs.values()
    office.again(run)
    assert office.gate(pull).state == "success"
    count = len(office.github.all_statuses)
    office.run_job(first)
    assert len(office.github.all_statuses) == count
    assert office.gate(pull).state == "success"


def test_a_gate_that_is_late_does_not_undo_the_result(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull)
    office.run_job(office.github.event("workflow_run", "in_progress"))
    assert office.gate(pull).state == "success"


def test_a_report_delivered_twice_changes_nothing(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    before = office.comment_of(pull)
    office.run_job(office.github.event("workflow_run", "completed"))
    assert office.comment_of(pull) == before
    assert office.gate(pull).state == "failure"


def test_a_lost_shard_costs_its_own_scenarios_only(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=("a", "b", "c"))
        pull = office.open_pull()
        run = office.begin(pull)
        office.finish(run, lose=[0])
        office.again(run, lose=[0, 1, 2])
        assert office.gate(pull).state == "error"
        assert "1 of 3 scenarios not measured" in office.gate(pull).description
        assert office.comment_of(pull).count("| ⚪") == 2


def test_a_regression_is_a_failure_also_where_another_shard_is_lost(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=("a", "b"))
        pull = office.open_pull()
        run = office.begin(pull)
        office.finish(run, slower={"b": 0.3}, lose=[0])
        office.again(run, lose=[0, 1])
        assert office.gate(pull).state == "failure"
        github.user("maria", "write")
        office.say(pull, "maria", f"/ailab accept {pull.head_sha} it is worth it")
        assert office.gate(pull).state == "failure", "an acceptance does not stand for missing data"
        assert "has no result" in github.bot_comments(pull)[-1].body
        assert github.status(pull.head_sha, "ailab/accept") is None


@pytest.mark.parametrize("fault", [secondary_limit(2), drop(), answer(503)])
def test_reading_survives_what_passes(fault: object, office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will("*", fault)  # type: ignore[arg-type]
    office.finish(run)
    assert office.gate(pull).state == "success"


def test_another_workflow_of_the_same_name_is_not_believed(office: Office) -> None:
    pull = office.open_pull()
    run = office.github.start_run(pull, workflow="evil.yml")
    office.deliver()
    office.github.finish_run(run, artifacts={})
    office.deliver()
    assert office.github.status(pull.head_sha, "ailab/gate") is None


def test_a_broken_configuration_on_base_is_an_error_that_says_so(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.merge_to_main({".ailab/config.yml": "treshold: 0.1\n"})
    office.github.finish_run(run, "failure")
    with pytest.raises(AilabError):
        office.deliver()
    assert office.gate(pull).state == "error"
    assert "config.yml is malformed" in office.gate(pull).description


def test_sixty_four_scenarios_stay_within_the_budget_of_requests(tmp_path: Path) -> None:
    names = [f"scenario-{number:02}" for number in range(64)]
    pools = "github: {runners: {cpu: {labels: [ubuntu-latest], count: 16}}}\n"
    with running() as github:
        office = Office(tmp_path, github, scenarios=names, config=pools)
        pull = office.open_pull()
        office.measure(pull, slower={"scenario-07": 0.2})
        assert office.gate(pull).state == "failure"
        assert len(github.requests) <= 40
        assert github.writes <= 10


def test_an_artifact_that_github_does_not_give_now_is_asked_for_again_by_the_sweeper(
    office: Office,
) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will("blob", *[answer(500) for _ in range(20)])
    with pytest.raises(AilabError):
        office.finish(run)
    assert office.gate(pull).state == "pending"
    assert run.attempt == 1, "nothing is measured again for a failure of GitHub's"
    office.github.server.blob_faults.clear()
    office.github.wait(11 * 60)
    office.sweep()
    assert office.gate(pull).state == "success"


def test_a_comment_that_github_refuses_leaves_the_status_as_it_is(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will(COMMENT, *[answer(500) for _ in range(20)])
    with pytest.raises(AilabError):
        office.finish(run)
    assert office.gate(pull).state == "success"


def test_one_run_that_cannot_be_swept_does_not_stop_the_others(office: Office) -> None:
    broken, fine = office.open_pull(head="broken"), office.open_pull(head="fine")
    runs = [office.begin(pull) for pull in (broken, fine)]
    for run in runs:
        shards = office.plan(run)
        parcels = {f"ailab-trials-1-{s.index}": office.parcel(s, {}) for s in shards}
        office.github.finish_run(run, artifacts=parcels)
    office.handled = len(office.github.events)
    office.github.wait(11 * 60)
    office.github.will("repos/list-commit-statuses-for-ref", *[answer(500) for _ in range(8)])
    assert office.sweep() == 3
    states = {office.gate(pull).state for pull in (broken, fine)}
    assert states == {"pending", "success"}
    office.github.wait(31 * 60)
    assert office.sweep() == 0
    assert {office.gate(pull).state for pull in (broken, fine)} == {"success"}
