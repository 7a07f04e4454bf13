"""Real comparisons of a real scenario: nothing injected, and a delay of 5 and 10 % of its TTFB.

    python bench/real_ab.py [--times 20] [--scenario recsys-embeddings] [--state real_ab.jsonl]
                            [--core N]

Each is one `ailab ab` as users type it, on a git repository whose head differs from its base in one
line (a comment, or a sleep before everything else). The three take turns, so that they see the
same machine. Takes two minutes per comparison; what is done is kept in the state file, and the
next call goes on from there. `--core` pins the trials (`noise: {pin: N}`), so that other work can
have the other cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

SCENARIOS = Path(__file__).parents[1] / "scenarios"
EFFECTS = (0.0, 0.05, 0.10)
Row = dict[str, object]


def git(folder: Path, *words: str) -> None:
    names = {"GIT_AUTHOR_NAME": "Bench", "GIT_AUTHOR_EMAIL": "bench@example.invalid"}
    names |= {"GIT_COMMITTER_NAME": "Bench", "GIT_COMMITTER_EMAIL": "bench@example.invalid"}
    subprocess.run(["git", *words], cwd=folder, check=True, env={**os.environ, **names})


def build(folder: Path, scenario: str, delay_s: float, core: int | None) -> None:
    """A repository with the scenario at its root; head sleeps first, or only says that it might."""
    source = SCENARIOS / scenario
    definition = yaml.safe_load((source / "scenario.yml").read_text(encoding="utf-8"))
    definition["command"] = [word.replace("{scenario_dir}/", "") for word in definition["command"]]
    definition["metrics"] = ["ttfb_s"]
    definition.pop("steps", None)  # only for step_time_s
    git(folder, "init", "--quiet", "--initial-branch=main")
    place = folder / ".ailab" / "scenarios" / scenario
    place.mkdir(parents=True)
    (place / "scenario.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    if core is not None:
        pinned = yaml.safe_dump({"noise": {"pin": str(core)}})
        (folder / ".ailab" / "config.yml").write_text(pinned, encoding="utf-8")
    for path in source.iterdir():
        if path.name != "scenario.yml":
            (folder / path.name).write_bytes(path.read_bytes())
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "The scenario")
    train = folder / "train.py"
    change = f"import time; time.sleep({delay_s:.4f})" if delay_s else "# no change"
    train.write_text(f"{change}\n{train.read_text(encoding='utf-8')}", encoding="utf-8")
    git(folder, "commit", "--quiet", "--all", "--message", "The change")


def compare(scenario: str, delay_s: float, core: int | None) -> Row:
    """One `ailab ab`; its verdict and what it cost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, scenario, delay_s, core)
        words = ["ab", "HEAD~1", "HEAD", "--quiet", "--json", "-"]
        result = subprocess.run(
            [sys.executable, "-m", "ailab_bot", *words],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode not in {0, 1}:
            sys.exit(f"ailab ab ended with {result.returncode}:\n{result.stderr}")
        document = json.loads(result.stdout)
    (verdict,) = document["results"]
    return {**verdict, "runner_seconds": document["runner_seconds"], "notes": document["notes"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--scenario", default="recsys-embeddings")
    parser.add_argument("--state", type=Path, default=Path("real_ab.jsonl"))
    parser.add_argument("--core", type=int)
    arguments = parser.parse_args()
    rows: list[Row] = []
    if arguments.state.exists():
        rows = [json.loads(line) for line in arguments.state.read_text().splitlines()]
    for turn in range(arguments.times):
        for effect in EFFECTS:
            if sum(row["injected"] == effect for row in rows) > turn:
                continue
            clean = [float(str(row["base_median"])) for row in rows] or [
                float(str(compare(arguments.scenario, 0.0, arguments.core)["base_median"]))
            ]
            row = compare(arguments.scenario, effect * statistics.median(clean), arguments.core)
            rows.append({"injected": effect, **row})
            with arguments.state.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            sys.stderr.write(f"{effect:.0%}: {row['verdict']} {row['effect']:+.3f}\n")
    show(rows, arguments.scenario)


def show(rows: list[Row], scenario: str) -> None:
    noise = statistics.median(float(str(row["noise"])) for row in rows)
    ttfb_s = statistics.median(float(str(row["base_median"])) for row in rows)
    print(f"{scenario}: TTFB {ttfb_s:.2f} s, noise of a block {noise:.1%}\n")
    print(f"{'injected':>8} {'runs':>5} {'REGRESSION':>11} {'NO_CHANGE':>10} {'INCONCL.':>9} "
          f"{'IMPROV.':>8} {'effect':>7} {'covered':>8} {'blocks':>7} {'runner s':>9}")  # fmt: skip
    for effect in EFFECTS:
        own = [row for row in rows if row["injected"] == effect]
        kinds = Counter(row["verdict"] for row in own)
        counts = [kinds[k] for k in ("REGRESSION", "NO_CHANGE", "INCONCLUSIVE", "IMPROVEMENT")]
        median = statistics.median(float(str(row["effect"])) for row in own)
        ends = [row["interval"] for row in own if isinstance(row["interval"], list)]
        covered = sum(low <= effect <= high for low, high in ends)
        blocks = statistics.mean(float(str(row["blocks_used"])) for row in own)
        cost = statistics.mean(float(str(row["runner_seconds"])) for row in own)
        print(f"{effect:8.0%} {len(own):5} {counts[0]:11} {counts[1]:10} {counts[2]:9} "
              f"{counts[3]:8} {median:+7.3f} {covered:4}/{len(ends):<3} {blocks:7.1f} "
              f"{cost:9.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
