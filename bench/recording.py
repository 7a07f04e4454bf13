"""What recording a footprint costs: recorded and plain trials of one scenario in turn.

    python bench/recording.py [--scenario tabular-mlp] [--times 5]

Prints the ratio of their CPU times and of their times to first batch, and whether the recordings of
one commit have one signature. Nobody times a recorded trial otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from real_ab import build

from ailab_bot.config import load_config, load_scenarios
from ailab_bot.flows.footprint import record_footprint
from ailab_bot.flows.measurement import Bench
from ailab_bot.measure.environment import compile_probe, interpreter, which_python
from ailab_bot.measure.execute import execute
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import open_workplace
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="tabular-mlp")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "repository"
        folder.mkdir()
        build(folder, asked.scenario, 0.0, None)
        repository = open_repository(folder)
        scenario = load_scenarios(load_config(None, folder))[0]
        sha = repository.resolve("HEAD").sha
        python = interpreter(which_python(None, None))
        with open_workplace(repository, dict.fromkeys(Arm, sha)) as place:
            compile_probe(place.probe, python.python)
            bench = Bench(scenario, dict.fromkeys(Arm, python), place, 1, Policy(), 1)
            execute(bench.launch(Arm.HEAD, hash_seed=1))
            rows, signatures = [], set()
            for _ in range(asked.times):
                plain = execute(bench.launch(Arm.HEAD, hash_seed=1))
                left = place.scratch / "left"
                left.mkdir()
                launch = replace(bench.launch(Arm.HEAD, hash_seed=1), footprint=left)
                recorded = execute(launch)
                for path in left.iterdir():
                    path.unlink()
                left.rmdir()
                rows.append(
                    [recorded.metrics[key] / plain.metrics[key] for key in ("cpu_s", "ttfb_s")]
                )
                footprint = record_footprint(bench, Arm.HEAD, sha)
                if footprint is not None and footprint.signature is not None:
                    signatures.add(footprint.signature.exact)
    cpu, ttfb = (statistics.median(row[place] for row in rows) for place in (0, 1))
    print(f"{asked.scenario}, {asked.times} pairs in turn, recorded / plain (median):")
    print(f"  CPU time            {cpu:.2f}")
    print(f"  time to first batch {ttfb:.2f}")
    print(f"  {len(signatures)} different signatures in {asked.times} recordings")


if __name__ == "__main__":
    main()
