"""Made-up machines: trees of /proc and /sys as the kernel shows them, below a folder of a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: A quiet machine on bare metal with two cores.
QUIET = {
    "/proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-1\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu tsc\n",
    "/proc/stat": "cpu  500 0 100 9000 0 0 0 0 0 0\n"
    "cpu0 250 0 50 4500 0 0 0 0 0 0\ncpu1 250 0 50 4500 0 0 0 0 0 0\nctxt 9\n",
    "/proc/loadavg": "0.05 0.01 0.00 1/90 77\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/mountinfo": "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "21 20 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "/proc/sys/kernel/randomize_va_space": "2\n",
    "/proc/self/personality": "00000000\n",
    "/proc/sys/kernel/perf_event_paranoid": "2\n",
    "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "/proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable:   12000000 kB\n",
    "/sys/devices/system/cpu/online": "0-1\n",
    "/sys/devices/system/cpu/smt/active": "0\n",
    "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0\n",
    "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "1\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "/sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm\n",
}
VIRTUAL = {"/proc/cpuinfo": "model name\t: A Processor\nflags\t\t: fpu tsc hypervisor\n"}


def machine(root: Path, changes: Mapping[str, str | None]) -> Path:
    """The quiet machine with these files in place of its own; None: without the file."""
    for path, text in (QUIET | dict(changes)).items():
        if text is not None:
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return root


def cores(count: int, threads_each: int = 1, nodes: int = 1) -> dict[str, str | None]:
    """Files of a machine with so many hardware threads; a core's threads are neighbours."""
    files: dict[str, str | None] = {
        "/proc/self/status": f"Cpus_allowed_list:\t0-{count - 1}\n",
        "/sys/devices/system/cpu/online": f"0-{count - 1}\n",
    }
    for core in range(count):
        first = core - core % threads_each
        text = f"{first}-{first + threads_each - 1}\n" if threads_each > 1 else f"{core}\n"
        files[f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"] = text
    for node in range(nodes):
        low = node * count // nodes
        high = (node + 1) * count // nodes - 1
        files[f"/sys/devices/system/node/node{node}/cpulist"] = f"{low}-{high}\n"
    return files
