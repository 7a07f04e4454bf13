"""How long the command line takes to answer, against a bare interpreter, pair by pair.

python bench/startup.py [--runs 30]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

AILAB = str(Path(sys.executable).parent / "ailab")


def wall_s(words: list[str]) -> float:
    # Byte code is cached, as it is on a user's second call.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(words, env=env, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    for option in ("--help", "--version"):
        wall_s([AILAB, option])
        ratios = [
            wall_s([AILAB, option]) / wall_s([sys.executable, "-c", "pass"]) for _ in range(runs)
        ]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"ailab {option:9} {middle:.2f} x bare Python  ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
