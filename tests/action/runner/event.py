"""An event as GitHub hands it to a workflow, the facts of the repository, and who starts on it.

Refuses filters that it does not know: a filter that is ignored would start a workflow by mistake.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UnsupportedError, WorkflowError

#: Events whose workflow, ref and SHA are those of the pull request's test merge.
_ON_MERGE = "pull_request"
#: Activity types taken where a workflow names none; every other event takes all.
_USUAL_TYPES = ("opened", "synchronize", "reopened")


@dataclass(frozen=True)
class Site:
    """The repository whose workflows run. `git`: a local repository that checkout clones from; the
    heads and test merges of pull requests are in it as refs/pull/N/head and refs/pull/N/merge.

    `default_permissions`: rights of a job whose workflow has no `permissions` at all.
    """

    repository: str
    git: Path
    default_branch: str = "main"
    repository_id: int = 1
    owner_id: int = 1
    private: bool = False
    server_url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    variables: Mapping[str, str] = field(default_factory=dict)
    default_permissions: Mapping[str, str] = field(
        default_factory=lambda: {"contents": "read", "packages": "read"}
    )

    def sha_of(self, ref: str) -> str:
        """The commit that a ref of the repository names now."""
        return subprocess.run(
            ["git", "-C", str(self.git), "rev-parse", "--verify", f"{ref}^{{commit}}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


@dataclass(frozen=True)
class Event:
    """`ref` and `sha` are the github context's; `head_ref`, `base_ref` only of pull requests."""

    name: str
    payload: Mapping[str, Any]
    ref: str
    sha: str
    head_ref: str = ""
    base_ref: str = ""
    actor: str = "octocat"

    @property
    def action(self) -> str:
        return str(self.payload.get("action", ""))

    @property
    def from_fork(self) -> bool:
        """Of a pull request: whether its head is another repository's, or a deleted one's."""
        if self.name != _ON_MERGE:
            return False
        pull = self.payload["pull_request"]
        head = pull["head"].get("repo")
        return head is None or head["id"] != pull["base"]["repo"]["id"]


def event_of(name: str, payload: Mapping[str, Any], site: Site) -> Event:
    """The event with the ref and SHA that GitHub gives it, from the payload and the repository.

    A pull request without a test merge in the payload takes its head instead: the fact that tests
    set up with `merge_commit_sha` where it matters.
    """
    actor = str((payload.get("sender") or {}).get("login", "octocat"))
    if name == "pull_request":
        pull = payload["pull_request"]
        return Event(
            name,
            payload,
            ref=f"refs/pull/{payload['number']}/merge",
            sha=pull.get("merge_commit_sha") or pull["head"]["sha"],
            head_ref=pull["head"]["ref"],
            base_ref=pull["base"]["ref"],
            actor=actor,
        )
    if name == "merge_group":
        group = payload["merge_group"]
        return Event(name, payload, ref=group["head_ref"], sha=group["head_sha"], actor=actor)
    if name == "push":
        return Event(name, payload, ref=payload["ref"], sha=payload["after"], actor=actor)
    if name == "workflow_dispatch" and "ref" in payload:
        ref = str(payload["ref"])
        return Event(name, payload, ref=ref, sha=site.sha_of(ref), actor=actor)
    ref = f"refs/heads/{site.default_branch}"
    return Event(name, payload, ref=ref, sha=site.sha_of(ref), actor=actor)


def starts(on: Mapping[str, Any], event: Event) -> bool:
    """Whether a workflow with this `on` starts. UnsupportedError for a filter not known here."""
    if event.name not in on:
        return False
    filters = on[event.name]
    if event.name == "schedule":
        return any(entry["cron"] == event.payload.get("schedule") for entry in filters)
    if event.name == "workflow_dispatch":
        return True
    known = {"types", "branches", "branches-ignore", "tags", "tags-ignore", "workflows"}
    if unknown := set(filters) - known:
        raise UnsupportedError(f"This runner does not know the filters {sorted(unknown)}")
    usual = _USUAL_TYPES if event.name == _ON_MERGE else None
    types = filters.get("types", usual)
    if types is not None and event.action not in types:
        return False
    if "workflows" in filters and event.payload["workflow_run"]["name"] not in filters["workflows"]:
        return False
    return _ref_passes(filters, event)


def _ref_passes(filters: Mapping[str, Any], event: Event) -> bool:
    if event.name == "push":
        if event.ref.startswith("refs/tags/"):
            kind, name = "tags", event.ref.removeprefix("refs/tags/")
        else:
            kind, name = "branches", event.ref.removeprefix("refs/heads/")
        # A push filtered only by tags does not start for a branch, and the other way round.
        other = {"tags": "branches", "branches": "tags"}[kind]
        named = {kind, f"{kind}-ignore"} & set(filters)
        if not named and {other, f"{other}-ignore"} & set(filters):
            return False
        return _named(filters, kind, name)
    if event.name == "merge_group":
        branch = event.payload["merge_group"]["base_ref"].removeprefix("refs/heads/")
    elif event.name == "workflow_run":
        branch = event.payload["workflow_run"]["head_branch"] or ""
    else:
        branch = event.base_ref
    return _named(filters, "branches", branch)


def _named(filters: Mapping[str, Any], kind: str, name: str) -> bool:
    if kind in filters and not _matches(filters[kind], name):
        return False
    ignored = filters.get(f"{kind}-ignore")
    return ignored is None or not _matches(ignored, name)


def _matches(patterns: Iterable[str], name: str) -> bool:
    """The last pattern that matches decides; a leading `!` takes the name out again."""
    taken = False
    for pattern in patterns:
        if re.fullmatch(_expression(pattern.removeprefix("!")), name):
            taken = not pattern.startswith("!")
    return taken


def _expression(pattern: str) -> str:
    """A filter pattern as a regular expression: `*` stops at a slash, `**` does not."""
    pieces = re.findall(r"\*\*|\\.|\[[^]]*\]|.", pattern)
    special = {"**": ".*", "*": "[^/]*", "?": "?", "+": "+"}
    return "".join(
        special.get(piece) or (piece if piece[0] in "[\\" else re.escape(piece)) for piece in pieces
    )


def dispatch_inputs(on: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """The `inputs` context of workflow_dispatch, defaults filled in; empty for other events."""
    if event.name != "workflow_dispatch":
        return {}
    declared = (on["workflow_dispatch"] or {}).get("inputs") or {}
    given = dict(event.payload.get("inputs") or {})
    if unknown := set(given) - set(declared):
        raise WorkflowError(f"Unexpected inputs provided: {sorted(unknown)}")
    values: dict[str, Any] = {}
    for name, about in declared.items():
        value = given.get(name, about.get("default"))
        if value is None and about.get("required"):
            raise WorkflowError(f"Required input '{name}' not provided")
        if about.get("type") == "boolean":
            value = str(value).lower() == "true"
        values[name] = "" if value is None else value
    return values
