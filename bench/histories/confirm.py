"""Times pairs of a recorded history: those whose signature changed, and a control of others.

    python bench/histories/confirm.py REPO --clone DIR --python PYTHON [--changed 16] [--same 12]

Both commits lie in folders of equal length; each arm has an untimed trial, then BLOCKS blocks of
one trial of each, in random order. What every trial took is appended to `timings.jsonl` beside the
recording; `bench/selection_real.py` says what it confirms. Interrupted, it goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import check_out, launch
from stored import HERE, History, moved_by, read_history

from ailab_bot.measure.execute import execute

BLOCKS = 9
SEED = 5
#: What a changed signature is here: the bench's own level.
LEVEL = 0.01


def chosen(history: History, changed: int, same: int) -> Iterator[tuple[str, str, str, str]]:
    """Parent, commit, scenario and kind. `same` draws from pairs that ran and did not differ."""
    found: dict[str, list[tuple[str, str, str]]] = {"changed": [], "same": [], "slight": []}
    for parent, sha in zip(history.commits, history.commits[1:], strict=False):
        for name in history.scenarios:
            base, head = history.signature(parent, name), history.signature(sha, name)
            if base is None or head is None or not history.rows[sha][name].ran:
                continue
            by = moved_by(base, head)
            kind = "same" if base == head else "changed" if by >= LEVEL else "slight"
            found[kind].append((parent, sha, name))
    draw = random.Random(SEED)
    for kind, most in (("changed", changed), ("same", same)):
        for each in draw.sample(found[kind], min(most, len(found[kind]))):
            yield (*each, kind)


def clones(clone: Path) -> tuple[Path, Path]:
    both = tuple(clone.with_name(f"{clone.name}-{arm}") for arm in ("b", "h"))
    for each in both:
        if not each.exists():
            command = ["git", "clone", "-q", "--shared", "--no-checkout", str(clone), str(each)]
            subprocess.run(command, check=True)
    return both[0], both[1]


def time_pair(arms: tuple[Path, Path], script: Path, python: str, seed: str) -> list[Any]:
    """By arm, by block: seconds to the first batch, of them spent waiting for a core, of CPU."""
    draw = random.Random(seed)
    trials: list[list[list[float]]] = [[], []]
    for block in range(-1, BLOCKS):
        order = [0, 1]
        draw.shuffle(order)
        for arm in order:
            with tempfile.TemporaryDirectory() as scratch:
                done = execute(launch(script, arms[arm], python, Path(scratch), None))
            if not done.metrics:
                return []
            if block >= 0:
                waited_s = done.covariates["run_delay_s"]
                row = [done.metrics["ttfb_s"], waited_s, done.metrics.get("cpu_s", 0.0)]
                trials[arm].append([round(each, 6) for each in row])
    return trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("repo")
    parser.add_argument("--clone", type=Path, required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--changed", type=int, default=16)
    parser.add_argument("--same", type=int, default=12)
    options = parser.parse_args()
    target = HERE / options.repo / "timings.jsonl"
    known = (
        [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []
    )
    done = {(row["sha"], row["scenario"]) for row in known}
    arms = clones(options.clone.resolve())
    history = read_history(options.repo)
    for parent, sha, name, kind in chosen(history, options.changed, options.same):
        if (sha, name) in done:
            continue
        for arm, commit in zip(arms, (parent, sha), strict=True):
            check_out(arm, commit)
        script = HERE / options.repo / f"{name}.py"
        trials = time_pair(arms, script, options.python, f"{sha} {name}")
        row = {"parent": parent, "sha": sha, "scenario": name, "kind": kind, "trials": trials}
        with target.open("a") as file:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
