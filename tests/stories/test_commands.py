"""Stories of slash commands: who may, what happens, what is answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conversation import reactions, replies
from hub.faults import answer
from hub.state import Pull
from office import Office, assert_golden
from standin import running


@pytest.fixture
def regressed(office: Office) -> tuple[Office, Pull]:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    office.github.user("maria", "write")
    office.github.user("rita", "read")
    return office, pull


def test_the_author_measures_again(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    comment = office.say(pull, "alice", "/ailab rerun")
    assert reactions(comment) == ["rocket"]
    assert office.gate(pull).state == "pending"
    assert office.gate(pull).description == "Waiting to be measured again: all scenarios"
    (run,) = office.github.runs.values()
    office.again(run)
    assert office.gate(pull).state == "success"
    assert replies(office, pull) == []


def test_a_second_rerun_and_a_second_delivery_change_nothing(
    regressed: tuple[Office, Pull],
) -> None:
    office, pull = regressed
    first = office.say(pull, "alice", "/ailab rerun")
    event = office.github.events[-1]
    office.run_job(event)
    second = office.say(pull, "maria", "/ailab rerun train")
    (run,) = office.github.runs.values()
    assert run.attempt == 2
    assert reactions(second) == ["eyes"]
    assert "rocket" in reactions(first)
    assert replies(office, pull) == []


def test_only_what_was_named_is_measured_again(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=("train", "serve", "eval"))
        pull = office.open_pull()
        office.measure(pull, slower={"train": 0.2, "serve": 0.2})
        office.say(pull, "alice", "/ailab rerun serve")
        (run,) = github.runs.values()
        github.begin(run)
        office.deliver()
        assert [shard.scenarios for shard in office.plan(run)] == [("serve",)]
        assert office.gate(pull).description.startswith("Measuring 1 scenario on 1 runner")
        office.finish(run)
        assert office.gate(pull).state == "failure"
        assert office.gate(pull).description.startswith("train +")
        assert "and 1 more" not in office.gate(pull).description


def test_a_scenario_that_was_left_out_is_added(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=("train",))
        office.merge_to_main(
            {".ailab/scenarios/night.yml": "id: night\ncommand: [x]\ntiers: [release]\n"}
        )
        pull = office.open_pull()
        office.measure(pull)
        assert "`night`" in office.comment_of(pull)
        comment = office.say(pull, "alice", "/ailab run night")
        assert reactions(comment) == ["rocket"]
        (run,) = github.runs.values()
        office.again(run, slower={"night": 0.3})
        assert office.gate(pull).state == "failure"
        office.say(pull, "alice", "/ailab rerun")  # and it stays a part of the change
        office.again(run)
        assert office.gate(pull).description.endswith("2 scenarios")


def test_what_failed_is_measured_again(tmp_path: Path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=("train", "serve"))
        pull = office.open_pull()
        run = office.begin(pull)
        office.finish(run, lose=[1])
        assert run.attempt == 2, "a lost shard is measured once more by itself"
        assert office.gate(pull).state == "pending"
        office.again(run, lose=[0, 1])
        assert run.attempt == 2, "and not twice"
        assert office.gate(pull).state == "error"
        assert office.gate(pull).description.endswith("/ailab rerun failed")
        assert_golden("infra", office.comment_of(pull))
        office.say(pull, "alice", "/ailab rerun failed")
        office.again(run)
        assert office.gate(pull).state == "success"
        comment = office.say(pull, "alice", "/ailab rerun failed")
        assert reactions(comment) == ["confused"]
        assert "nothing is without a result" in replies(office, pull)[0]


def test_a_maintainer_accepts_and_the_gate_opens_for_that_commit(
    regressed: tuple[Office, Pull],
) -> None:
    office, pull = regressed
    comment = office.say(pull, "maria", f"/ailab accept {pull.head_sha[:10]} needed for #12 @all")
    assert reactions(comment) == ["rocket"]
    assert office.gate(pull).state == "success"
    assert office.gate(pull).description.startswith("Accepted by maria: needed for #12")
    assert_golden("accepted", office.comment_of(pull))
    record = office.github.status(pull.head_sha, "ailab/accept")
    assert record is not None
    maria = office.github.users["maria"].id
    assert record.description == f"accepted by user {maria} (maria): needed for #12 @all"
    office.run_job(office.github.event("workflow_run", "completed"))
    assert office.gate(pull).state == "success", "a report delivered again keeps the acceptance"
    office.push(pull, {"train.py": "import os  # other\n"})
    office.measure(pull, slower={"train": 0.2})
    assert office.gate(pull).state == "failure", "another commit is another question"


@pytest.mark.parametrize(
    ("who", "text", "says"),
    [
        ("alice", "/ailab accept {sha} it is mine", "Nobody accepts a regression of their own"),
        ("rita", "/ailab accept {sha} I like it", "is for who may write here, except the author"),
        ("maria", "/ailab accept", "has to name it"),
        ("maria", "/ailab accept because I say so", "has to name it"),
        ("maria", "/ailab accept {sha}", "needs a reason"),
        ("maria", "/ailab accept 0123456789 fine", "is not the head of this pull request"),
        ("rita", "/ailab rerun", "is for the author, or who may write here"),
        ("rita", "/ailab cancel", "is for the author, or who may write here"),
        ("maria", "/ailab reurn", "Did you mean `/ailab rerun"),
        ("maria", "/ailab", "The command is missing."),
        ("maria", "/AILAB rerun", "lower case"),
        ("maria", "/ailab rerun trian", "Did you mean `train`?"),
        ("maria", "/ailab rerun\n/ailab cancel", "One command per comment"),
        ("maria", "/ailab cancel", "nothing is running"),
    ],
)
def test_a_refusal_says_why_and_what_to_write(
    who: str, text: str, says: str, regressed: tuple[Office, Pull]
) -> None:
    """Test 5 of the nineteen is among these."""
    office, pull = regressed
    before = len(office.github.all_statuses)
    comment = office.say(pull, who, text.format(sha=pull.head_sha))
    assert reactions(comment) == ["confused"]
    (reply,) = replies(office, pull)
    assert says in reply
    assert len(office.github.all_statuses) == before
    assert office.gate(pull).state == "failure"
    office.run_job(office.github.event("issue_comment"))
    assert len(replies(office, pull)) == 1, "delivered twice, answered once"


def test_a_member_who_may_only_read_is_refused(regressed: tuple[Office, Pull]) -> None:
    """Test 4 of the nineteen: `author_association` says MEMBER, the endpoint says read."""
    office, pull = regressed
    comment = office.github.comment(pull, "rita", f"/ailab accept {pull.head_sha} fine")
    event = office.github.event("issue_comment")
    payload = office.github.payload_of(event)
    payload["comment"]["author_association"] = "MEMBER"
    office.github.events[-1] = replace(event, payload=json.dumps(payload))
    office.deliver()
    assert reactions(comment) == ["confused"]
    assert "is for who may write here, except the author" in replies(office, pull)[0]
    assert office.github.status(pull.head_sha, "ailab/accept") is None
    assert office.gate(pull).state == "failure"


def test_rights_that_github_does_not_tell_are_none(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    office.github.will("repos/get-collaborator-permission-level", *[answer(500) for _ in range(10)])
    comment = office.github.comment(pull, "maria", f"/ailab accept {pull.head_sha} fine")
    office.deliver()
    assert reactions(comment) == ["confused"]
    assert "did not say whether you may" in replies(office, pull)[0]
    assert office.gate(pull).state == "failure"


def test_a_login_that_changed_hands_has_no_rights(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    comment = office.github.comment(pull, "maria", f"/ailab accept {pull.head_sha} fine")
    office.github.users["maria"].id += 1  # between the comment and the look-up
    office.deliver()
    assert reactions(comment) == ["confused"]
    assert office.gate(pull).state == "failure"


@pytest.mark.parametrize(
    "body",
    [
        "Write `/ailab rerun` to measure again",
        "> /ailab rerun",
        "```\n/ailab rerun\n```",
        "# /ailab rerun",
        "<!-- /ailab rerun -->",
        " /ailab rerun",
        "Thanks!\n\n/ailab rerun",
        "/ailabrerun",
    ],
)
def test_what_only_looks_like_a_command_is_ignored(
    body: str, regressed: tuple[Office, Pull]
) -> None:
    office, pull = regressed
    comment = office.say(pull, "alice", body)
    assert reactions(comment) == []
    assert replies(office, pull) == []
    assert office.gate(pull).state == "failure"


def test_edited_comments_closed_pull_requests_and_plain_issues_are_ignored(
    regressed: tuple[Office, Pull],
) -> None:
    office, pull = regressed
    comment = office.say(pull, "alice", "hello")
    office.github.edit_comment(comment, "/ailab rerun")
    office.deliver()
    issue = office.github.open_issue("alice")
    on_issue = office.github.comment(issue, "alice", "/ailab rerun")
    office.deliver()
    office.github.close(pull)
    on_closed = office.say(pull, "alice", "/ailab rerun")
    assert [reactions(each) for each in (comment, on_issue, on_closed)] == [[], [], []]
    assert replies(office, pull) == []


def test_a_running_measurement_is_cancelled(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    comment = office.say(pull, "alice", "/ailab cancel")
    assert reactions(comment) == ["rocket"]
    office.deliver()
    assert run.conclusion == "cancelled"
    assert office.gate(pull).state == "error"
    assert office.gate(pull).description.startswith("Cancelled")
    assert_golden("cancelled", office.comment_of(pull))


def test_help_and_explain_answer_everybody(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    office.say(pull, "rita", "/ailab help")
    office.say(pull, "rita", "/ailab explain train")
    first, second = replies(office, pull)
    assert "| `/ailab rerun" in first
    assert_golden("explain", second)
