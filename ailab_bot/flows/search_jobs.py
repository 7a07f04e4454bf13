"""The jobs of a search on GitHub: plan a round, measure as one of its workers, decide.

A round is a run of its workflow. Its inputs name the range and the runs of earlier rounds, whose
artifacts are read again each time: nothing else is remembered. Only `decide` starts another round,
and only it says how the search ended.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.finding import failed
from ailab_bot.flows.hosted import check_disk, fresh_folder
from ailab_bot.flows.parcels import Asked, Parcel, read_parcel
from ailab_bot.flows.rounds import Standing, standing_of
from ailab_bot.flows.stand import Work
from ailab_bot.flows.survey import (
    Inputs,
    Survey,
    read_inputs,
    subject_of,
    survey,
    unreadable_inputs,
)
from ailab_bot.flows.worker import Place, run_worker
from ailab_bot.gh.actions import Surroundings, read_surroundings
from ailab_bot.gh.artifacts import read_zip
from ailab_bot.gh.client import Artifact, GitHub, GitHubError, NotFoundError, Run, TooLargeError
from ailab_bot.measure.cores import choose_cores
from ailab_bot.measure.environment import interpreter, which_python
from ailab_bot.model import strictjson
from ailab_bot.model.culprit import Culprit
from ailab_bot.model.culpritwire import culprit_to_json
from ailab_bot.model.search import Evidence, Phase, Task, WorkerResult
from ailab_bot.model.searchwire import MEMBERS, evidence_from_row, evidence_to_json, task_from_json
from ailab_bot.report.progress import Progress

WORKFLOW = "ailab-bisect.yml"
#: What decide leaves for the step that follows incidents.
FOUND = "culprit.json"
#: Workers of one round; next to more, each is chosen for with less knowledge.
MOST_WORKERS = 8
#: A round of the search: a dozen blocks of a minute each. What its machines learn of each other
#: waits until its end, so it is short; a machine's own start and set-ups come on top.
SEARCH_MINUTES, FINISH_MINUTES = 20, 60
_AROUND_MINUTES = 30
#: The zip of one worker's parcel.
LARGEST_ARTIFACT_BYTES = 32 << 20
#: Characters of a reason that workers are told; all they need is which commits to leave out.
_SHORT = 60
#: Bytes of what workers are told; Linux takes 128 KiB in one variable.
_MOST_EARLIER_BYTES = 120_000
_NAME = re.compile(r"ailab-search-([0-9]{1,4})-([0-9]{1,3})")


# --- what earlier rounds left ------------------------------------------------------------------


def rounds_of(
    github: GitHub,
    this: Run,
    runs: Sequence[int],
    asked: Asked,
    tell: Callable[[str], None],
) -> list[list[Parcel]]:
    """The parcels of each round. A run that is no round of this repository's searches, on the
    branch that `this` run is on, is refused: on another one anybody may have changed the workflow.
    What arrived damaged is told and not used. GitHubError where GitHub does not answer."""
    found = []
    for number, run_id in enumerate(runs, 1):
        run = github.run(run_id)
        if not _is_round(run, this):
            raise UserError(
                f"run {run_id} is no round of a search",
                why=f"It is a run of {run.path} for {run.event} on {run.head_branch}.",
                advice="Leave `rounds` empty: the bot fills it.",
            )
        parcels = []
        for (attempt, index), artifact in sorted(_parcels(github, run).items()):
            place = f"{number:02}-{attempt:04}-{index:03}"
            parcel, why = _open(github, artifact, place, asked)
            if parcel is None:
                tell(f"worker {index} of round {number} is not used: {why}")
            else:
                parcels.append(parcel)
        found.append(parcels)
    return found


def _is_round(run: Run, this: Run) -> bool:
    return (
        run.repository_id == run.head_repository_id == this.repository_id
        and run.head_branch == this.head_branch
        and run.path == f".github/workflows/{WORKFLOW}"
        and run.event == "workflow_dispatch"
    )


def _parcels(github: GitHub, run: Run) -> dict[tuple[int, int], Artifact]:
    """By attempt and index, the newest of each: other attempts measured other blocks."""
    found: dict[tuple[int, int], Artifact] = {}
    for artifact in sorted(github.artifacts(run.id), key=lambda each: each.id):
        match = _NAME.fullmatch(artifact.name)
        if match is None or artifact.expired:
            continue
        attempt, index = int(match[1]), int(match[2])
        if attempt <= run.attempt and index < MOST_WORKERS:
            found[attempt, index] = artifact
    return found


def _open(
    github: GitHub, artifact: Artifact, place: str, asked: Asked
) -> tuple[Parcel | None, str]:
    try:
        members = read_zip(github.download(artifact, LARGEST_ARTIFACT_BYTES), MEMBERS)
    except AilabError as error:
        if isinstance(error, GitHubError) and not isinstance(error, (NotFoundError, TooLargeError)):
            raise  # GitHub does not answer now, which says nothing about the worker
        return None, error.why or error.what
    return read_parcel(place, members, asked)


# --- the jobs ----------------------------------------------------------------------------------


def tasks_of(inputs: Inputs, standing: Standing, survey: Survey) -> list[Task]:
    """The next round's; none where the search is over."""
    if standing.phase is None:
        return []
    finishing, pool = standing.phase is Phase.FINISH, survey.pool
    left = max(survey.ground.range.capacity - standing.evidence.spent_blocks, 1)
    count = 1 if finishing else min(pool.count, MOST_WORKERS, left)
    minutes = FINISH_MINUTES if finishing else SEARCH_MINUTES
    quest, definitions = inputs.quest, survey.definitions.sha
    text = f"{quest.good} {quest.bad} {quest.scenario}".encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:4]) >> 1
    return [
        Task(
            standing.phase, index, count, len(inputs.rounds) + 1, pool.labels,
            minutes + _AROUND_MINUTES, minutes, quest, inputs.also, seed, definitions,
        )
        for index in range(count)
    ]  # fmt: skip


