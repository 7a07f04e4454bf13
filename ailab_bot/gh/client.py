"""GitHub at arm's length: the few things we ask of it, as a Protocol and plain types.

Everything else of the bot talks to this. `api` implements it over HTTP; no other module knows
PyGithub. Refuses to decide anything, and to guess: what GitHub did not say is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ailab_bot.errors import RunnerError
from ailab_bot.model.report import Annotation


class GitHubError(RunnerError):
    """GitHub did not do what was asked. `status` is its HTTP status, 0 where none arrived."""

    def __init__(self, what: str, *, status: int = 0, why: str = "", advice: str = "") -> None:
        super().__init__(what, why=why, advice=advice)
        self.status = status


class NotFoundError(GitHubError):
    """It does not exist, or this token may not see it: GitHub answers both alike."""


class IssuesDisabledError(GitHubError):
    """The repository has no issues: somebody switched them off."""


class TooLargeError(GitHubError):
    """It holds more bytes than we take; nothing of it was kept."""


class OutOfTimeError(GitHubError):
    """GitHub wants us to wait longer than the job can; nothing is waited for."""


@dataclass(frozen=True)
class User:
    """`id` never changes; `login` can be given to somebody else."""

    id: int
    login: str


#: Who wrote what GitHub names no author of any more. No user has this id.
NOBODY = User(0, "ghost")


@dataclass(frozen=True)
class PullRequest:
    """A pull request as GitHub has it now. `head_repository_id` is None where it was deleted.

    `title` and `body` are their author's words. `merged`: it is in its base branch.
    """

    number: int
    open: bool
    author: User
    head_sha: str
    head_ref: str
    head_repository_id: int | None
    base_sha: str
    base_ref: str
    base_repository_id: int
    url: str
    title: str = ""
    body: str = ""
    merged: bool = False

    @property
    def from_fork(self) -> bool:
        """Whether head lies in another repository; one that was deleted is never our own."""
        return self.head_repository_id != self.base_repository_id


@dataclass(frozen=True)
class Run:
    """A workflow run. `path` is its workflow's file.

    `head_owner` and `head_repository_id` are None where its fork was deleted. `created_at` is when
    the first attempt came to be, `started_at` when the latest one did.
    `event` is what started it (`pull_request`, `merge_group`, …), `status` queued, in_progress or
    completed (and some more), `conclusion` None until it is completed.
    """

    id: int
    attempt: int
    event: str
    path: str
    status: str
    conclusion: str | None
    head_sha: str
    head_branch: str | None
    head_owner: str | None
    head_repository_id: int | None
    repository_id: int
    url: str
    created_at: datetime
    started_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Artifact:
    id: int
    name: str
    size_bytes: int
    expired: bool


@dataclass(frozen=True)
class CommitStatus:
    """`state` is pending, success, failure or error; `creator_id` None: nobody's any more."""

    context: str
    state: str
    description: str
    url: str
    creator_id: int | None
    created_at: datetime


@dataclass(frozen=True)
class Comment:
    id: int
    author: User
    body: str
    url: str


@dataclass(frozen=True)
class Issue:
    """An issue as GitHub has it now, never a pull request. `assignees` are logins.

    `state_reason` is completed, not_planned, duplicate or reopened, and empty where nobody gave
    one. `closed_by` is None where it is open, and in lists, which leave it out.
    """

    number: int
    author: User
    title: str
    body: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    open: bool
    state_reason: str
    closed_by: User | None
    url: str


