"""A repository that uses the bot, for stories: real git, the GitHub stand-in, and the bot's jobs.

    office = Office(tmp_path, github)
    pull = office.open_pull({"train.py": "..."})      # a commit, a pull request
    run = office.measure(pull, slower={"train": 0.2})  # plan job, trials, artifacts, all events
    assert office.gate(pull).state == "failure"

Everything that GitHub would start is started, in the order of its events: `ailab gate` and
`ailab publish` for a run, `ailab command` for a comment. Trials are drawn here, from a seed, as
measuring for real is another test's work; all that is done with them is the shipped code.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hub.state import Comment, Event, MergeGroup, Pull, Run, Status
from repositories import commit, git, new_repository
from standin import StandIn

from ailab_bot.config import load_scenario
from ailab_bot.flows import jobs
from ailab_bot.flows.hosted import Clock
from ailab_bot.gh.actions import artifact_name
from ailab_bot.model.exchange import fingerprint, result_to_json, shard_from_json
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.footprintwire import footprint_to_json
from ailab_bot.model.report import Machine
from ailab_bot.model.shard import Shard, ShardResult
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.verdict import Explanation, ImportChange
from ailab_bot.model.wire import trial_to_json
from ailab_bot.plan.schedule import arms_of_block

MACHINE = Machine("Testing CPU", 2, 8 << 30, "Linux", "3.12.1")
SCENARIO = "id: {id}\ncommand: [python, train.py]\n"
BLOCKS = 24
_JOBS = {
    ("workflow_run", "in_progress"): jobs.gate_job,
    ("workflow_run", "completed"): jobs.publish_job,
    ("issue_comment", "created"): jobs.command_job,
    ("pull_request_target", "opened"): jobs.gate_job,
    ("pull_request_target", "reopened"): jobs.gate_job,
    ("pull_request_target", "synchronize"): jobs.gate_job,
    ("pull_request_target", "edited"): jobs.gate_job,
}


@dataclass
class Office:
    """`github` is the stand-in; `origin` the repository on it; `statuses` what the jobs of events
    ended with; `said` what the last job printed; `touched` what scenarios touch, for footprints.
    """

    folder: Path
    github: StandIn
    scenarios: Collection[str] = ("train",)
    config: str = ""
    origin: Path = field(init=False)
    clone: Path = field(init=False)
    handled: int = 0
    plans: int = 0
    jobs: int = 0
    statuses: list[int] = field(default_factory=list)
    said: str = ""
    touched: dict[str, Footprint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.origin = new_repository(self.folder / "origin")
        git(self.origin, "config", "uploadpack.allowAnySHA1InWant", "true")
        files = {
            f".ailab/scenarios/{name}.yml": SCENARIO.format(id=name) for name in self.scenarios
        }
        if self.config:
            files[".ailab/config.yml"] = self.config
        self.base = self.commit("main", {"train.py": "import os\n", **files}, "Base")
        self.github.git = self.origin
        self.github.base_sha = self.base
        self.clone = self.folder / "trusted"
        git(self.folder, "clone", "--quiet", "--depth=1", self.origin.as_uri(), str(self.clone))

    # What people do

    def commit(self, branch: str, files: Mapping[str, str], message: str = "Change") -> str:
        """A commit on the branch, which begins at main where it is new."""
        exists = git(self.origin, "branch", "--list", branch)
        if branch != "main":
            git(self.origin, "checkout", "--quiet", *([] if exists else ["-b"]), branch)
        sha = commit(self.origin, files, message)
        git(self.origin, "checkout", "--quiet", "main")
        return sha

    def open_pull(
        self,
        files: Mapping[str, str] | None = None,
        *,
        author: str = "alice",
        head: str = "feature",
        fork: bool = False,
    ) -> Pull:
        sha = self.commit(head, files or {"train.py": f"import os, json  # {head}\n"})
        return self.github.open_pull(author, head=head, sha=sha, fork=fork)

    def push(self, pull: Pull, files: Mapping[str, str], *, force: bool = False) -> str:
        if force:
            git(self.origin, "branch", "--quiet", "--force", pull.head_ref, "main")
        sha = self.commit(pull.head_ref, files)
        return self.github.push(pull, sha, force=force)

    def merge_to_main(self, files: Mapping[str, str]) -> str:
        """Somebody else's change of the base branch."""
        self.github.base_sha = self.commit("main", files, "On main")
        return self.github.base_sha

    def say(self, pull: Pull, author: str, body: str) -> Comment:
        comment = self.github.comment(pull, author, body)
        self.deliver()
        return comment

    # What GitHub and the runners do

    def begin(self, of: Pull | MergeGroup) -> Run:
        run = self.github.start_run(of)
        self.deliver()
        return run

    def measure(self, of: Pull | MergeGroup, **how: object) -> Run:
        """A whole measurement: it begins, is planned, measured and reported."""
        run = self.begin(of)
        self.finish(run, **how)
        return run

    def again(self, run: Run, **how: object) -> None:
        """The next attempt, which somebody asked for, runs."""
        assert run.status == "queued", "nobody asked for another attempt"
        self.github.begin(run)
        self.deliver()
        self.finish(run, **how)

    def finish(
        self,
        run: Run,
        conclusion: str = "success",
        *,
        slower: Mapping[str, float] | None = None,
        lose: Collection[int] = (),
        bend: Mapping[str, bytes] | None = None,
        imports: Mapping[str, ImportChange] | None = None,
    ) -> None:
        """`slower`: effects by scenario; `lose`: shards whose runner dies; `bend`: artifacts that
        replace the true ones.
        """
        shards = self.plan(run)
        artifacts = {
            artifact_name(run.attempt, shard.index): self.parcel(shard, slower or {}, imports or {})
            for shard in shards
            if shard.index not in lose
        }
        if lose and conclusion == "success":
            conclusion = "failure"
        self.github.finish_run(run, conclusion, artifacts={**artifacts, **(bend or {})})
        self.deliver()

    def plan(self, run: Run) -> list[Shard]:
        """What the planning job of the run's latest attempt puts out."""
        opening = self._opening(run)
        self.plans += 1
        clone = self.folder / f"measuring-{self.plans}"
        git(self.folder, "clone", "--quiet", self.origin.as_uri(), str(clone))
        git(clone, "fetch", "--quiet", "origin", run.head_sha)
        env = self._environment(opening, f"plan-{self.plans}", clone, run)
        self.run(jobs.plan_job, env)
        return matrix(env)

    def deliver(self) -> None:
        """Run the job of every event that has not had its job yet."""
        while self.handled < len(self.github.events):
            event = self.github.events[self.handled]
            self.handled += 1
            self.run_job(event)

    def run_job(self, event: Event) -> int | None:
        """Also for an event that GitHub delivers twice."""
        job = _JOBS.get((event.name, event.action or ""))
        if job is None:
            return None
        self.jobs += 1
        env = self._environment(event, f"job-{self.jobs}", self.clone)
        status = self.run(job, env)
        self.statuses.append(status)
        return status

    def guard(self, event: Event | None = None) -> None:
        """The trusted job of an event of a pull request, of the last one where none is named."""
        known = event or self.github.event("pull_request")
        assert self.run_job(self.github.target_event_of(known)) == 0

    def lose_reports(self) -> None:
        """No job runs of what has happened: GitHub forgot its events."""
        self.handled = len(self.github.events)

    def sweep(self) -> int:
        """What the schedule starts, at whatever time it is."""
        return self.run(jobs.sweep_job, self.timer())

    def timer(self, run: Run | None = None, workspace: Path | None = None) -> dict[str, str]:
        """The surroundings of a job that the schedule starts, in the trusted clone or another."""
        payload = self.github.payload_of(self.github.events[0])
        event = Event("schedule", None, json.dumps({"repository": payload["repository"]}))
        self.github.events.append(event)
        self.handled = len(self.github.events)
        return self._environment(event, f"sweep-{self.handled}", workspace or self.clone, run)

    # What is there afterwards

    def gate(self, of: Pull | str) -> Status:
        status = self.github.status(of if isinstance(of, str) else of.head_sha, "ailab/gate")
        assert status is not None, "no gate"
        return status

    def comment_of(self, pull: Pull) -> str:
        return self.github.bot_comment(pull).body

    # Trials

    def parcel(
        self,
        shard: Shard,
        slower: Mapping[str, float],
        imports: Mapping[str, ImportChange] | None = None,
    ) -> bytes:
        """The artifact of a shard whose runner did its work."""
        trials = [
            t for name in shard.scenarios for t in drawn(name, shard.seed, slower.get(name, 0))
        ]
        result = ShardResult(
            shard.index,
            shard.base,
            shard.head,
            shard.seed,
            MACHINE,
            sum(trial.metrics["ttfb_s"] for trial in trials),
            {name: self.fingerprint(name) for name in shard.scenarios},
            tuple(
                Explanation(name, imports_added=(change,))
                for name, change in (imports or {}).items()
                if name in shard.scenarios
            ),
        )
        if not shard.footprints:
            return zipped(trials, result)
        touched = [
            self.touched.get(name, Footprint(name, "", "3.12.1")) for name in shard.scenarios
        ]
        return zipped(trials, result, [replace(each, sha=shard.head) for each in touched])

    def fingerprint(self, name: str) -> str:
        path = self.folder / f"{name}.yml"
        path.write_text(git(self.origin, "show", f"main:.ailab/scenarios/{name}.yml") + "\n")
        return fingerprint(load_scenario(path))

    def _opening(self, run: Run) -> Event:
        """The event that started the run: the last of its own pull request with this head."""
        for event in reversed(self.github.events):
            payload = self.github.payload_of(event)
            if run.event != event.name or event.name not in {"pull_request", "merge_group"}:
                continue
            if event.name == "merge_group":
                sha, own = payload["merge_group"]["head_sha"], True
            else:
                sha = payload["pull_request"]["head"]["sha"]
                own = run.pull is None or payload["number"] == run.pull.number
            if own and sha == run.head_sha:
                return event
        raise AssertionError("nothing started this run")

    def _environment(
        self, event: Event, name: str, workspace: Path, run: Run | None = None
    ) -> dict[str, str]:
        temp = self.folder / name
        temp.mkdir()
        return self.github.environment(event, temp, run=run, workspace=workspace)

    def run(self, job: object, env: Mapping[str, str]) -> int:
        assert callable(job)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                return int(job(env, Clock(lambda: self.github.now, self.github.wait)))
        finally:
            self.said = printed.getvalue()


