"""Is the supervisor's clock right, and what does the probe cost?

    python bench/overhead.py [--runs 20]
    python bench/overhead.py --instructions

A torch script writes its clocks where it calls its model with the first training batch. It runs in
turn without the probe (a plain subprocess and this file's own stopwatch) and under the supervisor.
Printed: how far the supervisor's TTFB is from this file's stopwatch around the same run (median
and middle half); what the probe adds, as the difference of lower quartiles with a 90 % bootstrap
interval (a noisy machine only ever adds time), for wall-clock and CPU time and for a bare
interpreter; and the phases of the last run with their sum against TTFB.

`--instructions` counts instead: the same script under valgrind, without and with the probe, which
no noise disturbs (some minutes; needs valgrind).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from replay import Array

from ailab_bot.measure.environment import compile_probe
from ailab_bot.measure.execute import PROBE_FOLDER, Execution, Launch, execute
from ailab_bot.model.scenario import FirstBatch
from ailab_bot.model.trial import Outcome

SCRIPT = """
import argparse, sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("stamp")
stamp = parser.parse_args().stamp
data = TensorDataset(torch.randn(256, 8), torch.randn(256, 1))
loader = DataLoader(data, batch_size=32, shuffle=True)
net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    now = time.monotonic_ns(), time.process_time_ns()
    with open(stamp, "w") as file:
        file.write("%d %d" % now)
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    break
"""


def environment() -> dict[str, str]:
    dropped = {"PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "OMP_NUM_THREADS": "1"}


def stamped(folder: Path, start_ns: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds from `start_ns` to the script's own stamp."""
    wall_ns, cpu_ns = map(int, (folder / "stamp").read_text().split())
    return (wall_ns - start_ns) / 1e9, cpu_ns / 1e9


def without_probe(folder: Path) -> tuple[float, float]:
    start_ns = time.monotonic_ns()
    command = [sys.executable, "script.py", str(folder / "stamp")]
    subprocess.run(command, cwd=folder, env=environment(), check=True)
    return stamped(folder, start_ns)


def with_probe(folder: Path) -> tuple[Execution, tuple[float, float], float]:
    """The execution, the script's clocks, and the wall time by a stopwatch of our own."""
    start_ns = time.monotonic_ns()
    execution = execute(
        Launch(
            command=(sys.executable, "script.py", str(folder / "stamp")),
            cwd=folder,
            env=environment(),
            first_batch=FirstBatch(),
            timeout_s=120,
            scratch=folder,
        )
    )
    if execution.outcome is not Outcome.OK:
        raise SystemExit(f"the script failed: {execution.failure}")
    own_s = stamped(folder, start_ns)[0]
    return execution, stamped(folder, execution.started_ns), own_s


def bare(probe: bool) -> float:
    """Seconds that an interpreter takes to start and end, without or with the probe's folder."""
    env = environment() | ({"PYTHONPATH": str(PROBE_FOLDER)} if probe else {})
    start_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", "pass"], env=env, check=True)
    return (time.monotonic_ns() - start_ns) / 1e9


def count_instructions(folder: Path, probe: bool) -> int:
    """Instructions of the whole script under valgrind's callgrind."""
    pipe = folder / f"pipe-{probe}"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # as the supervisor holds it
    env = environment() | {"PYTHONHASHSEED": "1", "AILAB_PROBE": f"{pipe}|nonce|auto|0|"}
    env["PYTHONPATH"] = str(PROBE_FOLDER) if probe else ""
    words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    result = subprocess.run(
        [*words, "script.py", str(folder / f"stamp-{probe}")],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    signals = os.read(reader, 1 << 16) if probe else b""
    os.close(reader)
    if probe and b" F " not in signals:
        raise SystemExit("the probe saw no first batch")
    return int(result.stderr.split("refs:")[1].split()[0].replace(",", ""))


def compare_instructions(folder: Path) -> None:
    with ThreadPoolExecutor() as pool:
        without, with_it = pool.map(lambda probe: count_instructions(folder, probe), (False, True))
    print(f"instructions without the probe {without:,}, with it {with_it:,}")
    print(f"added by the probe {with_it / without - 1:+.3%}")


def quartile(values: Array) -> float:
    return float(np.quantile(values, 0.25))


def added(name: str, with_it: list[float], without: list[float]) -> None:
    random = np.random.default_rng(1)
    one, two = np.array(with_it), np.array(without)
    drawn = [
        quartile(random.choice(one, len(one))) - quartile(random.choice(two, len(two)))
        for _ in range(2000)
    ]
    low, high = np.quantile(drawn, [0.05, 0.95]) * 1e3
    difference = (quartile(one) - quartile(two)) * 1e3
    share = quartile(one) / quartile(two) - 1
    spread = f"({low:.2f} to {high:.2f})"
    print(f"added by the probe, {name:17} {difference:7.2f} ms  {spread}, {share:+.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--instructions", action="store_true")
    arguments = parser.parse_args()
    runs = arguments.runs
    compile_probe(PROBE_FOLDER, sys.executable)
    agreement, plain, probed = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        without_probe(folder)
        with_probe(folder)
        if arguments.instructions:
            compare_instructions(folder)
            return
        for number in range(runs):
            if number % 2:
                plain.append(without_probe(folder))
            execution, clocks, own_s = with_probe(folder)
            probed.append(clocks)
            agreement.append((execution.metrics["ttfb_s"] - own_s) * 1e3)
            if not number % 2:
                plain.append(without_probe(folder))
    starts = [(bare(True), bare(False)) for _ in range(5 * runs)]
    ttfb = execution.metrics["ttfb_s"]
    low, middle, high = statistics.quantiles(agreement, n=4)
    print(f"{runs} pairs, TTFB about {ttfb:.2f} s\n")
    print(f"supervisor minus own stopwatch      {middle:7.2f} ms  ({low:.2f} to {high:.2f})")
    added("wall-clock time", [wall for wall, _ in probed], [wall for wall, _ in plain])
    added("CPU time", [cpu for _, cpu in probed], [cpu for _, cpu in plain])
    added("bare interpreter", [one for one, _ in starts], [two for _, two in starts])
    print("\nphases of the last run")
    for phase, seconds in execution.phases.items():
        print(f"  {phase:12} {seconds * 1e3:9.2f} ms")
    print(f"  sum minus TTFB {abs(sum(execution.phases.values()) - ttfb) * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
