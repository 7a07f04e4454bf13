"""Stories of acceptances: who may let a regression pass, what can be accepted, what is recorded."""

from __future__ import annotations

import pytest
from conversation import reactions, replies
from hub.state import Comment, Pull, Status
from office import Office, zipped
from shard_results import crashing_on_head, result_of

ACCEPT = "ailab/accept"


@pytest.fixture
def regressed(office: Office) -> tuple[Office, Pull]:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    office.github.user("maria", "write")
    return office, pull


def accept(office: Office, pull: Pull, who: str = "maria", reason: str = "fine") -> Comment:
    return office.say(pull, who, f"/ailab accept {pull.head_sha[:10]} {reason}")


def assert_refused(office: Office, pull: Pull, comment: Comment, says: str) -> None:
    """Nothing is recorded, nothing is measured, and the gate is as it was."""
    assert reactions(comment) == ["confused"]
    assert says in replies(office, office.github.pulls[comment.number])[-1]
    assert office.github.status(pull.head_sha, ACCEPT) is None
    assert office.gate(pull).state == "failure"
    assert all(run.status == "completed" for run in office.github.runs.values())


def test_the_author_of_any_pull_request_of_the_commit_is_an_author(
    regressed: tuple[Office, Pull],
) -> None:
    office, pull = regressed
    office.github.user("alice", "write")
    office.github.user("friend", "write")
    copy = office.github.open_pull("friend", head="copy", sha=pull.head_sha, fork=True)
    own = "Nobody accepts a regression of their own"
    assert_refused(office, pull, accept(office, copy, "alice"), own)
    assert_refused(office, pull, accept(office, pull, "friend"), own)
    assert reactions(accept(office, pull, "maria")) == ["rocket"]
    assert office.gate(pull).state == "success"


def test_a_crash_cannot_be_accepted(office: Office) -> None:
    office.github.user("maria", "write")
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    left = zipped(crashing_on_head("train", shard.seed), result_of(office, shard))
    office.github.finish_run(run, artifacts={"ailab-trials-1-0": left})
    office.deliver()
    assert office.gate(pull).state == "failure"
    assert_refused(office, pull, accept(office, pull), "a failure cannot be accepted")
    office.run_job(office.github.event("workflow_run", "completed"))
    assert office.gate(pull).state == "failure"


def test_a_crash_beside_an_acceptance_of_before_fails_all_the_same(
    regressed: tuple[Office, Pull],
) -> None:
    """Recorded for a regression; the next attempt finds that head does not even start."""
    office, pull = regressed
    accept(office, pull)
    assert office.gate(pull).state == "success"
    office.say(pull, "alice", "/ailab rerun")
    (run,) = office.github.runs.values()
    office.github.begin(run)
    (shard,) = office.plan(run)
    left = zipped(crashing_on_head("train", shard.seed), result_of(office, shard))
    office.github.finish_run(run, artifacts={"ailab-trials-2-0": left})
    office.deliver()
    assert office.gate(pull).state == "failure"
    assert "Accepted" not in office.gate(pull).description


def test_what_base_defines_otherwise_by_now_is_measured_first(
    regressed: tuple[Office, Pull],
) -> None:
    office, pull = regressed
    office.merge_to_main(
        {".ailab/scenarios/train.yml": "id: train\ncommand: [python, train.py, --new]\n"}
    )
    assert_refused(office, pull, accept(office, pull), "Something that belongs to this change")


def test_what_has_lost_its_results_is_measured_first(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    (run,) = office.github.runs.values()
    for artifact in run.artifacts:
        artifact.expired = True
    assert_refused(office, pull, accept(office, pull), "Something that belongs to this change")


def test_a_commit_that_two_bases_share_cannot_be_accepted(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    release = office.commit("release", {"other.py": "x = 1\n"})
    office.github.open_pull(
        "friend", head="copy", sha=pull.head_sha, base="release", base_sha=release, fork=True
    )
    assert_refused(office, pull, accept(office, pull), "has no regression to accept")


def test_a_reason_may_hold_what_a_status_cannot(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    assert reactions(accept(office, pull, reason="we ship it \N{ROCKET} today")) == ["rocket"]
    assert office.gate(pull).state == "success"
    office.run_job(office.github.event("workflow_run", "completed"))
    assert office.gate(pull).description.startswith("Accepted by maria: we ship it \ufffd today")


def test_a_login_may_hold_a_hyphen(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    office.github.user("maria-k", "write")
    accept(office, pull, "maria-k")
    office.run_job(office.github.event("workflow_run", "completed"))
    assert office.gate(pull).state == "success"


def test_a_hundred_statuses_of_others_hide_none_of_ours(regressed: tuple[Office, Pull]) -> None:
    office, pull = regressed
    accept(office, pull)
    github = office.github
    jenkins, sha = github.user("jenkins", "write"), pull.head_sha
    github.all_statuses += [
        Status(80_000 + each, sha, f"ci/{each}", "success", "", "", jenkins, github.now)
        for each in range(250)
    ]
    office.run_job(github.event("workflow_run", "completed"))
    assert office.gate(pull).state == "success"
    assert office.gate(pull).description.startswith("Accepted by maria")


def test_an_acceptance_is_of_whoever_gave_it_and_is_said_once(
    regressed: tuple[Office, Pull],
) -> None:
    office, pull = regressed
    accept(office, pull)
    count = len(office.github.all_statuses)
    assert reactions(accept(office, pull)) == ["rocket"]
    office.github.user("rob", "write")
    late = accept(office, pull, "rob")
    assert reactions(late) == ["confused"]
    assert "has no regression to accept" in replies(office, pull)[-1]
    assert len(office.github.all_statuses) == count
