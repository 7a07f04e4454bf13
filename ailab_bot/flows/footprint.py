"""Records what scenarios touch: one untimed trial, in an arm of a measurement or of one commit.

Refuses to judge: that the recorded trial fails where the plain one works says nothing about the
program, so there is no footprint then, and a note instead.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ailab_bot.config import load_config, load_scenarios
from ailab_bot.errors import AilabError
from ailab_bot.flows.here import keep_footprints
from ailab_bot.flows.measurement import Bench
from ailab_bot.measure.environment import (
    Environment,
    Source,
    compile_probe,
    interpreter,
    prepare,
    which_python,
)
from ailab_bot.measure.execute import execute
from ailab_bot.measure.footprint import installed_distributions, read_footprint
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.measure.opens import watch_opens
from ailab_bot.measure.worktree import cache_folder, open_workplace
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.policy import Policy
from ailab_bot.model.report import Plan
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import Arm, Outcome
from ailab_bot.plan.select import select
from ailab_bot.report.progress import Progress

#: Both arms and every block see one order of sets; a footprint does, too.
_HASH_SEED = 1


@dataclass(frozen=True)
class Recorded:
    """`footprints` in the scenarios' order; `notes` say which are missing, and why."""

    footprints: tuple[Footprint, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FootprintRequest:
    """What the user asked for: which scenarios of which commit; empty: all that run here."""

    repo: Path
    commit: str
    scenarios: tuple[str, ...] = ()
    config: Path | None = None
    python: str | None = None


def record_here(request: FootprintRequest, progress: Progress) -> tuple[Recorded, Path]:
    """Record, and keep for the plans that are made with this clone. The folder they are in."""
    repository = open_repository(request.repo)
    config = load_config(request.config, repository.root)
    scenarios = load_scenarios(config)
    commit = repository.resolve(request.commit)
    choices = select(scenarios, only=request.scenarios, tier="release")
    taken = [choice.scenario for choice in choices if choice.taken]
    chosen = [scenario for scenario in scenarios if scenario.id in taken]
    progress.start(Plan(choices, _HASH_SEED))
    python = interpreter(which_python(request.python, config.python))
    recorded = record_commit(repository, commit.sha, chosen, python, progress)
    return recorded, keep_footprints(repository, recorded.footprints, scenarios)


def record_footprint(bench: Bench, arm: Arm, sha: str) -> Footprint | None:
    """Execute the scenario once in the arm, recorded; None where that gave no first batch."""
    launch = bench.launch(arm, hash_seed=_HASH_SEED)
    folder = Path(tempfile.mkdtemp(prefix="footprint-", dir=bench.place.scratch))
    try:
        with watch_opens(launch.cwd) as opens:
            execution = execute(replace(launch, footprint=folder, steps=0))
        if execution.outcome is not Outcome.OK:
            return None
        return read_footprint(
            folder,
            opens,
            scenario=bench.scenario.id,
            sha=sha,
            trainer=execution.trainer,
            distributions=installed_distributions(bench.environments[arm].python),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record_commit(
    repository: Repository,
    sha: str,
    scenarios: Sequence[Scenario],
    python: Environment,
    progress: Progress,
) -> Recorded:
    """The footprints of a commit's scenarios, each recorded after a plain trial that warms it."""
    found: list[Footprint] = []
    notes: list[str] = []
    with open_workplace(repository, dict.fromkeys(Arm, sha)) as place:
        for scenario in scenarios:
            try:
                progress.activity(scenario.id, "preparing")
                source = Source(place.repository, sha, place.checkout(Arm.HEAD))
                environment = prepare(scenario, source, python, cache_folder())
                compile_probe(place.probe, environment.python)
                bench = Bench(
                    scenario, dict.fromkeys(Arm, environment), place, _HASH_SEED, Policy(), 1
                )
                progress.activity(scenario.id, "a plain trial")
                plain = execute(bench.launch(Arm.HEAD, hash_seed=_HASH_SEED))
                if plain.failure is not None:
                    notes.append(f"{scenario.id}: {plain.failure.reason}. {plain.failure.advice}")
                    continue
                progress.activity(scenario.id, "a recorded trial")
                footprint = record_footprint(bench, Arm.HEAD, sha)
            except AilabError as error:
                notes.append(f"{scenario.id}: {error.what}: {error.why} {error.advice}".strip())
                continue
            if footprint is None:
                notes.append(f"{scenario.id}: it works, but not while it is recorded.")
            else:
                found.append(footprint)
    return Recorded(tuple(found), tuple(notes))
