"""Stories of a commit and its bases: a status belongs to a commit, a verdict to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conversation import reactions
from hub.state import Pull
from office import Office
from repositories import commit, git
from standin import running

OLD = "release/0.1"
BOTH = "#1, #2 share this commit on different bases"


def old_branch(office: Office) -> str:
    """A branch from before the bot: nothing is measured there, which is a success."""
    git(office.origin, "checkout", "--quiet", "-b", OLD)
    git(office.origin, "rm", "-r", "--quiet", ".ailab")
    git(office.origin, "commit", "--quiet", "--message", "Before the bot")
    sha = git(office.origin, "rev-parse", "HEAD")
    git(office.origin, "checkout", "--quiet", "main")
    return sha


def copy_of(office: Office, pull: Pull, base_sha: str) -> Pull:
    """A friend's pull request of the same commit, from a fork, for the old branch."""
    return office.github.open_pull(
        "friend", head="copy", sha=pull.head_sha, base=OLD, base_sha=base_sha, fork=True
    )


def end(office: Office, pull: Pull) -> None:
    """A run of which nothing arrives, as what it should measure does not exist there."""
    run = office.begin(pull)
    office.github.finish_run(run, "success")
    office.deliver()


@pytest.mark.parametrize("before", ["nothing", "failure", "success"])
def test_a_friends_copy_for_an_older_base_opens_no_gate(before: str, office: Office) -> None:
    old = old_branch(office)
    pull = office.open_pull()
    if before != "nothing":
        office.measure(pull, slower={"train": 0.3 if before == "failure" else 0.0})
        assert office.gate(pull).state == before
    copy = copy_of(office, pull, old)
    office.guard()
    assert office.gate(pull).state == "error"
    end(office, copy)
    assert office.gate(pull).state == "error"
    assert office.gate(pull).description.startswith(BOTH)
    office.github.close(copy)
    office.measure(pull)
    assert office.gate(pull).state == "success"


def test_the_older_run_speaks_again_when_it_is_the_one_that_is_measured_again(
    office: Office,
) -> None:
    """A copy's run is newer than the pull request's own, which somebody starts again."""
    old = old_branch(office)
    pull = office.open_pull()
    run = office.measure(pull, slower={"train": 0.3})
    copy = copy_of(office, pull, old)
    end(office, copy)
    office.github.close(copy)
    assert reactions(office.say(pull, "alice", "/ailab rerun")) == ["rocket"]
    office.again(run)
    assert office.gate(pull).state == "success"


def test_a_copy_that_is_measured_while_the_other_is_open_says_so_at_its_beginning(
    office: Office,
) -> None:
    old = old_branch(office)
    pull = office.open_pull()
    copy_of(office, pull, old)
    office.begin(pull)
    assert office.gate(pull).state == "error"
    assert office.gate(pull).description.startswith(BOTH)


def test_two_pull_requests_of_one_head_and_one_base_are_one_question(office: Office) -> None:
    pull = office.open_pull()
    other = office.github.open_pull("friend", head="copy", sha=pull.head_sha, fork=True)
    office.guard()
    office.measure(pull)
    assert office.gate(pull).state == "success"
    office.measure(other, slower={"train": 0.3})
    assert office.gate(pull).state == "failure"


def come_back(office: Office, how: str) -> Pull:
    """A pull request of a commit that has success from the old branch, and now faces main."""
    old, main = old_branch(office), office.base
    sha = office.commit("evil", {"train.py": "import os, json\n"})
    evil = {"head": "evil", "sha": sha, "fork": True}
    first = None
    if how == "reopened":
        first = office.github.open_pull("mallory", base_sha=main, **evil)  # type: ignore[arg-type]
        office.github.close(first)
    decoy = office.github.open_pull("mallory", base=OLD, base_sha=old, **evil)  # type: ignore[arg-type]
    office.measure(decoy)
    assert office.gate(decoy).state == "success"
    if how == "retargeted":
        office.github.retarget(decoy, "main", main)
        return decoy
    office.github.close(decoy)
    if first is not None:
        office.github.reopen(first)
        return first
    return office.github.open_pull("mallory", base_sha=main, **evil)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["opened", "reopened", "retargeted"])
