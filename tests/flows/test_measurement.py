"""When a scenario is given up: programs that fail in chosen executions of each arm."""

from __future__ import annotations

import sys
import zipfile
from itertools import product
from pathlib import Path

import pytest
from repositories import new_repository
from rich.console import Console

from ailab_bot.flows.ingest import MEMBERS
from ailab_bot.flows.measurement import (
    FAILURES_KEPT_BYTES,
    Bench,
    TrialLog,
    measure_scenario,
)
from ailab_bot.gh.artifacts import MOST_RATIO, read_zip
from ailab_bot.measure.environment import interpreter
from ailab_bot.measure.execute import LONGEST_TAIL_LINE, PROBE_FOLDER, TAIL_LINES
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import Workplace
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode, Scenario
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.wire import parse_trials
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


def failures(scenarios: int, blocks: int, tail: tuple[str, ...]) -> list[Trial]:
    """Of every scenario both arms fail in every block, and say the same each time."""
    failure = Failure("exited with status 1 before the first batch", "", tail)
    return [
        Trial(f"scenario-{name}", block, order, arm, Outcome.CRASH, failure=failure)
        for name, block in product(range(scenarios), range(blocks))
        for order, arm in enumerate(Arm)
    ]


@pytest.mark.parametrize("line", ["0.0000e+00, " * 50, "█" * 600, "\x01" * 600])
def test_what_an_honest_shard_leaves_is_read_however_often_its_programs_repeat_themselves(
    line: str, tmp_path: Path
) -> None:
    """Beyond some megabytes of failures their outputs would be all that there is in the file."""
    log = TrialLog(tmp_path / "trials.jsonl")
    trials = failures(40, 20, (line[:LONGEST_TAIL_LINE],) * TAIL_LINES)
    for trial in trials:
        log.append(trial)
    data = log.path.read_bytes()
    assert FAILURES_KEPT_BYTES < len(data) < 2 * FAILURES_KEPT_BYTES
    packed = tmp_path / "shard.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(log.path, "trials.jsonl")
        archive.writestr("shard.json", "{}")
    assert len(data) > MOST_RATIO * packed.stat().st_size, "it repeats itself less than it is to"
    assert read_zip(packed.read_bytes(), MEMBERS)["trials.jsonl"] == data
    found = parse_trials(data.decode().split("\n"), "it")
    assert found == log.trials
    assert [t.outcome for t in found] == [t.outcome for t in trials]
    assert found[0] == trials[0]
    assert found[-1].failure == Failure("exited with status 1 before the first batch")
