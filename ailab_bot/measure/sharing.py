"""Looks at who else uses the machine: the hypervisor's other guests, other processes, a quota."""

from __future__ import annotations

from ailab_bot.measure.findings import found
from ailab_bot.measure.kernel import Kernel
from ailab_bot.measure.processor import is_virtual, usable
from ailab_bot.model.diagnosis import Finding, Level
from ailab_bot.model.noise import MAX_LOAD

#: Share of the CPU time since boot from which stolen time is worth a warning: of a trial of one
#: second, it takes 10 ms and more.
NOTABLE_STEAL = 0.01


def steal(kernel: Kernel) -> Finding:
    fields = [int(field) for field in kernel.value("/proc/stat", "cpu").split()[:8]]
    virtual = is_virtual(kernel)
    if len(fields) < 8 or not sum(fields):
        return found("stolen time", "not counted here", Level.UNKNOWN)
    share = fields[7] / sum(fields)
    if not virtual and not fields[7]:
        return found("stolen time", "none; no hypervisor is seen")
    if not fields[7]:
        state = "a virtual machine that reports none, which its host need not do"
        return found("stolen time", state, Level.UNKNOWN)
    state = f"{share * 100:.2f} % of the CPU since boot"
    if share < NOTABLE_STEAL:
        return found("stolen time", f"{state}, in a virtual machine")
    advice = "Take a machine with cores of its own, not one with shared or burstable ones."
    return found("stolen time", state, Level.WARN, advice)


def load(kernel: Kernel) -> Finding:
    first = (kernel.text("/proc/loadavg").split() or [""])[0]
    count = len(usable(kernel)) or 1
    try:
        average = float(first)
    except ValueError:
        return found("other work", "not known", Level.UNKNOWN)
    state = f"load {average:.2f} over the last minute on {count} cores"
    if average <= MAX_LOAD * count:
        return found("other work", state)
    return found("other work", state, Level.WARN, "See `top`; run one job at a time on a runner.")


def quota(kernel: Kernel) -> Finding:
    limits = sorted(_limits(kernel))
    if not limits:
        if not kernel.text("/proc/self/cgroup"):
            return found("CPU quota", "not known", Level.UNKNOWN)
        return found("CPU quota", "none")
    cores, period_us = limits[0]
    state = f"{cores:g} cores' time in every {period_us / 1000:g} ms"
    throttled = max(
        (kernel.count(f"{group}/cpu.stat", "nr_throttled") or 0 for group in kernel.groups("cpu")),
        default=0,
    )
    if throttled:
        state += f"; stopped in {throttled} periods so far"
    advice = "Give the container whole cores (docker: --cpuset-cpus) in place of a quota (--cpus)."
    return found("CPU quota", state, Level.WARN, advice)


def _limits(kernel: Kernel) -> set[tuple[float, int]]:
    """Cores' worth of time, and the period in microseconds, of each group that limits us."""
    found: set[tuple[float, int]] = set()
    for group in kernel.groups("cpu"):
        words = kernel.text(f"{group}/cpu.max").split()
        if len(words) < 2:  # the first version of control groups
            files = (f"{group}/cpu.cfs_quota_us", f"{group}/cpu.cfs_period_us")
            words = [kernel.text(file) for file in files]
        if all(word.isdecimal() and int(word) for word in words[:2]):  # else `max` or -1
            found.add((int(words[0]) / int(words[1]), int(words[1])))
    return found
