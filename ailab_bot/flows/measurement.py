"""Measures one scenario: warm-up, then interleaved blocks until the judge knows or time is up.

Every block is on disk before the next starts, so an interruption loses at most the one under way.
Refuses to decide anything itself: after each block it asks `judge`, as any later reader could.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ailab_bot.errors import AilabError
from ailab_bot.flows.explain import TracedImport, read_trace
from ailab_bot.flows.signature import compare_footprints
from ailab_bot.judge import judge
from ailab_bot.measure.cores import thread_variables
from ailab_bot.measure.environment import Environment, command_of, variables_of
from ailab_bot.measure.execute import Execution, Launch, execute
from ailab_bot.measure.quiet import QuietGate
from ailab_bot.measure.worktree import Workplace
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.signature import Likeness
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.verdict import Stopped, Verdict
from ailab_bot.model.wire import trial_to_json
from ailab_bot.plan.schedule import arms_of_block, hash_seed_of_block
from ailab_bot.report.progress import Progress
from ailab_bot.report.words import disturbance_text

#: So often an arm may fail before its first success; then the scenario is given up.
MOST_FAILURES_WITHOUT_SUCCESS = 2
#: With capacity for fewer blocks than this, a disturbed one counts: better a noisy block than none.
BLOCKS_IN_HAND = 3
#: Bytes of failed trials in one log, from where on output is no longer kept with them: a failure is
#: evidence, its hundredth copy of one output is none, and whoever reads a log bounds its size.
FAILURES_KEPT_BYTES = 4 << 20
#: Of a scenario's capacity the part that recording one arm may take, as a recorded trial is slower
#: than a plain one by a factor that nobody knows in advance. What is left has to do for the blocks.
RECORDING_SHARE = 0.1
#: With less capacity for a scenario nothing is recorded: a recording in vain would cost a block.
LEAST_RECORDING_CAPACITY_S = 30.0
_NOT_RECORDED = (
    "what both arms do could not be recorded (the program works without the recorder, or took too "
    "long with it), so it is measured as if nothing were known"
)


@dataclass
class TrialLog:
    """Trials of the run so far, in memory and, line by line, in a file.

    `record`: where discarded ones go, beside the file unless said otherwise.
    """

    path: Path
    trials: list[Trial] = field(default_factory=list)
    record: Path | None = None
    _failures_bytes: int = field(default=0, init=False)

    def append(self, trial: Trial) -> None:
        if trial.failure is not None:
            self._failures_bytes += len(trial_to_json(trial).encode())
            if self._failures_bytes > FAILURES_KEPT_BYTES:
                trial = replace(trial, failure=replace(trial.failure, output_tail=()))
        self.trials.append(trial)
        _append_line(self.path, trial)

    def discard(self, trial: Trial) -> None:
        """Keep a trial of a disturbed block for the record alone: no verdict reads that file."""
        _append_line(self.record or self.path.with_name("discarded.jsonl"), trial)

    def of(self, scenario: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.scenario == scenario]


def _append_line(path: Path, trial: Trial) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(trial_to_json(trial) + "\n")
        file.flush()
        os.fsync(file.fileno())


#: Executes a bench's scenario once in an arm, recorded; None where that gave no footprint.
Recorder = Callable[["Bench", Arm], Footprint | None]


@dataclass(frozen=True)
class Bench:
    """What measuring one scenario needs. `stop_after_s`: its share of the capacity, or None.

    `family` verdicts belong to the whole change. `cores` and `threads` hold for every trial of both
    arms (empty, None: as they are). `gate` watches the machine; None: nobody does. `machine` is
    noted with every trial. With `until_known` no block runs after the judge knows. `recorder`
    records the warm-up of both arms; None: a plain one, and nothing is known of what they do.
    `likeness`: what the recordings say of the arms, noted with every trial.
    """

    scenario: Scenario
    environments: Mapping[Arm, Environment]
    place: Workplace
    seed: int
    policy: Policy
    family: int
    stop_after_s: float | None = None
    cores: tuple[int, ...] = ()
    threads: int | None = None
    gate: QuietGate | None = None
    machine: str = ""
    until_known: bool = True
    recorder: Recorder | None = None
    likeness: Likeness | None = None

    def judge(self, log: TrialLog) -> tuple[Verdict, ...]:
        """The scenario's verdicts so far."""
        own = {self.scenario.id: self.scenario.metrics}
        return judge(log.of(self.scenario.id), self.policy, own, self.family)

    def launch(self, arm: Arm, hash_seed: int, trace: Path | None = None) -> Launch:
        checkout = self.place.checkout(arm)
        environment = self.environments[arm]
        settings = thread_variables(self.threads)
        return Launch(
            command=command_of(self.scenario, checkout, environment),
            cwd=checkout,
            env=variables_of(self.scenario, checkout, environment, hash_seed, settings),
            first_batch=self.scenario.first_batch,
            timeout_s=self.scenario.timeout_s,
            scratch=self.place.scratch,
            probe=self.place.probe,
            steps=0 if trace else self.scenario.steps,
            trace=trace,
            cores=self.cores,
        )


