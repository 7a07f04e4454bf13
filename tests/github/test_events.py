"""Payloads: those that GitHub published, those of the stand-in, and broken ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub.published import payload_examples
from hub.state import BOT_ID, Issue, Pull, sha_of
from standin import MEASURE, MERGE_QUEUE, StandIn

from ailab_bot.errors import UserError
from ailab_bot.gh.client import NOBODY
from ailab_bot.gh.event import (
    CommentEvent,
    Event,
    MergeGroupEvent,
    PullRequestEvent,
    PushEvent,
    TimerEvent,
    WorkflowRunEvent,
    parse_event,
    read_event,
)

TYPES = {
    "pull_request": PullRequestEvent,
    "pull_request_target": PullRequestEvent,
    "merge_group": MergeGroupEvent,
    "workflow_run": WorkflowRunEvent,
    "issue_comment": CommentEvent,
    "push": PushEvent,
}


def published_of(event: str) -> list[Any]:
    """GitHub gives pull_request_target the payloads of pull_request, and publishes them once."""
    return payload_examples(event.removesuffix("_target"))


PUBLISHED = [
    pytest.param(event, example, id=f"{event} {example.get('action', '')} {index}")
    for event in TYPES
    for index, example in enumerate(published_of(event))
    if "path" in example.get("workflow_run", {"path"})
]


@pytest.mark.parametrize(("event", "payload"), PUBLISHED)
def test_each_published_payload_of_our_events_is_understood(event: str, payload: Any) -> None:
    found = parse_event(event, payload)
    assert isinstance(found, TYPES[event])
    assert found.repository.full_name == payload["repository"]["full_name"]
    assert found.repository.public != payload["repository"]["private"]


def test_a_run_that_does_not_name_its_workflows_file_is_refused() -> None:
    """One published example is that old. Whose run it is, we know by the file alone."""
    (old,) = [
        example
        for example in payload_examples("workflow_run")
        if "path" not in example["workflow_run"]
    ]
    with pytest.raises(UserError) as refused:
        parse_event("workflow_run", old)
    assert refused.value.why == "workflow_run.workflow_run.path is not str"


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from places(item, (*path, key))


def broken(payload: Any, path: tuple[str, ...], value: object) -> Any:
    found = copy.deepcopy(payload)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return found


def is_refused(event: str, payload: object) -> bool:
    """Nothing but UserError, and that one with a reason."""
    try:
        parse_event(event, payload)
    except UserError as error:
        return error.why != ""
    return False


@pytest.mark.parametrize("event", TYPES)
@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [], {}, [{}], "0" * 40, -1])
def test_whatever_stands_in_a_field_there_is_an_event_or_the_one_error(
    event: str, value: object
) -> None:
    payload = max(published_of(event), key=lambda item: len(json.dumps(item)))
    refused = 0
    for path in places(payload):
        refused += is_refused(event, broken(payload, path, value))
    assert refused >= 3


@pytest.mark.parametrize("event", [*TYPES, "schedule", "workflow_dispatch"])
@pytest.mark.parametrize("payload", [None, [], "", 0, {}, {"repository": None}])
def test_a_payload_without_its_parts_gives_the_one_error(event: str, payload: object) -> None:
    with pytest.raises(UserError, match=f"the payload of `{event}`"):
        parse_event(event, payload)


@pytest.mark.parametrize(
    ("event", "path", "value"),
    [
        ("pull_request", ("pull_request", "head", "sha"), "HEAD"),
        ("pull_request", ("pull_request", "head", "sha"), "A" * 40),
        ("pull_request", ("pull_request", "base", "sha"), "0" * 39),
        ("pull_request", ("pull_request", "base", "repo"), None),
        ("pull_request", ("pull_request", "updated_at"), None),
        ("pull_request_target", ("pull_request", "updated_at"), "2026-03-02T09:00:00"),
        ("pull_request", ("pull_request", "number"), True),
        ("pull_request", ("pull_request", "number"), "1"),
        ("workflow_run", ("workflow_run", "run_attempt"), 1.0),
        ("workflow_run", ("workflow_run", "path"), None),
        ("workflow_run", ("workflow_run", "run_started_at"), "yesterday"),
        ("workflow_run", ("workflow_run", "head_repository", "id"), None),
        ("workflow_run", ("workflow_run", "created_at"), "yesterday"),
        ("workflow_run", ("workflow_run", "created_at"), "2026-03-02T09:00:00"),
        ("issue_comment", ("comment", "user"), None),
        ("issue_comment", ("comment", "user", "id"), "1"),
        ("merge_group", ("merge_group", "head_sha"), "refs/heads/main"),
        ("push", ("after",), ""),
    ],
)
def test_a_strange_field_is_named(event: str, path: tuple[str, ...], value: object) -> None:
    payload = max(published_of(event), key=lambda item: len(json.dumps(item)))
    assert parse_event(event, payload)
    with pytest.raises(UserError) as refused:
        parse_event(event, broken(payload, path, value))
    named = refused.value.why.split(" is ")[0].split(".")
    assert named == [event, *path][: len(named)]
    assert len(named) >= len(path)


def last(github: StandIn) -> Event:
    event = github.events[-1]
    return parse_event(event.name, github.payload_of(event))


def test_a_pull_request_opened_pushed_retargeted_and_edited(github: StandIn) -> None:
    pull = github.open_pull("alice", head="speed-up", base_sha=sha_of("base"))
    opened = last(github)
    assert isinstance(opened, PullRequestEvent)
    assert (opened.action, opened.pull.number, opened.retargeted) == ("opened", pull.number, False)
    assert (opened.pull.head_sha, opened.pull.base_sha) == (pull.head_sha, sha_of("base"))
    assert opened.pull.author.id == pull.author.id
    assert opened.repository.id == github.repository.id
    github.push(pull, sha_of("pushed"))
    pushed = last(github)
    assert isinstance(pushed, PullRequestEvent)
    assert (pushed.action, pushed.pull.head_sha) == ("synchronize", sha_of("pushed"))
    github.retarget(pull, "release", sha_of("release"))
    moved = last(github)
    assert isinstance(moved, PullRequestEvent)
    assert (moved.action, moved.retargeted, moved.pull.base_ref) == ("edited", True, "release")
    github.edit(pull, "A better title")
    edited = last(github)
    assert isinstance(edited, PullRequestEvent)
    assert (edited.action, edited.retargeted) == ("edited", False)


def test_of_two_events_the_later_change_of_the_pull_request_is_known(github: StandIn) -> None:
    pull = github.open_pull()
    opened = last(github)
    github.wait(60)
    github.edit(pull, "A better title")
    edited = last(github)
    assert isinstance(opened, PullRequestEvent)
    assert isinstance(edited, PullRequestEvent)
    assert (opened.at, edited.at) == (pull.created_at, github.now)


def test_the_trusted_event_says_what_the_untrusted_one_says(
    github: StandIn, tmp_path: Path
) -> None:
    github.open_pull("mallory", fork=True)
    target = github.target_event_of(github.events[-1])
    assert target not in github.events
    environ = github.environment(target, tmp_path)
    assert environ["GITHUB_EVENT_NAME"] == "pull_request_target"
    path = Path(environ["GITHUB_EVENT_PATH"])
    assert read_event("pull_request_target", path) == last(github)
    assert (
        path.name != Path(github.environment(github.events[-1], tmp_path)["GITHUB_EVENT_PATH"]).name
    )


def test_a_run_that_does_not_tell_when_its_attempt_began_began_when_it_was_created() -> None:
    payload = max(payload_examples("workflow_run"), key=lambda item: len(json.dumps(item)))
    less = copy.deepcopy(payload)
    del less["workflow_run"]["run_started_at"]
    event = parse_event("workflow_run", less)
    assert isinstance(event, WorkflowRunEvent)
    assert event.run.started_at == event.run.created_at


def test_a_deleted_fork_is_never_the_same_repository(github: StandIn) -> None:
    """Test 3 of the security specification: `head.repo == null` is untrusted."""
    own, forked = github.open_pull("alice"), github.open_pull("mallory", fork=True)

    def from_fork() -> bool:
        event = last(github)
        assert isinstance(event, PullRequestEvent)
        return event.pull.from_fork

    github.push(own)
    assert not from_fork()
    github.push(forked)
    assert from_fork()
    github.delete_fork(forked)
    github.reopen(forked)
    assert github.payload_of(github.events[-1])["pull_request"]["head"]["repo"] is None
    assert from_fork()


def test_runs_tell_their_attempt_and_their_workflows_file(github: StandIn) -> None:
    pull = github.open_pull("mallory", head="speed-up", fork=True)
    run = github.start_run(pull)
    begun = last(github)
    assert isinstance(begun, WorkflowRunEvent)
    assert (begun.action, begun.run.status, begun.run.conclusion) == (
        "in_progress",
        "in_progress",
        None,
    )
    assert begun.run.path == f".github/workflows/{MEASURE}"
    assert (begun.run.head_owner, begun.run.head_branch) == ("mallory", "speed-up")
    assert github.payload_of(github.events[-1])["workflow_run"]["pull_requests"] == []
    github.finish_run(run, "failure")
    github.press_rerun(run)
    github.begin(run)
    again = last(github)
    assert isinstance(again, WorkflowRunEvent)
    assert (again.run.id, again.run.attempt) == (run.id, 2)
    github.run_event("completed", run, attempt=1)
    late = last(github)
    assert isinstance(late, WorkflowRunEvent)
    assert (late.run.id, late.run.attempt) == (run.id, 1)
    assert late.run.started_at == run.created_at < again.run.started_at
    github.delete_fork(pull)
    github.finish_run(run)
    orphan = last(github)
    assert isinstance(orphan, WorkflowRunEvent)
    assert orphan.run.head_owner is None
    assert orphan.run.head_repository_id is None


def test_the_merge_queue_names_what_it_will_merge(github: StandIn) -> None:
    group = github.queue_merge(github.open_pull("alice", base_sha=sha_of("base")))
    event = last(github)
    assert isinstance(event, MergeGroupEvent)
    assert (event.action, event.head_sha) == ("checks_requested", group.head_sha)
    assert (event.base_sha, event.base_ref) == (sha_of("base"), "refs/heads/main")
    github.start_run(group)
    begun = last(github)
    assert isinstance(begun, WorkflowRunEvent)
    assert (begun.run.event, begun.run.head_sha) == ("merge_group", group.head_sha)
    assert begun.run.path == f".github/workflows/{MERGE_QUEUE}"


def closed_pull(github: StandIn) -> Pull:
    pull = github.open_pull()
    github.close(pull)
    return pull


def closed_issue(github: StandIn) -> Issue:
    issue = github.open_issue()
    github.close_issue(issue)
    return issue


@pytest.mark.parametrize(
    ("prepare", "on_pull", "on_open_pull"),
    [
        (StandIn.open_pull, True, True),
        (closed_pull, True, False),
        (StandIn.open_issue, False, False),
        (closed_issue, False, False),
    ],
    ids=["open", "closed", "issue", "closed issue"],
)
def test_a_comment_tells_where_it_stands(
    github: StandIn, prepare: Callable[[StandIn], Pull | Issue], on_pull: bool, on_open_pull: bool
) -> None:
    comment = github.comment(prepare(github), "bob", "/ailab rerun\nplease")
    event = last(github)
    assert isinstance(event, CommentEvent)
    assert (event.action, event.on_pull, event.on_open_pull) == ("created", on_pull, on_open_pull)
    assert event.on_issue != on_pull
    assert (event.number, event.comment_id) == (comment.number, comment.id)
    assert (event.author.id, event.body) == (comment.author.id, "/ailab rerun\nplease")
    github.edit_comment(comment, "/ailab accept")
    edited = last(github)
    assert isinstance(edited, CommentEvent)
    assert (edited.action, edited.body) == ("edited", "/ailab accept")


def test_the_bots_own_comment_is_known_by_its_id(github: StandIn) -> None:
    github.comment(github.open_pull(), github.bot.login, "/ailab rerun")
    event = last(github)
    assert isinstance(event, CommentEvent)
    assert event.author.id == BOT_ID


def test_a_comment_tells_whose_issue_it_stands_in_and_its_text(github: StandIn) -> None:
    issue = github.add_issue(github.bot, "Slower", "<!-- ailab-incident:0 -->\ntext", ())
    github.comment(issue, "bob", "/ailab ack")
    event = last(github)
    assert isinstance(event, CommentEvent)
    assert (event.issue_author.id, event.author.login) == (BOT_ID, "bob")
    assert event.issue_body == "<!-- ailab-incident:0 -->\ntext"
    issue.author, issue.body = None, None
    github.comment(issue, "bob", "/ailab ack")
    nobodys = last(github)
    assert isinstance(nobodys, CommentEvent)
    assert (nobodys.issue_author, nobodys.issue_body) == (NOBODY, "")


def test_a_pull_request_tells_its_title_its_text_and_whether_it_is_merged(github: StandIn) -> None:
    pull = github.open_pull(title="Load less", body="Fixes #7")
    opened = last(github)
    assert isinstance(opened, PullRequestEvent)
    assert (opened.pull.title, opened.pull.body) == ("Load less", "Fixes #7")
    assert not opened.pull.merged
    github.merge(pull)
    merged = last(github)
    assert isinstance(merged, PullRequestEvent)
    assert merged.pull.merged
    payload = github.payload_of(github.events[-1])
    del payload["pull_request"]["merged_at"]
    untold = parse_event("pull_request", payload)
    assert isinstance(untold, PullRequestEvent)
    assert not untold.pull.merged


def test_a_new_branch_comes_from_nowhere(github: StandIn) -> None:
    github.push_branch("release/1", sha_of("one"))
    created = last(github)
    assert isinstance(created, PushEvent)
    assert (created.ref, created.before, created.after) == (
        "refs/heads/release/1",
        None,
        sha_of("one"),
    )
    github.push_branch("release/1", sha_of("two"), before=sha_of("one"))
    moved = last(github)
    assert isinstance(moved, PushEvent)
    assert (moved.before, moved.after) == (sha_of("one"), sha_of("two"))


@pytest.mark.parametrize("name", ["schedule", "workflow_dispatch"])
def test_a_timer_knows_its_repository(github: StandIn, name: str) -> None:
    github.timer(name)
    event = last(github)
    assert isinstance(event, TimerEvent)
    assert (event.repository.full_name, event.repository.default_branch) == ("acme/models", "main")


def test_an_event_is_read_from_the_file_that_github_names(github: StandIn, tmp_path: Path) -> None:
    github.open_pull()
    environ = github.environment(github.events[-1], tmp_path)
    path = Path(environ["GITHUB_EVENT_PATH"])
    assert read_event(environ["GITHUB_EVENT_NAME"], path) == last(github)
    with pytest.raises(UserError, match="none of ours"):
        read_event("fork", path)
    for data in (b"", b"{", b"\xff", b"[" * 100_000, b"x" * (25 * 1024 * 1024 + 1)):
        path.write_bytes(data)
        with pytest.raises(UserError, match="cannot read the event"):
            read_event("pull_request", path)
    path.unlink()
    with pytest.raises(UserError, match="cannot read the event"):
        read_event("pull_request", path)
