"""A webhook's payload becomes one of a few types, once. Reads it strictly; decides nothing.

Identity (pull request, SHA, attempt) comes from here and from the API, never from an artifact.
https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from ailab_bot.errors import UserError
from ailab_bot.gh.client import NOBODY, PullRequest, Run, User
from ailab_bot.gh.fields import Fields, StrangeError

#: GitHub caps payloads at 25 MB; ours are far smaller.
LARGEST_PAYLOAD_BYTES = 25 * 1024 * 1024


@dataclass(frozen=True)
class Repository:
    """The repository in which the event happened. `public`: anybody can open a pull request."""

    id: int
    full_name: str
    public: bool
    default_branch: str


@dataclass(frozen=True)
class PullRequestEvent:
    """A pull request was opened, pushed to, reopened or edited. `retargeted`: to another base.

    Of `pull_request` and `pull_request_target` alike: they differ in whose workflow they start.
    `at` is when the pull request last changed, which of two events tells the later one.
    """

    repository: Repository
    action: str
    pull: PullRequest
    retargeted: bool
    at: datetime


@dataclass(frozen=True)
class MergeGroupEvent:
    """The merge queue asks for checks of `head_sha` before it becomes `base_ref`'s tip."""

    repository: Repository
    action: str
    head_sha: str
    base_sha: str
    base_ref: str


@dataclass(frozen=True)
class WorkflowRunEvent:
    """A run of another workflow began or ended."""

    repository: Repository
    action: str
    run: Run


@dataclass(frozen=True)
class CommentEvent:
    """Somebody commented. `on_open_pull`: on a pull request that is open.

    `on_issue`: on a plain issue, open or closed. `issue_author` and `issue_body` are of what was
    commented on, as it is now: GitHub shows a pull request as an issue too.
    """

    repository: Repository
    action: str
    number: int
    on_pull: bool
    on_open_pull: bool
    on_issue: bool
    issue_author: User
    issue_body: str
    comment_id: int
    author: User
    body: str
    url: str


@dataclass(frozen=True)
class PushEvent:
    """A branch moved from `before` to `after`; `before` is None where it was created."""

    repository: Repository
    ref: str
    before: str | None
    after: str


@dataclass(frozen=True)
class TimerEvent:
    """A schedule, or somebody who started the workflow by hand."""

    repository: Repository


Event: TypeAlias = (
    PullRequestEvent | MergeGroupEvent | WorkflowRunEvent | CommentEvent | PushEvent | TimerEvent
)


def read_event(name: str, path: Path) -> Event:
    """The event in the file that GITHUB_EVENT_PATH names; UserError where it is none of ours."""
    try:
        data = path.read_bytes()
        if len(data) > LARGEST_PAYLOAD_BYTES:
            raise ValueError("it is larger than GitHub's own limit")
        payload = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"cannot read the event in {path}",
            why=str(error),
            advice="Run this in a GitHub workflow: GITHUB_EVENT_PATH names the payload.",
        ) from error
    return parse_event(name, payload)


def parse_event(name: str, payload: object) -> Event:
    """`name` as in GITHUB_EVENT_NAME. UserError names the field that is missing or strange."""
    if name not in _READERS:
        raise UserError(
            f"the event `{name:.40}` is none of ours",
            why=f"This command understands {', '.join(sorted(_READERS))}.",
            advice="Start it from the workflows in examples/.",
        )
    try:
        return _READERS[name](Fields(payload, name))
    except StrangeError as error:
        raise UserError(
            f"the payload of `{name}` is not as GitHub documents it",
            why=str(error),
            advice="If this came from GitHub, please report it with the field's name.",
        ) from None


def _repository(payload: Fields) -> Repository:
    fields = payload.below("repository")
    return Repository(
        fields.number("id"),
        fields.text("full_name"),
        public=not fields.flag("private"),
        default_branch=fields.text("default_branch"),
    )


def read_user(fields: Fields) -> User:
    return User(fields.number("id"), fields.text("login"))


