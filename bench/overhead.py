"""Is the supervisor's clock right, and what does the probe cost?

    python bench/overhead.py [--runs 20]

A torch script writes the monotonic time at which it calls its model with the first training
batch. It runs in turn without the probe (a plain subprocess and this file's own stopwatch) and
under the supervisor. Printed, as medians with the middle half of the runs:
- agreement: the supervisor's TTFB minus this file's own stopwatch, around the same run;
- overhead: time to the script's own stamp with the probe, against without, pair by pair;
- the phases of the last run, and their sum against TTFB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    now = time.monotonic_ns()
    with open(stamp, "w") as file:
        file.write(str(now))
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    break
"""


def environment() -> dict[str, str]:
    dropped = {"PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "OMP_NUM_THREADS": "1"}


def without_probe(folder: Path) -> float:
    """Seconds from just before the spawn to the script's own stamp."""
    stamp = folder / "stamp"
    start_ns = time.monotonic_ns()
    subprocess.run(
        [sys.executable, "script.py", str(stamp)], cwd=folder, env=environment(), check=True
    )
    return (int(stamp.read_text()) - start_ns) / 1e9


def with_probe(folder: Path) -> tuple[Execution, float, float]:
    """The execution, seconds to the script's stamp, and the same by a stopwatch of our own."""
    stamp = folder / "stamp"
    start_ns = time.monotonic_ns()
    execution = execute(
        Launch(
            command=(sys.executable, "script.py", str(stamp)),
            cwd=folder,
            env=environment(),
            first_batch=FirstBatch(),
            timeout_s=120,
            scratch=folder,
        )
    )
    if execution.outcome is not Outcome.OK:
        raise SystemExit(f"the script failed: {execution.failure}")
    own_ns = int(stamp.read_text())
    return execution, (own_ns - execution.started_ns) / 1e9, (own_ns - start_ns) / 1e9


def line(name: str, values: list[float], scale: float, unit: str) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"{name:52} {middle * scale:8.2f} {unit}  ({low * scale:.2f} to {high * scale:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    compile_probe(PROBE_FOLDER, sys.executable)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        without_probe(folder)
        with_probe(folder)
        agreement, difference, ratio = [], [], []
        for number in range(runs):
            if number % 2:
                plain = without_probe(folder)
                execution, stamped, own = with_probe(folder)
            else:
                execution, stamped, own = with_probe(folder)
                plain = without_probe(folder)
            agreement.append(execution.metrics["ttfb_s"] - own)
            difference.append(stamped - plain)
            ratio.append(stamped / plain)
    ttfb = execution.metrics["ttfb_s"]
    print(f"{runs} pairs, TTFB about {ttfb:.2f} s\n")
    line("agreement: supervisor minus own stopwatch", agreement, 1e3, "ms")
    line("overhead: with the probe minus without", difference, 1e3, "ms")
    line("overhead: with the probe over without", ratio, 1.0, "x ")
    print("\nphases of the last run")
    for phase, seconds in execution.phases.items():
        print(f"  {phase:12} {seconds * 1e3:9.2f} ms")
    print(f"  sum minus TTFB {abs(sum(execution.phases.values()) - ttfb) * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
