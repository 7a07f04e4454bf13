"""The recorded warm-up: what it is noted as, and that it costs no change anything when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from repositories import commit, new_repository
from rich.console import Console

from ailab_bot.errors import RunnerError
from ailab_bot.flows.measurement import (
    LEAST_RECORDING_CAPACITY_S,
    RECORDING_SHARE,
    Bench,
    Recording,
    TrialLog,
    measure_scenario,
)
from ailab_bot.judge import judge
from ailab_bot.measure.environment import interpreter
from ailab_bot.measure.execute import PROBE_FOLDER
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import Workplace
from ailab_bot.model.footprint import Footprint, Signature
from ailab_bot.model.policy import EQUAL_BLOCKS, Policy
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode, Scenario
from ailab_bot.model.signature import Likeness
from ailab_bot.model.trial import Arm, Outcome
from ailab_bot.model.wire import parse_trials
from ailab_bot.report.progress import choose_progress

COUNTS = Signature(10, 1000, 2000, 12, 5000, 0, "abc")
BLOCKS = 3
TRAIN = """
import json
import os
import subprocess
import sys
with open("executions", "a") as file:
    file.write("x")
if {broken}:
    sys.exit(1)
sys.audit("ailab.first_batch")
"""


@dataclass
class Recorder:
    """Gives what the test wants of each arm, and remembers what it was asked for."""

    gives: dict[Arm, Footprint | RunnerError | None]
    asked: list[tuple[Arm, float]] = field(default_factory=list)

    def __call__(self, bench: Bench, arm: Arm) -> Footprint | None:
        self.asked.append((arm, bench.scenario.timeout_s))
        given = self.gives[arm]
        if isinstance(given, RunnerError):
            raise given
        return given


def footprint(signature: Signature | None = COUNTS) -> Footprint:
    return Footprint("launch", "0" * 40, "3.11.7", signature=signature)


@dataclass
class Measured:
    recording: Recording
    log: TrialLog
    bench: Bench
    executions: dict[Arm, int]

    @property
    def noted(self) -> set[Likeness | None]:
        return {trial.signature for trial in self.log.trials}


def measured(
    tmp_path: Path,
    recorder: Recorder | None,
    broken: bool = False,
    policy: Policy = Policy(max_blocks=BLOCKS),  # noqa: B008
    stop_after_s: float | None = None,
) -> Measured:
    new_repository(tmp_path / "platform")
    place = Workplace(tmp_path, open_repository(tmp_path / "platform"))
    place.probe.symlink_to(PROBE_FOLDER)
    place.scratch.mkdir()
    for arm in Arm:
        place.checkout(arm).mkdir()
        (place.checkout(arm) / "train.py").write_text(TRAIN.format(broken=broken))
    api = FirstBatch(FirstBatchMode.API)
    scenario = Scenario("launch", ("python", "train.py"), tmp_path, first_batch=api, timeout_s=20)
    arms = dict.fromkeys(Arm, interpreter(sys.executable))
    bench = Bench(scenario, arms, place, 1, policy, 1, stop_after_s=stop_after_s, recorder=recorder)
    log = TrialLog(tmp_path / "trials.jsonl")
    recording = measure_scenario(bench, log, choose_progress(Console(), quiet=True))
    executions = {arm: len((place.checkout(arm) / "executions").read_text()) for arm in Arm}
    return Measured(recording, log, bench, executions)


def test_equal_recordings_are_noted_with_every_trial_and_are_the_warm_up(tmp_path: Path) -> None:
    found = measured(tmp_path, Recorder(dict.fromkeys(Arm, footprint())))
    assert found.recording.likeness is Likeness.EQUAL
    assert found.noted == {Likeness.EQUAL}
    assert found.executions == dict.fromkeys(Arm, BLOCKS), "recorded, and executed once more"
    assert set(found.recording.footprints) == set(Arm)


def test_other_counts_are_noted_too(tmp_path: Path) -> None:
    head = footprint(replace(COUNTS, modules=24))
    found = measured(tmp_path, Recorder({Arm.BASE: footprint(), Arm.HEAD: head}))
    assert found.noted == {Likeness.DIFFERENT}


def test_counts_that_are_not_known_are_not_noted(tmp_path: Path) -> None:
    found = measured(tmp_path, Recorder({Arm.BASE: footprint(), Arm.HEAD: footprint(None)}))
    assert found.noted == {None}


@pytest.mark.parametrize("failing", [Arm.BASE, Arm.HEAD])
@pytest.mark.parametrize("how", [None, RunnerError("no space", why="", advice="")])
def test_a_program_that_only_the_recorder_breaks_is_warmed_and_measured_as_ever(
    failing: Arm, how: RunnerError | None, tmp_path: Path
) -> None:
    gives: dict[Arm, Footprint | RunnerError | None] = {arm: footprint() for arm in Arm}
    found = measured(tmp_path, Recorder({**gives, failing: how}))
    assert found.noted == {None}
    assert [trial.outcome for trial in found.log.trials] == [Outcome.OK] * 2 * BLOCKS
    assert found.executions == dict.fromkeys(Arm, BLOCKS + 1)
    assert found.recording.footprints == {}
    assert "could not be recorded" in found.recording.why_not


def test_a_program_that_fails_anyway_fails_as_ever_and_is_not_the_recorders_doing(
    tmp_path: Path,
) -> None:
    found = measured(tmp_path, Recorder(dict.fromkeys(Arm)), broken=True)
    assert [trial.outcome for trial in found.log.trials] == [Outcome.CRASH] * 2
    assert {trial.block for trial in found.log.trials} == {0}
    assert found.recording.why_not == ""


def test_without_a_recorder_nothing_is_recorded_or_said(tmp_path: Path) -> None:
    found = measured(tmp_path, None)
    assert found.noted == {None}
    assert found.recording == Recording()
    assert '"signature"' not in found.log.path.read_text()


def test_one_arm_that_cannot_be_recorded_spares_the_other_the_trial(tmp_path: Path) -> None:
    recorder = Recorder(dict.fromkeys(Arm))
    measured(tmp_path, recorder)
    assert len(recorder.asked) == 1


@pytest.mark.parametrize("capacity_s", [40.0, 1000.0])
def test_recording_may_take_a_small_part_of_a_short_capacity(
    capacity_s: float, tmp_path: Path
) -> None:
    recorder = Recorder(dict.fromkeys(Arm, footprint()))
    found = measured(tmp_path, recorder, stop_after_s=capacity_s)
    longest_s = min(20.0, RECORDING_SHARE * capacity_s)
    assert [timeout_s for _, timeout_s in recorder.asked] == [longest_s, longest_s]
    assert found.bench.scenario.timeout_s == 20
    assert len(found.log.trials) == 2 * BLOCKS


def test_with_hardly_any_capacity_nothing_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(dict.fromkeys(Arm, footprint()))
    found = measured(tmp_path, recorder, stop_after_s=LEAST_RECORDING_CAPACITY_S - 1)
    assert recorder.asked == []
    assert found.noted == {None}


def test_the_file_alone_gives_the_verdict_that_the_measurement_gave(tmp_path: Path) -> None:
    policy = Policy(max_blocks=2 * EQUAL_BLOCKS, threshold=0.8)
    found = measured(tmp_path, Recorder(dict.fromkeys(Arm, footprint())), policy=policy)
    with found.log.path.open(encoding="utf-8") as file:
        read = parse_trials(file, "trials.jsonl")
    assert read == found.log.trials
    assert judge(read, policy, {"launch": ("ttfb_s",)}, 1) == found.bench.judge(found.log)


PROGRAM = """
import json
import os
import subprocess
import json
import os
import subprocess
import sys
import settings
settings.load()
sys.audit("ailab.first_batch")
"""
HARMLESS = "def load():\n    return 1\n"
BUSY = """
import time
import extra

