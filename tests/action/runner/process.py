"""Runs one step's process and ends it as the runner does: step by step, or at once in a crash.

Its output goes to a file. Refuses to share anything of the caller's environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: The variable by which the runner finds what a job has left running.
TRACKING = "RUNNER_TRACKING_ID"
_POLL_S = 0.02
#: A killed process is gone long before, or hangs in the kernel.
_MOST_ORPHANS_S = 20.0

Stop = Literal["crash", "cancel", "timeout"]


@dataclass(frozen=True)
class Grace:
    """Seconds from SIGINT to SIGTERM, and from there to SIGKILL; GitHub's unless a test hurries."""

    interrupt_s: float = 7.5
    terminate_s: float = 2.5


@dataclass(frozen=True)
class Ended:
    status: int
    stopped: Stop | None
    log: str


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    grace: Grace,
    stop: Callable[[], Stop | None],
) -> Ended:
    """Run to the end, or until `stop` says how to end it. Standard output and error share the log.

    The signals go to the process alone, not to its children: that is what the runner does, and why
    a step that wants to hear of a cancellation has to `exec`.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stopped: Stop | None = None
        while process.poll() is None:
            stopped = stop()
            if stopped == "crash":
                process.kill()
                process.wait()
            elif stopped is not None:
                _cancel(process, grace)
            else:
                time.sleep(_POLL_S)
    text = log.read_bytes().decode("utf-8", errors="replace")
    return Ended(process.returncode, stopped, text)


def _cancel(process: subprocess.Popen[bytes], grace: Grace) -> None:
    for number, wait_s in (
        (signal.SIGINT, grace.interrupt_s),
        (signal.SIGTERM, grace.terminate_s),
    ):
        process.send_signal(number)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def end_orphans(tracking: str) -> None:
    """Kill what still carries the job's tracking id, and return when it is dead."""
    mark = f"{TRACKING}={tracking}".encode()
    ends_at = time.monotonic() + _MOST_ORPHANS_S
    # Again until none is found: a process may have had a child meanwhile, and dies a moment later.
    while found := [pid for pid in _processes() if mark in _environment(pid)]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > ends_at:
            raise AssertionError(f"Processes of a job that cannot be killed: {found}")
        time.sleep(_POLL_S)


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    """Of a process that is dead, or another user's: nothing."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
