"""Reads what the measuring jobs left, as hostile input, and keeps what can be true.

An artifact contributes numbers; which commits, scenarios and order they belong to is known from
the plan, and what contradicts it is not used. Refuses to guess: a scenario is taken whole from its
latest attempt, or is lost, with the reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.assemble import Findings
from ailab_bot.flows.change import ChangePlan
from ailab_bot.gh.artifacts import ArtifactError
from ailab_bot.gh.client import GitHubError, NotFoundError, TooLargeError
from ailab_bot.model.exchange import (
    LARGEST_RESULT_BYTES,
    RESULT,
    TRIALS,
    fingerprint,
    result_from_json,
)
from ailab_bot.model.report import Machine
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.shard import Loss, LossKind, ShardResult
from ailab_bot.model.strictjson import BadJsonError
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.verdict import Explanation, FailureSummary
from ailab_bot.model.wire import parse_trials
from ailab_bot.plan.schedule import arms_of_block

#: A shard's trials: 64 scenarios of 40 blocks take 8 MB.
LARGEST_TRIALS_BYTES = 64 << 20
#: What one shard's artifact may hold, each of them exactly once, and its bytes.
MEMBERS = {
    TRIALS: LARGEST_TRIALS_BYTES,
    RESULT: LARGEST_RESULT_BYTES,
}
#: To start a process and read a line of its output takes longer: no measurement is that short.
SHORTEST_TTFB_S = 0.001
#: Phases sum to TTFB but for rounding to a microsecond each.
_PHASE_GAP, _PHASE_GAP_S = 0.01, 0.001
NO_RESULT = Loss(LossKind.NO_RESULT, "no result arrived from its runner")
CHANGED = Loss(LossKind.CHANGED, "its definition changed on the base branch since it was measured")
_GONE = (NotFoundError, TooLargeError)
#: A trial is ended at its time-out, and seen to be a moment later.
_LATE = 1.1
UNKNOWN_MACHINE = Machine("not known", 0, 0, "not known", "not known")


@dataclass(frozen=True)
class Parcel:
    """One shard's artifact as it came. `open` reads it; it raises an AilabError for what is
    no archive of ours.
    """

    attempt: int
    index: int
    open: Callable[[], Mapping[str, bytes]]


@dataclass
class _Kept:
    trials: list[Trial] = field(default_factory=list)
    machines: dict[Machine, None] = field(default_factory=dict)
    results: list[ShardResult] = field(default_factory=list)
    lost: dict[str, Loss] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    refused: Loss | None = None


def ingest(parcels: Sequence[Parcel], change: ChangePlan) -> tuple[Findings, dict[str, Loss]]:
    """What can be used of the parcels, and of every expected scenario without it: why not.

    Later attempts are read first, and no more than is needed to have every scenario.
    """
    kept = _Kept()
    expected = {scenario.id: scenario for scenario in change.expected}
    for parcel in sorted(parcels, key=lambda parcel: (-parcel.attempt, parcel.index)):
        if kept.whole.issuperset(expected):
            break
        where = f"shard {parcel.index} of attempt {parcel.attempt}"
        try:
            result, trials = _read(parcel, change, where)
        except (AilabError, BadJsonError) as error:
            if isinstance(error, GitHubError) and not isinstance(error, _GONE):
                raise  # GitHub does not answer now, which says nothing about the shard
            why = getattr(error, "why", "") or str(error)
            kept.notes[f"{where} is not used: {why}"] = None
            died = isinstance(error, (ArtifactError, GitHubError))
            kind = LossKind.UNREADABLE if died else LossKind.REFUSED
            kept.refused = kept.refused or Loss(kind, why)
            continue
        _take(kept, result, trials, expected, change)
    for name in expected:
        if name not in kept.whole:
            kept.lost.setdefault(name, kept.refused or NO_RESULT)
    lost = {name: kept.lost[name] for name in expected if name in kept.lost}
    failing = [name for name, loss in lost.items() if loss.kind is LossKind.SETUP_HEAD]
    findings = Findings(
        trials=kept.trials,
        machines=tuple(kept.machines) or (UNKNOWN_MACHINE,),
        explanations=_explanations(kept),
        notes=tuple(kept.notes),
        lost=lost,
        spent_s=sum(result.spent_s for result in kept.results),
        failures=tuple(_setup_failure(name, lost[name].reason) for name in failing),
    )
    return findings, lost


def _setup_failure(scenario: str, reason: str) -> FailureSummary:
    """Head cannot even be set up where base can: a failure of head's, without a trial."""
    return FailureSummary(scenario, "head", Outcome.CRASH, 0, 0, reason, in_setup=True)