def load():
    for _ in range(50):
        step()

def step():
    time.sleep(0.004)
"""


@pytest.mark.parametrize("likeness", Likeness)
def test_an_ab_run_notes_what_both_arms_do_and_explains_what_moved(
    likeness: Likeness | None, tmp_path: Path
) -> None:
    head = {"settings.py": HARMLESS + "# as it was\n"}
    if likeness is Likeness.DIFFERENT:
        head = {"settings.py": BUSY, "extra.py": ""}
    config = "noise: {max_load: 1, max_steal: 1}\nmax_blocks: 20\n"
    config += "" if likeness else "signature: false\n"
    new_repository(tmp_path)
    definition = "id: launch\ncommand: [python, train.py]\nfirst_batch: api\ntimeout_s: 20\n"
    base = {
        "train.py": PROGRAM,
        "settings.py": HARMLESS,
        ".ailab/config.yml": config,
        ".ailab/scenarios/launch/scenario.yml": definition,
    }
    commit(tmp_path, base, "The platform")
    commit(tmp_path, head, "The change")
    out = tmp_path.with_name("out.json")
    run = subprocess.run(
        [sys.executable, "-m", "ailab_bot", "ab", "HEAD~1", "HEAD", "--json", str(out)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == (1 if likeness is Likeness.DIFFERENT else 0), run.stderr
    document = json.loads(out.read_text())
    (log,) = Path(os.environ["AILAB_CACHE_DIR"]).glob("runs/*/trials.jsonl")
    claims = {json.loads(line).get("signature") for line in log.read_text().splitlines()}
    assert claims == {likeness.value if likeness else None}
    if likeness is Likeness.DIFFERENT:
        (why,) = document["explanations"]
        assert "more module" in why["note"]
        assert "settings.py: step 0 → 50 calls" in why["note"]
