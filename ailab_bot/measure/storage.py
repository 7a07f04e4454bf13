"""Looks at memory and disk: where the files of trials lie, and whether they stay in memory."""

from __future__ import annotations

from ailab_bot.measure.findings import found
from ailab_bot.measure.kernel import Kernel, Mount
from ailab_bot.model.diagnosis import Finding, Level

_GIB = 1 << 30
#: Free disk below which a run is likely to end early: two environments with the CPU build of torch
#: take about this much.
LEAST_FREE_BYTES = 2 * _GIB
#: Memory that both arms' files need when nobody could add them up: torch's libraries and as much
#: again for the process that maps them.
LEAST_AVAILABLE_BYTES = 2 * _GIB
#: A trial's own memory comes on top of its files; half of what is available is left to it.
_SHARE_FOR_FILES = 0.5
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "lustre",
            "beegfs", "gpfs", "afs", "ocfs2", "gfs2")  # fmt: skip
_ELSEWHERE = "Set AILAB_CACHE_DIR to a folder on a local disk."
_IN_MEMORY = ("tmpfs", "ramfs")
_DISK_COSTS = {
    "local": "On a file system of the network or in memory, reads cost other than in production.",
    "overlay": "The layer goes with the container, so environments are made again each time.",
    "memory": "Files in memory take it from what is measured, and reads cost less than they do in "
    "production: a slowdown that is about reading may not show.",
    "network": "Every import asks the server, whose other users slow it down: noise and drift, so "
    "more blocks.",
}


def swap(kernel: Kernel) -> Finding:
    rows = [row.split() for row in kernel.text("/proc/swaps").splitlines()[1:]]
    sizes = [(int(row[2]), int(row[3])) for row in rows if len(row) > 3]
    if not sizes:
        if not kernel.text("/proc/meminfo"):
            return found("swap", "not known", Level.UNKNOWN)
        return found("swap", "none")
    used_kib = sum(used for _, used in sizes)
    if not used_kib:
        return found("swap", "there is some, and none of it is used")
    state = f"{_size(used_kib * 1024)} in use"
    return found("swap", state, Level.WARN, "Free memory, then `swapoff -a && swapon -a`.")


def huge_pages(kernel: Kernel) -> Finding:
    text = kernel.text("/sys/kernel/mm/transparent_hugepage/enabled")
    mode = text.partition("[")[2].partition("]")[0]
    if not mode:
        return found("huge pages", "not visible", Level.UNKNOWN)
    if mode != "always":
        return found("huge pages", f"transparent ones: {mode}")
    advice = "Keep it if production has it; else write `madvise` to "
    advice += "/sys/kernel/mm/transparent_hugepage/enabled."
    return found("huge pages", "transparent ones: always", Level.WARN, advice)


def disk(kernel: Kernel, folder: str, free_bytes: int | None) -> Finding:
    """`folder` holds checkouts and environments; `free_bytes` on its file system."""
    mount = kernel.mount_of(folder)
    place = _class_of(mount)
    state = "free space not known" if free_bytes is None else f"{_size(free_bytes)} free"
    state += f" on {mount.kind}" if mount else ", file system not known"
    cost = _DISK_COSTS[place]
    if free_bytes is not None and free_bytes < LEAST_FREE_BYTES:
        cost = "A full disk ends the run before its verdict."
        return Finding("disk", state, Level.WARN, cost, f"Free space there. {_ELSEWHERE}")
    if place in {"memory", "network"}:
        return Finding("disk", state, Level.WARN, cost, _ELSEWHERE)
    if place == "overlay":
        state += ", a container's own layer"
    known = mount is not None and free_bytes is not None
    return Finding("disk", state, Level.OK if known else Level.UNKNOWN, cost)


def page_cache(kernel: Kernel, files_bytes: int | None) -> Finding:
    """`files_bytes`: what both arms read in all, where somebody could add it up."""
    available_kib = kernel.count("/proc/meminfo", "MemAvailable")
    if available_kib is None:
        return found("page cache", "not known", Level.UNKNOWN)
    available = min([available_kib * 1024, *_memory_limits(kernel)])
    state = f"{_size(available)} of memory to be had"
    if files_bytes is None:
        enough = available >= LEAST_AVAILABLE_BYTES
    else:
        enough = files_bytes <= _SHARE_FOR_FILES * available
        state += f", both arms' files and packages take {_size(files_bytes)}"
    if enough:
        return found("page cache", state)
    advice = "Give the runner more memory, or stop what else uses it."
    return found("page cache", state, Level.WARN, advice)


def _memory_limits(kernel: Kernel) -> list[int]:
    """Limits of our control groups; a page of a file counts against them too."""
    files = ("memory.max", "memory.limit_in_bytes")
    limits = [
        kernel.number(f"{group}/{file}") for group in kernel.groups("memory") for file in files
    ]
    return [limit for limit in limits if limit is not None and limit > 0]


def _class_of(mount: Mount | None) -> str:
    kind = mount.kind if mount else ""
    if kind in _IN_MEMORY:
        return "memory"
    if kind in _NETWORK or kind.startswith("fuse."):
        return "network"
    return "overlay" if kind == "overlay" else "local"


def _size(count: int) -> str:
    if count < _GIB:
        return f"{count / (1 << 20):.0f} MiB"
    return f"{count / _GIB:.1f} GiB"
