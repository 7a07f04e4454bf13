"""The rights of a job's token: `permissions` of workflow and job, the site's default, and forks.

Refuses a scope or a right that it does not know, so that a slip is not read as "none".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import WorkflowError

SCOPES = (
    "actions",
    "artifact-metadata",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "id-token",
    "issues",
    "models",
    "packages",
    "pages",
    "pull-requests",
    "repository-projects",
    "security-events",
    "statuses",
)
_READ_ONLY = frozenset({"models"})
_NEVER_READ = frozenset({"id-token"})


def token_rights(
    workflow: Any, job: Any, default: Mapping[str, str], *, from_fork: bool
) -> dict[str, str]:
    """Scope -> read or write; scopes without a right are left out, and `metadata` can be read.

    A job's `permissions` replace the workflow's altogether. For a pull request from a fork every
    write becomes read, whatever the file says.
    """
    written = job if job is not None else workflow
    rights = dict(default) if written is None else _spelt_out(written)
    if from_fork:
        rights = {
            scope: right if right == "none" else "read"
            for scope, right in rights.items()
            if scope not in _NEVER_READ
        }
    return {
        **{scope: right for scope, right in rights.items() if right != "none"},
        "metadata": "read",
    }


def _spelt_out(written: Any) -> dict[str, str]:
    if isinstance(written, str):
        if written not in ("read-all", "write-all"):
            raise WorkflowError(f"permissions: {written}")
        right = written.removesuffix("-all")
        return {
            scope: "read" if scope in _READ_ONLY else right
            for scope in SCOPES
            if right == "write" or scope not in _NEVER_READ
        }
    for scope, right in written.items():
        if scope not in SCOPES or right not in ("read", "write", "none"):
            raise WorkflowError(f"permissions: {scope}: {right}")
    return dict(written)
