"""Trials -> verdicts -> conclusion: the only place that decides.

One function takes trials and returns verdicts. The live measurement calls it after every block,
`ailab judge` calls it on a file, and both get the same answer, as it consumes blocks in order and
stops where it knows. A failed trial is never a speed: its block is left out whole, and shown.

The three steps, each visible in a verdict: a *screen* finds a significant effect; a *confirmation*
on fresh blocks, which the screen never saw, must find it again; the *threshold* is the effect that
has to be found, and NO_CHANGE says that there is none of that size. Where the trials say that both
arms did the same by their counts, NO_CHANGE asks for less, and the other two for what they always
do. A forged "equal" therefore announces nothing and hides nothing that clears the screen.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ailab_bot.model.policy import EQUAL_BLOCKS, ERROR_IN_CHANGE, Policy
from ailab_bot.model.trial import Arm, Block, Outcome, Trial
from ailab_bot.model.verdict import (
    Conclusion,
    FailureSummary,
    Interval,
    Pattern,
    Stopped,
    Verdict,
    VerdictKind,
)
from ailab_bot.stats import compare
from ailab_bot.stats.covariates import without_covariates
from ailab_bot.stats.evidence import TAIL_GAP
from ailab_bot.stats.sequential import (
    Decision,
    Direction,
    Rule,
    Sample,
    Shape,
    decide,
    log_odds_of_sides,
    sample_of,
)

#: Blocks that say how long a scenario takes. Nothing is decided in fewer than four, as capital at
#: most doubles with each, so a live measurement never decides by another grain than the file's.
_GRAIN_BLOCKS = 3
#: Evidence is shown up to this: beyond it, more says nothing.
_MOST_EVIDENCE = 1e12
#: What a signature speaks of: it is counted up to the first batch. Where a scenario is judged on
#: anything else, too, equal counts shorten nothing.
_COUNTED = frozenset({"ttfb_s", "cpu_s", "peak_rss_bytes"})


@dataclass(frozen=True)
class _Case:
    """One scenario's metric over the blocks in which both arms have it."""

    scenario: str
    metric: str
    base: tuple[float, ...]
    head: tuple[float, ...]
    machines: tuple[str, ...]
    #: Where each lies among the scenario's complete blocks.
    places: tuple[int, ...]
    #: Both arms' values without what covariates explain; None: as they are.
    adjusted: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    #: How many blocks, from the first on, say that both arms did the same by their counts.
    equal: int = 0

    def within(self, blocks: int) -> int:
        """How many of the scenario's first complete blocks have this metric."""
        return sum(place < blocks for place in self.places)

    def sample(self, blocks: int) -> Sample:
        base, head = self.adjusted or (self.base, self.head)
        return sample_of(base[:blocks], head[:blocks], self.machines[:blocks])


def judge(
    trials: Iterable[Trial],
    policy: Policy,
    metrics: Mapping[str, Sequence[str]] | None = None,
    family: int = 0,
) -> tuple[Verdict, ...]:
    """A verdict per scenario and metric, scenarios and metrics in order of first appearance.

    `metrics`: of each scenario those to judge; without an entry all that its trials hold. The
    gating ones decide how many blocks a scenario uses; the others are judged on those. `family`:
    how many verdicts the whole change has, at least those of these trials. A scenario without a
    complete block has no verdict. The same trials give the same verdicts, bit for bit.
    """
    cases: dict[str, list[_Case]] = {}
    for scenario, own in _by_scenario(trials).items():
        blocks = pair_blocks(own)
        names = (metrics or {}).get(scenario) or _metrics_in(blocks)
        counted = _COUNTED.issuperset(names)
        found = [_case(scenario, name, blocks, policy, counted) for name in names]
        cases[scenario] = [case for case in found if case is not None]
    many = max(family, sum(len(own) for own in cases.values()))
    deciding = [case for own in cases.values() for case in own if case.metric in policy.gate]
    decisions = _decide_all(deciding, policy, [policy.max_blocks] * len(deciding), many)
    used: dict[str, int] = {}
    for case in deciding:
        last = case.places[decisions[case.scenario, case.metric].blocks - 1]
        used[case.scenario] = max(used.get(case.scenario, 0), last + 1)
    most = {
        (case.scenario, case.metric): case.within(used.get(scenario, policy.max_blocks))
        for scenario, own in cases.items()
        for case in own
        if case.metric not in policy.gate
    }
    others = [
        case for own in cases.values() for case in own if most.get((case.scenario, case.metric))
    ]
    decisions |= _decide_all(
        others, policy, [most[case.scenario, case.metric] for case in others], many
    )
    return tuple(
        _verdict(
            case,
            decisions[scenario, case.metric],
            policy,
            most.get((scenario, case.metric), len(case.base)),
        )
        for scenario, own in cases.items()
        for case in own
        if (scenario, case.metric) in decisions
    )


