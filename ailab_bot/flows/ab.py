"""`ailab ab`: two commits in, a measured and readable verdict out.

plan -> measure -> assemble. Refuses to touch the user's work tree; scenario files are read from
it, the measured code only from the commits.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ailab_bot.config import load_config, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.flows.arms import Job, measure_arms
from ailab_bot.flows.assemble import Findings, assemble
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.here import known_here
from ailab_bot.flows.measurement import TrialLog
from ailab_bot.flows.policy import policy_notes, policy_of
from ailab_bot.flows.selection import select_scenarios
from ailab_bot.measure.environment import interpreter, which_python
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.measure.machine import describe_machine
from ailab_bot.measure.worktree import cache_folder, make_folder
from ailab_bot.model.report import Commit, Plan, Report
from ailab_bot.model.trial import Arm
from ailab_bot.plan.select import select
from ailab_bot.plan.shards import family_of
from ailab_bot.report.progress import Progress


@dataclass(frozen=True)
class AbRequest:
    """What the user asked for. `seed` None: a fresh one, which the report records."""

    base: str
    head: str
    repo: Path
    scenarios: tuple[str, ...] = ()
    capacity_s: float | None = None
    config: Path | None = None
    python: str | None = None
    seed: int | None = None


def compare_commits(request: AbRequest, progress: Progress) -> tuple[Report, Path]:
    """Run the whole main job. Returns the report and the file that holds every trial.

    Raises UserError or RunnerError before anything is measured. KeyboardInterrupt after that ends
    the measurement, and such an error that of its scenario; the report says that it is partial.
    """
    repository = open_repository(request.repo)
    config = load_config(request.config, repository.root)
    scenarios = load_scenarios(config)
    base, head = two_commits(repository, request.base, request.head)
    capacity_s = request.capacity_s if request.capacity_s is not None else config.capacity_s
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    choices, basis = select(scenarios, only=request.scenarios), ""
    definitions = Definitions("", (), config, scenarios, policy_of(config))
    known = known_here(repository, definitions, datetime.now(UTC))
    evidence = known.evidence(base.sha, head.sha) if not request.scenarios else None
    if evidence is not None and config.selection.footprints:
        selected = select_scenarios(
            choices,
            definitions,
            evidence,
            capacity_s=capacity_s,
            seed=seed,
            expected_s=known.expected_s,
            root=repository.root,
        )
        choices, basis = selected.choices, selected.basis
    plan = Plan(choices, seed, capacity_s, basis)
    taken = [s for s in scenarios if s.id in {choice.scenario for choice in plan.taken}]
    policy = definitions.policy
    python = interpreter(which_python(request.python, config.python))
    log = TrialLog(new_run_folder() / "trials.jsonl")
    notes = dirty_note(repository) + policy_notes(policy, [scenario.id for scenario in taken])
    progress.start(plan)
    job = Job(
        repository=repository,
        shas={Arm.BASE: base.sha, Arm.HEAD: head.sha},
        scenarios=taken,
        python=python,
        seed=seed,
        family=family_of(taken),
        capacity_s=capacity_s,
        policy=policy,
        noise=config.noise,
        signature=config.signature,
    )
    machines = (describe_machine(python.version),)
    if taken:
        measured = measure_arms(job, log, progress)
        findings = Findings(
            measured.log.trials,
            machines,
            measured.explanations,
            [*notes, *measured.notes],
            measured.lost,
            measured.spent_s,
            measured.interrupted,
        )
    else:
        notes.append("No scenario applies to this change, so nothing was measured.")
        findings = Findings([], machines, notes=notes)
    reproduce = _reproduce(request, base, head, seed)
    return assemble(base, head, plan, taken, policy, findings, reproduce), log.path


def dirty_note(repository: Repository) -> list[str]:
    if not repository.is_dirty():
        return []
    return ["The work tree has uncommitted changes; they are not measured."]


def two_commits(repository: Repository, base_ref: str, head_ref: str) -> tuple[Commit, Commit]:
    """The commits that the refs name; UserError where it is the same one."""
    base, head = repository.resolve(base_ref), repository.resolve(head_ref)
    if base.sha == head.sha:
        raise UserError(
            f"base and head are the same commit ({base.sha[:12]})",
            why=f"`{base_ref}` and `{head_ref}` both name it, so there is no change.",
            advice="Name two commits that differ, for instance `ailab ab HEAD~1 HEAD`.",
        )
    return base, head


def new_run_folder() -> Path:
    """Where this run's trials are written while they come; kept, so nothing measured is lost."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = cache_folder() / "runs" / f"{stamp}-{secrets.token_hex(3)}"
    make_folder(folder)
    return folder


def _reproduce(request: AbRequest, base: Commit, head: Commit, seed: int) -> str:
    words = ["ailab", "ab", base.sha[:12], head.sha[:12], "--seed", str(seed)]
    for scenario in request.scenarios:
        words += ["--scenario", scenario]
    if request.capacity_s is not None:
        words += ["--capacity-s", f"{request.capacity_s:g}"]
    if request.config is not None:
        words += ["--config", str(request.config)]
    return shlex.join(words)
