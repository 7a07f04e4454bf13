"""`ailab judge`: verdicts from recorded trials alone. No git, no repository, no network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.judge import conclude, gating_of, judge, summarise_failures
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.model.verdict import Conclusion, FailureSummary, Verdict
from ailab_bot.model.wire import LONGEST_LINE, parse_trials

#: By chance the same arm runs first in so many blocks once in 512 files.
FEWEST_ORDERED = 10


@dataclass(frozen=True)
class Judged:
    """What a file says. `unjudged`: a sentence for each verdict that is expected and missing;
    `notes`: what a reader of the verdicts has to know.
    """

    verdicts: tuple[Verdict, ...]
    failures: tuple[FailureSummary, ...]
    conclusion: Conclusion
    unjudged: tuple[str, ...]
    notes: tuple[str, ...]


def judge_file(path: Path, policy: Policy) -> Judged:
    """Verdicts, failures and conclusion for every scenario in the file.

    Raises UserError for a file that cannot be read, holds no trial, or has a bad line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            # Never more of a line than a trial may have: a file of one line is not read whole.
            lines = iter(lambda: file.readline(LONGEST_LINE + 1), "")
            trials = parse_trials(lines, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {path}", why=str(error), advice="Name a file of trials (JSON Lines)."
        ) from error
    if not trials:
        raise UserError(
            f"{path} holds no trial",
            why="It is empty.",
            advice="Name the trials.jsonl that a measurement wrote.",
        )
    asked, seen = _asked_for(trials), _metrics_of(trials)
    family = max(trial.family for trial in trials)
    verdicts = judge(trials, policy, asked, family)
    failures = summarise_failures(trials)
    # Gating metrics that a scenario was asked for, or has shown; one that has neither lacks them.
    expected = {
        scenario: asked.get(scenario) or gating_of(seen[scenario], policy.gate) or policy.gate
        for scenario in seen
    }
    return Judged(
        verdicts,
        failures,
        conclude(verdicts, failures, expected, policy.gate, interrupted=False),
        _unjudged(trials, verdicts, expected, policy.gate),
        _order_note(trials, {verdict.scenario for verdict in verdicts}),
    )


def _order_note(trials: Iterable[Trial], judged: Collection[str]) -> tuple[str, ...]:
    """The evidence is exact as the order within blocks is random: say where it cannot have been."""
    first: dict[str, list[Arm]] = {}
    for trial in trials:
        if trial.order == 0 and trial.scenario in judged:
            first.setdefault(trial.scenario, []).append(trial.arm)
    fixed = [
        scenario
        for scenario, arms in first.items()
        if len(arms) >= FEWEST_ORDERED and len(set(arms)) == 1
    ]
    if not fixed:
        return ()
    others = f" and {len(fixed) - 1} more scenarios" if len(fixed) > 1 else ""
    note = (
        f"In every block of {fixed[0]}{others} the same arm ran first. Verdicts assume that the "
        "order was drawn at random in each block: otherwise what the second trial of a block "
        "gains or loses looks like an effect."
    )
    return (note,)


def _asked_for(trials: Iterable[Trial]) -> dict[str, tuple[str, ...]]:
    """The metrics that the measurement judged, of each scenario that says so."""
    asked: dict[str, dict[str, None]] = {}
    for trial in trials:
        if trial.judged:
            asked.setdefault(trial.scenario, {}).update(dict.fromkeys(trial.judged))
    return {scenario: tuple(names) for scenario, names in asked.items()}


def _metrics_of(trials: Iterable[Trial]) -> dict[str, dict[str, None]]:
    seen: dict[str, dict[str, None]] = {}
    for trial in trials:
        seen.setdefault(trial.scenario, {}).update(dict.fromkeys(trial.metrics))
    return seen


def _unjudged(
    trials: Iterable[Trial],
    verdicts: Iterable[Verdict],
    expected: Mapping[str, Collection[str]],
    gate: Collection[str],
) -> tuple[str, ...]:
    judged = {(verdict.scenario, verdict.metric) for verdict in verdicts}
    counts: dict[tuple[str, str], dict[Arm, int]] = {}
    for scenario, metrics in expected.items():
        for metric in gating_of(metrics, gate) or metrics:
            if (scenario, metric) not in judged:
                counts[scenario, metric] = dict.fromkeys(Arm, 0)
    for trial in trials:
        for metric in trial.metrics:
            if (trial.scenario, metric) in counts and trial.metrics[metric] > 0:
                counts[trial.scenario, metric][trial.arm] += 1
    return tuple(
        f"{scenario}: no verdict on {metric}, as no block holds it for both arms "
        f"({own[Arm.BASE]} trials of base, {own[Arm.HEAD]} of head)"
        for (scenario, metric), own in counts.items()
    )
