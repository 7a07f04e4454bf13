"""`ailab judge`: verdicts from recorded trials alone. No git, no repository, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.judge import conclude, judge, summarise_failures
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.verdict import Conclusion, FailureSummary, Verdict
from ailab_bot.model.wire import LONGEST_LINE, parse_trials


@dataclass(frozen=True)
class Judged:
    """What a file says. `unjudged`: a sentence for each scenario without a gating verdict."""

    verdicts: tuple[Verdict, ...]
    failures: tuple[FailureSummary, ...]
    conclusion: Conclusion
    unjudged: tuple[str, ...]


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
    verdicts = judge(trials, policy)
    failures = summarise_failures(trials)
    expected = {trial.scenario: policy.gate for trial in trials}
    return Judged(
        verdicts,
        failures,
        conclude(verdicts, failures, expected, interrupted=False),
        _unjudged(trials, verdicts, policy.gate),
    )


def _unjudged(
    trials: Iterable[Trial], verdicts: Iterable[Verdict], gate: Sequence[str]
) -> tuple[str, ...]:
    judged = {verdict.scenario for verdict in verdicts if verdict.metric in gate}
    counts: dict[str, dict[Arm, int]] = {}
    for trial in trials:
        if trial.scenario not in judged:
            own = counts.setdefault(trial.scenario, dict.fromkeys(Arm, 0))
            good = trial.outcome is Outcome.OK and any(trial.metrics.get(m, 0) > 0 for m in gate)
            own[trial.arm] += good
    names = " or ".join(gate)
    return tuple(
        f"{scenario}: no verdict, as no block holds a trial of both arms with {names} "
        f"({own[Arm.BASE]} of base, {own[Arm.HEAD]} of head)"
        for scenario, own in counts.items()
    )