def drawn(
    scenario: str, seed: int, effect: float, blocks: int = BLOCKS, noise: float = 0.02
) -> list[Trial]:
    """Trials of a scenario that takes about a second, in the order that the seed gives."""
    rng = random.Random(f"{scenario} {effect}")
    trials = []
    for block in range(blocks):
        shared = rng.gauss(0, noise)
        for order, arm in enumerate(arms_of_block(seed, scenario, block)):
            slow = math.log1p(effect) if arm is Arm.HEAD else 0.0
            ttfb_s = round(math.exp(shared + slow + rng.gauss(0, noise)), 6)
            imports_s = round(ttfb_s - 0.3, 6)
            trials.append(
                Trial(
                    scenario,
                    block,
                    order,
                    arm,
                    Outcome.OK,
                    metrics={"ttfb_s": ttfb_s, "cpu_s": ttfb_s},
                    phases={"import": imports_s, "first_batch": round(ttfb_s - imports_s, 6)},
                    machine="testing",
                    judged=("ttfb_s",),
                )
            )
    return trials


def zipped(
    trials: Collection[Trial], result: ShardResult, footprints: Collection[Footprint] | None = None
) -> bytes:
    text = "".join(trial_to_json(trial) + "\n" for trial in trials)
    members = {"trials.jsonl": text, "shard.json": result_to_json(result)}
    if footprints is not None:
        lines = [json.dumps(footprint_to_json(each)) + "\n" for each in footprints]
        members["footprints.jsonl"] = "".join(lines)
    return zip_of(members)


def zip_of(members: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return buffer.getvalue()


def matrix(env: Mapping[str, str]) -> list[Shard]:
    """The shards that a planning job put out."""
    rows = json.loads(outputs(Path(env["GITHUB_OUTPUT"]))["matrix"])
    return [shard_from_json(json.dumps(row), "matrix") for row in rows]


def outputs(path: Path) -> dict[str, str]:
    """What a step wrote to GITHUB_OUTPUT."""
    found, lines = {}, iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        name, _, fence = line.partition("<<")
        value = []
        for inner in lines:
            if inner == fence:
                break
            value.append(inner)
        found[name] = "\n".join(value)
    return found


GOLDEN = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """The comment is as it was when somebody last read it. AILAB_UPDATE_GOLDEN=1 writes it anew."""
    path = GOLDEN / f"{name}.md"
    if os.environ.get("AILAB_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"AILAB_UPDATE_GOLDEN=1 rewrites {path}"
