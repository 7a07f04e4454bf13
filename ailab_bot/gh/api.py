"""GitHub over HTTP: each question of the Protocol is one path and one reader.

Refuses to decide what an answer means. Numbers of pages are bounded, so a question costs a known
number of requests. Only flows of the trusted half import this.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import quote

from ailab_bot.errors import UserError
from ailab_bot.gh import answers
from ailab_bot.gh.client import (
    Artifact,
    Comment,
    CommitStatus,
    Comparison,
    GitHubError,
    Issue,
    IssuesDisabledError,
    NotFoundError,
    Permission,
    PullRequest,
    Run,
    User,
)
from ailab_bot.gh.download import Downloads
from ailab_bot.gh.event import read_pull, read_run
from ailab_bot.gh.questions import Questions
from ailab_bot.gh.transport import Transport
from ailab_bot.model.report import Annotation

MOST_ITEMS = 1000
#: GitHub lists no more where runs are narrowed.
MOST_RUNS = 1000
#: GitHub keeps as many of one commit and one context; of all contexts there may be more.
MOST_STATUSES = 1000
MOST_ARTIFACTS = 300
#: GitHub's cap for one request; ours show no more.
MOST_ANNOTATIONS = 50
#: One try; GitHub itself ends a request after 10 s.
TIMEOUT_S = 15
#: A 64-scenario pull request needs about 40; this stops a loop, not a job.
MOST_REQUESTS = 200
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9_.-]+")


class GitHubApi:
    """The repository `repository` (`owner/name`) as `token` may see it. Implements `GitHub`."""

    def __init__(
        self,
        repository: str,
        token: str,
        *,
        deadline_s: float,
        api_url: str = "https://api.github.com",
        timeout_s: int = TIMEOUT_S,
        most_requests: int = MOST_REQUESTS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """`deadline_s` is on `clock`: no sleep reaches past it."""
        self.repository = repository
        self._transport = Transport(
            token,
            api_url,
            deadline_s=deadline_s,
            timeout_s=timeout_s,
            most_requests=most_requests,
            sleep=sleep,
            clock=clock,
            now=now,
            rng=random.Random() if rng is None else rng,  # noqa: S311 - jitter
        )
        self._ask = Questions(self._transport, f"/repos/{repository}")
        self._downloads = Downloads(self._transport)

    def __repr__(self) -> str:
        return f"GitHubApi({self.repository!r})"

    def __enter__(self) -> GitHubApi:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._downloads.close()
        self._transport.close()

    @property
    def requests(self) -> int:
        """Sent to the API so far; a repeated one counts each time."""
        return self._transport.requests

    @property
    def writes(self) -> int:
        return self._transport.writes

    def pull(self, number: int) -> PullRequest:
        return self._ask.one(f"/pulls/{number}", read_pull, needs="pull-requests: read")

    def open_pulls(self) -> tuple[PullRequest, ...]:
        return self._ask.many(
            "/pulls",
            read_pull,
            needs="pull-requests: read",
            parameters={"state": "open"},
            most=MOST_ITEMS,
        )

    def pulls_with_commit(self, sha: str) -> tuple[PullRequest, ...]:
        return self._ask.many(
            f"/commits/{_part(sha)}/pulls", read_pull, needs="pull-requests: read"
        )

    def run(self, run_id: int) -> Run:
        return self._ask.one(f"/actions/runs/{run_id}", read_run, needs="actions: read")

    def runs(
        self, workflow: str, *, head_sha: str | None = None, since: datetime | None = None
    ) -> tuple[Run, ...]:
        parameters = {} if head_sha is None else {"head_sha": head_sha}
        if since is not None:
            parameters["created"] = f">={since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self._ask.many(
            f"/actions/workflows/{_part(workflow)}/runs",
            read_run,
            needs="actions: read",
            parameters=parameters,
            below="workflow_runs",
            most=MOST_RUNS,
        )

    def rerun(self, run_id: int, *, failed_only: bool = False) -> None:
        what = "rerun-failed-jobs" if failed_only else "rerun"
        # 403: it is running already, which is what the lost request asked for.
        self._ask.order(f"/actions/runs/{run_id}/{what}", done_if_lost={403})

    def cancel(self, run_id: int) -> None:
        self._ask.order(f"/actions/runs/{run_id}/cancel", done_if_lost={409})

    def artifacts(self, run_id: int) -> tuple[Artifact, ...]:
        return self._ask.many(
            f"/actions/runs/{run_id}/artifacts",
            answers.read_artifact,
            needs="actions: read",
            below="artifacts",
            most=MOST_ARTIFACTS,
        )

    def download(self, artifact: Artifact, most_bytes: int) -> bytes:
        path = f"/repos/{self.repository}/actions/artifacts/{artifact.id}/zip"
        return self._downloads.fetch(path, most_bytes, needs="actions: read")

    def compare(self, base: str, head: str) -> Comparison:
        # The files stand on the first page, whatever its number of commits: ask for one.
        return self._ask.one(
            f"/compare/{_part(base)}...{_part(head)}",
            answers.read_comparison,
            needs="contents: read",
            parameters={"per_page": 1, "page": 1},
        )

    def statuses(self, sha: str) -> tuple[CommitStatus, ...]:
        return self._ask.many(
            f"/commits/{_part(sha)}/statuses",
            answers.read_status,
            needs="statuses: read",
            most=MOST_STATUSES,
        )

    def create_status(
        self, sha: str, *, context: str, state: str, description: str, url: str
    ) -> CommitStatus:
        path = f"/statuses/{_part(sha)}"
        body = {"context": context, "state": state, "description": description, "target_url": url}
        answer = self._ask.write("POST", path, body, needs="statuses: write")
        return self._ask.read(answer, answers.read_status, path)

    def comments(self, number: int) -> tuple[Comment, ...]:
        return self._ask.many(
            f"/issues/{number}/comments",
            answers.read_comment,
            needs="pull-requests: read",
            most=MOST_ITEMS,
        )

    def create_comment(self, number: int, body: str) -> Comment:
        path = f"/issues/{number}/comments"
        answer = self._ask.write(
            "POST", path, {"body": body}, needs="pull-requests: write", repeat=False
        )
        return self._ask.read(answer, answers.read_comment, path)

    def update_comment(self, comment_id: int, body: str) -> Comment:
        path = f"/issues/comments/{comment_id}"
        answer = self._ask.write("PATCH", path, {"body": body}, needs="pull-requests: write")
        return self._ask.read(answer, answers.read_comment, path)

    def react(self, comment_id: int, content: str) -> None:
        path = f"/issues/comments/{comment_id}/reactions"
        self._ask.write("POST", path, {"content": content}, needs="pull-requests: write")

    def permission(self, login: str) -> Permission:
        return self._ask.one(
            f"/collaborators/{_part(login)}/permission",
            answers.read_permission,
            needs="metadata: read",
        )

    def issue(self, number: int) -> Issue:
        with _issues_enabled(f"/issues/{number}"):
            found = self._ask.one(
                f"/issues/{number}", answers.read_issue_or_pull, needs="issues: read"
            )
        if found is None:
            raise NotFoundError(f"number {number} is a pull request, no issue", status=404)
        return found

    def issues(self, label: str) -> tuple[Issue, ...]:
        with _issues_enabled("/issues"):
            found = self._ask.many(
                "/issues",
                answers.read_issue_or_pull,
                needs="issues: read",
                parameters={"labels": label, "state": "all"},
                most=MOST_ITEMS,
            )
        return tuple(issue for issue in found if issue is not None)

    def create_issue(
        self, title: str, body: str, labels: Sequence[str], assignees: Sequence[str]
    ) -> Issue:
        path = "/issues"
        wanted = {
            "title": title,
            "body": body,
            "labels": list(labels),
            "assignees": list(assignees),
        }
        with _issues_enabled(path):
            answer = self._ask.write("POST", path, wanted, needs="issues: write", repeat=False)
        return self._ask.read(answer, answers.read_issue, path)

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
        path = f"/issues/{number}"
        wanted = {
            "title": title,
            "body": body,
            "labels": None if labels is None else list(labels),
            "assignees": None if assignees is None else list(assignees),
            "state": state,
            "state_reason": state_reason,
        }
        changes = {key: value for key, value in wanted.items() if value is not None}
        with _issues_enabled(path):
            answer = self._ask.write("PATCH", path, changes, needs="issues: write")
        return self._ask.read(answer, answers.read_issue, path)

    def can_assign(self, login: str) -> bool:
        path = f"/repos/{self.repository}/assignees"
        try:
            self._transport.ask("GET", f"{path}/{_part(login)}", needs="issues: read")
        except NotFoundError:
            return False
        return True

    def commit_author(self, sha: str) -> User | None:
        # Its files come along, a page of them: ask for one.
        try:
            return self._ask.one(
                f"/commits/{_part(sha)}",
                answers.read_author,
                needs="contents: read",
                parameters={"per_page": 1, "page": 1},
            )
        except GitHubError as error:
            if error.status != 422:
                raise
            raise NotFoundError(  # what GitHub says to a SHA that it does not know
                f"GitHub knows no commit {sha[:40]}", status=422, why=error.why
            ) from None

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        # GitHub says nothing (204), or newly what it started (200), which we look up ourselves.
        self._ask.write(
            "POST",
            f"/actions/workflows/{_part(workflow)}/dispatches",
            {"ref": ref, "inputs": dict(inputs)},
            needs="actions: write",
            repeat=False,
        )

    def create_check(
        self, sha: str, *, name: str, title: str, summary: str, annotations: Sequence[Annotation]
    ) -> None:
        # Safe to repeat: of equal names GitHub shows the latest check run.
        lines = [
            {
                "path": annotation.path,
                "start_line": annotation.line,
                "end_line": annotation.line,
                "annotation_level": annotation.level,
                "title": annotation.title,
                "message": annotation.message,
            }
            for annotation in annotations[:MOST_ANNOTATIONS]
        ]
        body = {
            "name": name,
            "head_sha": sha,
            "status": "completed",
            "conclusion": "neutral",
            "output": {"title": title, "summary": summary, "annotations": lines},
        }
        self._ask.write("POST", "/check-runs", body, needs="checks: write")


@contextmanager
def _issues_enabled(path: str) -> Iterator[None]:
    """GitHub's 410 where issues are off; of a single issue it may also say that it was deleted."""
    try:
        yield
    except NotFoundError as error:
        off = error.status == 410 and (path == "/issues" or "disabled" in error.why.lower())
        if not off:
            raise
        raise IssuesDisabledError(
            "issues are switched off in this repository",
            status=error.status,
            why=error.why,
            advice="Switch them on under Settings, General, Features to have incidents there.",
        ) from None


