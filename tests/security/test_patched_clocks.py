"""Number 8 of the nineteen: who changes the measured process's clocks changes no result.

Each process is real. The time that is reported is the supervisor's, and a trial whose own stamps
disagree with it has no result at all.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from ailab_bot.measure.execute import Execution, Launch, execute
from ailab_bot.measure.signals import (
    CLOCKS_MAY_DIFFER,
    LATEST_RECEIPT_NS,
    Signal,
    clock_gap_s,
    parse_signal,
)
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.model.trial import Outcome

API = FirstBatch(FirstBatchMode.API)
MARKER = FirstBatch(FirstBatchMode.MARKER, "^ready$")
SLEEP_S = 1.5

SCRIPT = f"""
import sys, time
sys.audit("ailab.phase", "data")
time.sleep({SLEEP_S})
sys.audit("ailab.first_batch")
print("ready", flush=True)
time.sleep(60)
"""

#: What a clock shows, given the true time `now` and that of the process's start.
CLOCKS = {
    "ten times slower": "start + (now - start) // 10",
    "stopped": "start",
    "twice as fast": "start + 2 * (now - start)",
    "an hour behind": "now - 3600 * 10**9",
    "an hour ahead": "now + 3600 * 10**9",
}


def patch(clock: str) -> str:
    return f"""
import time
real = time.monotonic_ns
start = real()
def fake():
    now = real()
    return max({clock}, 0)
time.monotonic_ns = time.perf_counter_ns = time.time_ns = fake
time.monotonic = time.perf_counter = time.time = lambda: fake() / 1e9
"""


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def run(folder: Path, python: str, first_batch: FirstBatch = API, path: str = "") -> Execution:
    (folder / "train.py").write_text(SCRIPT)
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if path:
        env["PYTHONPATH"] = path
    return execute(Launch((python, "train.py"), folder, env, first_batch, 30.0, folder))


def with_pth(venv: Path, clock: str) -> str:
    """The venv's interpreter, after a package of the checkout has put a .pth file there."""
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "clocks.py").write_text(patch(clock))
    (site / "clocks.pth").write_text("import clocks\n")
    return str(venv / "bin" / "python")


@pytest.mark.parametrize("name", CLOCKS)
def test_a_pth_file_that_changes_clocks_makes_the_trial_invalid(
    name: str, venv: Path, tmp_path: Path
) -> None:
    execution = run(tmp_path, with_pth(venv, CLOCKS[name]))
    assert execution.outcome is Outcome.NO_FIRST_BATCH
    assert not execution.metrics
    assert not execution.phases
    assert execution.failure is not None
    assert "its clock and ours disagree by" in execution.failure.reason
    assert ".pth" in execution.failure.advice


def test_that_holds_for_a_marker_as_well(venv: Path, tmp_path: Path) -> None:
    execution = run(tmp_path, with_pth(venv, CLOCKS["ten times slower"]), MARKER)
    assert execution.outcome is Outcome.NO_FIRST_BATCH
    assert execution.failure is not None
    assert "disagree" in execution.failure.reason


def test_a_pth_file_that_leaves_clocks_alone_does_no_harm(venv: Path, tmp_path: Path) -> None:
    for first_batch in (API, MARKER):
        execution = run(tmp_path, with_pth(venv, "now"), first_batch)
        assert execution.outcome is Outcome.OK, execution.failure
        assert SLEEP_S < execution.metrics["ttfb_s"] < SLEEP_S + 20


def test_a_sitecustomize_of_the_checkout_comes_too_late_to_change_any_stamp(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "sitecustomize.py").write_text(
        patch(CLOCKS["ten times slower"]) + "open('ran', 'w').close()\n"
    )
    execution = run(tmp_path, sys.executable, path=str(source))
    assert (tmp_path / "ran").exists(), "the checkout's own file did run"
    assert execution.outcome is Outcome.OK, execution.failure
    assert execution.metrics["ttfb_s"] > SLEEP_S
    assert execution.phases["data"] > SLEEP_S * 0.9


def signal(at_s: float, received_s: float, kind: str = "F") -> Signal:
    return Signal(int(received_s * 1e9), 7, kind, int(at_s * 1e9), ("0",))


def test_only_what_no_delay_explains_counts() -> None:
    floor_s = LATEST_RECEIPT_NS / 1e9
    assert CLOCKS_MAY_DIFFER == 0.05
    assert clock_gap_s([signal(100 - 4.9, 100)], 0) == 0
    assert clock_gap_s([signal(100 - 5.1, 100)], 0) == pytest.approx(5.1)
    assert clock_gap_s([signal(100 + 5.1, 100)], 0) == pytest.approx(5.1)
    assert clock_gap_s([signal(1 - 0.9 * floor_s, 1)], 0) == 0, "a late receipt of a short trial"
    assert clock_gap_s([signal(1.1, 1)], 0) > 0, "but none comes before the signal was sent"
    assert clock_gap_s([signal(10, 10), signal(1, 10)], 0) == pytest.approx(9)
    assert clock_gap_s([signal(1, 10, kind="I")], 0) == 0, "an import is told when it has ended"
    assert clock_gap_s([], 0) == 0


def test_numbers_without_end_are_no_signal() -> None:
    endless = "9" * 5000
    assert parse_signal(f"n 7 F {endless} 0".encode(), "n", 1) is None
    assert parse_signal(f"n {endless} F 5 0".encode(), "n", 1) is None
    assert parse_signal(b"n 7 F 5 0", "n", 1) == Signal(1, 7, "F", 5, ("0",))


def test_a_line_without_end_in_the_pipe_is_not_kept(tmp_path: Path) -> None:
    script = """
import os, sys, threading
path = os.environ["AILAB_PROBE"].split("|")[0]
pipe = os.open(path, os.O_WRONLY)
for _ in range(3000):
    os.write(pipe, b"x" * 65536)
os.write(pipe, b"\\n")
sys.audit("ailab.first_batch")
"""
    (tmp_path / "train.py").write_text(script)
    launch = Launch((sys.executable, "train.py"), tmp_path, dict(os.environ), API, 60.0, tmp_path)
    code = (
        "import pickle, re, sys\n"
        "from ailab_bot.measure.execute import execute\n"
        "launch = pickle.load(sys.stdin.buffer)\n"
        "outcome = execute(launch).outcome\n"
        # Not getrusage: its peak begins with that of the process that forked us.
        "print(outcome, *re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(launch), capture_output=True, check=True
    )
    outcome, peak_kib = result.stdout.decode().split()
    assert outcome == "ok"
    assert int(peak_kib) < 100 * 1024, "200 MB were written"
