"""A GitHub of our own for tests: one repository over real HTTP, held to what GitHub published.

A story in five lines; its verbs are what people do, and each gives the webhook that GitHub sends:

    with running() as github:                        # or the fixture `github` of conftest.py
        pull = github.open_pull("alice", head="speed-up", fork=True)
        run = github.start_run(pull)                 # events[-1]: workflow_run.in_progress
        github.finish_run(run, artifacts={"ailab-trials-1-0": zip_bytes})
        event = github.events[-1]                    # workflow_run.completed
        publish(github.environment(event, tmp_path)) # GITHUB_*, AILAB_TOKEN; the payload as a file
        assert github.status(pull.head_sha, "ailab/gate").state == "success"
        assert "no change" in github.bot_comment(pull).body

People:   user, open_pull, push, retarget, edit, close, reopen, merge, delete_fork, comment,
          edit_comment, delete_comment, open_issue, close_issue, reopen_issue, delete_issue,
          queue_merge, push_branch, timer, press_rerun, press_cancel, start_by_hand
Actions:  start_run, begin, finish_run (of a pull, a MergeGroup, or None for a branch)
Read:     events, payload_of, event(name, action), target_event_of(event), status,
          statuses, comments, bot_comment, checks, issues, dispatches (workflows that were
          started), requests (each with its status), writes
Scripts:  will(operation, *faults) as in `hub/faults.py`; compared[(base, head)] or `git` (a
          repository); workflows (files that are installed) and startable (those that can be
          started, with their inputs); has_issues; authors[sha] (an account, or None); branches;
          wait(seconds) moves the stand-in's clock; token, read_token, add_token

Every request must be in GitHub's OpenAPI description and every answer of ours must fit it; what is
not, collects in `violations`, which `running` and the fixture assert to be empty. The limits of
bodies (140 characters of a status, 65,536 of a comment, 256 of an issue's title, 50 annotations)
are answered with 422.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub import render
from hub.faults import Fault
from hub.operations import Operations
from hub.server import Server
from hub.state import (
    BOT_ID,
    Account,
    Artifact,
    Check,
    Comment,
    Compared,
    Dispatch,
    Event,
    Issue,
    Json,
    MergeGroup,
    Pull,
    Repository,
    Request,
    Run,
    Status,
    sha_of,
)

MEASURE = "ailab-measure.yml"
MERGE_QUEUE = "ailab-merge-queue.yml"
RELEASE = "ailab-release.yml"
BISECT = "ailab-bisect.yml"
SHIPPED = {
    MEASURE,
    MERGE_QUEUE,
    RELEASE,
    BISECT,
    "ailab-report.yml",
    "ailab-command.yml",
    "ailab-sweep.yml",
}


class StandIn:
    """One repository, `acme/models`. Its state is public: a test may look at and bend anything."""

    def __init__(self, *, private: bool = False, git: Path | None = None) -> None:
        self.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self.bot = Account(BOT_ID, "github-actions[bot]", "write", "Bot")
        self.users: dict[str, Account] = {self.bot.login: self.bot}
        self.repository = Repository(1_000_001, self.user("acme", "admin"), "models", private)
        self.pulls: dict[int, Pull] = {}
        self.issues: dict[int, Issue] = {}
        self.comments: list[Comment] = []
        self.all_statuses: list[Status] = []
        self.runs: dict[int, Run] = {}
        self.checks: list[Check] = []
        self.events: list[Event] = []
        self.base_sha = sha_of("main")
        #: Answers of compare that need no git: (base, head) -> Compared.
        self.compared: dict[tuple[str, str], Compared] = {}
        self.git = git
        #: Its workflows' files: asked for the runs of another one, GitHub says 404.
        self.workflows = set(SHIPPED)
        #: Those with the trigger workflow_dispatch -> the names of its inputs.
        self.startable = {
            BISECT: {"incident", "good", "bad", "scenario", "metric", "also", "rounds"}
        }
        #: GitHub tells whom it answers what it started; before 2026 it never did.
        self.tells_dispatched = False
        self.dispatches: list[Dispatch] = []
        #: Whether the repository's setting "Issues" is on.
        self.has_issues = True
        self.deleted_issues: set[int] = set()
        self.labels_of_pulls: dict[int, list[str]] = {}
        #: SHA -> the account of its author; None: the e-mail is no account's.
        self.authors: dict[str, Account | None] = {}
        #: Tips of branches besides the default one, which is at `base_sha`.
        self.branches: dict[str, str] = {}
        #: GitHub often finds no pull request of a commit that lies in a fork only.
        self.finds_commits_of_forks = False
        self.token, self.read_token = "ghs_writes-0123456789", "ghs_reads-0123456789"
        self._last_number = 0
        self._last_id = 9_000
        self.operations = Operations(self)
        self.server = Server(self.operations.act, self.operations.blob, self.now_s)
        self.server.tokens = {self.token: (self.bot, True), self.read_token: (self.bot, False)}

    # People

    def user(self, login: str, permission: str | None = None, id: int | None = None) -> Account:  # noqa: A002
        """The account, made at the first mention with permission read; both can be changed."""
        account = self.users.setdefault(login, Account(5_000 + len(self.users), login))
        account.permission = permission or account.permission
        account.id = account.id if id is None else id
        return account

    def open_pull(
        self,
        author: str = "alice",
        *,
        head: str = "feature",
        sha: str | None = None,
        base: str = "main",
        base_sha: str | None = None,
        fork: bool = False,
        title: str = "Change the training",
        body: str | None = None,
    ) -> Pull:
        """`fork`: head lies in the author's own repository. Event: pull_request.opened."""
        account = self.user(author)
        home = self.repository
        if fork:
            home = Repository(2_000_000 + account.id, account, home.name, home.private, fork=True)
        pull = Pull(
            self._number(), title, account, head, home, base, base_sha or self.base_sha,
            [sha or sha_of(f"{author}/{head}")], self._tick(), body=body,
        )  # fmt: skip
        self.pulls[pull.number] = pull
        self._pull_event("opened", pull)
        return pull

    def push(self, pull: Pull, sha: str | None = None, *, force: bool = False) -> str:
        """A new head; with `force` the old commits are no longer in the branch."""
        before = pull.head_sha
        new = sha or sha_of(f"{before}+1")
        pull.commits = [new] if force else [*pull.commits, new]
        self._tick()
        self._pull_event("synchronize", pull, {"before": before, "after": new})
        return new

    def retarget(self, pull: Pull, base: str, base_sha: str | None = None) -> None:
        changes = {"base": {"ref": {"from": pull.base_ref}, "sha": {"from": pull.base_sha}}}
        pull.base_ref, pull.base_sha = base, base_sha or sha_of(base)
        self._tick()
        self._pull_event("edited", pull, {"changes": changes})

    def edit(self, pull: Pull, title: str) -> None:
        changes = {"title": {"from": pull.title}}
        pull.title = title
        self._tick()
        self._pull_event("edited", pull, {"changes": changes})

    def close(self, pull: Pull) -> None:
        pull.state = "closed"
        self._tick()
        self._pull_event("closed", pull)

    def merge(self, pull: Pull) -> None:
        pull.merged = True
        self.close(pull)

    def reopen(self, pull: Pull) -> None:
        pull.state = "open"
        self._tick()
        self._pull_event("reopened", pull)

    def delete_fork(self, pull: Pull) -> None:
        """No event; from now on the pull request and its runs have no head repository."""
        gone = pull.head_repository
        pull.head_repository = None
        for run in self.runs.values():
            if run.head_repository is gone:
                run.head_repository = None

    def open_issue(
        self,
        author: str = "alice",
        title: str = "Slow",
        body: str | None = None,
        labels: Sequence[str] = (),
    ) -> Issue:
        """No event of ours, as all that happens to issues but comments."""
        return self.add_issue(self.user(author), title, body, labels)

    def add_issue(
        self, author: Account, title: str, body: str | None, labels: Sequence[str]
    ) -> Issue:
        issue = Issue(self._number(), title, author, self._tick(), body=body, labels=[*labels])
        self.issues[issue.number] = issue
        return issue

    def close_issue(self, issue: Issue, by: str = "alice", reason: str = "completed") -> None:
        """`reason`: completed, not_planned or duplicate."""
        self.turn_issue(issue, "closed", reason, self.user(by))

    def reopen_issue(self, issue: Issue, by: str = "alice") -> None:
        self.turn_issue(issue, "open", None, self.user(by))

    def turn_issue(self, issue: Issue, state: str, reason: str | None, who: Account) -> None:
        self._tick()
        closed = state == "closed"
        issue.state, issue.closed_by = state, who if closed else None
        issue.state_reason = reason or ("completed" if closed else "reopened")

    def delete_issue(self, issue: Issue) -> None:
        """By an admin: GitHub remembers its number."""
        del self.issues[issue.number]
        self.deleted_issues.add(issue.number)

    def comment(self, on: Pull | Issue, author: str, body: str) -> Comment:
        """Event: issue_comment.created."""
        time = self._tick()
        comment = Comment(self._id(), on.number, self.user(author), body, time, time)
        self.comments.append(comment)
        self._comment_event("created", on, comment)
        return comment

    def edit_comment(self, comment: Comment, body: str) -> None:
        changes = {"body": {"from": comment.body}}
        comment.body, comment.updated_at = body, self._tick()
        on = self.pulls.get(comment.number) or self.issues[comment.number]
        self._comment_event("edited", on, comment, {"changes": changes})

    def delete_comment(self, comment: Comment) -> None:
        """No event of ours; GitHub answers 404 for it from now on."""
        self.comments.remove(comment)

    def queue_merge(self, pull: Pull, sha: str | None = None) -> MergeGroup:
        """Event: merge_group.checks_requested."""
        self._tick()
        branch = f"refs/heads/gh-readonly-queue/{pull.base_ref}/pr-{pull.number}-{pull.base_sha}"
        group = MergeGroup(
            sha or sha_of(f"queued {pull.head_sha}"), branch, pull.base_sha, pull.base_ref
        )
        payload = self._payload("merge_group", "checks_requested", pull.author)
        payload["merge_group"] = render.merge_group(group, payload["merge_group"])
        self._deliver("merge_group", "checks_requested", payload)
        return group

    def push_branch(self, ref: str, sha: str, before: str | None = None) -> None:
        """Event: push. `before` None: the branch is new."""
        self._tick()
        self.branches[ref] = sha
        payload = self._payload("push", None, self.user("acme"))
        payload |= {"ref": f"refs/heads/{ref}", "before": before or "0" * 40, "after": sha}
        payload |= {"created": before is None, "deleted": False, "forced": False}
        self._deliver("push", None, payload)

    def timer(self, name: str = "schedule") -> None:
        """A schedule's or, by `workflow_dispatch`, somebody's start. No example is published."""
        self._tick()
        template = render.payload("push", None, self.repository, self.user("acme"))
        payload = {key: template[key] for key in ("repository", "sender")}
        more: Json = {"schedule": "7,37 * * * *"} if name == "schedule" else {"inputs": {}}
        self._deliver(name, None, {**payload, **more})

    def tip_of(self, ref: str) -> str | None:
        """Of a branch, by its name or as refs/heads/…; None: there is none."""
        name = ref.removeprefix("refs/heads/")
        default = {self.repository.default_branch: self.base_sha}
        return {**self.branches, **default}.get(name)

    # Actions

    def start_by_hand(
        self, workflow: str, ref: str, inputs: Mapping[str, str], who: Account | None = None
    ) -> Run:
        """A queued run; `begin` starts it. Event: workflow_dispatch, also where the bot did it."""
        sha, actor, time = self.tip_of(ref), who or self.user("acme"), self._tick()
        assert sha is not None, f"no branch {ref}"
        branch = ref.removeprefix("refs/heads/")
        run = Run(
            self._id(), workflow, "workflow_dispatch", sha, branch, self.repository, None, actor,
            time, time,
        )  # fmt: skip
        self.runs[run.id] = run
        self.dispatches.append(Dispatch(workflow, ref, dict(inputs), run))
        template = render.payload("push", None, self.repository, actor)
        payload = {key: template[key] for key in ("repository", "sender")}
        more = {"ref": f"refs/heads/{branch}", "workflow": f".github/workflows/{workflow}"}
        self._deliver("workflow_dispatch", None, {**payload, **more, "inputs": dict(inputs)})
        return run

    def start_run(
        self,
        of: Pull | MergeGroup | None = None,
        *,
        workflow: str | None = None,
        sha: str | None = None,
        branch: str | None = None,
    ) -> Run:
        """A run that has begun. Of None: of a branch of the repository, event `push`."""
        pull = of if isinstance(of, Pull) else None
        home: Repository | None = self.repository
        if pull is not None:
            usual, event, home = MEASURE, "pull_request", pull.head_repository
            branch, sha = pull.head_ref, sha or pull.head_sha
        elif isinstance(of, MergeGroup):
            usual, event = MERGE_QUEUE, "merge_group"
            branch, sha = of.head_ref.removeprefix("refs/heads/"), of.head_sha
        else:
            usual, event, sha = RELEASE, "push", sha or self.base_sha
        time = self._tick()
        actor = pull.author if pull else self.user("acme")
        run = Run(
            self._id(), workflow or usual, event, sha, branch, home, pull, actor, time, time
        )  # fmt: skip
        self.runs[run.id] = run
        self.begin(run)
        return run

    def begin(self, run: Run) -> None:
        """A runner took its first job. Event: workflow_run.in_progress."""
        run.status, run.conclusion, run.updated_at = "in_progress", None, self._tick()
        self.run_event("in_progress", run)

    def finish_run(
        self,
        run: Run,
        conclusion: str = "success",
        *,
        artifacts: Mapping[str, bytes] | None = None,
        jobs: Mapping[str, str] | None = None,
    ) -> None:
        """Event: workflow_run.completed. Artifacts of earlier attempts stay, as on GitHub."""
        run.status, run.conclusion, run.updated_at = "completed", conclusion, self._tick()
        run.jobs = dict(jobs or {})
        for name, data in (artifacts or {}).items():
            run.artifacts.append(Artifact(self._id(), name, data, run.attempt, self.now))
        self.run_event("completed", run)

    def press_rerun(self, run: Run, *, failed_only: bool = False) -> None:
        """A person presses the button: the next attempt is queued; `begin` starts it."""
        run.attempt += 1
        run.status, run.conclusion, run.updated_at = "queued", None, self._tick()
        run.again_at.append(self.now)
        run.failed_only = failed_only

    def press_cancel(self, run: Run) -> None:
        self.finish_run(run, "cancelled")

    def run_event(self, action: str, run: Run, *, attempt: int | None = None) -> Event:
        """Deliver (again) what a run's attempt tells; `attempt`: late, an earlier one's."""
        payload = self._payload("workflow_run", action, run.actor)
        told = run if attempt is None else replace(run, attempt=attempt)
        payload["workflow_run"] = render.run(told, self.repository, payload["workflow_run"])
        path = f".github/workflows/{run.workflow}"
        payload["workflow"] = {**(payload["workflow"] or {}), "path": path}
        return self._deliver("workflow_run", action, payload)

    # Read

    def event(self, name: str, action: str | None = None) -> Event:
        """The latest delivery of that kind."""
        return [e for e in self.events if e.name == name and action in {None, e.action}][-1]

    def target_event_of(self, event: Event) -> Event:
        """What a pull_request event delivers besides: the same for `pull_request_target`.

        It is not in `events`, where tests look for what a person did last.
        """
        assert event.name == "pull_request"
        return replace(event, name="pull_request_target")

    def payload_of(self, event: Event) -> Json:
        payload: Json = json.loads(event.payload)
        return payload

    def environment(
        self,
        event: Event,
        folder: Path,
        *,
        token: str | None = None,
        run: Run | None = None,
        workspace: Path | None = None,
    ) -> dict[str, str]:
        """What GitHub sets for a job that this event starts; its files lie in `folder`.

        `run` is the job's own run, where a test wants a real one; `workspace` its checkout.
        """
        number = [each.payload for each in self.events].index(event.payload)
        path = folder / f"event-{number}-{event.name}.json"
        path.write_text(event.payload, encoding="utf-8")
        temp = folder / "temp"
        temp.mkdir(exist_ok=True)
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event.name,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_REPOSITORY": self.repository.full_name,
            "GITHUB_RUN_ID": str(run.id if run else 1),
            "GITHUB_RUN_ATTEMPT": str(run.attempt if run else 1),
            "GITHUB_API_URL": self.server.url,
            "GITHUB_SERVER_URL": render.WEB,
            "GITHUB_WORKSPACE": str(workspace or self.git or folder),
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "RUNNER_TEMP": str(temp),
            "AILAB_TOKEN": self.token if token is None else token,
        }

    def statuses(self, sha: str) -> list[Status]:
        """Newest first."""
        return [status for status in reversed(self.all_statuses) if status.sha == sha]

    def status(self, sha: str, context: str) -> Status | None:
        """What GitHub shows: the newest of this context."""
        return next((s for s in self.statuses(sha) if s.context == context), None)

    def bot_comments(self, on: Pull | Issue) -> list[Comment]:
        return [c for c in self.comments if c.number == on.number and c.author is self.bot]

    def bot_comment(self, on: Pull | Issue) -> Comment:
        """The bot's one comment; AssertionError where there is none, or a second one."""
        (comment,) = self.bot_comments(on)
        return comment

    @property
    def requests(self) -> list[Request]:
        return self.server.requests

    @property
    def writes(self) -> int:
        return sum(request.verb != "GET" for request in self.requests)

    @property
    def violations(self) -> list[str]:
        return self.server.violations

    # Scripts

    def will(self, operation: str, *faults: Fault) -> None:
        """The next requests of that operation fail like this; "*": of any, "blob": of a store."""
        queue = self.server.blob_faults if operation == "blob" else self.server.faults[operation]
        queue.extend(faults)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def now_s(self) -> float:
        return self.now.timestamp()

    def add_token(self, token: str, account: Account, *, may_write: bool = True) -> str:
        self.server.tokens[token] = (account, may_write)
        return token

    def stop(self) -> None:
        self.server.close()

    def _tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def _id(self) -> int:
        self._last_id += 7
        return self._last_id

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _payload(self, event: str, action: str | None, sender: Account) -> Json:
        return render.payload(event, action, self.repository, sender)

    def _pull_event(self, action: str, pull: Pull, more: Json | None = None) -> None:
        pull.updated_at = self.now
        payload = self._payload("pull_request", action, pull.author)
        payload["number"] = pull.number
        payload["pull_request"] = render.pull(pull, self.repository, payload["pull_request"])
        self._deliver("pull_request", action, {**payload, **(more or {})})

    def _comment_event(
        self, action: str, on: Pull | Issue, comment: Comment, more: Json | None = None
    ) -> None:
        payload = self._payload("issue_comment", action, comment.author)
        payload["issue"] = render.issue(on, self.repository, payload["issue"])
        payload["comment"] = render.comment(comment, self.repository, payload["comment"])
        self._deliver("issue_comment", action, {**payload, **(more or {})})

    def _deliver(self, name: str, action: str | None, payload: Json) -> Event:
        event = Event(name, action, json.dumps(payload))
        self.events.append(event)
        return event


@contextmanager
def running(*, private: bool = False, git: Path | None = None) -> Iterator[StandIn]:
    """A stand-in that listens; at the end nothing may have broken GitHub's description."""
    github = StandIn(private=private, git=git)
    try:
        yield github
    finally:
        github.stop()
    assert not github.violations, "not as GitHub describes it:\n" + "\n".join(github.violations)