def read_pull(fields: Fields) -> PullRequest:
    """As the API and the event give it; StrangeError."""
    head, base = fields.below("head"), fields.below("base")
    head_repository = head.maybe("repo")
    return PullRequest(
        number=fields.number("number"),
        open=fields.text("state") == "open",
        author=read_user(fields.below("user")),
        head_sha=head.sha("sha"),
        head_ref=head.text("ref"),
        head_repository_id=None if head_repository is None else head_repository.number("id"),
        base_sha=base.sha("sha"),
        base_ref=base.text("ref"),
        base_repository_id=base.below("repo").number("id"),
        url=fields.text("html_url"),
        title=fields.text("title"),
        body=fields.text_or_none("body") or "",
        # The API's lists say it so; `merged` stands only where one is asked for.
        merged=fields.text_or_none("merged_at") is not None,
    )


def _pull_request(payload: Fields) -> PullRequestEvent:
    changes, pull = payload.maybe("changes"), payload.below("pull_request")
    return PullRequestEvent(
        _repository(payload),
        payload.text("action"),
        read_pull(pull),
        retargeted=changes is not None and "base" in changes.value,
        at=pull.time("updated_at"),
    )


def _merge_group(payload: Fields) -> MergeGroupEvent:
    group = payload.below("merge_group")
    return MergeGroupEvent(
        _repository(payload),
        payload.text("action"),
        group.sha("head_sha"),
        group.sha("base_sha"),
        group.text("base_ref"),
    )


def read_run(fields: Fields) -> Run:
    """As the API and the event give it; StrangeError."""
    head_repository = fields.maybe("head_repository")
    owner = None if head_repository is None else head_repository.maybe("owner")
    started = fields.text_or_none("run_started_at")
    return Run(
        id=fields.number("id"),
        attempt=fields.number("run_attempt"),
        event=fields.text("event"),
        path=fields.text("path").partition("@")[0],
        status=fields.text("status"),
        conclusion=fields.text_or_none("conclusion"),
        head_sha=fields.sha("head_sha"),
        head_branch=fields.text_or_none("head_branch"),
        head_owner=None if owner is None else owner.text("login"),
        head_repository_id=None if head_repository is None else head_repository.number("id"),
        repository_id=fields.below("repository").number("id"),
        url=fields.text("html_url"),
        created_at=fields.time("created_at"),
        # GitHub describes it as optional.
        started_at=fields.time("created_at" if started is None else "run_started_at"),
        updated_at=fields.time("updated_at"),
    )


def _workflow_run(payload: Fields) -> WorkflowRunEvent:
    return WorkflowRunEvent(
        _repository(payload), payload.text("action"), read_run(payload.below("workflow_run"))
    )


def _issue_comment(payload: Fields) -> CommentEvent:
    issue, comment = payload.below("issue"), payload.below("comment")
    on_pull, opener = issue.value.get("pull_request") is not None, issue.maybe("user")
    return CommentEvent(
        _repository(payload),
        payload.text("action"),
        number=issue.number("number"),
        on_pull=on_pull,
        on_open_pull=on_pull and issue.text("state") == "open",
        on_issue=not on_pull,
        issue_author=NOBODY if opener is None else read_user(opener),
        issue_body=issue.text_or_none("body") or "",
        comment_id=comment.number("id"),
        author=read_user(comment.below("user")),
        body=comment.text("body"),
        url=comment.text("html_url"),
    )


def _push(payload: Fields) -> PushEvent:
    before = payload.sha("before")
    return PushEvent(
        _repository(payload),
        payload.text("ref"),
        before=before if before.strip("0") else None,
        after=payload.sha("after"),
    )


def _timer(payload: Fields) -> TimerEvent:
    return TimerEvent(_repository(payload))


_READERS: Mapping[str, Callable[[Fields], Event]] = {
    "pull_request": _pull_request,
    "pull_request_target": _pull_request,
    "merge_group": _merge_group,
    "workflow_run": _workflow_run,
    "issue_comment": _issue_comment,
    "push": _push,
    "schedule": _timer,
    "workflow_dispatch": _timer,
}