def _part(name: str) -> str:
    """`name` as one part of a path, which it cannot leave."""
    if name in {"", ".", ".."}:
        raise NotFoundError(f"GitHub has nothing that is named `{name}`", status=404)
    return quote(name, safe="")


def client_from(
    environ: Mapping[str, str], *, deadline_s: float, sleep: Callable[[float], None] = time.sleep
) -> GitHubApi:
    """The client that a workflow's environment describes; UserError names what is missing.

    `deadline_s` is on time.monotonic's scale: when the job will be stopped, less what it still
    has to do then.
    """
    missing = [
        name
        for name in ("AILAB_TOKEN", "GITHUB_API_URL", "GITHUB_REPOSITORY")
        if not environ.get(name)
    ]
    if missing:
        raise UserError(
            f"not set: {', '.join(missing)}",
            why="This command talks to GitHub about one repository.",
            advice="Run it in a workflow through action.yml, with the input github-token.",
        )
    repository = environ["GITHUB_REPOSITORY"]
    if not _REPOSITORY.fullmatch(repository):
        raise UserError(
            f"GITHUB_REPOSITORY is not `owner/name`: {repository[:100]}",
            advice="On GitHub it is set for you.",
        )
    return GitHubApi(
        repository,
        environ["AILAB_TOKEN"],
        api_url=environ["GITHUB_API_URL"],
        deadline_s=deadline_s,
        sleep=sleep,
    )