@dataclass(frozen=True)
class ChangedFile:
    """`patch` is None where GitHub shows none: binary files, and very large changes."""

    path: str
    status: str
    patch: str | None = None
    previous_path: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What head has beyond its merge base with base. `complete`: no file was left out."""

    merge_base_sha: str
    ahead: int
    behind: int
    files: tuple[ChangedFile, ...]
    complete: bool


@dataclass(frozen=True)
class Permission:
    """What somebody may do in a repository: `level` is admin, write, read or none."""

    user: User
    level: str

    @property
    def may_write(self) -> bool:
        return self.level in {"admin", "write"}


class GitHub(Protocol):
    """One repository. Every method may raise GitHubError, and NotFoundError for a 404 or 410.

    Reads, and writes that may be repeated, are tried again by the implementation within its
    budget. `create_comment`, `create_issue` and `dispatch` are not of those: they raise GitHubError
    after a failure, and whoever calls them looks whether it was done before another try.
    """

    def pull(self, number: int) -> PullRequest: ...

    def open_pulls(self) -> tuple[PullRequest, ...]:
        """All that are open, newest first, up to 1,000."""
        ...

    def pulls_with_commit(self, sha: str) -> tuple[PullRequest, ...]:
        """The merged one that brought it to the default branch; else all open and merged ones.

        The commit need not be their head. GitHub does not always know those from forks.
        """
        ...

    def run(self, run_id: int) -> Run:
        """The run's latest attempt."""
        ...

    def runs(
        self, workflow: str, *, head_sha: str | None = None, since: datetime | None = None
    ) -> tuple[Run, ...]:
        """Runs of a workflow file (`ailab-measure.yml`), newest first, at most 1,000.

        NotFoundError where the repository has no such workflow.
        """
        ...

    def rerun(self, run_id: int, *, failed_only: bool = False) -> None: ...

    def cancel(self, run_id: int) -> None: ...

    def artifacts(self, run_id: int) -> tuple[Artifact, ...]:
        """Those of all attempts, at most 300."""
        ...

    def download(self, artifact: Artifact, most_bytes: int) -> bytes:
        """The zip as it is; TooLargeError beyond `most_bytes`."""
        ...

    def compare(self, base: str, head: str) -> Comparison:
        """Three-dot: from the merge base to head."""
        ...

    def statuses(self, sha: str) -> tuple[CommitStatus, ...]:
        """Of all contexts, newest first, at most 1,000."""
        ...

    def create_status(
        self, sha: str, *, context: str, state: str, description: str, url: str
    ) -> CommitStatus:
        """As GitHub now has it: its creator is whom the token acts as."""
        ...

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Of the conversation on a pull request or an issue, oldest first, at most 1,000."""
        ...

    def create_comment(self, number: int, body: str) -> Comment:
        """Once: not repeated after a failure, though a rate limit is waited for.

        GitHub did nothing where it names a limit, so the try after the wait is the first.
        """
        ...

    def update_comment(self, comment_id: int, body: str) -> Comment: ...

    def react(self, comment_id: int, content: str) -> None:
        """`content`: +1, -1, eyes, rocket or confused."""
        ...

    def permission(self, login: str) -> Permission: ...

    def issue(self, number: int) -> Issue:
        """NotFoundError where it is a pull request; IssuesDisabledError where there are none."""
        ...

    def issues(self, label: str) -> tuple[Issue, ...]:
        """Open and closed ones, newest first, at most 1,000; IssuesDisabledError.

        Pull requests are left out, which GitHub counts among the 1,000.
        """
        ...

    def create_issue(
        self, title: str, body: str, labels: Sequence[str], assignees: Sequence[str]
    ) -> Issue:
        """Once, as `create_comment`; IssuesDisabledError. Labels that are new are made.

        Ask `can_assign` first: GitHub refuses the whole issue for one who cannot be assigned.
        """
        ...

    def update_issue(
        self,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        labels: Sequence[str] | None = None,
        assignees: Sequence[str] | None = None,
        state: str | None = None,
        state_reason: str | None = None,
    ) -> Issue:
        """Change what is given. `labels` and `assignees` replace all that there were.

        `state`: open or closed; `state_reason` (completed, not_planned, reopened) counts with it.
        """
        ...

    def can_assign(self, login: str) -> bool:
        """Whether issues can be assigned to them. False for who is unknown."""
        ...

    def commit_author(self, sha: str) -> User | None:
        """Whose account the author's e-mail belongs to; None: nobody's that GitHub knows.

        NotFoundError where the repository has no such commit.
        """
        ...

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow file (`ailab-bisect.yml`) as it is on the branch `ref`. Once.

        NotFoundError where the default branch has no such workflow; status 422 where `ref` has
        none that can be started, or knows not these inputs.
        """
        ...

    def create_check(
        self, sha: str, *, name: str, title: str, summary: str, annotations: Sequence[Annotation]
    ) -> None:
        """A completed, neutral check run that carries annotations (at most 50)."""
        ...
