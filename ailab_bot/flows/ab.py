"""`ailab ab`: two commits in, a measured and readable verdict out.

plan -> prepare -> measure -> judge -> explain -> report. Refuses to touch the user's work tree;
scenario files are read from it, the measured code only from the commits.
"""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ailab_bot.config import Config, load_config, load_scenarios
from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.explain import TracedImport, explain
from ailab_bot.flows.measurement import Bench, TrialLog, measure_scenario, trace_imports
from ailab_bot.judge import conclude, judge, summarise_failures
from ailab_bot.measure.cores import choose_cores
from ailab_bot.measure.environment import (
    Environment,
    Source,
    compile_probe,
    interpreter,
    prepare,
    which_python,
)
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.measure.machine import describe_machine, machine_class
from ailab_bot.measure.quiet import QuietGate, read_activity
from ailab_bot.measure.worktree import Workplace, cache_folder, open_workplace
from ailab_bot.model.noise import WAIT_SHARE, Noise, cores_text
from ailab_bot.model.policy import Policy
from ailab_bot.model.report import Commit, Plan, Report
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import Arm
from ailab_bot.model.verdict import Explanation, VerdictKind
from ailab_bot.plan.select import select
from ailab_bot.policyfile import NAME as POLICY_FILE
from ailab_bot.policyfile import check_place, read_policy
from ailab_bot.report.progress import Progress
from ailab_bot.report.words import unrest_notes

_MOVED = (VerdictKind.REGRESSION, VerdictKind.IMPROVEMENT)


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


