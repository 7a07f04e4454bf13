"""Stories of measuring again: what is asked for, what GitHub refuses, what is kept."""

from __future__ import annotations

from pathlib import Path

from conversation import reactions, replies
from hub.faults import answer, lost
from office import Office
from standin import running

RERUN, FAILED = "actions/re-run-workflow", "actions/re-run-workflow-failed-jobs"
MANY_POOLS = "github: {runners: {cpu: {labels: [ubuntu-latest], count: 16}}}\n"


def asked(office: Office, operation: str) -> int:
    return sum(request.operation == operation for request in office.github.requests)


def test_a_strangers_waiting_run_does_not_override_anothers_result(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull)
    copy = office.github.open_pull("stranger", head="copy", sha=pull.head_sha, fork=True)
    run = office.github.start_run(copy)
    office.github.finish_run(run, "action_required")
    office.handled = len(office.github.events) - 1
    office.deliver()
    assert office.gate(pull).state == "success"


def test_a_run_that_waits_for_approval_is_not_started_by_a_command(office: Office) -> None:
    """That would approve it."""
    pull = office.open_pull(author="stranger", fork=True)
    run = office.github.start_run(pull)
    office.github.finish_run(run, "action_required")
    office.handled = len(office.github.events) - 1
    office.deliver()
    comment = office.say(pull, "stranger", "/ailab rerun")
    assert reactions(comment) == ["confused"]
    assert "wait for a maintainer's approval" in replies(office, pull)[0]
    assert (run.attempt, run.status) == (1, "completed")
    assert asked(office, RERUN) == asked(office, FAILED) == 0


def test_a_run_that_github_does_not_start_again_is_said_to_be_too_old(office: Office) -> None:
    pull = office.open_pull()
    run = office.measure(pull, slower={"train": 0.2})
    said = office.gate(pull).description
    office.github.will(RERUN, answer(403, "Unable to retry this workflow run: it is too old"))
    comment = office.say(pull, "alice", "/ailab rerun")
    assert reactions(comment) == ["confused"]
    assert "may be older than 30 days" in replies(office, pull)[0]
    assert run.attempt == 1
    assert (office.gate(pull).state, office.gate(pull).description) == ("failure", said)


def test_of_two_commands_at_once_the_second_only_sees(office: Office) -> None:
    """Between looking and asking, another job has started the run again."""
    pull = office.open_pull()
    run = office.measure(pull, slower={"train": 0.2})
    office.github.will(RERUN, lost(403))
    comment = office.say(pull, "alice", "/ailab rerun")
    assert reactions(comment) == ["eyes"]
    assert (run.attempt, run.status) == (2, "queued")
    assert replies(office, pull) == []


def test_what_is_too_much_to_name_is_left_to_github(tmp_path: Path) -> None:
    names = [f"a-scenario-of-a-long-name-{number:02}" for number in range(16)]
    with running() as github:
        office = Office(tmp_path, github, scenarios=names, config=MANY_POOLS)
        pull = office.open_pull()
        run = office.begin(pull)
        office.finish(run, lose=range(16))
        office.again(run, lose=range(16))
        assert office.gate(pull).state == "error"
        before = asked(office, FAILED)
        assert reactions(office.say(pull, "alice", "/ailab rerun failed")) == ["rocket"]
        assert asked(office, FAILED) == before + 1
        assert asked(office, RERUN) == 0
        assert run.attempt == 3
        assert github.status(pull.head_sha, "ailab/request") is None


def test_nine_partial_reruns_keep_every_scenario(tmp_path: Path) -> None:
    names = [f"s{number:02}" for number in range(16)]
    with running() as github:
        office = Office(tmp_path, github, scenarios=names, config=MANY_POOLS)
        pull = office.open_pull()
        run = office.measure(pull)
        for _ in range(9):
            office.say(pull, "alice", "/ailab rerun s00")
            office.again(run)
        assert office.gate(pull).state == "success"
        assert office.gate(pull).description.endswith("16 scenarios")
        office.say(pull, "alice", "/ailab rerun")
        before = github.server.blob_requests
        office.again(run)
        assert github.server.blob_requests == before + 16, "no older attempt is read any more"


def test_what_has_expired_is_no_result_and_is_not_asked_for(tmp_path: Path) -> None:
    """A repository keeps artifacts for a day, and a part is measured again after that."""
    with running() as github:
        office = Office(tmp_path, github, scenarios=("train", "serve"))
        pull = office.open_pull()
        run = office.measure(pull)
        github.wait(2 * 86_400)
        for artifact in run.artifacts:
            artifact.expired = True
        office.say(pull, "alice", "/ailab rerun serve")
        before = asked(office, "actions/download-artifact")
        office.again(run)
        assert asked(office, "actions/download-artifact") == before + 1
        assert office.gate(pull).state == "error"
        assert "1 of 2 scenarios not measured: no result arrived" in office.gate(pull).description


def test_a_scenario_whose_runner_nobody_has_is_not_asked_for(office: Office) -> None:
    office.merge_to_main(
        {".ailab/scenarios/big.yml": "id: big\ncommand: [python, train.py]\nrunner: gpu\n"}
    )
    pull = office.open_pull()
    run = office.measure(pull)
    assert office.gate(pull).state == "success"
    for command in ("/ailab run big", "/ailab rerun big"):
        assert reactions(office.say(pull, "alice", command)) == ["confused"]
        assert "`big` needs `gpu` runners" in replies(office, pull)[-1]
    assert (run.attempt, run.status) == (1, "completed")
    assert office.gate(pull).state == "success"


def test_a_repository_without_runners_for_its_only_scenarios_is_refused(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=())
        office.merge_to_main(
            {".ailab/scenarios/big.yml": "id: big\ncommand: [python, train.py]\nrunner: gpu\n"}
        )
        pull = office.open_pull()
        office.measure(pull)
        assert office.gate(pull).state == "error"
        assert office.gate(pull).description.startswith("Refused: No scenario has runners (big)")


def test_a_repository_of_the_control_profile_is_refused(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, config="github: {profile: control}\n")
        pull = office.open_pull()
        office.measure(pull)
        assert office.gate(pull).state == "error"
        assert office.gate(pull).description.startswith("Refused: A control repository measures")
