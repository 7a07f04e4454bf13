"""Watches which files and folders below a folder are opened, by whatever process: inotify.

Sees what a probe inside Python cannot: native code that opens files, and programs in other
languages. Does not see who opened, nor what was looked for and not there (see inotify(7)).
Refuses to fail: where the kernel gives no watch, or loses an event, it says so.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

# <sys/inotify.h>
_OPEN, _OVERFLOW, _IS_FOLDER = 0x20, 0x4000, 0x40000000
#: The kernel makes one of two equal events in a row that nobody has read: closing between keeps
#: opening and opening again apart.
_CLOSE = 0x08 | 0x10
_NONBLOCK = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("iIII")
#: Folders watched at the most: a watch takes about 1 KiB of the kernel's memory.
MOST_FOLDERS = 50_000
#: Not part of what a commit holds.
_IGNORED = {b".git"}


@dataclass
class Opens:
    """Paths as the file system has them, relative to the watched folder; its root is b"".

    Each with how often it was opened; what was opened twice at the very same time may count once.
    `links`: symbolic links, and what each says. `lost`: why something may be missing
    here; empty where nothing is.
    """

    files: Counter[bytes] = field(default_factory=Counter)
    folders: Counter[bytes] = field(default_factory=Counter)
    links: dict[bytes, bytes] = field(default_factory=dict)
    lost: str = ""


@contextmanager
def watch_opens(folder: Path) -> Iterator[Opens]:
    """What is opened below `folder` while the context lasts; complete after its end."""
    found = Opens()
    descriptor = _start()
    if descriptor < 0:
        found.lost = "this system does not tell which files are opened (no inotify)"
        yield found
        return
    places = _watch(descriptor, os.fsencode(folder), found)
    wake_read, wake = os.pipe()
    reader = threading.Thread(
        target=_read, args=(descriptor, wake_read, places, found), daemon=True
    )
    reader.start()
    try:
        yield found
    finally:
        os.write(wake, b".")
        reader.join()
        for each in (descriptor, wake, wake_read):
            os.close(each)


def _start() -> int:
    try:
        return int(ctypes.CDLL(None, use_errno=True).inotify_init1(_NONBLOCK))
    except (OSError, AttributeError):
        return -1


def _watch(descriptor: int, root: bytes, found: Opens) -> dict[int, bytes]:
    """The watched folders by their watch; links are not followed. All are listed before the first
    is watched, as listing opens them."""
    add = ctypes.CDLL(None, use_errno=True).inotify_add_watch
    places: dict[int, bytes] = {}
    folders = []
    for where, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _IGNORED]
        folders.append(where)
        for path in (where + b"/" + name for name in (*names, *files)):
            with suppress(OSError):  # nearly none is a link
                found.links[os.path.relpath(path, root)] = os.readlink(path)  # noqa: PTH115
    for where in folders:
        watch = add(descriptor, where, _OPEN | _CLOSE) if len(places) < MOST_FOLDERS else -1
        if watch < 0:
            found.lost = "the repository has more folders than this system lets be watched"
            break
        places[watch] = os.path.relpath(where, root) if where != root else b""
    return places


def _read(descriptor: int, wake: int, places: dict[int, bytes], found: Opens) -> None:
    """Until woken, and then what is left."""
    going = True
    while going:
        ready, _, _ = select.select([descriptor, wake], [], [])
        going = wake not in ready
        while True:
            try:
                data = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                break
            _take(data, places, found)


def _take(data: bytes, places: dict[int, bytes], found: Opens) -> None:
    start = 0
    while start < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, start)
        start += _EVENT.size
        name = data[start : start + length].rstrip(b"\0")
        start += length
        if mask & _OVERFLOW:
            found.lost = "more files were opened at once than this system keeps count of"
        elif mask & _OPEN and watch in places:
            where = places[watch]
            if not mask & _IS_FOLDER:
                found.files[where + b"/" + name if where else name] += 1
            elif not name:  # its parent's watch tells the same once more
                found.folders[where] += 1
