"""History that could not be written: kept as files in a folder, and written later.

A verdict never waits for history and never fails for want of it. Refuses to lose a record: a file
leaves the folder only when the ledger holds its record.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import AilabError
from ailab_bot.ledger.git_branch import (
    Ledger,
    LedgerError,
    Place,
    RecordConflictError,
    append,
    check_place,
    is_place,
)

#: Records in one commit: what is queued in a bad hour goes in a few pushes.
MOST_AT_ONCE = 500
#: Refused records lie here: they need a person, and must not stop the others.
_REFUSED = ".refused"


@dataclass(frozen=True)
class Replay:
    """What came of writing a queue. `left` wait for the next time, `refused` for a person."""

    written: int
    left: int
    refused: tuple[Place, ...] = ()
    problem: str = ""


def record(
    ledger: Ledger,
    queue: Path,
    records: Mapping[Place, str],
    *,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> str:
    """Append the records, or queue them. Returns why they were queued, nothing if written.

    Raises RecordConflictError alone: one that cannot be written later either.
    """
    try:
        append(ledger, records, sleep=sleep, rng=rng)
    except RecordConflictError:
        raise
    except AilabError as error:
        for place, text in records.items():
            enqueue(queue, place, text)
        return f"{error.what}: {error.why}"
    return ""


def enqueue(queue: Path, place: Place, text: str) -> Path:
    """Keep one record; it is there whole or not at all, also after a crash."""
    check_place(place)
    path = queue.joinpath(*place)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = queue / f".new-{secrets.token_hex(8)}"
    try:
        with new.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def replay(
    ledger: Ledger, queue: Path, *, sleep: Callable[[float], None], rng: random.Random
) -> Replay:
    """Write what is queued, oldest name first. Never raises for what the remote or a record does:
    that is for the caller to show."""
    waiting = _waiting(queue)
    refused: list[Place] = []
    written = 0
    while waiting:
        batch = dict(list(waiting.items())[:MOST_AT_ONCE])
        try:
            append(ledger, batch, sleep=sleep, rng=rng)
        except RecordConflictError as error:
            _set_aside(queue, error.place)
            refused.append(error.place)
            del waiting[error.place]
            continue
        except LedgerError as error:
            problem = f"{error.what}: {error.why}"
            return Replay(written, len(waiting), tuple(refused), problem)
        for place in batch:
            queue.joinpath(*place).unlink(missing_ok=True)
            del waiting[place]
        written += len(batch)
    return Replay(written, 0, tuple(refused))


def _waiting(queue: Path) -> dict[Place, str]:
    """The records by name. Links and what has no record's name are no records of ours."""
    found: dict[Place, str] = {}
    for path in sorted(queue.rglob("*")):
        place = path.relative_to(queue).parts
        if not is_place(place) or path.is_symlink() or not path.is_file():
            continue
        found[place] = path.read_text(encoding="utf-8")
    return found


def _set_aside(queue: Path, place: Place) -> None:
    aside = queue / _REFUSED / "_".join(place)
    aside.parent.mkdir(exist_ok=True)
    queue.joinpath(*place).replace(aside)
