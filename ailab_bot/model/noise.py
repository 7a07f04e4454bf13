"""What a user may ask of noise control, and what it had to do. Plain data; no I/O, no timings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

#: Cores to pin trials to; "off" leaves them to the scheduler, "auto" asks the machine.
Pin = Literal["auto", "off"] | tuple[int, ...]

#: Share of the CPU that other processes may take while a trial runs. On two cores a neighbour that
#: keeps one of them busy takes 0.5 and a quiet machine below 0.08 (docs/noise.md, *The limits*).
MAX_LOAD = 0.3
#: Share of the CPU that the hypervisor may give to others. Well above what an ordinary cloud
#: machine shows: only a machine that is being starved passes it.
MAX_STEAL = 0.1
#: Seconds to wait for a busy machine before a block, and then no more until it was quiet once.
WAIT_S = 5.0
#: Of a scenario's share of the capacity, what one wait may take at most.
WAIT_SHARE = 0.05
#: Share of a verdict's blocks that one scenario may measure again: a machine that is never quiet
#: costs at most a quarter more, and then counts as it is.
REPEATS = 0.25

#: No machine that we know has more; it bounds what a range in the configuration can ask for.
HIGHEST_CORE = 8191
_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


@dataclass(frozen=True)
class Noise:
    """`noise:` of the configuration. `threads` None leaves the numbers of threads as they are.

    `max_load` and `max_steal` are shares of the CPU time of the cores that trials may use; 1 turns
    a check off.
    """

    pin: Pin = "off"
    threads: int | None = None
    max_load: float = MAX_LOAD
    max_steal: float = MAX_STEAL
    wait_s: float = WAIT_S


class Cause(StrEnum):
    """What disturbed a trial."""

    LOAD = "load"
    STEAL = "steal"


@dataclass(frozen=True)
class Disturbance:
    """Over the period of one trial, `cause` took the `share` of the CPU, which is too much."""

    cause: Cause
    share: float


@dataclass(frozen=True)
class Unrest:
    """What the quiet gate had to do for one scenario.

    `repeated`: the cause of each block that was measured again. `kept`: disturbed blocks that
    count all the same, as no more could be repeated. `waited_s`: before blocks, in all.
    """

    repeated: tuple[Cause, ...] = ()
    kept: int = 0
    waited_s: float = 0.0


def parse_cores(text: str) -> tuple[int, ...]:
    """Core numbers from the kernel's list format, `0-3,6`; ValueError for anything else."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"`{part:.20}` is no core and no range of cores")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= HIGHEST_CORE:
            raise ValueError(f"`{part:.20}` is no range of cores")
        cores.update(range(first, last + 1))
    return tuple(sorted(cores))


def cores_text(cores: Iterable[int]) -> str:
    """Core numbers as the kernel writes them: `0-3,6`."""
    ranges: list[list[int]] = []
    for core in sorted(set(cores)):
        if ranges and core == ranges[-1][1] + 1:
            ranges[-1][1] = core
        else:
            ranges.append([core, core])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)
