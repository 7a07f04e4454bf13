"""How long `ailab judge` takes for a file of thousands of scenarios, on one core.

    python bench/judge_file.py [--scenarios 5000] [--blocks 40]

Writes replays of the recorded noise (three of five scenarios without an effect, one with 5 %, one
with 10 %) to a temporary file, judges it as users do, and prints the time, beside that of only
reading the same file with Python's json module: the two are measured in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from replay import recorded_pairs, replays, with_effect

EFFECTS = (0.0, 0.0, 0.0, 0.05, 0.10)


def write(path: Path, scenarios: int, blocks: int) -> None:
    seconds = replays(recorded_pairs(), scenarios, blocks, np.random.default_rng(1))
    with path.open("w", encoding="utf-8") as file:
        for scenario, own in enumerate(seconds):
            rows = with_effect(own, EFFECTS[scenario % len(EFFECTS)])
            for block, row in enumerate(rows):
                for order, (arm, value) in enumerate(zip(("base", "head"), row, strict=True)):
                    trial = {
                        "schema": 1, "scenario": f"s{scenario}", "block": block, "order": order,
                        "arm": arm, "outcome": "ok", "metrics": {"ttfb_s": round(float(value), 6)},
                    }  # fmt: skip
                    file.write(json.dumps(trial) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenarios", type=int, default=5000)
    parser.add_argument("--blocks", type=int, default=40)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children inherit it
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "trials.jsonl"
        write(path, arguments.scenarios, arguments.blocks)
        started = time.perf_counter()
        with path.open(encoding="utf-8") as file:
            for line in file:
                json.loads(line)
        reading_s = time.perf_counter() - started
        words = [sys.executable, "-m", "ailab_bot", "judge", str(path), "--quiet", "--json", "-"]
        started = time.perf_counter()
        result = subprocess.run(words, cwd=name, capture_output=True, text=True, check=False)
        judging_s = time.perf_counter() - started
    kinds = Counter(row["verdict"] for row in json.loads(result.stdout)["results"])
    size = f"{arguments.scenarios} scenarios x {arguments.blocks} blocks"
    times = f"{judging_s:.1f} s on one core, {judging_s / reading_s:.1f} x reading it as JSON"
    print(f"{size}: {times}; {dict(kinds)}")


if __name__ == "__main__":
    main()
