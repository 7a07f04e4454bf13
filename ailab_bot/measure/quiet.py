"""Waits for a quiet machine, and says which blocks to measure again because it was not.

It looks at the machine alone: what the hypervisor took, and what processes other than ours used.
No trial's timing reaches it, so it cannot prefer a result; and what it asks for is bounded, so a
machine that is never quiet is measured all the same, with a note in the report.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.model.noise import REPEATS, Cause, Disturbance, Noise, Unrest

#: Length of one look at a machine that was busy. The kernel counts in ticks of 10 ms, so on two
#: cores one tick more or less is a share of 0.01.
STEP_S = 0.5
#: What is left of a wait is not slept when it is shorter: so few ticks tell nothing.
SHORTEST_STEP_S = 0.1
#: Fields of a cpu line of /proc/stat, proc_stat(5). Guest time is in `user` and `nice` already.
_USER, _NICE, _SYSTEM, _STEAL, _COUNTED = 0, 1, 2, 7, 8


@dataclass(frozen=True)
class Activity:
    """CPU seconds since boot over the watched cores.

    `total_s` is all time, idle too; `busy_s` is processes' time without interrupts; `own_s` is the
    time of this process and of everything that it has waited for.
    """

    total_s: float
    busy_s: float
    steal_s: float
    own_s: float


def read_activity(cores: Collection[int] = (), root: Path = Path("/")) -> Activity:
    """Activity of these cores, else of all that this process may use; zeros without /proc/stat.

    Our own part is exact only while no trial runs: a tree's time is known when it has been reaped.
    """
    watched = set(cores) or usable_cores()
    total = busy = steal = 0
    for number, times in _cpu_lines(root):
        if number in watched:
            total += sum(times[:_COUNTED])
            busy += times[_USER] + times[_NICE] + times[_SYSTEM]
            steal += times[_STEAL]
    tick = os.sysconf("SC_CLK_TCK")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_s = sum(usage.ru_utime + usage.ru_stime for usage in used)
    return Activity(total / tick, busy / tick, steal / tick, own_s)


def usable_cores() -> set[int]:
    """The cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


class QuietGate:
    """Noise control of one scenario's blocks: ask `before_block`, then `after_trial` each time."""

    def __init__(
        self,
        limits: Noise,
        max_blocks: int,
        *,
        read: Callable[[], Activity] = read_activity,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = limits
        self._most_repeats = int(REPEATS * max_blocks)
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._seen = read()
        self._disturbance: Disturbance | None = None
        self._is_new = True
        self._waited_in_vain = False
        self._counts_block = False
        self._in_a_hurry = False
        self._repeated: list[Cause] = []
        self._kept = 0
        self._waited_s = 0.0

    @property
    def unrest(self) -> Unrest:
        return Unrest(tuple(self._repeated), self._kept, self._waited_s)

    @property
    def disturbance(self) -> Disturbance | None:
        """What disturbed the period that was looked at last."""
        return self._disturbance

    def hurry(self) -> None:
        """From now on neither wait nor repeat: capacity is left for a few blocks only."""
        self._in_a_hurry = True

    def before_block(self) -> None:
        """Wait until the machine is quiet, at most `wait_s`, and start to watch a block.

        A machine that was quiet during the last trial (or the warm-up) is not looked at again, so
        quiet costs nothing; one that was waited for in vain is not waited for until it was quiet.
        """
        if self._is_new:
            self._look()
            self._is_new = False
        started = self._clock()
        while self._disturbance and not (self._waited_in_vain or self._in_a_hurry):
            left_s = self._limits.wait_s - (self._clock() - started)
            if left_s < SHORTEST_STEP_S:
                self._waited_in_vain = True
                break
            self._seen = self._read()
            self._sleep(min(STEP_S, left_s))
            self._look()
        self._waited_s += self._clock() - started
        self._seen = self._read()
        self._counts_block = False

    def after_trial(self) -> bool:
        """Whether the block that this trial belongs to must be measured again, both arms."""
        self._look()
        if self._disturbance is None or self._counts_block:
            return False
        if len(self._repeated) < self._most_repeats and not self._in_a_hurry:
            self._repeated.append(self._disturbance.cause)
            return True
        self._counts_block = True
        self._kept += 1
        return False

    def _look(self) -> None:
        """Judge the time since the last reading; too short a time says nothing new."""
        before, self._seen = self._seen, self._read()
        if self._seen.total_s <= before.total_s:
            return
        self._disturbance = _disturbance(before, self._seen, self._limits)
        if self._disturbance is None:
            self._waited_in_vain = False


def _disturbance(before: Activity, after: Activity, limits: Noise) -> Disturbance | None:
    total_s = after.total_s - before.total_s
    own_s = after.own_s - before.own_s
    shares = {
        Cause.LOAD: (after.busy_s - before.busy_s - own_s) / total_s,
        Cause.STEAL: (after.steal_s - before.steal_s) / total_s,
    }
    most = {Cause.LOAD: limits.max_load, Cause.STEAL: limits.max_steal}
    for cause, share in shares.items():
        if share > most[cause] and most[cause] < 1:
            return Disturbance(cause, share)
    return None


def _cpu_lines(root: Path) -> list[tuple[int, list[int]]]:
    try:
        text = (root / "proc/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    return [
        (int(row[0][3:]), [int(field) for field in row[1:]])
        for row in rows
        if row[0][3:].isdecimal() and len(row) > _COUNTED
    ]
