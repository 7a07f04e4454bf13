"""Looks at the processor: cores, their speed, the layout of memory, clocks and counters."""

from __future__ import annotations

from ailab_bot.measure.cores import siblings
from ailab_bot.measure.findings import found
from ailab_bot.measure.kernel import Kernel
from ailab_bot.model.diagnosis import Finding, Level
from ailab_bot.model.noise import cores_text, parse_cores

_CLOCKS = "/sys/devices/system/clocksource/clocksource0"
#: Clocks that the kernel reads without leaving the program, or that a hypervisor makes as cheap.
_QUICK_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
#: perf_event_paranoid up to which an ordinary user may count its own processes' user-space events.
_COUNTING_ALLOWED = 2
_HIDDEN = "not visible; the host or the firmware decides"
_NO_RANDOMIZE = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2)


def cores(kernel: Kernel) -> Finding:
    may_use = usable(kernel)
    if not may_use:
        return found("cores", "not known", Level.UNKNOWN)
    all_cores = _list(kernel, "/sys/devices/system/cpu/online")
    state = f"{len(may_use)} usable ({cores_text(may_use)})"
    if len(all_cores) > len(may_use):
        state += f" of {len(all_cores)}"
    if len(may_use) == 1:
        return found("cores", state, Level.WARN, "Measure on two cores or more.")
    return found("cores", f"{state}; trials can be pinned")


def smt(kernel: Kernel) -> Finding:
    may_use = usable(kernel)
    groups = {frozenset(siblings(core, kernel.root)) for core in may_use}
    if any(len(group) > 1 for group in groups):
        state = f"on: {len(may_use)} threads on {len(groups)} physical cores"
        advice = "On a machine of its own: write `off` to /sys/devices/system/cpu/smt/control."
        return found("hyper-threads", state, Level.WARN, advice)
    if is_virtual(kernel):
        state = "none shown; a hypervisor may hide that two cores are threads of one"
        advice = "Where the provider offers it, rent whole cores."
        return found("hyper-threads", state, Level.UNKNOWN, advice)
    if not kernel.text("/sys/devices/system/cpu/smt/active"):
        return found("hyper-threads", "not known", Level.UNKNOWN)
    return found("hyper-threads", "off")


def governor(kernel: Kernel) -> Finding:
    where = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    names = sorted({kernel.text(where.format(core)) for core in usable(kernel)} - {""})
    if not names:
        return found("clock governor", _HIDDEN, Level.UNKNOWN)
    if names == ["performance"]:
        return found("clock governor", "performance")
    advice = "Set it: cpupower frequency-set --governor performance."
    return found("clock governor", ", ".join(names), Level.WARN, advice)


def turbo(kernel: Kernel) -> Finding:
    no_turbo = kernel.text("/sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = kernel.text("/sys/devices/system/cpu/cpufreq/boost")
    if no_turbo:
        is_on, switch = no_turbo == "0", "1` to /sys/devices/system/cpu/intel_pstate/no_turbo"
    elif boost:
        is_on, switch = boost != "0", "0` to /sys/devices/system/cpu/cpufreq/boost"
    else:
        return found("turbo", _HIDDEN, Level.UNKNOWN)
    if is_on:
        return found("turbo", "on", Level.WARN, f"Write `{switch}.")
    return found("turbo", "off")


def aslr(kernel: Kernel) -> Finding:
    """Left on, on purpose: a fixed layout is a hidden constant that may favour one arm."""
    setting = kernel.text("/proc/sys/kernel/randomize_va_space")
    if not setting:
        return found("address layout", "not known", Level.UNKNOWN)
    try:
        switched_off = int(kernel.text("/proc/self/personality") or "0", 16) & _NO_RANDOMIZE
    except ValueError:
        switched_off = 0
    if setting == "0" or switched_off:
        where = "for this process (setarch -R)" if setting != "0" else "for the machine"
        advice = "Turn it on: sysctl kernel.randomize_va_space=2."
        if setting != "0":
            advice = "Start ailab without `setarch -R`, which its trials inherit."
        return found("address layout", f"fixed {where}", Level.WARN, advice)
    state = "random in every trial, in both arms alike (ASLR on)"
    if setting == "1":
        state += "; the heap's start is not"
    return found("address layout", state)


def counters(kernel: Kernel, *, opened: bool) -> Finding:
    """`opened`: whether a counter of instructions could be had just now."""
    if opened:
        return found("instruction counter", "counts")
    paranoid = kernel.number("/proc/sys/kernel/perf_event_paranoid")
    if paranoid is not None and paranoid > _COUNTING_ALLOWED:
        state = f"not allowed (perf_event_paranoid is {paranoid})"
        advice = f"Allow it: sysctl kernel.perf_event_paranoid={_COUNTING_ALLOWED}."
    elif is_virtual(kernel):
        state = "the virtual machine has none"
        advice = "Bare metal has it, and a virtual machine whose host passes its counters on."
    else:
        state = "none to be had"
        advice = "In a container, its seccomp profile has to allow perf_event_open."
    return found("instruction counter", state, Level.WARN, advice)


def clock(kernel: Kernel) -> Finding:
    source = kernel.text(f"{_CLOCKS}/current_clocksource")
    if not source:
        return found("clock source", "not visible", Level.UNKNOWN)
    if source in _QUICK_CLOCKS:
        return found("clock source", source)
    others = kernel.text(f"{_CLOCKS}/available_clocksource")
    quick = [name for name in others.split() if name in _QUICK_CLOCKS]
    advice = (
        f"Write `{quick[0]}` to {_CLOCKS}/current_clocksource."
        if quick
        else "Ask the host for a processor with a constant time-stamp counter."
    )
    return found("clock source", source, Level.WARN, advice)


def usable(kernel: Kernel) -> tuple[int, ...]:
    """The cores that this process may use; empty where that cannot be seen."""
    try:
        return parse_cores(kernel.value("/proc/self/status", "Cpus_allowed_list"))
    except ValueError:
        return ()


def is_virtual(kernel: Kernel) -> bool:
    flags = kernel.value("/proc/cpuinfo", "flags").split()
    return "hypervisor" in flags or bool(kernel.text("/sys/hypervisor/type"))


def _list(kernel: Kernel, path: str) -> tuple[int, ...]:
    try:
        return parse_cores(kernel.text(path))
    except ValueError:
        return ()
