"""What every back end of the ledger can do, git's branch in these words, and the way from one back
end to another.

Refuses to lose or double a record: an append is all or nothing, a second append of the same record
is none, and another record under the same name is an error before anything is written.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Protocol

from ailab_bot.ledger.compaction import KEEP_DAYS, Build, Compacted, compact
from ailab_bot.ledger.git_branch import append
from ailab_bot.ledger.places import Place, RecordConflictError
from ailab_bot.ledger.reading import list_since, read_all, read_entries, read_view
from ailab_bot.ledger.records import Kind, Record, place_of, record_to_json
from ailab_bot.ledger.scratch import Ledger

#: Records of one append when many are copied: 5 MiB of them.
_COPIED_AT_ONCE = 5_000


class Store(Protocol):
    """A back end. What it passes over while reading is counted in `skipped`, by reason."""

    def append(self, records: Iterable[Record]) -> bool:
        """False: all were there. RecordConflictError, LedgerError: nothing was written."""

    def read(
        self, skipped: Counter[str], kinds: Collection[Kind] = (), since: date | None = None
    ) -> Iterator[Record]:
        """Every record once; `since` leaves out runs that began before that day (UTC)."""

    def view(self, name: str) -> bytes | None:
        """What plans read at once, None where it was never made."""

    def news(self, name: str, skipped: Counter[str]) -> Iterator[Record]:
        """The records that the view does not cover; all where there is none."""

    def compact(self, now: datetime, views: Mapping[str, Build]) -> Compacted:
        """Make the views anew, and what else keeps reading quick."""


@dataclass(frozen=True)
class GitStore:
    """The branch, written through `ledger` and read at `tip` in its clone, which somebody else
    keeps fetched. `tip` None: there is nothing to read yet."""

    ledger: Ledger
    tip: str | None
    sleep: Callable[[float], None]
    rng: random.Random
    keep_days: int = KEEP_DAYS

    def append(self, records: Iterable[Record]) -> bool:
        texts = {place_of(record): record_to_json(record) for record in records}
        return append(self.ledger, texts, sleep=self.sleep, rng=self.rng)

    def read(
        self, skipped: Counter[str], kinds: Collection[Kind] = (), since: date | None = None
    ) -> Iterator[Record]:
        if self.tip is not None:
            yield from read_all(self.ledger.repository, self.tip, skipped, kinds, since)

    def view(self, name: str) -> bytes | None:
        view = read_view(self.ledger.repository, self.tip, name) if self.tip else None
        return None if view is None else view.data

    def news(self, name: str, skipped: Counter[str]) -> Iterator[Record]:
        if self.tip is None:
            return
        clone = self.ledger.repository
        since = list_since(clone, self.tip, name)
        if since.view is None:
            yield from read_all(clone, self.tip, skipped)
        for _, record in read_entries(clone, since.entries if since.view else (), skipped):
            yield record

    def compact(self, now: datetime, views: Mapping[str, Build]) -> Compacted:
        return compact(
            self.ledger, now, views, keep_days=self.keep_days, sleep=self.sleep, rng=self.rng
        )


@dataclass(frozen=True)
class Copied:
    """`written` are new in the target, `known` it had already."""

    written: int
    known: int


def copy_records(source: Store, target: Store, skipped: Counter[str]) -> Copied:
    """Bring every record of one back end into another, each once, in any number of attempts.

    Where it was interrupted, what was written stays, and the next time is known. A record of the
    target that differs from the source's is a RecordConflictError.
    """
    # Digests, not records: a million of them are 130 MB.
    places: set[int] = set()
    lines: set[int] = set()
    for record in target.read(Counter()):
        places.add(_digest("/".join(place_of(record))))
        lines.add(_digest(record_to_json(record)))
    written = known = 0
    records = source.read(skipped)
    while some := list(islice(records, _COPIED_AT_ONCE)):
        new: dict[Place, Record] = {}
        for record in some:
            if _digest(record_to_json(record)) in lines:
                known += 1
                continue
            place = place_of(record)
            if _digest("/".join(place)) in places:
                raise RecordConflictError(place)
            new[place] = record
        if new and target.append(new.values()):
            written += len(new)
    return Copied(written, known)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
