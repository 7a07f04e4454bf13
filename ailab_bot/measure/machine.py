"""Describes the machine that measures, and what about it makes measurements noisy. Reads only."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from ailab_bot.measure import processor, sharing, storage
from ailab_bot.measure.counters import open_counter
from ailab_bot.measure.kernel import Kernel
from ailab_bot.measure.quiet import usable_cores
from ailab_bot.model.diagnosis import Finding
from ailab_bot.model.report import Machine


def describe_machine(python_version: str) -> Machine:
    """`python_version`: of the arms' interpreter."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(usable_cores()),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=python_version,
    )


def machine_class() -> str:
    """Machines that are taken to be equally noisy: one processor model, as many usable cores."""
    cores = len(usable_cores())
    noun = "core" if cores == 1 else "cores"
    return f"{' '.join(_cpu_model().split())[:150]}, {cores} {noun}"


def inspect_machine(
    cache: Path, files_bytes: int | None = None, root: Path = Path("/")
) -> tuple[Finding, ...]:
    """What sets the noise on this machine, without changing anything about it.

    `cache` will hold checkouts and environments; `files_bytes`: what both arms read in all, where
    known. /proc and /sys are looked for below `root`.
    """
    kernel = Kernel(root)
    return (
        processor.cores(kernel),
        sharing.load(kernel),
        sharing.steal(kernel),
        sharing.quota(kernel),
        processor.smt(kernel),
        processor.governor(kernel),
        processor.turbo(kernel),
        processor.aslr(kernel),
        storage.page_cache(kernel, files_bytes),
        storage.swap(kernel),
        storage.huge_pages(kernel),
        storage.disk(kernel, os.path.realpath(cache), _free_bytes(cache)),
        processor.counters(kernel, opened=_can_count()),
        processor.clock(kernel),
    )


def _can_count() -> bool:
    counter = open_counter()
    if counter is not None:
        counter.close()
    return counter is not None


def _free_bytes(folder: Path) -> int | None:
    """Free for this user where `folder` is or will be."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


def _cpu_model() -> str:
    name = Kernel().value("/proc/cpuinfo", "model name")
    return name or platform.processor() or platform.machine()
