"""Where records lie on the ledger's branch, and what can go wrong with the ledger.

    records/<kind>/<yyyy>/<mm-dd>/<sha>/<scenario>.<run>-<attempt>.json   loose: one file per record
    archive/<kind>/<yyyy>/<mm-dd>-<digest>.jsonl.gz                       old ones, a line each
    view/<name>/data, about.json, covered/                                what plans read at once

The day is that of the run's beginning in UTC, which no later attempt changes. It keeps small the
folders that git writes anew for each append. Refuses names that do not mean the same everywhere.
"""

from __future__ import annotations

import re
from datetime import date

from ailab_bot.errors import RunnerError, UserError

#: A file's path below the branch's root, as words.
Place = tuple[str, ...]

RECORDS, ARCHIVE, VIEW = "records", "archive", "view"
#: Words of a loose record's place.
DEPTH = 6

_WORD = re.compile(r"[\w][\w.-]{0,99}")


class LedgerError(RunnerError):
    """The ledger cannot be reached, read or written now; the same call may succeed later."""


class DamagedViewError(Exception):
    """What lies under a view's name is not what its build made; it is made anew of all records."""


class RecordConflictError(UserError):
    """There is already another record under this name. `place` says which."""

    def __init__(self, place: Place) -> None:
        super().__init__(
            f"history already holds another {'/'.join(place)}",
            why="A record is written once; this one has other content under the same name.",
            advice="A second attempt of a run needs an attempt number of its own.",
        )
        self.place = place


def is_place(place: Place) -> bool:
    """Whether the words make a path that means the same everywhere."""
    return bool(place) and all(_WORD.fullmatch(w) and not w.endswith(".") for w in place)


def check_place(place: Place) -> None:
    """UserError unless it is one."""
    if not is_place(place):
        raise UserError(
            f"not a record's name: {'/'.join(place)!r:.100}",
            why="Each word has 1 to 100 letters, digits, `.`, `_` and `-`, and no dot at an end.",
            advice="Name records with `place_of`.",
        )


def day_of(place: Place) -> date | None:
    """The day of a loose record or of an archive's first one; None where the path has none."""
    if len(place) < 4 or place[0] not in {RECORDS, ARCHIVE}:
        return None
    try:
        return date.fromisoformat(f"{place[2]}-{place[3][:5]}")
    except ValueError:
        return None
