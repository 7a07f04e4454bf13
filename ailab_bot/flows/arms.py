"""Measures scenarios in both arms, in one place on one machine: prepare, then one after another.

An error costs its scenario, an interruption what comes after it; what was measured is kept.
Refuses to decide: it gives back trials, imports and remarks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.explain import TracedImport, explain
from ailab_bot.flows.footprint import record_footprint
from ailab_bot.flows.measurement import (
    Bench,
    Recorder,
    Recording,
    TrialLog,
    measure_scenario,
    trace_imports,
)
from ailab_bot.flows.signature import difference_text
from ailab_bot.judge import summarise_failures
from ailab_bot.measure.cores import choose_cores
from ailab_bot.measure.environment import Environment, Source, compile_probe, prepare
from ailab_bot.measure.git import Repository
from ailab_bot.measure.machine import machine_class
from ailab_bot.measure.quiet import QuietGate, read_activity
from ailab_bot.measure.worktree import Workplace, cache_folder, open_workplace
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.noise import WAIT_SHARE, Noise, cores_text
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.shard import LONGEST_NOTE, LONGEST_REASON, Loss, LossKind
from ailab_bot.model.trial import Arm
from ailab_bot.model.verdict import Explanation, VerdictKind
from ailab_bot.report.progress import Progress
from ailab_bot.report.words import unrest_notes

_MOVED = (VerdictKind.REGRESSION, VerdictKind.IMPROVEMENT)
#: Characters that an error's advice has in a note, when all of it does not fit.
_LONGEST_ADVICE = 200


@dataclass(frozen=True)
class Job:
    """What is to be measured. `shas` by arm; `family` verdicts belong to the whole change.

    `capacity_s` runner-seconds may be spent here, None: no limit. With `all_or_nothing` a set-up
    that fails ends the job before its first trial; otherwise it costs its scenario. With
    `signature` both arms are recorded first, so that equal counts can end a measurement early.
    """

    repository: Repository
    shas: Mapping[Arm, str]
    scenarios: Sequence[Scenario]
    python: Environment
    seed: int
    family: int
    capacity_s: float | None
    policy: Policy
    noise: Noise
    all_or_nothing: bool = True
    signature: bool = True


@dataclass
class Measured:
    """What a job has found so far: complete at the end, partial when interrupted.

    `lost`: scenarios that were not measured to their end, with why. `footprints`: head's, of the
    scenarios that were recorded.
    """

    log: TrialLog
    explanations: list[Explanation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: dict[str, Loss] = field(default_factory=dict)
    footprints: dict[str, Footprint] = field(default_factory=dict)
    spent_s: float = 0.0
    interrupted: bool = False


def measure_arms(job: Job, log: TrialLog, progress: Progress) -> Measured:
    """Measure every scenario of the job, each until the judge knows or its share is spent."""
    found = Measured(log)
    cores = choose_cores(job.noise.pin)
    if cores:
        found.notes.append(f"Every trial of both arms ran on cores {cores_text(cores)}.")
    started, finished = time.monotonic(), set[str]()
    try:
        with open_workplace(job.repository, dict(job.shas)) as place:
            prepared = _prepare_all(job, place, found, progress)
            for index, scenario in enumerate(job.scenarios):
                if scenario.id not in prepared:
                    continue
                share_s = None
                if job.capacity_s is not None:
                    left_s = job.capacity_s - (time.monotonic() - started)
                    share_s = max(left_s, 0.0) / (len(job.scenarios) - index)
                bench = Bench(
                    scenario,
                    prepared[scenario.id],
                    place,
                    job.seed,
                    job.policy,
                    job.family,
                    share_s,
                    cores,
                    job.noise.threads,
                    _gate(job, cores, share_s),
                    machine_class(),
                    recorder=_recorder(job),
                )
                _measure_one(job, bench, found, progress)
                finished.add(scenario.id)
    except KeyboardInterrupt:
        found.interrupted = True
        for scenario in job.scenarios:
            if scenario.id not in finished:
                found.lost.setdefault(scenario.id, Loss(LossKind.INTERRUPTED, "interrupted"))
        found.notes.append("Interrupted: these results are partial.")
    finally:
        found.spent_s = time.monotonic() - started
    return found


def _measure_one(job: Job, bench: Bench, found: Measured, progress: Progress) -> None:
    """An error costs the rest of its scenario, not what the job has found or may still find."""
    scenario, log, recording = bench.scenario, found.log, Recording()
    try:
        recording = measure_scenario(bench, log, progress)
        if Arm.HEAD in recording.footprints:
            found.footprints[scenario.id] = recording.footprints[Arm.HEAD]
        if recording.why_not:
            found.notes.append(f"{scenario.id}: {recording.why_not}.")
        if not log.of(scenario.id):
            why = "capacity ended before its first block"
            found.lost[scenario.id] = Loss(LossKind.CAPACITY, why)
            found.notes.append(f"{scenario.id}: {why}.")
    except AilabError as error:
        _lose(found, scenario, LossKind.ERROR, error, progress)
    finally:
        if bench.gate is not None:
            found.notes.extend(unrest_notes(scenario.id, bench.gate.unrest, job.noise))
    trials = log.of(scenario.id)
    verdicts = bench.judge(log)
    if any(verdict.kind in _MOVED for verdict in verdicts):
        progress.activity(scenario.id, "tracing imports of both arms")
        traces: dict[Arm, tuple[TracedImport, ...]] = {}
        try:
            traces = {arm: trace_imports(bench, arm) for arm in Arm}
        except AilabError as error:
            _note(found, scenario, error, progress)
        checkouts = {arm: bench.place.checkout(arm) for arm in Arm}
        did = difference_text(recording.footprints)
        found.explanations.append(explain(scenario.id, trials, traces, checkouts, note=did))
    progress.finish(scenario.id, verdicts, summarise_failures(trials))


def _recorder(job: Job) -> Recorder | None:
    if not job.signature:
        return None
    return lambda bench, arm: record_footprint(bench, arm, job.shas[arm])


def _gate(job: Job, cores: tuple[int, ...], share_s: float | None) -> QuietGate:
    limits = job.noise
    if share_s is not None:
        limits = replace(limits, wait_s=min(limits.wait_s, WAIT_SHARE * share_s))
    return QuietGate(limits, job.policy.max_blocks, read=lambda: read_activity(cores))


def _lose(
    found: Measured, scenario: Scenario, kind: LossKind, error: AilabError, progress: Progress
) -> None:
    reason = _head(" ".join(error.what.split()), LONGEST_REASON)
    found.lost[scenario.id] = Loss(kind, reason or "an error without a text")
    _note(found, scenario, error, progress)


def _note(found: Measured, scenario: Scenario, error: AilabError, progress: Progress) -> None:
    """Whoever watches sees all of it; what is kept is cut, as a set-up may say any amount."""
    note = ": ".join(filter(None, [scenario.id, error.what, error.why])) + f". {error.advice}"
    progress.note(note)
    found.notes.append(note if len(note) <= LONGEST_NOTE else _cut_note(scenario, error))


def _cut_note(scenario: Scenario, error: AilabError) -> str:
    """Of the evidence the end is kept: installers say last what went wrong."""
    before = _head(f"{scenario.id}: {error.what}", LONGEST_REASON)
    after = f". {_head(error.advice, _LONGEST_ADVICE)}"
    room = LONGEST_NOTE - len(before) - len(": ") - len(after)
    why = error.why if len(error.why) <= room else "…" + error.why[len(error.why) - room + 1 :]
    return f"{before}: {why}{after}" if why else before + after


def _head(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _prepare_all(
    job: Job, place: Workplace, found: Measured, progress: Progress
) -> Mapping[str, dict[Arm, Environment]]:
    """Every arm of every scenario, before the first trial: a broken set-up costs no measurement.

    Base first: what fails on head alone is the change's doing, and what fails on base is not.
    """
    prepared: dict[str, dict[Arm, Environment]] = {}
    for scenario in job.scenarios:
        arms: dict[Arm, Environment] = {}
        try:
            arms[Arm.BASE] = _prepare(job, place, scenario, Arm.BASE, progress)
            try:
                arms[Arm.HEAD] = _prepare(job, place, scenario, Arm.HEAD, progress)
            except UserError:
                if job.all_or_nothing:
                    raise
                # Only what fails again says something about head, not about the network.
                arms[Arm.HEAD] = _prepare(job, place, scenario, Arm.HEAD, progress)
        except AilabError as error:
            if job.all_or_nothing:
                raise
            _lose(found, scenario, _kind_of(error, arms), error, progress)
        else:
            prepared[scenario.id] = arms
    return prepared


def _kind_of(error: AilabError, prepared: Mapping[Arm, Environment]) -> LossKind:
    """A set-up that fails is a UserError; anything else is the machine's, in whatever arm.

    Where base's environment was there already, head's may fail for want of a network.
    """
    if not isinstance(error, UserError):
        return LossKind.ERROR
    base = prepared.get(Arm.BASE)
    if base is None:
        return LossKind.SETUP
    return LossKind.ERROR if base.reused else LossKind.SETUP_HEAD


def _prepare(
    job: Job, place: Workplace, scenario: Scenario, arm: Arm, progress: Progress
) -> Environment:
    if scenario.setup:
        progress.activity(scenario.id, f"preparing {arm.value}")
    source = Source(place.repository, job.shas[arm], place.checkout(arm))
    environment = prepare(scenario, source, job.python, cache_folder())
    if environment.reused:
        progress.note(f"{scenario.id}: {arm.value} uses a prepared environment again")
    with contextlib.suppress(OSError):  # a set-up that breaks its interpreter shows in the trials
        compile_probe(place.probe, environment.python)
    return environment