def _explanations(kept: _Kept) -> tuple[Explanation, ...]:
    """The imports that the shards traced, of the scenarios that are used, each once."""
    found = {
        item.scenario: item
        for result in reversed(kept.results)
        for item in result.explanations
        if item.scenario in kept.whole and item.scenario in result.definitions
    }
    return tuple(found.values())


def _read(parcel: Parcel, change: ChangePlan, where: str) -> tuple[ShardResult, list[Trial]]:
    members = parcel.open()
    result = result_from_json(members[RESULT])
    target = change.target
    if (result.base, result.head) != (target.base, target.head):
        raise UserError(where, why="it measured other commits than this pull request's")
    if result.seed != change.plan.seed:
        raise UserError(where, why="it drew its order from another seed than the plan's")
    try:
        lines = (line.decode("utf-8") for line in io.BytesIO(members[TRIALS]))
        return result, parse_trials(lines, where)
    except UnicodeDecodeError:
        raise UserError(where, why=f"{TRIALS} is not UTF-8") from None


def _take(
    kept: _Kept,
    result: ShardResult,
    trials: Iterable[Trial],
    expected: Mapping[str, Scenario],
    change: ChangePlan,
) -> None:
    own: dict[str, list[Trial]] = {}
    for trial in trials:
        own.setdefault(trial.scenario, []).append(trial)
    for name, scenario in expected.items():
        if name in kept.whole or name not in result.definitions:
            continue  # a later attempt has it, or this shard had nothing to do with it
        if result.definitions[name] != fingerprint(scenario):
            kept.lost.setdefault(name, CHANGED)
            continue
        doubt = _doubt(scenario, own.get(name, []), change) if name not in result.lost else ""
        loss = result.lost.get(name) or (Loss(LossKind.REFUSED, doubt) if doubt else None)
        if loss is not None:
            kept.lost.setdefault(name, loss)
            continue
        kept.trials += own[name]
        kept.whole.add(name)
        kept.lost.pop(name, None)
        kept.machines[result.machine] = None
    strangers = sorted(set(own) - set(expected))
    if strangers:
        kept.notes[f"Trials of {len(strangers)} scenarios that the plan lacks are not used."] = None
    kept.results.append(result)
    kept.notes |= dict.fromkeys(result.notes)


def _doubt(scenario: Scenario, trials: Sequence[Trial], change: ChangePlan) -> str:
    """Why the scenario's trials cannot be used; empty where they can."""
    if not trials:
        return "its runner recorded no trial"
    for trial in trials:
        ttfb_s = trial.metrics.get("ttfb_s")
        if ttfb_s is None:
            continue
        if ttfb_s <= SHORTEST_TTFB_S:
            return f"a trial of {ttfb_s:.4g} s is no measurement"
        if ttfb_s > scenario.timeout_s * _LATE:
            return "a trial took longer than its time-out allows"
        phases_s = sum(trial.phases.values())
        if trial.phases and abs(phases_s - ttfb_s) > max(_PHASE_GAP * ttfb_s, _PHASE_GAP_S):
            return "a trial's phases do not sum to its time to first batch"
    return _disorder(scenario.id, trials, change.plan.seed)


def _disorder(scenario: str, trials: Sequence[Trial], seed: int) -> str:
    """Whether blocks are those that the seed gives: complete, counted from 0, in drawn order."""
    blocks: dict[int, list[Trial]] = {}
    for trial in trials:
        blocks.setdefault(trial.block, []).append(trial)
    if sorted(blocks) != list(range(len(blocks))):
        return "some of its blocks are missing"
    for block, own in blocks.items():
        if len(own) != len(Arm):
            if block != max(blocks):
                return "a block lacks an arm"
            continue
        if any(trial.outcome is not Outcome.OK for trial in own):
            continue  # a warm-up that failed is recorded in its own order, and no speed
        ordered = tuple(trial.arm for trial in sorted(own, key=lambda trial: trial.order))
        if ordered != arms_of_block(seed, scenario, block):
            return "its arms did not run in the order that was drawn"
    return ""
