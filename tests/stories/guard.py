"""A repository with a release branch, for stories of incidents: each push is planned, measured and
reported as the release workflow does, and history is kept.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archive import RECORDING, Archive
from hub.state import Artifact, Issue, Run, Status
from office import matrix
from repositories import git
from standin import RELEASE

from ailab_bot.flows import jobs
from ailab_bot.flows.history import BRANCH
from ailab_bot.flows.incidents import read_steps
from ailab_bot.gh.actions import artifact_name
from ailab_bot.model.culprit import Check, Culprit, Ending, RangeCommit
from ailab_bot.model.culpritwire import culprit_to_json
from ailab_bot.model.incident import Incident, incidents_of
from ailab_bot.model.report import Commit
from ailab_bot.model.verdict import Explanation, ImportChange, Interval, Stopped, Verdict
from ailab_bot.model.verdict import VerdictKind as Kind

FIX = "release/1"


@dataclass
class Guard(Archive):
    """`variables`: more of the jobs' environment, such as the hook's."""

    variables: Mapping[str, str] = field(default_factory=dict)
    releases: int = 0

    def full_clone(self, branch: str = "main") -> Path:
        self.releases += 1
        clone = self.folder / f"release-{self.releases}"
        words = ("clone", "--quiet", "--branch", branch)
        git(self.folder, *words, self.origin.as_uri(), str(clone))
        return clone

    def push_release(self, files: Mapping[str, str], branch: str = FIX) -> str:
        """A commit on the release branch, and its event."""
        exists = git(self.origin, "branch", "--list", branch)
        before = git(self.origin, "rev-parse", branch) if exists else None
        sha = self.commit(branch, files)
        self.github.push_branch(branch, sha, before)
        self.handled = len(self.github.events)
        return sha

    def release(
        self,
        files: Mapping[str, str],
        slower: Mapping[str, float] | None = None,
        *,
        branch: str = FIX,
        lose: Collection[int] = (),
    ) -> Run:
        """A push that is measured against the last good release."""
        sha = self.push_release(files, branch)
        return self.measure_release(sha, slower, branch=branch, lose=lose)

    def measure_release(
        self,
        sha: str,
        slower: Mapping[str, float] | None = None,
        *,
        branch: str = FIX,
        lose: Collection[int] = (),
        offline: bool = False,
    ) -> Run:
        """The run of the newest push. `offline`: its report cannot fetch from the server."""
        event = self.github.event("push")
        run = self.github.start_run(None, workflow=RELEASE, sha=sha, branch=branch)
        clone = self.full_clone(branch)

        def surroundings(what: str) -> dict[str, str]:
            env = self._environment(event, f"{what}-{run.id}", clone, run)
            return {**env, **self.variables}

        planning = surroundings("plan")
        assert self.run(jobs.plan_job, planning) == 0
        for shard in matrix(planning):
            if shard.index in lose:
                continue
            parcel = self.parcel(shard, slower or {})
            name = artifact_name(run.attempt, shard.index)
            run.artifacts.append(Artifact(run.id + shard.index, name, parcel, 1, self.github.now))
        if offline:
            ref = f"refs/remotes/origin/{BRANCH}"  # nor has its checkout brought the ledger
            git(clone, "update-ref", "-d", ref)
            nowhere = (self.folder / "nowhere").as_uri()
            git(clone, "remote", "set-url", "origin", nowhere)
        self.reported = surroundings("report")
        assert self.run(jobs.report_job, self.reported) == 0
        self.github.finish_run(run)
        self.handled = len(self.github.events)
        return run

    def search_ends(self, incident: Incident, found: Culprit) -> int:
        """What the last job of a search does with its result."""
        run = self.github.start_run(None, workflow="ailab-bisect.yml", branch="main")
        self.github.timer("workflow_dispatch")
        event = self.github.events[-1]
        self.handled = len(self.github.events)
        env = self._environment(event, f"search-{run.id}", self.full_clone(), run)
        out = Path(env["RUNNER_TEMP"]) / "ailab-out"
        out.mkdir()
        document = {**culprit_to_json(found), "incident": incident.id}
        (out / "culprit.json").write_text(json.dumps(document), encoding="utf-8")
        return self.run(jobs.incident_job, {**env, **self.variables})

    def comment_on(self, issue: Issue, author: str, body: str) -> int:
        """A comment, the job that obeys it, and the one that reverts where that lets it pass."""
        self.github.comment(issue, author, body)
        event = self.github.events[-1]
        self.handled = len(self.github.events)
        run = self.github.start_run(None, workflow="ailab-command.yml", branch="main")
        env = self._environment(event, f"obey-{run.id}", self.clone, run)
        status = self.run(jobs.command_job, env)
        output = Path(env["GITHUB_OUTPUT"])
        if output.exists() and "revert<<" in output.read_text():
            env = self._environment(event, f"revert-{run.id}", self.full_clone(), run)
            status = self.run(jobs.revert_job, env)
        self.handled = len(self.github.events)
        return status

    def sweep_now(self) -> int:
        run = self.github.start_run(None, workflow="ailab-sweep.yml", branch="main")
        return self.run(jobs.sweep_job, {**self.timer(run), **self.variables})

    # What is there afterwards

    def standing(self, sha: str) -> Status:
        status = self.github.status(sha, "ailab/release")
        assert status is not None, "no status"
        return status

    def incidents(self) -> tuple[Incident, ...]:
        """As the ledger has them."""
        if not git(self.origin, "branch", "--list", BRANCH):
            return ()
        return incidents_of(read_steps(self.origin, git(self.origin, "rev-parse", BRANCH)))

    def incident(self) -> Incident:
        (incident,) = self.incidents()
        return incident

    def issue(self) -> Issue:
        """The only one."""
        (issue,) = self.github.issues.values()
        return issue

    def dispatched(self) -> list[Mapping[str, object]]:
        """The inputs of each search that was started."""
        name = "actions/create-workflow-dispatch"
        return [r.body["inputs"] for r in self.github.requests if r.operation == name]  # type: ignore[index]


assert jobs.incident_job in RECORDING


def verdict(scenario: str, effect: float, kind: Kind = Kind.REGRESSION) -> Verdict:
    return Verdict(
        scenario,
        "ttfb_s",
        kind,
        confirmed=True,
        effect=effect,
        interval=Interval(effect - 0.02, effect + 0.02),
        level=0.99,
        threshold=0.02,
        blocks_used=14,
        blocks_available=40,
        stopped=Stopped.DECIDED,
        reason="",
    )


def culprit_of(
    guard: Guard,
    sha: str,
    incident: Incident,
    *,
    others: Mapping[str, float | None] | None = None,
    ending: Ending = Ending.FOUND,
) -> Culprit:
    """A search that found the commit, and confirmed it against its parent. `others`: by scenario
    what it moves, None for not at all."""
    parent = git(guard.origin, "rev-parse", f"{sha}^")
    words = git(guard.origin, "log", "-1", "--format=%an%x00%ae%x00%s", sha).split("\0")
    lead = incident.moved[0]
    checks = [Check("against its parent", parent, sha, True, verdict(lead.scenario, lead.effect))]
    return Culprit(
        scenario=lead.scenario,
        metric=lead.metric,
        good=Commit("good", incident.good),
        bad=Commit("bad", incident.bad),
        ending=ending,
        reason="After 22 blocks: one commit explains it.",
        culprit=RangeCommit(sha, (parent,), *words) if ending.names_one else None,
        posterior={sha: 0.996},
        checks=tuple(checks) if ending.names_one else (),
        others=tuple(
            Check(
                "against its parent",
                parent,
                sha,
                effect is not None,
                verdict(name, effect or 0.0, Kind.NO_CHANGE if effect is None else Kind.REGRESSION),
                scenario=name,
            )
            for name, effect in (others or {}).items()
        ),
        explanations=(
            Explanation(
                lead.scenario, imports_added=(ImportChange("json", 0.21, 3, "train.py:1"),)
            ),
        ),
        trials=44,
        runner_seconds=61.0,
        reproduce=f"ailab bisect {parent[:12]} {sha[:12]} --scenario {lead.scenario}",
    )