@dataclass(frozen=True)
class Recording:
    """What the recorded warm-up gave: `footprints` of both arms, or none and perhaps why."""

    footprints: Mapping[Arm, Footprint] = field(default_factory=dict)
    why_not: str = ""

    @property
    def likeness(self) -> Likeness | None:
        difference = compare_footprints(self.footprints)
        return None if difference is None else difference.likeness


def measure_scenario(bench: Bench, log: TrialLog, progress: Progress) -> Recording:
    """Measure until decided, given up, or out of capacity. Returns what was recorded before."""
    started = time.monotonic()
    recording = _record(bench, progress)
    recorded_s = time.monotonic() - started
    block = 0
    if not recording.footprints:
        block = warm_up(bench, log, progress)
        if block:  # the program fails anyway, which is not the recording's doing
            recording = replace(recording, why_not="")
        elif recording.why_not:
            progress.note(f"{bench.scenario.id}: {recording.why_not}")
    if _failed_alike(log.of(bench.scenario.id)):
        return recording
    bench = replace(bench, likeness=recording.likeness)
    warm, tried = 0 if recording.footprints else 1, 0
    while not _is_hopeless(log.of(bench.scenario.id)) and block < bench.policy.max_blocks:
        spent_s = time.monotonic() - started
        # A plain warm-up is as long as a block, and a recorded one longer by an unknown factor.
        counted_s = spent_s - recorded_s if warm + tried else spent_s
        per_block_s = counted_s / max(tried + warm, 1)
        if bench.stop_after_s is not None and spent_s + per_block_s > bench.stop_after_s:
            progress.note(f"{bench.scenario.id}: its share of the capacity is used up")
            break
        left_s = math.inf if bench.stop_after_s is None else bench.stop_after_s - spent_s
        if bench.gate is not None and left_s < BLOCKS_IN_HAND * per_block_s:
            bench.gate.hurry()
        tried += 1
        if not run_block(bench, log, progress, block):
            continue
        block += 1
        verdicts = bench.judge(log)
        _show(bench, progress, verdicts, block, per_block_s, spent_s)
        if bench.until_known and _is_decided(verdicts, bench.policy):
            break
    return recording


def trace_imports(bench: Bench, arm: Arm) -> tuple[TracedImport, ...]:
    """The imports of one untimed execution; empty when it failed."""
    path = bench.place.scratch / f"imports-{arm.value}"
    path.unlink(missing_ok=True)
    execution = execute(bench.launch(arm, hash_seed=1, trace=path))
    return read_trace(path) if execution.outcome is Outcome.OK else ()


def _record(bench: Bench, progress: Progress) -> Recording:
    """One recorded, untimed trial per arm: it fills the caches as a plain warm-up does.

    Where one arm's gives nothing, the other is not asked, and both are warmed as ever: recording
    may break a program that works (one that sets a profile function of its own), or take too long.
    """
    if bench.recorder is None:
        return Recording()
    timeout_s = bench.scenario.timeout_s
    if bench.stop_after_s is not None:
        if bench.stop_after_s < LEAST_RECORDING_CAPACITY_S:
            return Recording()
        timeout_s = min(timeout_s, RECORDING_SHARE * bench.stop_after_s)
    limited = replace(bench, scenario=replace(bench.scenario, timeout_s=timeout_s))
    footprints: dict[Arm, Footprint] = {}
    for arm in arms_of_block(bench.seed, bench.scenario.id, -1):
        progress.activity(bench.scenario.id, f"recording {arm.value}")
        try:
            footprint = bench.recorder(limited, arm)
        except AilabError:
            footprint = None  # what ails the machine shows in the plain warm-up, too
        if footprint is None:
            return Recording(why_not=_NOT_RECORDED)
        footprints[arm] = footprint
    return Recording(footprints)