def _case(
    scenario: str, metric: str, blocks: Sequence[Block], policy: Policy, counted: bool
) -> _Case | None:
    places = tuple(
        place
        for place, b in enumerate(blocks)
        if b.base.metrics.get(metric, 0.0) > 0 and b.head.metrics.get(metric, 0.0) > 0
    )
    if not places:
        return None
    valued = [blocks[place] for place in places]
    return _Case(
        scenario,
        metric,
        base=tuple(b.base.metrics[metric] for b in valued),
        head=tuple(b.head.metrics[metric] for b in valued),
        machines=tuple(b.base.machine for b in valued),
        places=places,
        adjusted=without_covariates(valued, policy.covariates) if metric == "ttfb_s" else None,
        equal=len(list(takewhile(lambda block: block.equal, valued))) if counted else 0,
    )


def _decide_all(
    cases: Sequence[_Case], policy: Policy, most: Sequence[int], family: int
) -> dict[tuple[str, str], Decision]:
    """Decisions that hold for the whole change: e-BH (Wang, Ramdas: False discovery rate control
    with e-values, JRSS B 2022) at ERROR_IN_CHANGE over `family` verdicts.

    With k announcements each needs evidence of family / (k x ERROR_IN_CHANGE). One that has less
    goes on with its next blocks, as the live measurement does.
    """
    samples = [case.sample(blocks) for case, blocks in zip(cases, most, strict=True)]
    rules = [_rule(case, policy) for case in cases]
    decisions = decide(samples, rules)
    announced = [i for i, decision in enumerate(decisions) if decision.announced]
    asked = policy.error
    while announced:
        needed = ERROR_IN_CHANGE * len(announced) / family
        if needed >= asked:
            break
        asked = needed
        stricter = [replace(rules[i], error=min(policy.error, asked)) for i in announced]
        for i, decision in zip(
            announced, decide([samples[i] for i in announced], stricter), strict=True
        ):
            decisions[i] = decision
        announced = [i for i in announced if decisions[i].announced]
    return {(c.scenario, c.metric): d for c, d in zip(cases, decisions, strict=True)}


def _rule(case: _Case, policy: Policy) -> Rule:
    limits = policy.limits(case.scenario, case.metric)
    margin, threshold = limits.margin, limits.threshold
    if case.metric.endswith("_s"):
        # What is below the clock's and the scheduler's grain is no effect, however short the
        # scenario. The larger value of a block does not say which arm it belongs to; the smaller
        # one would let a trial that ended at once widen the threshold to anything, and a single
        # block would let one slow trial take the margin away.
        first = zip(case.base[:_GRAIN_BLOCKS], case.head[:_GRAIN_BLOCKS], strict=True)
        grain = policy.margin_s / statistics.median(max(pair) for pair in first)
        margin, threshold = max(margin, grain), max(threshold, grain)
    return Rule(
        threshold=min(threshold, 0.9),
        margin=min(margin, 0.9),
        error=policy.error,
        stage_error=policy.stage_error,
        interval_error=policy.interval_error,
        scale=limits.scale,
        equal_blocks=case.equal,
        equal_odds=policy.equal_odds,
        equal_least=EQUAL_BLOCKS,
    )


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
                evidence=_failure_evidence(own),
            )
        )
    return tuple(summaries)


