"""Instructions retired by the process tree, where the kernel and the machine count them.

Most virtual machines do not: then `open_counter` returns None and the covariate is absent.
The call is perf_event_open(2), which has no wrapper in libc or in Python.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS = 0, 1
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK = 1, 1

_SYSCALL = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTE_SIZE = 112  # PERF_ATTR_SIZE_VER5; the kernel accepts every published size
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 1, 1 << 5, 1 << 6


@dataclass
class Counter:
    """Counts the calling thread and everything it starts from now on. Close it after use."""

    inherited: int
    own: int

    def read(self) -> int:
        """Count of the started processes alone: everything, less the calling thread's share."""
        return _value(self.inherited) - _value(self.own)

    def close(self) -> None:
        os.close(self.inherited)
        os.close(self.own)


def open_counter(
    kind: int = PERF_TYPE_HARDWARE, event: int = PERF_COUNT_HW_INSTRUCTIONS
) -> Counter | None:
    """A counter of user-space events, or None where there is none to be had."""
    inherited = _perf_event_open(kind, event, _INHERIT)
    if inherited is None:
        return None
    own = _perf_event_open(kind, event, 0)
    if own is None:
        os.close(inherited)
        return None
    return Counter(inherited, own)


def _perf_event_open(kind: int, event: int, flags: int) -> int | None:
    number = _SYSCALL.get(platform.machine())
    if number is None or platform.system() != "Linux":
        return None
    flags |= _EXCLUDE_KERNEL | _EXCLUDE_HV
    attribute = struct.pack("IIQQQQQ", kind, _ATTRIBUTE_SIZE, event, 0, 0, 0, flags)
    buffer = ctypes.create_string_buffer(attribute, _ATTRIBUTE_SIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    this_thread, any_cpu, no_group, close_on_exec = 0, -1, -1, 8
    descriptor = libc.syscall(number, buffer, this_thread, any_cpu, no_group, close_on_exec)
    return int(descriptor) if descriptor >= 0 else None


def _value(descriptor: int) -> int:
    return int(struct.unpack("q", os.read(descriptor, 8))[0])
