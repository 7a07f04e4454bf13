"""Stories of the trusted jobs: which runs they believe, who they are, what they say twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conversation import reactions
from hub.faults import answer
from hub.state import Event
from office import Office
from standin import MEASURE, running

from ailab_bot.errors import UserError
from ailab_bot.gh.actions import artifact_name
from ailab_bot.model.verdict import ImportChange

GATE = "ailab/gate"
LOCKED = "Unable to create comment because issue is locked."


def test_our_file_started_by_another_event_measured_no_change(office: Office) -> None:
    pull = office.open_pull()
    run = office.github.start_run(None, workflow=MEASURE, sha=pull.head_sha, branch="feature")
    assert run.event == "push"
    office.deliver()
    office.github.finish_run(run, "failure")
    office.deliver()
    assert office.github.status(pull.head_sha, GATE) is None


@pytest.mark.parametrize("action", ["in_progress", "completed"])
def test_a_run_of_another_repository_is_none_of_ours(action: str, office: Office) -> None:
    """The control: the same event with our repository's number sets the status."""
    pull = office.open_pull()
    run = office.github.start_run(pull)
    if action == "completed":
        office.github.finish_run(run, "cancelled")
    event = office.github.event("workflow_run", action)
    payload = office.github.payload_of(event)
    payload["workflow_run"]["repository"]["id"] += 1
    other = Event(event.name, event.action, json.dumps(payload))
    office.github.events.append(other)
    office.run_job(other)
    assert office.github.status(pull.head_sha, GATE) is None
    office.run_job(event)
    assert office.github.status(pull.head_sha, GATE) is not None


def test_a_bot_id_that_is_not_the_tokens_is_an_error_that_names_it(office: Office) -> None:
    github = office.github
    app = github.user("our-app[bot]", "write", 4_321)
    github.server.tokens[github.token] = (app, True)
    pull = office.open_pull()
    with pytest.raises(UserError, match="the token's own is 4321"):
        office.begin(pull)
    (run,) = github.runs.values()
    with pytest.raises(UserError) as caught:
        office.finish(run)
    assert "bot_id: 4321" in caught.value.advice
    assert office.gate(pull).state == "error"
    assert "bot_id is 41898282, and the token's own is 4321" in (
        office.gate(pull).description or ""
    )
    for _ in range(8):
        github.wait(1800)
        office.sweep()
        assert office.gate(pull).state == "error"
    assert len([comment for comment in github.comments if comment.author is app]) <= 1


@pytest.mark.parametrize(("configured", "answers"), [(4_321, False), (4_322, True)])
def test_an_apps_bot_does_not_obey_itself(configured: int, answers: bool, tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, config=f"github: {{bot_id: {configured}}}\n")
        pull = office.open_pull()
        github.user("our-app[bot]", "write", 4_321)
        comment = office.say(pull, "our-app[bot]", "/ailab help")
        assert bool(reactions(comment)) is answers


def test_a_report_delivered_twice_marks_lines_once(office: Office) -> None:
    pull = office.open_pull({"train.py": "import os\nimport torch\n"})
    cause = ImportChange("torch", 0.2, 900, "train.py:2")
    office.measure(pull, slower={"train": 0.2}, imports={"train": cause})
    assert len(office.github.checks) == 1
    office.run_job(office.github.event("workflow_run", "completed"))
    assert len(office.github.checks) == 1
    assert len(office.github.bot_comments(pull)) == 1


def test_a_locked_conversation_costs_the_comment_only(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.will("issues/create-comment", *[answer(403, LOCKED) for _ in range(5)])
    office.finish(run)
    assert office.statuses[-1] == 0
    assert office.gate(pull).state == "success"
    assert not office.github.bot_comments(pull)
    assert "::warning" in office.said
    assert "No comment was posted" in office.said


def test_an_attempt_that_begins_while_an_older_one_is_read_speaks_for_the_commit(
    office: Office,
) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    store = office.github.server.blob

    def meanwhile(name: str) -> bytes | None:
        if run.attempt == 1:
            office.github.press_rerun(run)
            office.github.begin(run)
        return store(name)

    office.github.server.blob = meanwhile
    office.github.finish_run(run, artifacts={artifact_name(1, 0): office.parcel(shard, {})})
    office.handled = len(office.github.events) - 1
    office.run_job(office.github.events[-1])
    assert run.attempt == 2, "somebody pressed the button while the artifact was read"
    states = [status.state for status in office.github.statuses(pull.head_sha)]
    assert states == ["pending"]
    office.lose_reports()
    office.finish(run, slower={"train": 0.3})
    assert office.gate(pull).state == "failure"


def edited(office: Office) -> None:
    """A better title: the workflow starts, and its jobs are skipped."""
    (pull,) = office.github.pulls.values()
    office.github.edit(pull, "A better title")
    run = office.begin(pull)
    office.github.finish_run(run, "skipped")
    office.deliver()


@pytest.mark.parametrize("slower", [0.0, 0.2])
@pytest.mark.parametrize("since", ["base defines it otherwise", "its artifacts expired"])
def test_an_edited_title_brings_the_last_status_back_as_it_was(
    since: str, slower: float, office: Office
) -> None:
    pull = office.open_pull()
    run = office.measure(pull, slower={"train": slower})
    was = office.gate(pull)
    if since == "its artifacts expired":
        office.github.wait(40 * 86_400)
        for artifact in run.artifacts:
            artifact.expired = True
    else:
        office.merge_to_main(
            {".ailab/scenarios/train.yml": "id: train\ncommand: [python, train.py, --new]\n"}
        )
    edited(office)
    now = office.gate(pull)
    assert now.id != was.id, "it was pending for a moment"
    assert (now.state, now.description, now.url) == (was.state, was.description, was.url)
    assert (run.attempt, run.status) == (1, "completed")
