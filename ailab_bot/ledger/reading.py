"""Reads what history holds at one commit of its branch, in a clone that has fetched it.

Refuses to fetch anything, and to believe a record: its text is for `records` to read strictly.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

from ailab_bot.ledger.git_branch import LedgerError, Place, is_place, unbound_environ
from ailab_bot.ledger.records import LARGEST_BYTES

#: Either command reads the clone alone; what takes longer hangs.
_TIMEOUT_S = 60.0


def list_places(clone: Path, tip: str) -> tuple[Place, ...]:
    """The places of all records; files with other names are none. LedgerError where git fails."""
    names = _git(clone, "ls-tree", "-r", "-z", "--name-only", "--full-tree", tip)
    places = (tuple(name.split("/")) for name in names.decode("utf-8", "replace").split("\0"))
    return tuple(place for place in places if len(place) == 4 and is_place(place))


def read_texts(clone: Path, tip: str, places: Collection[Place]) -> dict[Place, str]:
    """The records' texts; what is missing, too large or not UTF-8 is left out."""
    asked = "".join(f"{tip}:{'/'.join(place)}\n" for place in places)
    answer = _git(clone, "cat-file", "--batch", text=asked)
    found: dict[Place, str] = {}
    start = 0
    for place in places:
        end = answer.index(b"\n", start)
        words = answer[start:end].split()
        start = end + 1
        if words[-1:] == [b"missing"] or len(words) != 3:
            continue
        size = int(words[2])
        data = answer[start : start + size]
        start += size + 1
        if words[1] == b"blob" and size <= LARGEST_BYTES:
            try:
                found[place] = data.decode("utf-8")
            except UnicodeDecodeError:
                continue
    return found


def _git(clone: Path, *words: str, text: str = "") -> bytes:
    try:
        result = subprocess.run(
            ["git", *words],
            cwd=clone,
            env=unbound_environ(),
            input=text.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LedgerError("history cannot be read", why=str(error)) from error
    if result.returncode:
        why = result.stderr.decode("utf-8", "replace").strip()
        raise LedgerError("history cannot be read", why=why)
    return result.stdout