def _failure_evidence(trials: Iterable[Trial]) -> float:
    """E-value of "head fails more often": the blocks in which one arm failed, by which arm."""
    failed: dict[int, dict[Arm, bool]] = {}
    for trial in trials:
        failed.setdefault(trial.block, {})[trial.arm] = trial.outcome is not Outcome.OK
    whole = [block for block in failed.values() if len(block) == len(Arm)]
    sides = [1 if b[Arm.HEAD] else -1 for b in whole if b[Arm.HEAD] != b[Arm.BASE]]
    return _shown_evidence(log_odds_of_sides(sides))


def conclude(
    verdicts: Iterable[Verdict],
    failures: Iterable[FailureSummary],
    expected: Mapping[str, Collection[str]],
    gate: Collection[str],
    interrupted: bool,
) -> Conclusion:
    """What the required status says about a change.

    FAILURE: a confirmed regression of a gating metric, or a head that never worked where base
    did. ERROR: of a scenario in `expected` a metric in `gate` has no verdict (where it expects
    none of those: none of its metrics has), or the run was interrupted (by the user, or by an
    error in a scenario).
    SUCCESS otherwise; also when capacity ran out before the judge knew, which is shown.
    """
    seen = list(verdicts)
    blocked = any(v.gates and v.confirmed and v.kind is VerdictKind.REGRESSION for v in seen)
    if blocked or any(failure.blocks_the_change for failure in failures):
        return Conclusion.FAILURE
    judged = {(verdict.scenario, verdict.metric) for verdict in seen}
    missing = any(
        _lacks(metrics, [metric for metric in metrics if (scenario, metric) in judged], gate)
        for scenario, metrics in expected.items()
    )
    if interrupted or missing:
        return Conclusion.ERROR
    return Conclusion.SUCCESS


def gating_of(metrics: Collection[str], gate: Collection[str]) -> list[str]:
    """Those of a scenario's metrics that gate."""
    return [metric for metric in metrics if metric in gate]


def _lacks(expected: Collection[str], judged: Collection[str], gate: Collection[str]) -> bool:
    needed = gating_of(expected, gate)
    return not set(needed) <= set(judged) if needed else not judged


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


def _verdict(case: _Case, decision: Decision, policy: Policy, available: int) -> Verdict:
    rule = _rule(case, policy)
    used = case.sample(decision.blocks)
    fresh = decision.fresh_blocks if decision.announced else 0
    shown = used.log_ratios[decision.blocks - fresh :] if fresh else used.log_ratios
    description = compare.describe(shown)
    in_some = decision.announced and decision.shape is Shape.TAIL
    kind = _kind(decision)
    slow_base, slow_head = _slow(used, rule.scale)
    pattern = Pattern.SLOW_IN_SOME if in_some or decision.tail_doubt else Pattern.NONE
    # A head that is slow in some trials moves the mean, not the middle, of which the interval is.
    effect = math.expm1(description.mean) if in_some else decision.effect
    bounded = decision.low > -1 and math.isfinite(decision.high) and not in_some
    return Verdict(
        case.scenario,
        case.metric,
        kind,
        confirmed=decision.announced,
        effect=_rounded(effect),
        interval=Interval(_rounded(decision.low), _rounded(decision.high)) if bounded else None,
        level=round(policy.level, 6),
        threshold=_rounded(rule.threshold),
        blocks_used=decision.blocks,
        blocks_available=available,
        stopped=Stopped.CAPACITY if decision.found is None else Stopped.DECIDED,
        reason=_reason(decision, rule, slow_base, slow_head, _ways(case.metric)),
        confirmation_blocks=fresh,
        base_median=statistics.median(case.base[: decision.blocks]),
        head_median=statistics.median(case.head[: decision.blocks]),
        noise=_rounded(description.noise),
        p_value=None if math.isnan(description.p_value) else _rounded(description.p_value),
        gates=policy.gates(case.scenario, case.metric),
        margin=_rounded(rule.margin),
        evidence=_shown_evidence(decision.log_evidence),
        pattern=pattern,
    )


