"""GitHub as far as it starts workflows: events of the stand-in run the shipped files, all the way.

    works = Works(tmp_path, github, language, prepared)   # or the fixture `works` of conftest.py
    pull = works.open_pull({"eager.py": BROKEN})          # a commit, a pull request, and whatever
    assert works.gate(pull).state == "failure"            # follows from it until all is quiet
    assert works.job("AI Lab report", "publish").conclusion == "success"

Workflow files come from the commit that GitHub would take them from: the test merge of a pull
request, the head of a queue, the pushed commit, and the default branch for all else. Each job gets
a token of its own with the rights that its file gives it; `rights` says afterwards whether it asked
for more. Refuses to decide anything: what happens next follows from events and from the API.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rights
from action.runner import (
    Event,
    Fault,
    JobResult,
    Language,
    Runner,
    RunResult,
    Settings,
    Site,
    event_of,
    starts,
)
from hub.state import Artifact, Comment, MergeGroup, Pull, Run, Status
from hub.state import Event as Delivery
from repositories import git
from sources import CONFIG, Sources
from standin import MEASURE, MERGE_QUEUE, RELEASE, StandIn


@dataclass(frozen=True)
class Opening:
    """What a run was started with, for its later attempts: GitHub keeps file and event."""

    path: Path
    event: Event
    name: str


@dataclass
class Works:
    """`ran`: every run of a workflow file, oldest first. `faults`: by attempt, of the next
    measurement. `lose`: kinds of events, (name, action), that GitHub forgets to act on.
    `refused`: what a story's jobs ask for without having the right, in the words of `rights`.
    """

    folder: Path
    github: StandIn
    language: Language
    prepared: Path | None
    scenarios: Collection[str] = ("eager",)
    config: str = CONFIG
    sources: Sources = field(init=False)
    origin: Path = field(init=False)
    site: Site = field(init=False)
    ran: list[RunResult] = field(default_factory=list)
    faults: Mapping[int, Sequence[Fault]] = field(default_factory=dict)
    lose: set[tuple[str, str | None]] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)
    jobs: list[rights.Granted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    handled: int = 0
    opened: dict[int, Opening] = field(default_factory=dict)
    groups: dict[str, MergeGroup] = field(default_factory=dict)
    dispatched: int = 0
    numbers: Any = field(default_factory=lambda: itertools.count(700_001))

    def __post_init__(self) -> None:
        self.github.now = datetime.now(UTC)
        self.sources = Sources(self.folder)
        self.origin = self.sources.origin
        self.github.base_sha = self.sources.found(self.scenarios, self.config)
        self.github.git = self.origin
        repository = self.github.repository
        self.site = Site(
            repository.full_name,
            self.origin,
            repository_id=repository.id,
            owner_id=repository.owner.id,
            private=repository.private,
            api_url=self.github.server.url,
        )

    # What people do; everything that follows from it has happened when these return

    def open_pull(
        self, files: Mapping[str, str], *, author: str = "alice", fork: bool = False
    ) -> Pull:
        """Of a fork the commit is in no branch of the repository, only in refs/pull."""
        head = f"change-{len(self.github.pulls) + 1}"
        sha = self.sources.commit_on(head, files)
        pull = self.github.open_pull(author, head=head, sha=sha, fork=fork)
        self.sources.keep_pull(pull, in_fork=fork)
        self.deliver()
        return pull

    def say(self, on: Any, author: str, body: str) -> Comment:
        comment = self.github.comment(on, author, body)
        self.deliver()
        return comment

    def queue(self, pull: Pull) -> MergeGroup:
        """The merge queue takes the pull request: its test merge is the queue's head."""
        sha = git(self.origin, "rev-parse", f"refs/pull/{pull.number}/merge")
        group = self.github.queue_merge(pull, sha)
        git(self.origin, "update-ref", group.head_ref, sha)
        self.groups[sha] = group
        self.deliver()
        return group

    def push(
        self, branch: str, *commits: Mapping[str, str], authors: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Commits to a branch of the repository that is there. `authors`: whose accounts GitHub
        knows theirs to be."""
        before = git(self.origin, "rev-parse", branch)
        shas = tuple(self.sources.commit_on(branch, files) for files in commits)
        for sha, author in zip(shas, authors, strict=False):
            self.github.authors[sha] = self.github.user(author)
        self._pushed(branch, shas[-1], before)
        return shas

    def merge(self, branch: str, ours: str) -> str:
        """Somebody merges a branch that begins at the tip of `ours`."""
        before, sha = (git(self.origin, "rev-parse", each) for each in (ours, branch))
        git(self.origin, "branch", "--quiet", "--force", ours, sha)
        self._pushed(ours, sha, before)
        return sha

    def timer(self, workflow: str) -> None:
        """The schedule that the default branch's file asks for comes due."""
        tree = self.language.workflow(self.sources.files(self.site.default_branch) / workflow)
        self.github.timer()
        event = self.github.events[-1]
        payload = {**json.loads(event.payload), "schedule": tree["on"]["schedule"][0]["cron"]}
        self.github.events[-1] = replace(event, payload=json.dumps(payload))
        self.deliver()

    def later(self, of: Run, **more: float) -> None:
        """It is long ago: the bot reads the true clock, so what happened moves back."""
        ago = timedelta(**more)
        of.created_at, of.updated_at = of.created_at - ago, of.updated_at - ago
        of.again_at = [when - ago for when in of.again_at]

    # What is there afterwards

    def gate(self, of: Pull | MergeGroup | str) -> Status:
        found = self.github.status(of if isinstance(of, str) else of.head_sha, "ailab/gate")
        assert found is not None, "no gate\n" + self.log
        return found

    def gates(self, sha: str) -> list[str]:
        """Every state that the gate was in, the first one first."""
        own = [each for each in self.github.statuses(sha) if each.context == "ailab/gate"]
        return [each.state for each in reversed(own)]

    def all_of(self, workflow: str) -> list[RunResult]:
        """Of the workflow with this name, in the order in which they ran."""
        return [run for run in self.ran if run.workflow == workflow]

    def measurement(self) -> Run:
        """The one run that measured a pull request, as the API shows it."""
        (run,) = (run for run in self.github.runs.values() if run.workflow == MEASURE)
        return run

    def job(self, workflow: str, key: str) -> JobResult:
        """The latest job of that key that ran and was not skipped."""
        found = [run.job(key) for run in self.all_of(workflow)]
        return [job for job in found if job.conclusion != "skipped"][-1]

    @property
    def log(self) -> str:
        return "\n".join(
            f"# {run.workflow} {run.run_id}/{run.attempt}\n{run.log}" for run in self.ran
        )

    # What GitHub does

    def _pushed(self, branch: str, sha: str, before: str) -> None:
        """Not before the commits were made: a release plan looks at no tag from after its run."""
        self.github.now = max(self.github.now, datetime.now(UTC))
        self.github.push_branch(branch, sha, before)
        self.deliver()

    def deliver(self) -> None:
        """Until there is neither an event nor a queued run left."""
        while True:
            if self.handled < len(self.github.events):
                self.handled += 1
                self._react(self.github.events[self.handled - 1])
            elif queued := [run for run in self.github.runs.values() if run.status == "queued"]:
                self.github.begin(queued[0])
                self._measure(queued[0])
            else:
                return

    def _react(self, delivery: Delivery) -> None:
        if (delivery.name, delivery.action) in self.lose:
            return
        event = self._event(delivery)
        if delivery.name == "workflow_dispatch":
            self._dispatch(event)
            return
        for path in sorted(self.sources.files(self._commit_of(event)).iterdir()):
            tree = self.language.workflow(path)
            if not starts(tree["on"], event):
                continue
            if path.name not in (MEASURE, MERGE_QUEUE, RELEASE):
                self._follow(Opening(path, event, tree["name"]))
                continue
            run = self._begun(path.name, event)
            self.opened[run.id] = Opening(path, event, tree["name"])
            self._measure(run)

    def _dispatch(self, event: Event) -> None:
        """A run that was queued for it starts when it is its turn, with the file of its ref."""
        started = self.github.dispatches[self.dispatched]
        self.dispatched += 1
        path = self.sources.files(event.sha) / started.workflow
        self.opened[started.run.id] = Opening(path, event, self.language.workflow(path)["name"])

    def _follow(self, opening: Opening) -> None:
        """A run of a workflow that no other waits for; its artifacts can be asked for as well."""
        now, home = self.github.now, self.github.repository
        about = (opening.path.name, opening.event.name, opening.event.sha, home.default_branch)
        run = Run(
            next(self.numbers), *about, home, None, home.owner, now, now, status="in_progress"
        )
        self.github.runs[run.id], self.opened[run.id] = run, opening
        run.conclusion, run.status = self._run(opening, run.id).conclusion, "completed"

    def _begun(self, workflow: str, event: Event) -> Run:
        """A run that the API knows."""
        if event.name == "pull_request":
            pull = self.github.pulls[event.payload["number"]]
            return self.github.start_run(pull, workflow=workflow)
        if event.name == "merge_group":
            return self.github.start_run(self.groups[event.sha], workflow=workflow)
        branch = event.ref.removeprefix("refs/heads/")
        return self.github.start_run(workflow=workflow, sha=event.sha, branch=branch)

    def _measure(self, run: Run) -> None:
        """One attempt. What its beginning starts comes first, as the attempt takes longer."""
        while self.handled < len(self.github.events):
            self.handled += 1
            self._react(self.github.events[self.handled - 1])
        earlier = [each for each in self.ran if each.run_id == run.id]
        result = self._run(
            self.opened[run.id],
            run.id,
            run.attempt,
            faults=tuple(self.faults.get(run.attempt, ())),
            previous=earlier[-1] if run.failed_only and earlier else None,
        )
        self.github.finish_run(
            run, result.conclusion, jobs={job.name: job.conclusion for job in result.jobs}
        )

    def _run(self, opening: Opening, run_id: int, attempt: int = 1, **how: Any) -> RunResult:
        def keep(name: str, data: bytes) -> None:
            kept = Artifact(next(self.numbers), name, data, attempt, self.github.now)
            self.github.runs[run_id].artifacts.append(kept)

        settings = Settings(
            self.language,
            self.site,
            self.folder / "runs",
            token_for=lambda granted: self._token(f"{opening.name} of {run_id}", granted),
            save_artifact=keep,
            prepared=self.prepared,
            # Nothing is installed here, whatever pip is told: the prepared one has to do.
            passed_on={"PIP_NO_INDEX": "1"},
        )
        result = Runner(settings).start(
            opening.path, opening.event, run_id=run_id, attempt=attempt, **how
        )
        assert result is not None
        self.ran.append(result)
        return result

    def _token(self, where: str, granted: Mapping[str, str]) -> str:
        token = f"ghs_job{len(self.tokens):04}x{'0' * 26}"
        self.tokens.append(token)
        self.jobs.append(rights.Granted(where, dict(granted), len(self.github.requests)))
        writes = "write" in granted.values()
        return self.github.add_token(token, self.github.bot, may_write=writes)

    def _event(self, delivery: Delivery) -> Event:
        """With what only the repository knows: the test merge, and what the workflow is called."""
        payload = json.loads(delivery.payload)
        if delivery.name == "pull_request":
            merge = git(self.origin, "rev-parse", f"refs/pull/{payload['number']}/merge")
            payload["pull_request"]["merge_commit_sha"] = merge
        if delivery.name == "workflow_run":
            run = payload["workflow_run"]
            run["name"] = payload["workflow"]["name"] = self._name_of(run)
        return event_of(delivery.name, payload, self.site)

    def _name_of(self, run: Mapping[str, Any]) -> str:
        """A run's first event comes before its file was read."""
        if opening := self.opened.get(run["id"]):
            return opening.name
        path = self.sources.files(run["head_sha"]) / Path(run["path"]).name
        return str(self.language.workflow(path)["name"])

    def _commit_of(self, event: Event) -> str:
        own = event.name in ("pull_request", "merge_group", "push")
        return event.sha if own else self.site.default_branch