def warm_up(bench: Bench, log: TrialLog, progress: Progress) -> int:
    """One untimed trial per arm fills byte-code and page caches alike. Returns the next block.

    It is only recorded where it failed: a failure is evidence, a cold time is not.
    """
    executions = {}
    for arm in arms_of_block(bench.seed, bench.scenario.id, -1):
        progress.activity(bench.scenario.id, f"warm-up {arm.value}")
        executions[arm] = execute(bench.launch(arm, hash_seed=1))
    if all(execution.outcome is Outcome.OK for execution in executions.values()):
        return 0
    for order, (arm, execution) in enumerate(executions.items()):
        log.append(_trial(bench, 0, order, arm, execution))
    return 1


def run_block(bench: Bench, log: TrialLog, progress: Progress, block: int) -> bool:
    """False: other work disturbed a trial, so the block counts for neither arm.

    Only `gate` decides that, and no time of a trial reaches it.
    """
    if bench.gate is not None:
        bench.gate.before_block()
    trials: list[Trial] = []
    hash_seed = hash_seed_of_block(bench.seed, bench.scenario.id, block)
    for order, arm in enumerate(arms_of_block(bench.seed, bench.scenario.id, block)):
        execution = execute(bench.launch(arm, hash_seed))
        trials.append(_trial(bench, block, order, arm, execution))
        if bench.gate is not None and bench.gate.after_trial():
            for trial in trials:
                log.discard(trial)
            if bench.gate.disturbance is not None:
                why = disturbance_text(bench.gate.disturbance)
                progress.note(f"{bench.scenario.id}: block {block + 1} is measured again: {why}")
            return False
    for trial in trials:
        log.append(trial)
    return True


def _trial(bench: Bench, block: int, order: int, arm: Arm, execution: Execution) -> Trial:
    return Trial(
        bench.scenario.id,
        block,
        order,
        arm,
        execution.outcome,
        metrics=execution.metrics,
        phases=execution.phases,
        covariates=execution.covariates,
        failure=execution.failure,
        machine=bench.machine,
        judged=bench.scenario.metrics,
        family=bench.family,
        signature=bench.likeness,
    )


def _failed_alike(trials: list[Trial]) -> bool:
    """Whether both arms failed in the same way at the very first: blocks would show nothing new.

    After a warm-up that worked, and so left no trial, a bad first block is bad luck.
    """
    outcomes = {trial.outcome for trial in trials}
    return len(outcomes) == 1 and Outcome.OK not in outcomes


def _is_hopeless(trials: list[Trial]) -> bool:
    """Whether an arm keeps failing."""
    outcomes = {arm: [t.outcome for t in trials if t.arm is arm] for arm in Arm}
    return any(
        len(seen) >= MOST_FAILURES_WITHOUT_SUCCESS and Outcome.OK not in seen
        for seen in outcomes.values()
    )


def _is_decided(verdicts: tuple[Verdict, ...], policy: Policy) -> bool:
    gating = [verdict for verdict in verdicts if verdict.metric in policy.gate] or list(verdicts)
    return bool(gating) and all(verdict.stopped is Stopped.DECIDED for verdict in gating)


def _show(
    bench: Bench,
    progress: Progress,
    verdicts: tuple[Verdict, ...],
    done: int,
    per_block_s: float,
    spent_s: float,
) -> None:
    first = verdicts[0] if verdicts else None
    left_s = (bench.policy.max_blocks - done) * per_block_s
    if bench.stop_after_s is not None:
        left_s = min(left_s, bench.stop_after_s - spent_s)
    progress.block(
        bench.scenario.id,
        done,
        bench.policy.max_blocks,
        first.effect if first else None,
        first.interval if first else None,
        max(left_s, 0.0),
    )
