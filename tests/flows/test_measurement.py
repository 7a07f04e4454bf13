"""When a scenario is given up: programs that fail in chosen executions of each arm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from repositories import new_repository
from rich.console import Console

from ailab_bot.flows.measurement import Bench, TrialLog, measure_scenario
from ailab_bot.measure.environment import interpreter
from ailab_bot.measure.execute import PROBE_FOLDER
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import Workplace
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode, Scenario
from ailab_bot.model.trial import Arm, Outcome
from ailab_bot.report.progress import choose_progress

TRAIN = """
import sys
with open("executions", "a+") as file:
    file.write("x")
    if file.tell() - 1 in {failing}:
        sys.exit(1)
sys.audit("ailab.first_batch")
"""


@pytest.mark.parametrize(
    ("failing", "trials"),
    [
        ({1}, "failed, ok, ok"),  # execution 0 is the warm-up, and is recorded where it failed
        ({1, 2}, "failed, failed"),
        ({0, 1, 2}, "failed"),
    ],
    ids=["first block", "two blocks", "warm-up"],
)
def test_a_scenario_is_given_up_when_the_warm_up_failed_in_both_arms_or_two_trials_did(
    failing: set[int], trials: str, tmp_path: Path
) -> None:
    new_repository(tmp_path / "platform")
    place = Workplace(tmp_path, open_repository(tmp_path / "platform"))
    place.probe.symlink_to(PROBE_FOLDER)
    place.scratch.mkdir()
    for arm in Arm:
        place.checkout(arm).mkdir()
        (place.checkout(arm) / "train.py").write_text(TRAIN.format(failing=failing))
    api = FirstBatch(FirstBatchMode.API)
    scenario = Scenario("launch", ("python", "train.py"), tmp_path, first_batch=api, timeout_s=20)
    python = interpreter(sys.executable)
    arms = dict.fromkeys(Arm, python)
    bench = Bench(scenario, arms, place, seed=1, policy=Policy(max_blocks=3), family=1)
    log = TrialLog(tmp_path / "trials.jsonl")
    measure_scenario(bench, log, choose_progress(Console(), quiet=True))
    for arm in Arm:
        outcomes = [trial.outcome for trial in log.trials if trial.arm is arm]
        words = ["ok" if outcome is Outcome.OK else "failed" for outcome in outcomes]
        assert ", ".join(words) == trials
