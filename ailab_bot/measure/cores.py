"""Which cores trials run on: the same for both arms, or the scheduler's choice.

Pinning takes cores away from a program, and with them threads that it would have started, so it
is never on unless the configuration asks for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.measure.quiet import usable_cores
from ailab_bot.model.noise import Pin, cores_text, parse_cores

#: With fewer physical cores, leaving one out changes a program more than it quietens it.
LEAST_CORES_TO_LEAVE_ONE = 4
#: What the common numeric libraries read at their start. OpenMP's is torch's too.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def choose_cores(pin: Pin, root: Path = Path("/"), usable: Iterable[int] = ()) -> tuple[int, ...]:
    """The cores that every trial gets; empty: no pinning. `usable` and `root` are for tests.

    `auto` keeps trials on one memory node, and off the physical core that takes most interrupts
    where enough others are left; on a small machine it pins nothing. UserError for cores that this
    process may not use.
    """
    may_use = set(usable) or usable_cores()
    if pin == "off":
        return ()
    if pin != "auto":
        missing = set(pin) - may_use
        if missing:
            raise UserError(
                f"cannot pin trials to cores {cores_text(pin)}",
                why=f"This process may use {cores_text(may_use)}, so not {cores_text(missing)}.",
                advice="Set `noise: {pin: …}` to cores of this machine, or to auto or off.",
            )
        return pin
    cores = _largest_node(may_use, root)
    first = siblings(min(may_use), root)
    physical = {min(siblings(core, root) & cores) for core in cores}
    if len(physical) >= LEAST_CORES_TO_LEAVE_ONE:
        cores -= first
    return tuple(sorted(cores)) if cores != may_use else ()


def thread_variables(threads: int | None) -> Mapping[str, str]:
    """Variables that give each arm this number of threads; none leaves what the user has set."""
    return {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))


def siblings(core: int, root: Path = Path("/")) -> set[int]:
    """The hardware threads of this core's physical core, itself included."""
    path = root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
    return _core_list(path) | {core}


@contextlib.contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """Whatever is started inside runs on these cores, and so does all that it starts.

    A child inherits its parent's cores. Changing ours for a moment, and not the child's between
    fork and exec, leaves Python its fastest and safest way of starting a process.
    """
    wanted = set(cores)
    if not wanted:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        raise RunnerError(
            f"cannot pin a trial to cores {cores_text(wanted)}",
            why=error.strerror or str(error),
            advice="The machine took them away while it measured; set `noise: {pin: off}`.",
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _largest_node(may_use: set[int], root: Path) -> set[int]:
    nodes = [
        _core_list(path) & may_use
        for path in sorted((root / "sys/devices/system/node").glob("node[0-9]*/cpulist"))
    ]
    return max(nodes, key=lambda node: (len(node), -min(node, default=0)), default=set()) or set(
        may_use
    )


def _core_list(path: Path) -> set[int]:
    try:
        return set(parse_cores(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()
