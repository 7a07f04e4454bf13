"""Stories of a search in rounds: a run is planned, its workers measure, `decide` says what is next.

Trials come of real processes in one story, and are written here in the others.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hub.state import Artifact, Run
from office import Office, outputs, zip_of
from repositories import commit, git
from standin import running

from ailab_bot.flows import jobs
from ailab_bot.flows.search_jobs import search_job
from ailab_bot.model.search import Part, Phase, Quest, Task, WorkerResult
from ailab_bot.model.searchwire import RESULT, TRIALS, line_of, result_to_json, task_from_json
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.report.progress import choose_progress

WORKFLOW = "ailab-bisect.yml"
INCIDENT = "0123456789ab"
TRAIN = """
import sys, time
import settings
time.sleep(settings.DELAY)
sys.audit("ailab.first_batch")
time.sleep(60)
"""
FAST, SLOW = "DELAY = 0.1\n", "DELAY = 0.2\n"
SCENARIO = "id: train\ncommand: [python, train.py]\nfirst_batch: api\ntimeout_s: 20\n"
CONFIG = (
    "noise: {max_load: 1, max_steal: 1}\n"
    "github: {runners: {cpu: {labels: [ubuntu-latest], count: 2}}}\n"
)


class Bureau(Office):
    """An office whose main branch got slower. `good`, `bad` and the `culprit` are SHAs."""

    good: str
    bad: str
    culprit: str

    def begin_story(self) -> None:
        more = {"settings.py": FAST, "train.py": TRAIN, ".ailab/scenarios/train.yml": SCENARIO}
        self.good = self.commit("main", more, "Fast")
        self.commit("main", {"docs.md": "1\n"}, "Words")
        self.culprit = self.commit("main", {"settings.py": SLOW}, "Wait for the disk")
        self.bad = self.commit("main", {"docs.md": "2\n"}, "More words")
        self.github.base_sha = self.bad

    def inputs(self, **more: str) -> dict[str, str]:
        return {
            "incident": INCIDENT, "good": self.good, "bad": self.bad, "scenario": "train",
            "metric": "ttfb_s", "also": "", "rounds": "", **more,
        }  # fmt: skip

    def start(self, inputs: Mapping[str, str]) -> Run:
        run = self.github.start_by_hand(WORKFLOW, "main", inputs)
        self.github.begin(run)
        return run

    def surroundings(self, run: Run, name: str, **more: str) -> dict[str, str]:
        """Of a job of the run, in a clone of its own."""
        event = next(e for e in reversed(self.github.events) if e.name == "workflow_dispatch")
        clone = self.folder / f"{name}-clone-{run.id}-{run.attempt}"
        git(self.folder, "clone", "--quiet", self.origin.as_uri(), str(clone))
        env = self._environment(event, f"{name}-{run.id}-{run.attempt}", clone, run)
        return {**env, **more}

    def plan_search(self, run: Run) -> tuple[list[Task], str]:
        env = self.surroundings(run, "plan")
        assert self.run(jobs.search_plan_job, env) == 0
        told = outputs(Path(env["GITHUB_OUTPUT"]))
        rows = json.loads(told["matrix"])
        return [task_from_json(json.dumps(row), "matrix") for row in rows], told.get("earlier", "")

    def work(self, run: Run, task: Task, earlier: str) -> WorkerResult:
        """A real worker, and the artifact that the action makes of its folder."""
        row = json.dumps({**vars(task), "quest": vars(task.quest)})
        env = self.surroundings(run, f"search-{task.index}", AILAB_SHARD=row, AILAB_EARLIER=earlier)
        del env["AILAB_TOKEN"]
        result = search_job(env, choose_progress(None, quiet=True))  # type: ignore[arg-type]
        out = Path(env["RUNNER_TEMP"]) / "ailab-out"
        self.keep(run, task.index, {path.name: path.read_text() for path in out.iterdir()})
        return result

    def keep(self, run: Run, index: int, members: Mapping[str, str]) -> None:
        self.keep_zip(run, f"ailab-search-{run.attempt}-{index}", zip_of(members))

    def keep_zip(self, run: Run, name: str, data: bytes) -> None:
        number = 970_000 + len([a for r in self.github.runs.values() for a in r.artifacts])
        run.artifacts.append(Artifact(number, name, data, run.attempt, self.github.now))

    def decide(self, run: Run) -> tuple[dict[str, str], dict[str, Any] | None]:
        """What the job put out, and how the search ended where it did."""
        env = self.surroundings(run, "decide")
        assert self.run(jobs.decide_job, env) == 0
        self.github.finish_run(run)
        told = outputs(Path(env["GITHUB_OUTPUT"]))
        path = told.get("culprit-path")
        return told, json.loads(Path(path).read_text()) if path else None

    def dispatched(self) -> list[dict[str, str]]:
        name = "actions/create-workflow-dispatch"
        found: list[Any] = [r.body for r in self.github.requests if r.operation == name]
        return [each["inputs"] for each in found]

    def parcel(self, task: Task, effects: Mapping[str, float], **more: Any) -> dict[str, str]:  # type: ignore[override]
        """Six blocks of each of these commits."""
        lines = []
        for sha, effect in effects.items():
            for block in range(6):
                for order, (arm, factor) in enumerate([(Arm.BASE, 1.0), (Arm.HEAD, 1 + effect)]):
                    seconds = factor * (1 + 0.001 * ((block * 7 + order * 3) % 5))
                    trial = Trial("train", block, order, arm, metrics={"ttfb_s": seconds})
                    lines.append(line_of(Part.RANGE, task.quest.good, sha, trial) + "\n")
        definition = self.fingerprint("train")
        result = WorkerResult(
            task.quest, task.index, task.of, task.own_seed, definition, spent_s=60.0, **more
        )
        return {RESULT: result_to_json(result), TRIALS: "".join(lines)}


@pytest.fixture
def bureau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bureau]:
    monkeypatch.setenv("AILAB_CACHE_DIR", str(tmp_path / "cache"))
    with running() as github:
        made = Bureau(tmp_path, github, config=CONFIG)
        made.begin_story()
        yield made


def test_a_search_goes_on_by_itself_until_the_culprit_is_confirmed(bureau: Bureau) -> None:
    inputs, found, phases = bureau.inputs(), None, []
    while found is None:
        run = bureau.start(inputs)
        tasks, earlier = bureau.plan_search(run)
        phases.append(tasks[0].phase)
        assert len(tasks) == (1 if tasks[0].phase is Phase.FINISH else 2)
        for task in tasks:
            result = bureau.work(run, task, earlier)
            assert result.failed == ""
        told, found = bureau.decide(run)
        assert told["next"] == ("over" if found else "dispatch")
        if found is None:
            inputs = bureau.dispatched()[-1]
            assert inputs["rounds"].split()[-1] == str(run.id)

    assert (found["culprit"], found["ending"]) == (bureau.culprit, "found")
    assert found["incident"] == INCIDENT
    assert [(each["what"], each["held"]) for each in found["checks"]] == [
        ("against its parent", True), ("BAD without it", True),
    ]  # fmt: skip
    assert found["author"]["name"] == "Test"
    assert phases[-1] is Phase.FINISH


def test_the_first_round_shares_the_runners_of_the_scenarios_pool(bureau: Bureau) -> None:
    tasks, earlier = bureau.plan_search(bureau.start(bureau.inputs(also="train tokenize")))

    assert [(task.index, task.of, task.labels) for task in tasks] == [
        (0, 2, ("ubuntu-latest",)), (1, 2, ("ubuntu-latest",)),
    ]  # fmt: skip
    assert {task.phase for task in tasks} == {Phase.SEARCH}
    assert tasks[0].quest == Quest(bureau.good, bureau.bad, "train", "ttfb_s")
    assert tasks[0].own_seed != tasks[1].own_seed
    assert all(task.timeout_minutes > task.minutes for task in tasks)
    assert json.loads(earlier)["blocks"] == []


def test_what_a_round_measured_is_what_the_next_one_knows(bureau: Bureau) -> None:
    run = bureau.start(bureau.inputs())
    (first, _), _ = bureau.plan_search(run)
    bureau.keep(run, 0, bureau.parcel(first, {bureau.bad: 0.3}))
    told, found = bureau.decide(run)
    assert (told["next"], found) == ("dispatch", None)

    (inputs,) = bureau.dispatched()
    assert inputs == bureau.inputs(rounds=str(run.id))
    tasks, earlier = bureau.plan_search(bureau.start(inputs))
    assert tasks
    assert [row[0] for row in json.loads(earlier)["blocks"]] == [bureau.bad] * 6
    assert {task.round for task in tasks} == {2}


def test_of_what_nobody_can_read_nothing_is_used_and_the_search_goes_on(bureau: Bureau) -> None:
    run = bureau.start(bureau.inputs())
    (first, _), _ = bureau.plan_search(run)
    good = bureau.parcel(first, {bureau.bad: 0.3})
    bureau.keep(run, 0, good)
    bureau.keep(run, 1, {**good, "more.txt": "?"})
    bureau.keep_zip(run, "ailab-search-1-2", b"PK no zip")
    bureau.keep(run, 3, {**good, RESULT: good[RESULT].replace(bureau.bad, "f" * 40)})
    bureau.keep_zip(run, "ailab-search-9-0", zip_of(good))  # of an attempt that never was
    bureau.keep_zip(run, "ailab-searched-1-4", zip_of(good))
    bomb = BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(RESULT, good[RESULT])
        file.writestr(TRIALS, b"\n" * (50 << 20))
    bureau.keep_zip(run, "ailab-search-1-5", bomb.getvalue())

    bureau.decide(run)

    assert bureau.said.count("is not used") == 4
    _, earlier = bureau.plan_search(bureau.start(bureau.dispatched()[-1]))
    assert len(json.loads(earlier)["blocks"]) == 6


def test_workers_of_another_attempt_count_as_well(bureau: Bureau) -> None:
    run = bureau.start(bureau.inputs())
    (first, _), _ = bureau.plan_search(run)
    bureau.keep(run, 0, bureau.parcel(first, {bureau.bad: 0.3}))
    bureau.github.finish_run(run, "failure")
    bureau.github.press_rerun(run)
    bureau.github.begin(run)
    bureau.keep(run, 0, bureau.parcel(first, {bureau.bad: 0.3}))
    bureau.decide(run)

    _, earlier = bureau.plan_search(bureau.start(bureau.dispatched()[-1]))
    assert len(json.loads(earlier)["blocks"]) == 12
    assert len(json.loads(earlier)["machines"]) == 2


def test_when_every_worker_is_lost_twice_the_incident_hears_of_it(bureau: Bureau) -> None:
    run = bureau.start(bureau.inputs())
    bureau.plan_search(run)
    assert bureau.decide(run)[1] is None
    again = bureau.start(bureau.dispatched()[-1])
    _, found = bureau.decide(again)

    assert found is not None
    assert (found["ending"], found["incident"]) == ("failed", INCIDENT)
    assert "could not be measured" in found["reason"]


@pytest.mark.parametrize("end", ["good", "bad"])
def test_when_history_was_rewritten_the_search_ends_and_says_so(bureau: Bureau, end: str) -> None:
    run = bureau.start(bureau.inputs())
    (first, _), _ = bureau.plan_search(run)
    bureau.keep(run, 0, bureau.parcel(first, {bureau.bad: 0.3}))
    bureau.decide(run)
    inputs = bureau.dispatched()[-1]
    if end == "good":  # the range's commits are there, and no longer after each other
        git(bureau.origin, "checkout", "--quiet", "--orphan", "fresh")
        lone = commit(bureau.origin, {"other.md": "x\n"}, "A new beginning")
        inputs = {**inputs, "good": lone}
        git(bureau.origin, "checkout", "--quiet", "main")
    else:
        inputs = {**inputs, "bad": "e" * 40}
    run = bureau.start(inputs)
    tasks, _ = bureau.plan_search(run)
    _, found = bureau.decide(run)

    assert tasks == []
    assert found is not None
    assert found["ending"] == "failed"
    assert found["incident"] == INCIDENT


def test_when_the_scenario_is_gone_the_search_ends_and_says_so(bureau: Bureau) -> None:
    git(bureau.origin, "rm", "--quiet", ".ailab/scenarios/train.yml")
    git(bureau.origin, "commit", "--quiet", "-m", "No scenario")
    bureau.github.base_sha = git(bureau.origin, "rev-parse", "main")
    run = bureau.start(bureau.inputs())
    tasks, _ = bureau.plan_search(run)
    _, found = bureau.decide(run)

    assert tasks == []
    assert found is not None
    assert found["ending"] == "failed"
    assert "no scenario `train` any more" in found["reason"]


def test_when_its_workflow_is_gone_the_next_round_is_not_started(bureau: Bureau) -> None:
    run = bureau.start(bureau.inputs())
    bureau.plan_search(run)
    bureau.github.workflows.discard(WORKFLOW)
    _, found = bureau.decide(run)

    assert found is not None
    assert found["ending"] == "failed"
    assert "could not be started" in found["reason"]


def test_a_run_of_another_workflow_is_no_round(bureau: Bureau) -> None:
    other = bureau.github.start_run(None, workflow="ailab-release.yml", branch="main")
    run = bureau.start(bureau.inputs(rounds=str(other.id)))
    assert bureau.plan_search(run)[0] == []
    _, found = bureau.decide(run)
    assert found is not None
    assert found["ending"] == "failed"
    assert "no round of a search" in found["reason"]


def test_a_run_on_another_branch_is_no_round(bureau: Bureau) -> None:
    """Whoever may push a branch may have changed the workflow there."""
    other = bureau.start(bureau.inputs())
    other.head_branch = "somebodys"
    run = bureau.start(bureau.inputs(rounds=str(other.id)))
    assert bureau.plan_search(run)[0] == []
    _, found = bureau.decide(run)
    assert found is not None
    assert "somebodys" in found["reason"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"good": "main"}, {"bad": "0" * 39}, {"scenario": "../x"}, {"incident": "x"},
        {"rounds": "1 -2"}, {"also": "$(id)"}, {"metric": "ttfb s"},
        {"rounds": " ".join(map(str, range(30)))},
    ],
)  # fmt: skip
def test_inputs_that_name_nothing_end_the_search(bureau: Bureau, wrong: Mapping[str, str]) -> None:
    run = bureau.start(bureau.inputs(**wrong))
    assert bureau.plan_search(run)[0] == []
    _, found = bureau.decide(run)
    assert found is not None
    assert found["ending"] == "failed"
    assert "do not ask for a search" in found["reason"]
    assert found["incident"] == ("" if "incident" in wrong else bureau.inputs()["incident"])


def test_rounds_are_read_in_their_order(bureau: Bureau) -> None:
    def shas(rounds: Sequence[Run]) -> list[str]:
        inputs = bureau.inputs(rounds=" ".join(str(run.id) for run in rounds))
        _, earlier = bureau.plan_search(bureau.start(inputs))
        return [row[0] for row in json.loads(earlier)["blocks"]]

    runs = []
    for sha in (bureau.bad, bureau.culprit):
        run = bureau.start(bureau.inputs())
        (first, _), _ = bureau.plan_search(run)
        bureau.keep(run, 0, bureau.parcel(first, {sha: 0.3}))
        runs.append(run)
    assert shas(runs) == [bureau.bad] * 6 + [bureau.culprit] * 6
    assert shas(runs[::-1]) == [bureau.culprit] * 6 + [bureau.bad] * 6