def earlier_json(evidence: Evidence) -> str:
    """For an environment variable, which holds less than 128 KiB."""
    for most in (_SHORT, 0):
        short = {sha: why[:most] for sha, why in evidence.skipped.items()}
        text = evidence_to_json(replace(evidence, skipped=short))
        if len(text.encode()) < _MOST_EARLIER_BYTES:
            break
    return text


def search_job(environ: Mapping[str, str], progress: Progress) -> WorkerResult:
    """Measure as the worker that AILAB_SHARD names, into the folder that the action uploads."""
    around = read_surroundings(environ)
    task = task_from_json(around.shard, "the input `shard`")
    earlier = _earlier(environ.get("AILAB_EARLIER", ""))
    check_disk(around.temp)
    found = survey(around, Inputs("", task.quest, task.also), task.definitions)
    ground, definitions = found.ground, found.definitions
    # What the repository configured wins over the action's default.
    python = definitions.config.python or environ.get("AILAB_PYTHON") or None
    work = Work(
        ground.clone,
        task.quest.good,
        ground.asked.scenario,
        interpreter(which_python(python, None)),
        definitions.policy,
        definitions.config.noise,
        task.own_seed,
        choose_cores(definitions.config.noise.pin),
        ground.asked.metric,
    )
    place = Place(task.index, task.of, task.phase, task.minutes)
    folders = around.out(), fresh_folder(around, "search")
    return run_worker(
        work, task.quest, ground.range, earlier, place, folders, progress, ground.also
    )


def _earlier(text: str) -> Evidence:
    try:
        return evidence_from_row(strictjson.load(text)) if text else Evidence()
    except strictjson.BadJsonError as error:
        raise UserError(
            "the input `earlier` does not say what was measured before",
            why=str(error),
            advice="It must be the output `earlier` of `search-plan`.",
        ) from None


@dataclass(frozen=True)
class Looked:
    """`failure`: why there is nothing to search, then there is nothing else."""

    inputs: Inputs
    survey: Survey | None = None
    standing: Standing | None = None
    failure: str = ""

    @property
    def ended(self) -> Culprit | None:
        """How the search ended, None while it goes on."""
        if self.standing is None:
            return failed(subject_of(self.inputs), self.failure)
        return self.standing.found

    @property
    def tasks(self) -> list[Task]:
        if self.survey is None or self.standing is None:
            return []
        return tasks_of(self.inputs, self.standing, self.survey)


def look(around: Surroundings, github: GitHub, tell: Callable[[str], None], *, own: bool) -> Looked:
    """Where the search stands; `own`: after this run's round, too."""
    try:
        inputs = read_inputs(around.event_path)
    except UserError as error:
        return Looked(unreadable_inputs(around.event_path), failure=_said(error))
    run = github.run(around.run_id)
    first = github.run(inputs.rounds[0]) if inputs.rounds else run
    try:
        found = survey(around, inputs, first.head_sha, first.created_at)
        runs = [*inputs.rounds, *([around.run_id] if own else [])]
        rounds = rounds_of(github, run, runs, found.ground.asked, tell)
    except UserError as error:
        return Looked(inputs, failure=_said(error))
    return Looked(inputs, found, standing_of(found.ground, rounds))


def _said(error: UserError) -> str:
    return ": ".join(filter(None, [error.what, error.why]))


def write_found(around: Surroundings, inputs: Inputs, found: Culprit) -> Path:
    path = around.out() / FOUND
    document = {**culprit_to_json(found), "incident": inputs.incident}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def next_round(github: GitHub, run: Run, ref: str, inputs: Inputs) -> str:
    """Start it; why it could not be, where its workflow is gone from the branch."""
    given = {
        "incident": inputs.incident,
        "good": inputs.quest.good,
        "bad": inputs.quest.bad,
        "scenario": inputs.quest.scenario,
        "metric": inputs.quest.metric,
        "also": " ".join(inputs.also),
        "rounds": " ".join(map(str, (*inputs.rounds, run.id))),
    }
    try:
        github.dispatch(WORKFLOW, ref, given)
    except GitHubError as error:
        if error.status in {404, 422}:
            return error.what
        # It may have begun all the same; a second chain would measure the same once more. If it did
        # not, the incident's search is silent, and is started again.
        return ""
    return ""
