"""`ailab judge`: verdicts from recorded trials alone. No git, no repository, no network."""

from __future__ import annotations

from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.judge import conclude, judge, summarise_failures
from ailab_bot.model.policy import Policy
from ailab_bot.model.verdict import Conclusion, FailureSummary, Verdict
from ailab_bot.model.wire import LONGEST_LINE, parse_trials

Judged = tuple[tuple[Verdict, ...], tuple[FailureSummary, ...], Conclusion]


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
    return verdicts, failures, conclude(verdicts, failures, expected, interrupted=False)
