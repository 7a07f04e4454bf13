"""Trials and what surrounds them -> one report. The same for a local run and for GitHub.

Refuses to trust a verdict that was made elsewhere: it judges the trials again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ailab_bot.flows.explain import phase_shifts
from ailab_bot.judge import conclude, judge, pair_blocks, summarise_failures
from ailab_bot.model.policy import Policy
from ailab_bot.model.report import Commit, Machine, Plan, PullContext, Report
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import Trial
from ailab_bot.model.verdict import Explanation, FailureSummary
from ailab_bot.plan.shards import family_of


@dataclass(frozen=True)
class Findings:
    """What measuring gave. `lost`: scenarios that an error ended; `machines`: at least one;
    `failures`: of scenarios that had no trial at all.
    """

    trials: Sequence[Trial]
    machines: tuple[Machine, ...]
    explanations: Sequence[Explanation] = ()
    notes: Sequence[str] = ()
    lost: Collection[str] = ()
    spent_s: float = 0.0
    interrupted: bool = False
    failures: tuple[FailureSummary, ...] = ()


def assemble(
    base: Commit,
    head: Commit,
    plan: Plan,
    expected: Sequence[Scenario],
    policy: Policy,
    findings: Findings,
    reproduce: str,
    pull: PullContext | None = None,
) -> Report:
    """The report of `expected` scenarios; one without a verdict makes the conclusion an error."""
    metrics = {scenario.id: scenario.metrics for scenario in expected}
    verdicts = judge(findings.trials, policy, metrics, family_of(expected))
    failures = (*findings.failures, *summarise_failures(findings.trials))
    return Report(
        base=base,
        head=head,
        plan=plan,
        verdicts=verdicts,
        failures=failures,
        explanations=tuple(_with_phases(item, findings.trials) for item in findings.explanations),
        machine=findings.machines[0],
        conclusion=conclude(
            verdicts, failures, metrics, policy.gate, findings.interrupted or bool(findings.lost)
        ),
        runner_seconds=findings.spent_s,
        reproduce=reproduce,
        policy=policy,
        notes=tuple(findings.notes),
        interrupted=findings.interrupted,
        shadow_reason=policy.shadow_reason,
        pull=pull,
        machines=findings.machines,
        blocks=_effects(findings.trials),
        trial_seconds=_seconds(findings.trials),
    )


def _with_phases(item: Explanation, trials: Sequence[Trial]) -> Explanation:
    own = [trial for trial in trials if trial.scenario == item.scenario]
    return replace(item, phases=phase_shifts(own))


def _effects(trials: Sequence[Trial]) -> Mapping[str, tuple[float, ...]]:
    """Of each scenario head/base - 1 of TTFB, block by block."""
    own: dict[str, list[Trial]] = {}
    for trial in trials:
        own.setdefault(trial.scenario, []).append(trial)
    return {
        scenario: tuple(
            block.head.metrics["ttfb_s"] / block.base.metrics["ttfb_s"] - 1
            for block in pair_blocks(each)
            if "ttfb_s" in block.head.metrics and "ttfb_s" in block.base.metrics
        )
        for scenario, each in own.items()
    }


def _seconds(trials: Sequence[Trial]) -> Mapping[str, float]:
    """Of each scenario that reached a first batch at all, the sum of its trials' TTFB."""
    sums: dict[str, float] = {}
    for trial in trials:
        if "ttfb_s" in trial.metrics:
            sums[trial.scenario] = sums.get(trial.scenario, 0.0) + trial.metrics["ttfb_s"]
    return sums
