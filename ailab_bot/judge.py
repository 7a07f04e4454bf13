"""Trials -> verdicts -> conclusion: the only place that decides.

One function takes trials and returns verdicts. The live measurement calls it after every block,
`ailab judge` calls it on a file, and both get the same answer, as it consumes blocks in order and
stops where it knows. A failed trial is never a speed: its block is left out whole, and shown.

The three steps, each visible in a verdict: a *screen* finds a significant effect (the interval
clears the margin) above the threshold; a *confirmation* on fresh blocks, which the screen never
saw, must find it again; the *threshold* is the smallest effect called relevant.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Block, Outcome, Trial
from ailab_bot.model.verdict import (
    Conclusion,
    FailureSummary,
    Interval,
    Stopped,
    Verdict,
    VerdictKind,
)
from ailab_bot.stats import compare


@dataclass(frozen=True)
class _Stages:
    """How many blocks each stage used, and what it found (None: not enough to know)."""

    screen: compare.Stage
    confirmation: compare.Stage | None

    @property
    def blocks(self) -> int:
        return self.screen.blocks + (self.confirmation.blocks if self.confirmation else 0)


def judge(
    trials: Iterable[Trial], policy: Policy, metrics: Sequence[str] | None = None
) -> tuple[Verdict, ...]:
    """A verdict per scenario and metric, scenarios and metrics in order of first appearance.

    `metrics`: the metrics to judge; None judges all that the trials hold. The gating metrics
    decide how many blocks a scenario uses; the others are judged on those. A scenario without a
    complete block has no verdict. The same trials give the same verdicts, bit for bit.
    """
    verdicts: list[Verdict] = []
    for scenario, own in _by_scenario(trials).items():
        blocks = pair_blocks(own)
        names = list(metrics) if metrics is not None else _metrics_in(blocks)
        gating = [name for name in names if name in policy.gate]
        decided = {name: _judge_metric(scenario, name, blocks, policy) for name in gating}
        used = max((v.blocks_used for v in decided.values() if v), default=len(blocks))
        for name in names:
            if name in decided:
                verdict = decided[name]
            else:
                verdict = _judge_metric(scenario, name, blocks[:used], policy)
            if verdict is not None:
                verdicts.append(verdict)
    return tuple(verdicts)


def pair_blocks(trials: Iterable[Trial]) -> list[Block]:
    """The complete blocks of one scenario, in order of their first trial."""
    arms: dict[int, dict[Arm, Trial]] = {}
    for trial in trials:
        arms.setdefault(trial.block, {})[trial.arm] = trial
    pairs = [
        Block(index, pair[Arm.BASE], pair[Arm.HEAD])
        for index, pair in arms.items()
        if len(pair) == len(Arm)
    ]
    return [block for block in pairs if block.complete]


def summarise_failures(trials: Iterable[Trial]) -> tuple[FailureSummary, ...]:
    """One summary per scenario that has failed trials, with its latest failure as the example."""
    summaries = []
    for scenario, own in _by_scenario(trials).items():
        failed = [trial for trial in own if trial.outcome is not Outcome.OK]
        if not failed:
            continue
        arms = {trial.arm for trial in failed}
        last = next((t for t in reversed(failed) if t.arm is Arm.HEAD), failed[-1])
        failure = last.failure
        summaries.append(
            FailureSummary(
                scenario,
                arms="both" if len(arms) > 1 else next(iter(arms)).value,
                outcome=last.outcome,
                failed=len(failed),
                trials=sum(trial.arm in arms for trial in own),
                reason=failure.reason if failure else last.outcome.value.replace("_", " "),
                advice=failure.advice if failure else "",
                output_tail=failure.output_tail if failure else (),
                other_ok=sum(t.arm not in arms and t.outcome is Outcome.OK for t in own),
            )
        )
    return tuple(summaries)


def conclude(
    verdicts: Iterable[Verdict],
    failures: Iterable[FailureSummary],
    expected: Sequence[str],
    interrupted: bool,
) -> Conclusion:
    """What the required status says about a change.

    FAILURE: a confirmed regression of a gating metric, or a head that never worked where base
    did. ERROR: a scenario in `expected` has no verdict, or the run was interrupted (by the user,
    or by an error in a scenario).
    SUCCESS otherwise; also when capacity ran out before the judge knew, which is shown.
    """
    seen = list(verdicts)
    blocked = any(v.gates and v.confirmed and v.kind is VerdictKind.REGRESSION for v in seen)
    if blocked or any(failure.blocks_the_change for failure in failures):
        return Conclusion.FAILURE
    judged = {verdict.scenario for verdict in seen}
    if interrupted or any(scenario not in judged for scenario in expected):
        return Conclusion.ERROR
    return Conclusion.SUCCESS


def _by_scenario(trials: Iterable[Trial]) -> Mapping[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.scenario, []).append(trial)
    return groups


def _metrics_in(blocks: Sequence[Block]) -> list[str]:
    names: dict[str, None] = {}
    for block in blocks:
        names.update(dict.fromkeys(block.base.metrics))
    return list(names)


def _judge_metric(
    scenario: str, metric: str, blocks: Sequence[Block], policy: Policy
) -> Verdict | None:
    pairs = [(b.base.metrics.get(metric, 0.0), b.head.metrics.get(metric, 0.0)) for b in blocks]
    pairs = [(base, head) for base, head in pairs if base > 0 and head > 0]
    if not pairs:
        return None
    ratios = compare.log_ratios(*zip(*pairs, strict=True))
    stages = _run_stages(ratios, policy)
    kind, confirmed, reason = _read(stages, policy)
    # After a screen that announced something, only the blocks it never saw speak about the size:
    # the screen stopped because its blocks looked large (winner's curse).
    fresh = stages.confirmation is not None and stages.confirmation.blocks > 0
    shown = ratios[stages.screen.blocks if fresh else 0 : stages.blocks]
    description = compare.describe(shown)
    low, high = compare.interval(shown, policy.clean_error, policy.scale)
    used = pairs[: stages.blocks]
    bounded = low > -1 and math.isfinite(high)
    return Verdict(
        scenario,
        metric,
        kind,
        confirmed=confirmed,
        effect=_rounded(description.effect),
        interval=Interval(_rounded(low), _rounded(high)) if bounded else None,
        level=round(policy.level, 6),
        threshold=policy.threshold,
        blocks_used=stages.blocks,
        blocks_available=len(pairs),
        stopped=Stopped.DECIDED if _knows(stages) else Stopped.CAPACITY,
        reason=reason,
        confirmation_blocks=stages.confirmation.blocks if stages.confirmation else 0,
        base_median=statistics.median(base for base, _ in used),
        head_median=statistics.median(head for _, head in used),
        noise=_rounded(description.noise),
        p_value=None if math.isnan(description.p_value) else _rounded(description.p_value),
        gates=metric in policy.gate,
    )


def _rounded(value: float) -> float:
    """Without the last digits, in which processors differ: any job must get the same verdict."""
    return round(value, 9)


def _run_stages(ratios: compare.Array, policy: Policy) -> _Stages:
    ratios = ratios[: policy.max_blocks]
    screen = _stage(ratios, policy)
    if screen.found not in {compare.Direction.UP, compare.Direction.DOWN}:
        return _Stages(screen, None)
    fresh = ratios[screen.blocks :]
    return _Stages(screen, _stage(fresh, policy) if len(fresh) else compare.Stage(None, 0))


def _stage(ratios: compare.Array, policy: Policy) -> compare.Stage:
    return compare.run_stage(
        ratios,
        margin=min(policy.margin, policy.threshold),
        threshold=policy.threshold,
        stage_error=policy.stage_error,
        clean_error=policy.clean_error,
        scale=policy.scale,
    )


def _knows(stages: _Stages) -> bool:
    last = stages.confirmation or stages.screen
    return last.found is not None


def _read(stages: _Stages, policy: Policy) -> tuple[VerdictKind, bool, str]:
    """Verdict, whether it is confirmed, and the sentence that says why."""
    screen, confirmation = stages.screen, stages.confirmation
    limit = f"±{policy.threshold * 100:.3g} %"
    if confirmation is None:
        if screen.found is compare.Direction.CLEAN:
            reason = f"after {screen.blocks} blocks the interval lies inside the threshold {limit}"
            return VerdictKind.NO_CHANGE, False, reason
        reason = (
            f"{screen.blocks} blocks show neither a significant effect above the threshold {limit} "
            "nor that there is none"
        )
        return VerdictKind.INCONCLUSIVE, False, reason
    way = "slower" if screen.found is compare.Direction.UP else "faster"
    seen = f"{screen.blocks} blocks found head {way} by more than the threshold {limit}"
    fresh = f"{confirmation.blocks} fresh blocks"
    if confirmation.found is screen.found:
        kind = VerdictKind.REGRESSION if way == "slower" else VerdictKind.IMPROVEMENT
        return kind, True, f"{seen}, and {fresh} confirmed it"
    if confirmation.found is compare.Direction.CLEAN:
        return VerdictKind.NO_CHANGE, False, f"{seen}, but {fresh} show no relevant effect"
    if confirmation.found is not None:
        return VerdictKind.INCONCLUSIVE, False, f"{seen}, but {fresh} found the opposite"
    return VerdictKind.INCONCLUSIVE, False, f"{seen}; {fresh} were not enough to confirm it"
