"""`ailab ledger`: show, export, compact and copy the ledger, on a branch or in a database.

Locally it reads the branch as the clone has fetched it, and says how to fetch it. Refuses to take
a database's address from the command line, which other processes and the shell's memory can read:
it comes from an environment variable, by the variable's name.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.flows.history import BRANCH, DURATIONS, build_durations
from ailab_bot.ledger.compaction import KEEP_DAYS, Build, Compacted
from ailab_bot.ledger.reading import list_entries, list_parts, read_view
from ailab_bot.ledger.records import Kind
from ailab_bot.ledger.scratch import Ledger
from ailab_bot.ledger.store import Copied, GitStore, Store, copy_records
from ailab_bot.measure.git import Repository, open_repository

#: What plans read at once, by name, and how it is made. A format that older versions cannot read
#: needs a new name: both kinds of plan may be made for a while.
VIEWS: Mapping[str, Build] = {DURATIONS: build_durations}


@dataclass(frozen=True)
class Shown:
    """Counts by kind, and where the records lie; `views` with when each was made."""

    counts: Mapping[str, int]
    skipped: Mapping[str, int]
    loose: int | None = None
    parts: int | None = None
    views: Mapping[str, datetime | None] = field(default_factory=dict)


def branch_store(repo: Path, *, reading: bool = True, keep_days: int = KEEP_DAYS) -> GitStore:
    """The branch of the repository's origin. UserError where `reading` finds nothing fetched."""
    clone = open_repository(repo)
    tip = clone.remote_tip(BRANCH)
    if tip is None and reading:
        raise _nothing_fetched(clone)
    ledger = Ledger(clone.root, branch=BRANCH)
    return GitStore(ledger, tip, time.sleep, random.SystemRandom(), keep_days)


def _nothing_fetched(clone: Repository) -> UserError:
    return UserError(
        f"{clone.root} knows no ledger",
        why=f"There is no origin/{BRANCH}: it was not fetched, or nothing was recorded yet.",
        advice=f"git fetch origin {BRANCH}:refs/remotes/origin/{BRANCH}",
    )


@contextmanager
def database_store(variable: str, environ: Mapping[str, str]) -> Iterator[Store]:
    """The database whose address the variable holds."""
    url = environ.get(variable, "")
    if not url or "://" in variable:
        named = "the variable" if "://" in variable else f"${variable:.60}"
        raise UserError(
            f"{named} holds no database's address",
            why="The address has a password in it, so it is named by its variable.",
            advice="export AILAB_LEDGER_URL=postgresql://USER:PASSWORD@HOST:PORT/DATABASE, then "
            "name AILAB_LEDGER_URL.",
        )
    try:
        from ailab_bot.ledger.sql import open_store  # noqa: PLC0415
    except ImportError:
        raise UserError(
            "a ledger in PostgreSQL cannot be reached here",
            why="The packages sqlalchemy and psycopg are not installed.",
            advice="pip install 'ailab-bot[postgresql]'",
        ) from None
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def show(store: Store) -> Shown:
    """Count every record. Of a branch also how it is laid out."""
    skipped: Counter[str] = Counter()
    counts = Counter(record.kind.value for record in store.read(skipped))
    ordered = {kind.value: counts[kind.value] for kind in Kind}
    if not isinstance(store, GitStore) or store.tip is None:
        return Shown(ordered, dict(skipped))
    clone, tip = store.ledger.repository, store.tip
    views = {name: read_view(clone, tip, name) for name in VIEWS}
    return Shown(
        ordered,
        dict(skipped),
        len(list_entries(clone, tip)),
        len(list_parts(clone, tip)),
        {name: view.when if view else None for name, view in views.items()},
    )


def compact_ledger(store: Store, now: datetime) -> Compacted:
    """Old records into archives, and the views anew."""
    return store.compact(now, VIEWS)


def copy_ledger(source: Store, target: Store) -> tuple[Copied, Mapping[str, int]]:
    """Every record that the target lacks; and what of the source could not be read."""
    skipped: Counter[str] = Counter()
    return copy_records(source, target, skipped), dict(skipped)
