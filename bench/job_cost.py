"""What a job of the workflows costs: CPU seconds of its own process, and of the git that it starts.

The job is the shipped command in a process of its own; the GitHub that it talks to is the tests'
stand-in, in this one. As on a runner the bot's own byte code is not there yet, and that of the
libraries is: installing the action loads them once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
for folder in ("tests", "tests/github", "tests/stories"):
    sys.path.insert(0, str(ROOT / folder))

from office import Office  # noqa: E402
from standin import StandIn  # noqa: E402

SCENARIOS, SHARDS = 64, 16
NAMES = tuple(f"s{number:02}" for number in range(SCENARIOS))
CONFIG = f"""\
github:
  runners:
    cpu: {{labels: [ubuntu-latest], count: {SHARDS}}}
"""
_GATE = "repos/create-commit-status"


@dataclass
class Cost:
    """CPU seconds (user and system). `to_status`: own, until GitHub had the gate's status; None:
    none was posted.
    """

    own_s: float
    children_s: float
    wall_s: float
    to_status_s: float | None = None
    verbs: list[str] = field(default_factory=list)


def office(folder: Path, github: StandIn) -> Office:
    """A repository with SCENARIOS scenarios, measured on SHARDS runners."""
    return Office(folder, github, NAMES, CONFIG)


def options(description: str | None) -> argparse.Namespace:
    """`--runs`, and `--python`: one that has what the action installs, and nothing more."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--python", default=sys.executable, metavar="PATH")
    return parser.parse_args()


def cost_of(
    python: str, words: Sequence[str], env: Mapping[str, str], github: StandIn | None = None
) -> Cost:
    """Run `python` with these arguments to its end; SystemExit where it fails."""
    requests = len(github.requests) if github else 0
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [python, *words], env=_environment(env), stdout=said, stderr=subprocess.STDOUT
        )
        marks: list[float] = []
        if github:
            _watch(github, lambda: marks.append(_cpu_s(process.pid)))
        # Not reaped yet: its clock can still be read, and does not hold that of its children.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall_s = time.perf_counter() - start
        own_s = _cpu_s(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{words} ended with {process.returncode}:\n{said.read().decode()}")
    done = github.requests[requests:] if github else []
    return Cost(
        own_s,
        max(0.0, usage.ru_utime + usage.ru_stime - own_s),
        wall_s,
        marks[-1] if marks else None,
        [request.verb for request in done],
    )


def fresh_copy(folder: Path) -> Path:
    """The bot as a checkout has it: without byte code."""
    target = Path(tempfile.mkdtemp(dir=folder))
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ailab_bot", target / "ailab_bot", ignore=ignored)
    return target


def show(name: str, costs: Sequence[Cost], pick: Callable[[Cost], float | None]) -> None:
    """The median, and the range, of one figure."""
    values = sorted(value for cost in costs if (value := pick(cost)) is not None)
    middle = statistics.median(values)
    print(f"{name:44} {middle:6.2f} s  ({values[0]:.2f} to {values[-1]:.2f})")


def show_base(folder: Path, imports: Sequence[str], given: argparse.Namespace) -> None:
    """Beside it: an empty Python, and the same modules loaded by one that does nothing more."""
    for name, code in (
        ("python -c pass", "pass"),
        ("the job's imports alone", f"import {','.join(imports)}"),
    ):
        costs = [
            cost_of(given.python, ["-c", code], {"PYTHONPATH": str(fresh_copy(folder))})
            for _ in range(given.runs)
        ]
        show(name, costs, lambda cost: cost.own_s)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    dropped = ("GITHUB_", "AILAB_", "RUNNER_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, **env}


def _cpu_s(pid: int) -> float:
    """CPU time of another process, all threads: clock_getcpuclockid(3), which Python lacks."""
    return time.clock_gettime((~pid << 3) | 2)


def _watch(github: StandIn, note: Callable[[], None]) -> None:
    act = github.operations.act

    def watched(operation: str, *arguments: object) -> object:
        if operation == _GATE:
            note()
        return act(operation, *arguments)  # type: ignore[arg-type]

    github.server.act = watched  # type: ignore[assignment]
