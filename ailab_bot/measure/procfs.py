"""Reads what Linux knows about a process tree: who is in it, and what it has used so far.

Degrades instead of failing: a process that ends while it is read counts as not there, and on a
system without /proc every list is empty. Never sends a signal; that is `execute`'s duty.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """What a set of live processes used since each started; seconds, bytes and counts.

    `peak_rss_bytes` adds each process's own peak, so pages that processes share count once for
    each: an upper bound of the tree's peak. `cpu_s` includes threads that ended and children that
    were waited for; `run_delay_s` (time spent runnable, waiting for a core) and the context
    switches only live threads.
    """

    cpu_s: float = 0.0
    stime_s: float = 0.0
    run_delay_s: float = 0.0
    peak_rss_bytes: int = 0
    nvcsw: int = 0
    nivcsw: int = 0
    minflt: int = 0
    majflt: int = 0


def descendants(root: int, without: Collection[int] = ()) -> list[int]:
    """Process ids of all live or zombie descendants of `root`, parents before children.

    Leaves out the processes in `without` with everything below them.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    heap = [root]
    while heap:
        below = [pid for pid in children.get(heap.pop(), []) if pid not in without]
        found.extend(below)
        heap.extend(below)
    return found


def is_zombie(pid: int) -> bool:
    fields = _stat_fields(pid)
    return fields is None or fields[0] in {"Z", "X"}


def usage(pids: Iterable[int]) -> Usage:
    """Add up what the live processes among `pids` have used."""
    tick = os.sysconf("SC_CLK_TCK")
    cpu = stime = delay = 0.0
    rss = nvcsw = nivcsw = minflt = majflt = 0
    for pid in pids:
        fields = _stat_fields(pid)
        if fields is None:
            continue
        # Field numbers of proc(5), shifted by the three before the state's successor.
        minflt += int(fields[7]) + int(fields[8])
        majflt += int(fields[9]) + int(fields[10])
        stime += (int(fields[12]) + int(fields[14])) / tick
        waited_for = (int(fields[13]) + int(fields[14])) / tick
        cpu += (_process_clock(pid) or (int(fields[11]) + int(fields[12])) / tick) + waited_for
        rss += _status_number(_PROC / str(pid) / "status", "VmHWM:") * 1024
        for task in _list(_PROC / str(pid) / "task"):
            delay += _run_delay(task / "schedstat")
            nvcsw += _status_number(task / "status", "voluntary_ctxt_switches:")
            nivcsw += _status_number(task / "status", "nonvoluntary_ctxt_switches:")
    return Usage(cpu, stime, delay, rss, nvcsw, nivcsw, minflt, majflt)


def steal_s() -> float:
    """Seconds that the hypervisor gave to others, over all cores since boot (10 ms steps)."""
    fields = _read(_PROC / "stat").split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


def oom_kills() -> int:
    """How many processes the kernel's out-of-memory killer has ended since boot."""
    return _status_number(_PROC / "vmstat", "oom_kill ")


def _parents() -> Iterable[tuple[int, int]]:
    for entry in _list(_PROC):
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields is not None:
                yield int(entry.name), int(fields[1])


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (the name before may hold blanks)."""
    text = _read(_PROC / str(pid) / "stat")
    return text.rpartition(")")[2].split() if text else None


def _process_clock(pid: int) -> float | None:
    """CPU seconds with nanosecond steps: /proc/PID/stat counts ticks of 10 ms.

    The clock id is MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def _run_delay(path: Path) -> float:
    fields = _read(path).split()
    return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0


def _status_number(path: Path, key: str) -> int:
    for line in _read(path).splitlines():
        if line.startswith(key):
            return int(line[len(key) :].split()[0])
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _list(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []
