"""Keeps the ledger quick to read: old records into archives, and what plans read at once.

One commit on top of the branch's newest, pushed without force like any append. A record is either
loose or in an archive, never in neither: what a commit would do is read back before it is pushed,
and a race is built again on what came in between. Refuses to move what it cannot read, and days
whose records may still be made again.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby

from ailab_bot.errors import UserError
from ailab_bot.ledger import archive
from ailab_bot.ledger.git_branch import push_in_turn
from ailab_bot.ledger.places import (
    ARCHIVE,
    RECORDS,
    VIEW,
    DamagedViewError,
    LedgerError,
    Place,
    check_place,
    day_of,
    is_place,
)
from ailab_bot.ledger.reading import (
    LARGEST_VIEW_BYTES,
    Entry,
    View,
    list_entries,
    list_files,
    list_parts,
    list_since,
    read_entries,
    read_lines,
    read_parts,
    read_view,
    tree_at,
    view_files,
)
from ailab_bot.ledger.records import Record, Skip
from ailab_bot.ledger.scratch import Ledger, Scratch

#: GitHub runs a workflow again until 30 days after it began, a run may take 35 days, and the
#: sweeper makes its record again within 5 days of its end. Later none of a day's records is made
#: again; before, one that had gone into the archive would come twice.
LEAST_KEEP_DAYS = 40
KEEP_DAYS = 45
#: A view that nobody has made anew for so long belongs to an older ailab.
_VIEW_DAYS = 45

#: From the view before, None where there is none, and the records since, to the view. It raises
#: DamagedViewError where the view before is none: then it gets all records.
Build = Callable[[bytes | None, Iterator[Record]], bytes]


@dataclass(frozen=True)
class Compacted:
    """What was done. `moved` records went into `parts` new archives; `views` were made anew;
    `skipped` says by reason what could not be read, and stays as it is."""

    moved: int = 0
    parts: int = 0
    views: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)


def compact(
    ledger: Ledger,
    now: datetime,
    views: Mapping[str, Build],
    *,
    keep_days: int = KEEP_DAYS,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> Compacted:
    """Move records of runs that began more than `keep_days` ago; make the views anew.

    Interrupted it has done nothing, and a second time it finds nothing to do. LedgerError where
    the remote cannot be reached or refuses; what a `build` raises passes through.
    """
    if keep_days < LEAST_KEEP_DAYS:
        raise UserError(
            f"records must stay loose for {LEAST_KEEP_DAYS} days, not {keep_days}",
            why="Until then a run may be started again, and its record be made again.",
            advice=f"Leave the default, {KEEP_DAYS} days.",
        )
    for name in views:
        check_place((name,))
    before = (now - timedelta(days=keep_days)).date()
    return _in_turn(ledger, now, before, views, sleep, rng)


def write_view(
    ledger: Ledger,
    name: str,
    build: Build,
    now: datetime,
    *,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> Compacted:
    """Make one view anew, and move nothing."""
    check_place((name,))
    return _in_turn(ledger, now, date.min, {name: build}, sleep, rng)


@dataclass(frozen=True)
class _Part:
    place: Place
    data: bytes
    records: int


@dataclass(frozen=True)
class _Work:
    """What one compaction is to do, made from the branch as it was at `tip`."""

    tip: str
    archived: tuple[Entry, ...]
    parts: tuple[_Part, ...]
    made: Mapping[str, bytes]
    stale: tuple[str, ...]
    covered: str
    skipped: Mapping[str, int]

    def done(self) -> Compacted:
        names = tuple(self.made)
        return Compacted(len(self.archived), len(self.parts), names, dict(self.skipped))


def _in_turn(
    ledger: Ledger,
    now: datetime,
    before: date,
    views: Mapping[str, Build],
    sleep: Callable[[float], None],
    rng: random.Random,
) -> Compacted:
    work: _Work | None = None

    def build(git: Scratch, tip: str | None) -> str | None:
        nonlocal work
        if tip is None:
            work = None
            return None
        if work is None or not _still_holds(git, tip, work):
            work = _prepare(git, tip, now, before, views)
        if not (work.parts or work.made or work.stale):
            return None
        return _commit(git, tip, now, work)

    push_in_turn(ledger, build, sleep=sleep, rng=rng)
    return work.done() if work else Compacted()


def _prepare(
    git: Scratch, tip: str, now: datetime, before: date, views: Mapping[str, Build]
) -> _Work:
    skipped: Counter[str] = Counter()
    loose = list_entries(git.here, tip)
    old = [entry for entry in loose if (day_of(entry.place) or date.max) < before]
    made = _views(git, tip, views, skipped)
    git.fetch_blobs([entry.blob for entry in old])
    archived: list[Entry] = []
    unread: Counter[str] = Counter()
    parts = tuple(_parts(git, old, archived, unread))
    if archived:  # a view without news covers less from now on
        made = {**{name: view.data for name, view in _views_known(git, tip, views)}, **made}
    for reason, count in unread.items():
        skipped[reason] = max(skipped[reason], count)
    covered = tree_at(git.here, tip, RECORDS) or ""
    if archived and made:
        trimmed = git.import_commit(tip, "", _removals(git, tip, archived))
        covered = tree_at(git.here, trimmed, RECORDS) or ""
    limit = now - timedelta(days=_VIEW_DAYS)
    others = _views_known(git, tip, set(_names(git, tip)) - set(views))
    stale = tuple(name for name, view in others if view.when < limit)
    return _Work(tip, tuple(archived), parts, made, stale, covered, dict(skipped))


def _still_holds(git: Scratch, tip: str, work: _Work) -> bool:
    """Whether nobody else has compacted: appends alone change nothing about the work."""
    if tip == work.tip:
        return True
    if any(
        tree_at(git.here, tip, each) != tree_at(git.here, work.tip, each)
        for each in (VIEW, ARCHIVE)
    ):
        return False
    return set(work.archived) <= set(list_entries(git.here, tip))


def _commit(git: Scratch, tip: str, now: datetime, work: _Work) -> str:
    changes = list(_removals(git, tip, work.archived))
    changes += (_inline(part.place, part.data) for part in work.parts)
    about = {"schema": 1, "commit": work.tip, "when": int(now.timestamp())}
    text = json.dumps(about, sort_keys=True).encode() + b"\n"
    for name, data in work.made.items():
        changes.append(_remove(VIEW, name))
        changes += [_inline((VIEW, name, "data"), data), _inline((VIEW, name, "about.json"), text)]
        if work.covered:
            changes.append(f"M 040000 {work.covered} {VIEW}/{name}/covered\n".encode())
    changes += (_remove(VIEW, name) for name in work.stale)
    moved = len(work.archived)
    commit = git.import_commit(tip, f"Compact {moved} records" if moved else "Views", changes)
    _check(git, tip, commit, work)
    return commit


def _check(git: Scratch, tip: str, commit: str, work: _Work) -> None:
    """LedgerError unless exactly the archived records have gone, and each lies in an archive."""
    expected = dict.fromkeys((entry.path for entry in work.archived), "D")
    expected |= dict.fromkeys(("/".join(part.place) for part in work.parts), "A")
    changes = git.changes(tip, commit, f":(exclude){VIEW}")
    lines = sum(1 for part in work.parts for _ in archive.unpack(part.data))
    if changes != expected or lines != len(work.archived):
        raise LedgerError(
            "the ledger was not compacted",
            why="The commit would not have held every record; nothing was pushed.",
            advice="Please report it as a defect of ailab.",
        )


def _inline(place: Place, data: bytes) -> bytes:
    return f"M 100644 inline {'/'.join(place)}\ndata {len(data)}\n".encode() + data + b"\n"


def _remove(*place: str) -> bytes:
    return f"D {'/'.join(place)}\n".encode()


def _removals(git: Scratch, tip: str, archived: Iterable[Entry]) -> Iterator[bytes]:
    """A day that goes as a whole, with nothing else in it, takes one line: git needs a second for
    some thousand others."""
    left = Counter(_day_folder(entry) for entry in list_files(git.here, tip, RECORDS))
    gone = Counter(_day_folder(entry) for entry in archived)
    whole = {day for day, count in gone.items() if left[day] == count}
    yield from (_remove(day) for day in sorted(whole))
    yield from (_remove(each.path) for each in archived if _day_folder(each) not in whole)


def _day_folder(entry: Entry) -> str:
    return "/".join(entry.path.split("/", 4)[:4])


def _views(
    git: Scratch, tip: str, views: Mapping[str, Build], skipped: Counter[str]
) -> dict[str, bytes]:
    """The views that something has come for."""
    made: dict[str, bytes] = {}
    before = dict(_views_known(git, tip, views))
    for name, build in views.items():
        own: Counter[str] = Counter()
        data = _built(git, tip, name, before.get(name), build, own)
        if data is None:
            continue
        if len(data) > LARGEST_VIEW_BYTES:
            raise LedgerError(
                f"the view `{name}` became too large",
                why=f"It has {len(data)} bytes; at most {LARGEST_VIEW_BYTES} are read.",
                advice="Please report it as a defect of ailab.",
            )
        made[name] = data
        for reason, count in own.items():
            skipped[reason] = max(skipped[reason], count)
    return made


def _built(
    git: Scratch, tip: str, name: str, view: View | None, build: Build, skipped: Counter[str]
) -> bytes | None:
    """None where the view holds all already. One that is damaged is made of everything."""
    if view:
        entries = list_since(git.here, tip, name).entries
        git.fetch_blobs([each.blob for each in entries])
        try:
            data = build(view.data, _records(git, (), entries, skipped))
        except DamagedViewError:
            skipped.clear()
        else:
            return data if entries else None
    parts, entries = list_parts(git.here, tip), list_entries(git.here, tip)
    git.fetch_blobs([each.blob for each in (*parts, *entries)])
    return build(None, _records(git, parts, entries, skipped))


def _records(
    git: Scratch, parts: Iterable[Entry], entries: Iterable[Entry], skipped: Counter[str]
) -> Iterator[Record]:
    yield from read_parts(git.here, parts, skipped)
    yield from (record for _, record in read_entries(git.here, entries, skipped))


def _names(git: Scratch, tip: str) -> list[str]:
    words = ("ls-tree", "-d", "-z", "--name-only", "--full-tree", tip, "--", f"{VIEW}/")
    names = (row.rpartition("/")[2] for row in git.out(*words).split("\0") if row)
    return [name for name in names if is_place((name,))]


def _views_known(git: Scratch, tip: str, names: Iterable[str]) -> list[tuple[str, View]]:
    wanted = set(names)
    known = [name for name in _names(git, tip) if name in wanted]
    git.fetch_blobs([entry.blob for name in known for entry in view_files(git.here, tip, name)])
    found = ((name, read_view(git.here, tip, name)) for name in known)
    return [(name, view) for name, view in found if view is not None]


def _parts(
    git: Scratch, old: Iterable[Entry], archived: list[Entry], skipped: Counter[str]
) -> Iterator[_Part]:
    """The archive's new parts; what is in them is added to `archived`, in their order."""
    by_year = sorted(old, key=lambda entry: entry.path)
    for (kind, year), group in groupby(by_year, key=lambda entry: entry.place[1:3]):
        lines: list[bytes] = []
        size, first = 0, ""
        for entry, line in _readable(git, list(group), skipped):
            full = len(lines) == archive.MOST_RECORDS or size + len(line) > archive.MOST_BYTES
            if full and lines:
                yield _part(kind, year, first, lines)
                lines, size = [], 0
            first = first if lines else entry.place[3]
            lines.append(line)
            size += len(line)
            archived.append(entry)
        if lines:
            yield _part(kind, year, first, lines)


def _part(kind: str, year: str, first: str, lines: list[bytes]) -> _Part:
    packed = archive.pack(lines)
    return _Part(archive.part_place(kind, year, first, packed), packed, len(lines))


def _readable(
    git: Scratch, entries: list[Entry], skipped: Counter[str]
) -> Iterator[tuple[Entry, bytes]]:
    """What is a record, as one line. The rest stays loose, where it can be looked at."""
    for entry, _, data in read_lines(git.here, entries, skipped):
        if data.count(b"\n") != 1 or data[-1:] != b"\n":  # laid out by somebody else
            skipped[Skip.DAMAGED] += 1
            continue
        yield entry, data
