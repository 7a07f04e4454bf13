"""Brings to a job what it reads of the ledger, and no more: not the archives, not older records.

Into a repository of its own, so that the clone which the job works in does not become a partial
one. Refuses to check anything out.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from ailab_bot.ledger.reading import list_since, tip_at, view_files
from ailab_bot.ledger.records import Kind
from ailab_bot.ledger.scratch import Ledger, Scratch, check_branch, lay_out

#: Commits of the branch to fetch, in turn, until one is old enough: an hour of a busy day has 5,
#: and each brings the lists of files that it changed.
_DEPTHS = (8, 64, 512, 4_096, 32_768)


def fetch_ledger(
    ledger: Ledger,
    folder: Path,
    views: Collection[str],
    kinds: Collection[Kind] = (),
    when: datetime | None = None,
) -> tuple[Path, str] | None:
    """A repository below `folder`, which must not be there yet, and the ledger's commit in it.

    It holds the views and the records since of these kinds; everything else reads as missing.
    `when`: the branch as everybody saw it then, see `tip_at`. None where there was none.
    LedgerError where the remote cannot be reached.
    """
    check_branch(ledger.branch)
    folder.mkdir(parents=True)
    lay_out(folder, ledger)
    git = Scratch(folder, ledger.branch, ledger.variables)
    found = git.fetch()
    if found is None:
        return None
    if when is not None:
        found = _as_of(git, found, when)
        if found is None:
            return None
    for name in views:
        git.fetch_blobs([entry.blob for entry in view_files(git.here, found, name)])
        since = list_since(git.here, found, name, kinds)
        git.fetch_blobs([entry.blob for entry in since.entries])
    return git.here, found


def _as_of(git: Scratch, newest: str, when: datetime) -> str | None:
    known = 0
    for depth in (1, *_DEPTHS):
        if depth > 1:
            git.deepen(depth)
        found = tip_at(git.root, newest, when)
        count = int(git.out("rev-list", "--count", newest))
        if found is not None or count in {known, 0} or count < depth:
            return found
        known = count
    return None
