"""An office that keeps history: what its jobs leave is written to the ledger's branch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hub.state import Artifact, Run
from office import Office, outputs, zip_of
from repositories import git

from ailab_bot.flows import jobs
from ailab_bot.flows.history import ARTIFACT, BRANCH, FILE, expected_s, write_history
from ailab_bot.ledger.git_branch import Ledger
from ailab_bot.ledger.records import Kind, Record, place_of, record_from_json

#: Jobs whose records another job writes.
RECORDING = {
    jobs.publish_job,
    jobs.sweep_job,
    jobs.report_job,
    jobs.command_job,
    jobs.revert_job,
    jobs.incident_job,
}


@dataclass
class Archive(Office):
    """An office whose jobs that make records are followed by the job that writes them, in a run
    and a clone of its own, as the workflow files say. `recorded`: how those jobs ended; `held`:
    their surroundings instead, while `hold` is set.
    """

    hold: bool = False
    follows: int = 0
    recorded: list[int] = field(default_factory=list)
    held: list[dict[str, str]] = field(default_factory=list)

    def run(self, job: object, env: Mapping[str, str]) -> int:
        status = super().run(job, env)
        if job in RECORDING and Path(env["GITHUB_OUTPUT"]).exists():
            path = outputs(Path(env["GITHUB_OUTPUT"])).get("records-path")
            if path:
                self.follow(env, {FILE: Path(path).read_text(encoding="utf-8")})
        return status

    def follow(self, env: Mapping[str, str], members: Mapping[str, str]) -> None:
        self.follows += 1
        now, number = self.github.now, self.follows
        run = Run(
            990_000 + number, "ailab-report.yml", "workflow_run", self.base, "main",
            self.github.repository, None, self.github.bot, now, now,
        )  # fmt: skip
        run.artifacts.append(Artifact(980_000 + number, ARTIFACT, zip_of(members), 1, now))
        self.github.runs[run.id] = run
        clone = self.folder / f"recording-{number}"
        git(self.folder, "clone", "--quiet", "--depth=1", self.origin.as_uri(), str(clone))
        own = {**env, "GITHUB_RUN_ID": str(run.id), "GITHUB_WORKSPACE": str(clone)}
        if self.hold:
            self.held.append(own)
        else:
            self.recorded.append(super().run(jobs.history_job, own))

    def records(self) -> dict[tuple[str, str], Record]:
        """By commit and scenario, the latest attempt's; nothing where there is no branch."""
        if not git(self.origin, "branch", "--list", BRANCH):
            return {}
        found = {}
        for name in sorted(git(self.origin, "ls-tree", "-r", "--name-only", BRANCH).split()):
            record = record_from_json(git(self.origin, "show", f"{BRANCH}:{name}"), name)
            assert "/".join(place_of(record)) == name
            if record.kind is not Kind.VERDICT:
                continue
            found[record.sha, record.scenario] = record
        return found

    def commits(self) -> int:
        return int(git(self.origin, "rev-list", "--count", BRANCH))

    def refuse_pushes(self) -> Path:
        hook = self.origin / ".git" / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'this branch is protected' >&2\nexit 1\n")
        hook.chmod(0o755)
        return hook

    def remember(self, *records: Record) -> None:
        ledger = Ledger(self.clone)
        write_history(ledger, records, sleep=lambda _: None, rng=random.Random(1))

    def expectations(self, *scenarios: str) -> dict[str, float]:
        return expected_s(self.origin, f"refs/heads/{BRANCH}", scenarios)
