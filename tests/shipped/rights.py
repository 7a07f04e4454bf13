"""What each request of the bot's asks of a token, and whether the job that made it had the right.

The stand-in knows only tokens that write and tokens that read; GitHub knows scopes, and answers
403 to a job whose file forgot one. Refuses to let an operation pass that is not listed.
https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.state import Request

READ, WRITE = "read", "write"
#: Operation -> the scopes of which one is enough, and the right that is needed in it.
NEEDED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "actions/get-workflow-run": (("actions",), READ),
    "actions/list-workflow-runs": (("actions",), READ),
    "actions/list-workflow-run-artifacts": (("actions",), READ),
    "actions/download-artifact": (("actions",), READ),
    "actions/re-run-workflow": (("actions",), WRITE),
    "actions/re-run-workflow-failed-jobs": (("actions",), WRITE),
    "actions/cancel-workflow-run": (("actions",), WRITE),
    "actions/create-workflow-dispatch": (("actions",), WRITE),
    "checks/create": (("checks",), WRITE),
    "issues/check-user-can-be-assigned": (("metadata",), READ),
    "issues/create": (("issues",), WRITE),
    "issues/get": (("issues",), READ),
    "issues/list-for-repo": (("issues",), READ),
    "issues/update": (("issues",), WRITE),
    "issues/list-comments": (("issues", "pull-requests"), READ),
    "issues/create-comment": (("issues", "pull-requests"), WRITE),
    "issues/update-comment": (("issues", "pull-requests"), WRITE),
    "pulls/get": (("pull-requests",), READ),
    "pulls/list": (("pull-requests",), READ),
    "reactions/create-for-issue-comment": (("issues", "pull-requests"), WRITE),
    "repos/compare-commits-with-basehead": (("contents",), READ),
    "repos/create-commit-status": (("statuses",), WRITE),
    "repos/get-commit": (("contents",), READ),
    "repos/get-collaborator-permission-level": (("metadata",), READ),
    "repos/list-commit-statuses-for-ref": (("statuses",), READ),
    "repos/list-pull-requests-associated-with-commit": (("pull-requests",), READ),
}


@dataclass(frozen=True)
class Granted:
    """A job and its token's rights. `first`: the number of the first request that can be its."""

    job: str
    rights: Mapping[str, str]
    first: int


def beyond(jobs: Sequence[Granted], requests: Sequence[Request]) -> list[str]:
    """The requests that GitHub would have refused. Jobs must have run one after another."""
    ends = [*(job.first for job in jobs[1:]), len(requests)]
    return [
        f"{job.job}: {request.operation} needs {' or '.join(scopes)}: {right}"
        for job, end in zip(jobs, ends, strict=True)
        for request in requests[job.first : end]
        for scopes, right in [NEEDED[request.operation]]
        if not any(job.rights.get(scope) in {right, WRITE} for scope in scopes)
    ]