def _rounded(value: float) -> float:
    """Without the last digits, in which processors differ: any job must get the same verdict."""
    return round(value, 6)


def _shown_evidence(log_evidence: float) -> float:
    return float(f"{math.exp(min(log_evidence, math.log(_MOST_EVIDENCE))):.3g}")


def _kind(decision: Decision) -> VerdictKind:
    return {
        Direction.UP: VerdictKind.REGRESSION,
        Direction.DOWN: VerdictKind.IMPROVEMENT,
        Direction.CLEAN: VerdictKind.NO_CHANGE,
        None: VerdictKind.INCONCLUSIVE,
    }[decision.found]


def _slow(sample: Sample, scale: float) -> tuple[int, int]:
    """In how many blocks base, and head, was far slower than the other arm."""
    far = TAIL_GAP * scale
    ratios = sample.log_ratios
    return int((ratios < -far).sum()), int((ratios > far).sum())


def _ways(metric: str) -> tuple[str, str]:
    """What head is where a metric is above, and below, base's."""
    return ("slower", "faster") if metric.endswith("_s") else ("higher", "lower")


def _reason(
    decision: Decision, rule: Rule, slow_base: int, slow_head: int, ways: tuple[str, str]
) -> str:
    """The sentence that says why: what the screen saw, what fresh blocks said to it."""
    above, below = ways
    limit = f"±{rule.threshold * 100:.3g} %"
    blocks = _counted(decision.blocks, "block")
    screen = _counted(decision.screen_blocks, "block")
    fresh = _counted(decision.fresh_blocks, "fresh block")
    some = (
        f"head was far {above} than base in {slow_head} of {blocks} and far {below} in {slow_base}"
    )
    if decision.announced:
        way = above if decision.found is Direction.UP else below
        if decision.shape is Shape.TAIL:
            up = decision.found is Direction.UP
            what = "slow in some trials only" if up else "fewer slow trials"
            return f"{what}: {some}; {fresh} confirmed it"
        return (
            f"{screen} found head {way}, {fresh} confirmed it, and together "
            f"they rule out that it is within the margin of {rule.margin * 100:.3g} %"
        )
    seen = ""
    if decision.screen is not None and decision.fresh_blocks:
        way = above if decision.screen is Direction.UP else below
        seen = f"{screen} found head {way}"
    if decision.by_counts:
        asked = max(1 / (rule.interval_error * rule.equal_odds), 1.0)
        return (
            f"the same modules, calls and files in both arms; with that, {blocks} that outweigh an "
            f"effect beyond the threshold {limit} by {asked:.2g} to 1 are enough, "
            f"without it {1 / rule.interval_error:.2g} to 1 would be asked for"
        )
    if decision.found is Direction.CLEAN:
        inside = f"the interval lies inside the threshold {limit}"
        if seen:
            return f"{seen}, but with {fresh} {inside}"
        return f"after {blocks} {inside}"
    if decision.tail_doubt:
        return f"{some}: too often to call it no change, too seldom to call it an effect"
    if seen and decision.fresh_agree:
        asked = -math.log(rule.error)
        if decision.log_evidence < asked:
            held = (
                f"is {math.exp(decision.log_evidence):.3g} to 1 and has to be {1 / rule.error:.3g}"
            )
            return f"{seen} and {fresh} agree, but the evidence of all {held}"
        margin = f"{rule.margin * 100:.3g} %"
        return f"{seen} and {fresh} agree, but not clearly enough beyond the margin of {margin}"
    if seen:
        verb = "was" if decision.fresh_blocks == 1 else "were"
        return f"{seen}, but {fresh} {verb} not enough to confirm it"
    if -rule.threshold < decision.low and decision.high < rule.threshold:
        return (
            f"the interval lies inside the threshold {limit}, but {blocks} scatter too much to "
            "rule out that some trials are slower"
        )
    verb = "shows" if decision.blocks == 1 else "show"
    return (
        f"{blocks} {verb} neither a significant effect nor that there is none of "
        f"{rule.threshold * 100:.3g} % or more"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