def test_success_is_not_inherited_from_another_base(how: str, office: Office) -> None:
    """Its own copy of the measuring workflow may not even start: mallory wrote that copy."""
    pull = come_back(office, how)
    office.guard()
    assert office.gate(pull).state == "error"
    assert office.gate(pull).description.startswith("Not measured against main yet")
    office.measure(pull)
    assert office.gate(pull).state == "success"


def test_success_is_not_inherited_by_pushing_an_old_commit_again(office: Office) -> None:
    pull = come_back(office, "retargeted")
    measured = pull.head_sha
    office.github.push(pull, "0123456789" * 4)
    office.guard()
    assert office.github.status(pull.head_sha, "ailab/gate") is None, "a new commit has no status"
    office.github.push(pull, measured, force=True)
    office.guard()
    assert office.gate(measured).state == "error"


def test_a_guard_that_comes_late_changes_nothing(office: Office) -> None:
    pull = come_back(office, "retargeted")
    event = office.github.event("pull_request", "edited")
    office.measure(pull)
    count = len(office.github.all_statuses)
    office.guard(event)
    assert len(office.github.all_statuses) == count
    assert office.gate(pull).state == "success"


def test_the_guard_of_an_edited_title_or_of_a_new_commit_changes_nothing(office: Office) -> None:
    pull = office.open_pull()
    office.guard()
    assert office.github.status(pull.head_sha, "ailab/gate") is None
    office.measure(pull)
    count = len(office.github.all_statuses)
    office.github.edit(pull, "A better title")
    office.guard()
    assert len(office.github.all_statuses) == count


def test_a_measurement_that_goes_on_is_left_to_its_own_end(office: Office) -> None:
    pull = office.open_pull()
    office.begin(pull)
    office.github.open_pull("friend", head="copy", sha=pull.head_sha, fork=True)
    office.guard()
    assert office.gate(pull).state == "pending"


def queued(office: Office, branch: str, on: str, files: dict[str, str]) -> str:
    """The commit that a merge queue makes on top of another."""
    git(office.origin, "checkout", "--quiet", "-b", branch, on)
    sha = commit(office.origin, files, branch)
    git(office.origin, "checkout", "--quiet", "main")
    return sha


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Office]:
    with running() as github:
        yield Office(tmp_path, github, config="github: {merge_queue: measure}\n")


def test_a_queue_is_compared_with_what_it_merges_onto_also_when_main_has_moved(
    queue: Office,
) -> None:
    first, second = queue.open_pull(head="a"), queue.open_pull({"b.py": "1"}, head="b")
    one = queued(queue, "one", "main", {"train.py": "import os, json  # a\n"})
    both = queued(queue, "both", "one", {"b.py": "1"})
    queue.measure(queue.github.queue_merge(first, one))
    assert queue.gate(one).state == "success"
    run = queue.begin(queue.github.queue_merge(second, both))
    (shard,) = queue.plan(run)
    assert (shard.base, shard.head) == (queue.base, both)
    git(queue.origin, "merge", "--quiet", "--ff-only", "one")
    queue.github.finish_run(run, artifacts={"ailab-trials-1-0": queue.parcel(shard, {})})
    queue.deliver()
    assert queue.gate(both).state == "success"


def test_a_group_on_top_of_another_is_compared_with_that_one(queue: Office) -> None:
    second = queue.open_pull({"b.py": "1"}, head="b")
    one = queued(queue, "one", "main", {"train.py": "import os, json  # a\n"})
    both = queued(queue, "both", "one", {"b.py": "1"})
    second.base_sha = one
    run = queue.begin(queue.github.queue_merge(second, both))
    (shard,) = queue.plan(run)
    assert (shard.base, shard.head) == (one, both)
    queue.finish(run)
    assert queue.gate(both).state == "success"


@pytest.mark.parametrize(("slower", "state"), [(0.0, "success"), (0.3, "error")])
def test_a_queue_that_measures_nothing_asks_for_the_pull_requests_own_gate(
    slower: float, state: str, office: Office
) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": slower})
    sha = queued(office, "queued", "main", {"train.py": "import os, json  # merged\n"})
    office.measure(office.github.queue_merge(pull, sha))
    assert office.gate(sha).state == state