@dataclass
class _Run:
    """What a run has found so far: complete at the end, partial when interrupted.

    `cut_short`: an error ended the measurement of a scenario.
    """

    log: TrialLog
    noise: Noise
    cores: tuple[int, ...]
    machine: str
    explanations: list[Explanation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spent_s: float = 0.0
    interrupted: bool = False
    cut_short: bool = False


def compare_commits(request: AbRequest, progress: Progress) -> tuple[Report, Path]:
    """Run the whole main job. Returns the report and the file that holds every trial.

    Raises UserError or RunnerError before anything is measured. KeyboardInterrupt after that ends
    the measurement, and such an error that of its scenario; the report says that it is partial.
    """
    repository = open_repository(request.repo)
    config = load_config(request.config, repository.root)
    scenarios = load_scenarios(config)
    base, head = _two_commits(repository, request)
    capacity_s = request.capacity_s if request.capacity_s is not None else config.capacity_s
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    plan = Plan(select(scenarios, only=request.scenarios), seed, capacity_s)
    taken = [s for s in scenarios if s.id in {choice.scenario for choice in plan.taken}]
    policy = policy_of(config)
    python = interpreter(which_python(request.python, config.python))
    cores = choose_cores(config.noise.pin)
    log = TrialLog(new_run_folder() / "trials.jsonl")
    run = _Run(log, config.noise, cores, machine_class())
    if repository.is_dirty():
        run.notes.append("The work tree has uncommitted changes; they are not measured.")
    if cores:
        run.notes.append(f"Every trial of both arms ran on cores {cores_text(cores)}.")
    run.notes += policy_notes(policy, [scenario.id for scenario in taken])
    progress.start(plan)
    shas = {Arm.BASE: base.sha, Arm.HEAD: head.sha}
    if taken:
        _measure_all(run, repository, shas, taken, python, plan, policy, progress)
    else:
        run.notes.append("No scenario applies to this change, so nothing was measured.")
    metrics = {scenario.id: scenario.metrics for scenario in taken}
    verdicts = judge(run.log.trials, policy, metrics, _family(taken))
    failures = summarise_failures(run.log.trials)
    report = Report(
        base=base,
        head=head,
        plan=plan,
        verdicts=verdicts,
        failures=failures,
        explanations=tuple(run.explanations),
        machine=describe_machine(python.version),
        conclusion=conclude(
            verdicts, failures, metrics, policy.gate, run.interrupted or run.cut_short
        ),
        runner_seconds=run.spent_s,
        reproduce=_reproduce(request, base, head, seed),
        policy=policy,
        notes=tuple(run.notes),
        interrupted=run.interrupted,
        shadow_reason=policy.shadow_reason,
    )
    return report, run.log.path


def _measure_all(
    run: _Run,
    repository: Repository,
    shas: dict[Arm, str],
    taken: Sequence[Scenario],
    python: Environment,
    plan: Plan,
    policy: Policy,
    progress: Progress,
) -> None:
    started = time.monotonic()
    try:
        with open_workplace(repository, shas) as place:
            prepared = _prepare_all(place, shas, taken, python, progress)
            for index, scenario in enumerate(taken):
                share_s = None
                if plan.capacity_s is not None:
                    left_s = plan.capacity_s - (time.monotonic() - started)
                    share_s = max(left_s, 0.0) / (len(taken) - index)
                bench = Bench(
                    scenario,
                    prepared[scenario.id],
                    place,
                    plan.seed,
                    policy,
                    _family(taken),
                    share_s,
                    run.cores,
                    run.noise.threads,
                    _gate(run, policy, share_s),
                    run.machine,
                )
                _measure_one(run, bench, progress)
    except KeyboardInterrupt:
        run.interrupted = True
        run.notes.append("Interrupted: these results are partial.")
    finally:
        run.spent_s = time.monotonic() - started


def _measure_one(run: _Run, bench: Bench, progress: Progress) -> None:
    """An error costs the rest of its scenario, not what the run has found or may still find."""
    scenario = bench.scenario
    try:
        measure_scenario(bench, run.log, progress)
        if not run.log.of(scenario.id):
            run.notes.append(f"{scenario.id}: capacity ended before its first block.")
    except AilabError as error:
        run.cut_short = True
        _note_error(run, scenario, error, progress)
    finally:
        if bench.gate is not None:
            run.notes.extend(unrest_notes(scenario.id, bench.gate.unrest, run.noise))
    trials = run.log.of(scenario.id)
    verdicts = bench.judge(run.log)
    if any(verdict.kind in _MOVED for verdict in verdicts):
        progress.activity(scenario.id, "tracing imports of both arms")
        traces: dict[Arm, tuple[TracedImport, ...]] = {}
        try:
            traces = {arm: trace_imports(bench, arm) for arm in Arm}
        except AilabError as error:
            _note_error(run, scenario, error, progress)
        checkouts = {arm: bench.place.checkout(arm) for arm in Arm}
        run.explanations.append(explain(scenario.id, trials, traces, checkouts))
    progress.finish(scenario.id, verdicts, summarise_failures(trials))


def _family(taken: Sequence[Scenario]) -> int:
    """How many verdicts the whole change will have."""
    return sum(len(scenario.metrics) for scenario in taken)


def _gate(run: _Run, policy: Policy, share_s: float | None) -> QuietGate:
    limits = run.noise
    if share_s is not None:
        limits = replace(limits, wait_s=min(limits.wait_s, WAIT_SHARE * share_s))
    return QuietGate(limits, policy.max_blocks, read=lambda: read_activity(run.cores))


def _note_error(run: _Run, scenario: Scenario, error: AilabError, progress: Progress) -> None:
    note = ": ".join(filter(None, [scenario.id, error.what, error.why])) + f". {error.advice}"
    run.notes.append(note)
    progress.note(note)


def _prepare_all(
    place: Workplace,
    shas: dict[Arm, str],
    taken: Sequence[Scenario],
    python: Environment,
    progress: Progress,
) -> Mapping[str, dict[Arm, Environment]]:
    """Every arm of every scenario, before the first trial: a broken set-up costs no measurement."""
    prepared: dict[str, dict[Arm, Environment]] = {}
    for scenario in taken:
        prepared[scenario.id] = {}
        for arm in Arm:
            if scenario.setup:
                progress.activity(scenario.id, f"preparing {arm.value}")
            source = Source(place.repository, shas[arm], place.checkout(arm))
            environment = prepare(scenario, source, python, cache_folder())
            if environment.reused:
                progress.note(f"{scenario.id}: {arm.value} uses a prepared environment again")
            compile_probe(place.probe, environment.python)
            prepared[scenario.id][arm] = environment
    return prepared


def _two_commits(repository: Repository, request: AbRequest) -> tuple[Commit, Commit]:
    base, head = repository.resolve(request.base), repository.resolve(request.head)
    if base.sha == head.sha:
        raise UserError(
            f"base and head are the same commit ({base.sha[:12]})",
            why=f"`{request.base}` and `{request.head}` both name it, so there is no change.",
            advice="Name two commits that differ, for instance `ailab ab HEAD~1 HEAD`.",
        )
    return base, head


def policy_of(config: Config) -> Policy:
    """The policy file beside the configuration, else the default, with what the configuration sets.

    What the configuration says in so many words wins over what was calibrated.
    """
    path = config.folder / POLICY_FILE
    policy = Policy()
    check_place(path)
    if path.exists():
        policy = read_policy(path).policy(origin=str(path))
    anyway = frozenset(config.gate_anyway)
    policy = replace(
        policy, gate=config.gate, too_noisy=policy.too_noisy - anyway, gate_anyway=anyway
    )
    if config.threshold is not None:
        policy = policy.with_threshold(config.threshold)
    if config.max_blocks is not None:
        policy = replace(policy, max_blocks=config.max_blocks)
    return policy


def policy_notes(policy: Policy, scenarios: Sequence[str]) -> list[str]:
    """What a reader must know about what does not block, and why."""
    notes = []
    if policy.shadow:
        notes.append(f"Shadow mode: advisory until calibrated. {policy.shadow_reason}")
    noisy = [name for name in scenarios if name in policy.too_noisy]
    if noisy:
        verb = "is" if len(noisy) == 1 else "are"
        notes.append(f"{', '.join(noisy)} {verb} too noisy to gate: shown, and blocks nothing.")
    unknown = [name for name in scenarios if policy.uncalibrated(name)]
    if unknown:
        verb, whose = ("is", "its") if len(unknown) == 1 else ("are", "their")
        notes.append(
            f"{', '.join(unknown)} {verb} not in the policy's calibration: {whose} verdicts are "
            "advisory. Run `ailab calibrate`."
        )
    return notes


def new_run_folder() -> Path:
    """Where this run's trials are written while they come; kept, so nothing measured is lost."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = cache_folder() / "runs" / f"{stamp}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
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
