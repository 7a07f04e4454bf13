"""Append-only history on a branch of the repository: one file per record, written once.

Many jobs write at the same time. Files never change, so a writer that comes too late only has to
put its files on top of what is there now: it fetches, builds a commit and pushes, without force.
Refuses to replace or remove anything: what a commit would do is read back before it is pushed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from ailab_bot.errors import AilabError
from ailab_bot.ledger.places import (
    LedgerError,
    Place,
    RecordConflictError,
    check_place,
    is_place,
)
from ailab_bot.ledger.plumbing import FaultError, blob_id
from ailab_bot.ledger.scratch import Ledger, Scratch, scratch

__all__ = [
    "MOST_FAULTS",
    "MOST_TRIES",
    "Ledger",
    "LedgerError",
    "Place",
    "RecordConflictError",
    "append",
    "check_place",
    "is_place",
    "push_in_turn",
]

_T = TypeVar("_T")

#: Pushes that other writers may be faster than. Of sixteen writers that start together the last
#: has sixteen rounds to go; a round that nobody wins does not exist.
MOST_TRIES = 30
#: Failures of the connection that are worth another try; a minute of outage is not waited out.
MOST_FAULTS = 3
#: Full jitter: a wait is drawn from 0 to this, doubled with each try up to the longest.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 3.0
#: Folders named to one git command; a million records may be copied at once.
_FOLDERS_AT_ONCE = 500


def append(
    ledger: Ledger,
    records: Mapping[Place, str],
    *,
    sleep: Callable[[float], None],
    rng: random.Random,
    not_before: datetime | None = None,
) -> bool:
    """Add the records in one commit. False: all were there already, and nothing was pushed.

    `not_before`: when the newest of them came to be, by GitHub's clock: ours may be behind.
    Raises RecordConflictError, before anything is pushed, when one is there with other content;
    LedgerError when the remote cannot be reached, refuses, or others were faster for too long.
    """
    for place in records:
        check_place(place)

    def build(git: Scratch, tip: str | None) -> str | None:
        missing = _missing(git, tip, records)
        return _commit(git, tip, missing, not_before) if missing else None

    return push_in_turn(ledger, build, sleep=sleep, rng=rng)


def push_in_turn(
    ledger: Ledger,
    build: Callable[[Scratch, str | None], str | None],
    *,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> bool:
    """Build a commit on the branch's newest and push it, as often as others are faster.

    False: `build` found nothing to do. LedgerError when the remote cannot be reached, refuses, or
    others were faster for too long.
    """
    faults = 0
    last: AilabError | None = None
    with scratch(ledger) as git:
        for number in range(MOST_TRIES):
            if number:
                most_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**number)
                sleep(rng.uniform(0, most_s))
            try:
                tip = git.fetch()
                commit = build(git, tip)
                if commit is None:
                    return False
                if git.push(commit):
                    return True
            except FaultError as error:
                last, faults = error, faults + 1
                if faults == MOST_FAULTS:
                    break
    raise LedgerError(
        f"history could not be written to {ledger.branch}",
        why=last.why if last else f"Other writers were faster {MOST_TRIES} times.",
        advice="No verdict depends on it, and in CI the sweeper makes the records again later. Who "
        "writes needs the right to push (a job: `contents: write`), and no rule may forbid pushes "
        "to this branch.",
    )


def _missing(git: Scratch, tip: str | None, records: Mapping[Place, str]) -> dict[str, bytes]:
    """By path the records that are not there."""
    texts = {"/".join(place): text.encode() for place, text in records.items()}
    if tip is None:
        return texts
    there = _blobs_beside(git, tip, records)
    for place in records:
        path = "/".join(place)
        if path in there and there[path] != blob_id(texts[path], tip):
            raise RecordConflictError(place)
    return {path: data for path, data in texts.items() if path not in there}


def _blobs_beside(git: Scratch, tip: str, places: Iterable[Place]) -> dict[str, str]:
    """Ids of the files in the places' folders, by path."""
    folders = sorted({"/".join((*place[:-1], "")) for place in places})
    found: dict[str, str] = {}
    for start in range(0, len(folders), _FOLDERS_AT_ONCE):
        some = folders[start : start + _FOLDERS_AT_ONCE]
        named = ["--", *some] if "" not in some else []
        words = ("--literal-pathspecs", "ls-tree", "-z", "--full-tree")
        rows = git.out(*words, tip, *named).split("\0")
        for meta, _, path in (row.partition("\t") for row in rows if row):
            found[path] = meta.split()[2]
    return found


def _commit(
    git: Scratch, tip: str | None, missing: Mapping[str, bytes], not_before: datetime | None
) -> str:
    first, *others = sorted(missing)
    subject = f"Record {first}" + (f" and {len(others)} more" if others else "")
    commands = (
        f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
        for path, data in missing.items()
    )
    commit = git.import_commit(tip, subject, commands, not_before)
    if git.changes(tip, commit) != dict.fromkeys(missing, "A"):
        # A file of a person's stands where a record's folder should be, or the other way round.
        raise LedgerError(
            "history could not be written",
            why=f"{first} and what is on the branch cannot lie beside each other.",
            advice="Remove from the branch what ailab did not write.",
        )
    return commit
