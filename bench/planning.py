"""What a whole plan costs: 10,000 scenarios and a change of 5,000 files, in a process of its own.

    python bench/planning.py [--scenarios 10000] [--files 5000] [--runs 3]

The knowledge is what a ledger's view holds. Planning is `select_scenarios`: relate, features,
predictions, choice under a capacity. Reading the view is a part of the ledger's read, and told
apart. The memory is the process's own peak, less what it had before it read anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from planner_scale import change, footprints

from ailab_bot.config import Config
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.knowledge import (
    Knowledge,
    Source,
    knowledge_from_view,
    knowledge_to_view,
)
from ailab_bot.flows.selection import Evidence, select_scenarios
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.policy import Policy
from ailab_bot.model.report import Choice
from ailab_bot.model.scenario import Scenario
from ailab_bot.plan.past import Outcome
from ailab_bot.plan.shadowing import Folders

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FOLDER = Path("/nowhere/.ailab/scenarios")


def scenarios(number: int) -> tuple[Scenario, ...]:
    return tuple(
        Scenario(f"s{each}", ("python", "train.py"), FOLDER / f"s{each}") for each in range(number)
    )


def write_view(path: Path, number: int) -> None:
    sources = {each.id: Source(NOW, fingerprint(each)) for each in scenarios(number)}
    known = Knowledge().with_footprints(
        (each, sources[each.scenario]) for each in footprints(number)
    )
    outcomes = [
        Outcome(f"{day:040x}", NOW - timedelta(days=day), (f"src/team{each % 40}/a.py",),
                f"s{each}", each % 50 == 0, 60.0 + each % 90)
        for day in range(1, 4)
        for each in range(number)
    ]  # fmt: skip
    known = Knowledge(known.index, known.sources, known.past.with_outcomes(outcomes))
    path.write_bytes(knowledge_to_view(known))


def peak_mb() -> float:
    """Of this program; getrusage's peak would be its parent's, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def plan(view: Path, number: int, files: int, runs: int) -> dict[str, object]:
    definitions = Definitions("c" * 40, (".ailab",), Config(FOLDER), scenarios(number), Policy())
    choices = [Choice(each.id, True, "all") for each in definitions.scenarios]
    before_mb, started = peak_mb(), time.process_time()
    known = knowledge_from_view(view.read_bytes())
    read_s = time.process_time() - started
    plan_s = {}
    for used in (True, False):
        delta, sources = change(files, used)
        seconds = []
        for _ in range(runs):
            evidence = Evidence(known, delta, sources, {}, Folders(frozenset(), frozenset()), NOW)
            started = time.process_time()
            selected = select_scenarios(
                choices, definitions, evidence, capacity_s=3600.0, seed=1, expected_s={}
            )
            seconds.append(time.process_time() - started)
        plan_s[used] = statistics.median(seconds)
    rules: dict[str, int] = {}
    for choice in selected.choices:
        rules[choice.rule.value] = rules.get(choice.rule.value, 0) + 1
    return {
        "read_s": read_s,
        "plan_s": plan_s[False],
        "used_s": plan_s[True],
        "mb": peak_mb() - before_mb,
        "start_mb": before_mb,
        "rules": rules,
        "view_mb": view.stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--view", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.view:
        print(json.dumps(plan(asked.view, asked.scenarios, asked.files, asked.runs)))
        return
    with tempfile.TemporaryDirectory() as name:
        view = Path(name) / "view"
        write_view(view, asked.scenarios)
        words = [f"--{key}={getattr(asked, key)}" for key in ("scenarios", "files", "runs")]
        answer = subprocess.run(
            [sys.executable, __file__, f"--view={view}", *words],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    row = json.loads(answer)
    print(
        f"{asked.scenarios} scenarios, {asked.files} changed files, view of {row['view_mb']:.1f} MB"
    )
    print(f"  reading the view  {row['read_s']:.2f} s")
    print(f"  planning          {row['plan_s']:.2f} s (median of {asked.runs})")
    print(f"  of files in use   {row['used_s']:.2f} s, each by some scenario")
    print(f"  memory            {row['mb']:.0f} MB, beside {row['start_mb']:.0f} MB after start-up")
    print("  " + ", ".join(f"{count} {rule}" for rule, count in sorted(row["rules"].items())))


if __name__ == "__main__":
    main()
