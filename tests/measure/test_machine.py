"""Findings about a machine, each state of each from the files that the kernel shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import QUIET, VIRTUAL, cores, machine

from ailab_bot.measure import processor, storage
from ailab_bot.measure.findings import COSTS
from ailab_bot.measure.kernel import Kernel
from ailab_bot.measure.machine import describe_machine, inspect_machine
from ailab_bot.model.diagnosis import Finding, Level

OK, WARN, UNKNOWN = Level.OK, Level.WARN, Level.UNKNOWN
CPU = "/sys/devices/system/cpu"
CLOCK = "/sys/devices/system/clocksource/clocksource0"


def inspected(root: Path, files_bytes: int | None = None) -> dict[str, Finding]:
    return {found.name: found for found in inspect_machine(root / "cache", files_bytes, root)}


def test_on_a_quiet_machine_there_is_nothing_to_warn_about(tmp_path: Path) -> None:
    found = inspected(machine(tmp_path, {}))
    counted_elsewhere = {"instruction counter", "disk"}  # these two ask the real machine
    assert {f.name for f in found.values() if f.level is not OK} <= counted_elsewhere


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path: Path) -> None:
    found = inspected(tmp_path)
    assert {f.name for f in found.values() if f.level is OK} <= {"instruction counter"}
    warned = {f.name for f in found.values() if f.level is WARN}
    assert warned <= {"instruction counter"}


def test_every_finding_says_what_it_costs_and_every_warning_what_to_do(tmp_path: Path) -> None:
    for found in [*inspected(tmp_path).values(), *inspect_machine(tmp_path)]:
        assert found.cost
        assert found.level is not WARN or found.advice
    assert not any(character.isdigit() for cost in COSTS.values() for character in cost)


V1 = (
    QUIET["/proc/self/mountinfo"]
    + "22 20 0:8 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
)

STATES: dict[str, tuple[dict[str, str | None], str, Level, str]] = {
    "one core": (cores(1), "cores", WARN, "1 usable (0)"),
    "fewer cores than there are": (
        {f"{CPU}/online": "0-7\n"},
        "cores",
        OK,
        "2 usable (0-1) of 8; trials can be pinned",
    ),
    "hyper-threads": (cores(4, 2), "hyper-threads", WARN, "4 threads on 2 physical cores"),
    "hidden hyper-threads": (VIRTUAL, "hyper-threads", UNKNOWN, "may hide"),
    "no topology": ({f"{CPU}/smt/active": None}, "hyper-threads", UNKNOWN, "not known"),
    "a governor that follows": (
        {f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil\n"},
        "clock governor",
        WARN,
        "performance, schedutil",
    ),
    "no governor": (
        {f"{CPU}/cpu{core}/cpufreq/scaling_governor": None for core in (0, 1)},
        "clock governor",
        UNKNOWN,
        "not visible",
    ),
    "turbo of Intel": ({f"{CPU}/intel_pstate/no_turbo": "0\n"}, "turbo", WARN, "on"),
    "boost of AMD": (
        {f"{CPU}/intel_pstate/no_turbo": None, f"{CPU}/cpufreq/boost": "1\n"},
        "turbo",
        WARN,
        "on",
    ),
    "boost off": (
        {f"{CPU}/intel_pstate/no_turbo": None, f"{CPU}/cpufreq/boost": "0\n"},
        "turbo",
        OK,
        "off",
    ),
    "no turbo": ({f"{CPU}/intel_pstate/no_turbo": None}, "turbo", UNKNOWN, "not visible"),
    "ASLR": ({}, "address layout", OK, "random in every trial"),
    "half of ASLR": (
        {"/proc/sys/kernel/randomize_va_space": "1\n"},
        "address layout",
        OK,
        "heap's start is not",
    ),
    "no ASLR": (
        {"/proc/sys/kernel/randomize_va_space": "0\n"},
        "address layout",
        WARN,
        "fixed for the machine",
    ),
    "no ASLR here": (
        {"/proc/self/personality": "00040000\n"},
        "address layout",
        WARN,
        "setarch -R",
    ),
    "stolen time": (
        VIRTUAL | {"/proc/stat": "cpu  500 0 100 9000 0 0 0 400 0 0\n"},
        "stolen time",
        WARN,
        "4.00 %",
    ),
    "a little stolen time": (
        VIRTUAL | {"/proc/stat": "cpu  500 0 100 9000 0 0 0 4 0 0\n"},
        "stolen time",
        OK,
        "0.04 %",
    ),
    "a hypervisor that says nothing": (VIRTUAL, "stolen time", UNKNOWN, "reports none"),
    "a kernel that counts nothing": (
        {"/proc/stat": "cpu  0 0 0 0 0 0 0 0 0 0\n"},
        "stolen time",
        UNKNOWN,
        "not counted",
    ),
    "other work": ({"/proc/loadavg": "1.50 1 1 2/90 7\n"}, "other work", WARN, "load 1.50"),
    "no quota": ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, "CPU quota", OK, "none"),
    "a quota": (
        {
            "/proc/self/cgroup": "0::/jobs/one\n",
            "/sys/fs/cgroup/jobs/one/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/jobs/cpu.max": "150000 100000\n",
            "/sys/fs/cgroup/jobs/cpu.stat": "nr_periods 9\nnr_throttled 7\n",
        },
        "CPU quota",
        WARN,
        "1.5 cores' time in every 100 ms; stopped in 7 periods",
    ),
    "a quota of the first version": (
        {
            "/proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/docker/x\n",
            "/proc/self/mountinfo": V1,
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        "CPU quota",
        WARN,
        "0.5 cores' time",
    ),
    "no quota of the first version": (
        {
            "/proc/self/cgroup": "3:cpu,cpuacct:/docker/x\n",
            "/proc/self/mountinfo": V1,
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        "CPU quota",
        OK,
        "none",
    ),
    "swap in use": (
        {"/proc/swaps": "Filename Type Size Used Priority\n/swap file 4096000 204800 -2\n"},
        "swap",
        WARN,
        "200 MiB in use",
    ),
    "swap": (
        {"/proc/swaps": "Filename Type Size Used Priority\n/swap file 4096000 0 -2\n"},
        "swap",
        OK,
        "none of it is used",
    ),
    "huge pages": (
        {"/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n"},
        "huge pages",
        WARN,
        "always",
    ),
    "little memory": (
        {"/proc/meminfo": "MemAvailable: 900000 kB\n"},
        "page cache",
        WARN,
        "879 MiB",
    ),
    "a memory limit": (
        {"/sys/fs/cgroup/memory.max": "1073741824\n"},
        "page cache",
        WARN,
        "1.0 GiB",
    ),
    "no memory limit": ({"/sys/fs/cgroup/memory.max": "max\n"}, "page cache", OK, "11.4 GiB"),
    "a slow clock": (
        {f"{CLOCK}/current_clocksource": "hpet\n"},
        "clock source",
        WARN,
        "hpet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_each_state_of_a_machine_is_told(name: str, tmp_path: Path) -> None:
    files, finding, level, state = STATES[name]
    found = inspected(machine(tmp_path, files))[finding]
    assert found.level is level, found
    assert state in found.state


def test_the_page_cache_must_hold_the_files_of_both_arms(tmp_path: Path) -> None:
    machine(tmp_path, {})
    assert inspected(tmp_path, 3 << 30)["page cache"].level is OK
    found = inspected(tmp_path, 9 << 30)["page cache"]
    assert found.level is WARN
    assert "9.0 GiB" in found.state
    assert "bias" in found.cost


@pytest.mark.parametrize(
    ("mounts", "level", "state"),
    [
        ("", OK, "9.0 GiB free on ext4"),
        ("30 20 0:5 / /home rw - tmpfs tmpfs rw\n", WARN, "tmpfs"),
        ("30 20 0:5 / /home rw - nfs4 server:/home rw\n", WARN, "nfs4"),
        ("30 20 0:5 / /home/a\\040b rw - fuse.sshfs s rw\n", WARN, "fuse.sshfs"),
        ("30 20 0:5 / / rw - overlay overlay rw\n", OK, "overlay, a container's own layer"),
        ("30 20 0:5 / /home/a rw - tmpfs tmpfs rw\n", OK, "ext4"),
        ("30 20 0:5 / /home rw - nfs4 s rw\n31 20 8:2 / /home rw - xfs /dev/sdb rw\n", OK, "xfs"),
    ],
)
def test_the_file_system_of_the_cache_is_named(
    mounts: str, level: Level, state: str, tmp_path: Path
) -> None:
    text = QUIET["/proc/self/mountinfo"] + mounts
    kernel = Kernel(machine(tmp_path, {"/proc/self/mountinfo": text}))
    found = storage.disk(kernel, "/home/a b/cache", 9 << 30)
    assert found.level is level, found
    assert state in found.state
    assert found.level is OK or "AILAB_CACHE_DIR" in found.advice


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    found = storage.disk(Kernel(machine(tmp_path, {})), "/cache", 100 << 20)
    assert (found.level, "100 MiB free" in found.state) == (WARN, True)


@pytest.mark.parametrize(
    ("files", "opened", "level", "advice"),
    [
        ({}, True, OK, ""),
        ({"/proc/sys/kernel/perf_event_paranoid": "4\n"}, False, WARN, "perf_event_paranoid=2"),
        (VIRTUAL, False, WARN, "Bare metal"),
        ({}, False, WARN, "seccomp"),
    ],
)
def test_a_missing_instruction_counter_has_its_reason(
    files: dict[str, str | None], opened: bool, level: Level, advice: str, tmp_path: Path
) -> None:
    found = processor.counters(Kernel(machine(tmp_path, files)), opened=opened)
    assert found.level is level
    assert advice in found.advice


def test_a_quick_clock_is_proposed_in_place_of_a_slow_one(tmp_path: Path) -> None:
    found = inspected(machine(tmp_path, {f"{CLOCK}/current_clocksource": "acpi_pm\n"}))
    assert f"Write `tsc` to {CLOCK}/current_clocksource." in found["clock source"].advice


def test_the_real_machine_is_looked_at_without_an_error(tmp_path: Path) -> None:
    found = {item.name: item for item in inspect_machine(tmp_path)}
    assert found["cores"].level is not UNKNOWN
    assert found["page cache"].level is not UNKNOWN
    assert describe_machine("3.11").cores >= 1
