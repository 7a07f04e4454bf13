"""What the stand-in remembers: plain dataclasses, no rules and no JSON."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]
#: Whom GITHUB_TOKEN acts as, on github.com.
BOT_ID = 41_898_282


def sha_of(text: str) -> str:
    """A made-up commit's SHA; the same text gives the same one."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass
class Account:
    """`permission` in the repository: admin, write, read or none."""

    id: int
    login: str
    permission: str = "read"
    kind: str = "User"


@dataclass
class Repository:
    id: int
    owner: Account
    name: str
    private: bool = False
    fork: bool = False
    default_branch: str = "main"

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


@dataclass
class Pull:
    """`head_repository` None: its fork was deleted. `commits`: every head it had, last is now.

    `updated_at` None: never since it was opened.
    """

    number: int
    title: str
    author: Account
    head_ref: str
    head_repository: Repository | None
    base_ref: str
    base_sha: str
    commits: list[str]
    created_at: datetime
    state: str = "open"
    merged: bool = False
    updated_at: datetime | None = None
    body: str | None = None

    @property
    def head_sha(self) -> str:
        return self.commits[-1]


@dataclass
class Issue:
    """A plain issue, on which people comment too. `author` None: GitHub names nobody any more."""

    number: int
    title: str
    author: Account | None
    created_at: datetime
    state: str = "open"
    body: str | None = None
    labels: list[str] = field(default_factory=list)
    assignees: list[Account] = field(default_factory=list)
    state_reason: str | None = None
    closed_by: Account | None = None


@dataclass
class Comment:
    id: int
    number: int
    author: Account
    body: str
    created_at: datetime
    updated_at: datetime
    reactions: list[tuple[Account, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Status:
    id: int
    sha: str
    context: str
    state: str
    description: str | None
    url: str | None
    creator: Account
    created_at: datetime


@dataclass
class Artifact:
    id: int
    name: str
    data: bytes
    attempt: int
    created_at: datetime
    expired: bool = False


@dataclass
class Run:
    """One workflow run; `attempt` is its latest. `jobs`: name -> conclusion of that attempt.

    `again_at`: when each attempt after the first was asked for.
    """

    id: int
    workflow: str
    event: str
    head_sha: str
    head_branch: str | None
    head_repository: Repository | None
    pull: Pull | None
    actor: Account
    created_at: datetime
    updated_at: datetime
    attempt: int = 1
    status: str = "queued"
    conclusion: str | None = None
    failed_only: bool = False
    jobs: dict[str, str] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    again_at: list[datetime] = field(default_factory=list)

    @property
    def started_at(self) -> datetime:
        """Of this attempt; `created_at` never changes."""
        return [self.created_at, *self.again_at][self.attempt - 1]


@dataclass(frozen=True)
class Dispatch:
    """Somebody started a workflow by hand or by the API."""

    workflow: str
    ref: str
    inputs: dict[str, str]
    run: Run


@dataclass(frozen=True)
class MergeGroup:
    """What the merge queue wants checked before it becomes `base_ref`."""

    head_sha: str
    head_ref: str
    base_sha: str
    base_ref: str


@dataclass(frozen=True)
class Check:
    id: int
    sha: str
    name: str
    conclusion: str | None
    title: str
    summary: str
    annotations: tuple[Json, ...]


@dataclass(frozen=True)
class ComparedFile:
    path: str
    status: str = "modified"
    patch: str | None = None
    previous_path: str | None = None
    additions: int = 1
    deletions: int = 1


@dataclass(frozen=True)
class Compared:
    """`base...head` as GitHub would answer it."""

    merge_base: str
    ahead: int
    behind: int
    files: tuple[ComparedFile, ...]


@dataclass(frozen=True)
class Event:
    """A webhook as delivered: state as it was then. `payload` is JSON's text, so nothing moves."""

    name: str
    action: str | None
    payload: str


@dataclass(frozen=True)
class Request:
    """One request that came in; `status` 0: it got no answer."""

    operation: str
    verb: str
    path: str
    query: dict[str, str]
    body: object
    status: int
