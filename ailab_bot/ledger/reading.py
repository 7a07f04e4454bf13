"""Reads what the ledger holds at one commit of its branch, in a clone that has fetched it.

Refuses to fetch anything, and to believe what it reads: a damaged, newer, oversized or misplaced
record is passed over, counted by its reason, and never an error. What is large, or many, is read
one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ailab_bot.ledger import archive
from ailab_bot.ledger.places import (
    ARCHIVE,
    DEPTH,
    RECORDS,
    VIEW,
    Place,
    day_of,
    is_place,
)
from ailab_bot.ledger.plumbing import out_of_git, read_blobs
from ailab_bot.ledger.records import (
    LARGEST_BYTES,
    Kind,
    NotARecordError,
    Record,
    Skip,
    place_of,
    read_record,
)
from ailab_bot.model import strictjson

#: Bytes of a view: plans read it whole.
LARGEST_VIEW_BYTES = 64 << 20
#: Loose records that are read where there is no view to begin from: a month of a busy repository.
MOST_LOOSE = 100_000
#: A commit is pushed at most so long after it was made; within it, who fetches sooner or later may
#: see another branch for one and the same time.
SETTLED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file on the branch: its path, and git's id of its bytes. There may be a million."""

    path: str
    blob: str

    @property
    def place(self) -> Place:
        return tuple(self.path.split("/"))


@dataclass(frozen=True)
class View:
    """What was made of all records before. `covered` is the tree of the loose ones among them that
    are loose still, empty for none; `commit` the ledger's commit that was read; `when` by its
    maker's clock."""

    data: bytes
    covered: str
    commit: str
    when: datetime


@dataclass(frozen=True)
class Since:
    """Records that came after the view, and what the reader should know about them."""

    entries: tuple[Entry, ...]
    view: View | None
    note: str = ""


def list_entries(
    clone: Path, tip: str, kinds: Collection[Kind] = (), since: date | None = None
) -> tuple[Entry, ...]:
    """The loose records, by place; files with other names are none."""
    return _loose(list_files(clone, tip, RECORDS, kinds), since)


def list_files(clone: Path, tip: str, top: str, kinds: Collection[Kind] = ()) -> tuple[Entry, ...]:
    """Every file below a folder of the branch, whatever its name."""
    if not tree_at(clone, tip, top):
        return ()
    folders = [f"{top}/{kind}" for kind in kinds] or [top]
    words = ("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", tip, "--", *folders)
    rows = out_of_git(clone, *words).decode("utf-8", "replace").split("\0")
    return tuple(_entry(row.partition("\t")) for row in rows if row)


def _entry(parts: tuple[str, str, str]) -> Entry:
    meta, _, path = parts
    return Entry(path, meta.split()[2])


def _loose(entries: Iterable[Entry], since: date | None) -> tuple[Entry, ...]:
    good = (each for each in entries if len(each.place) == DEPTH and is_place(each.place))
    if since is None:
        return tuple(good)
    return tuple(each for each in good if (day_of(each.place) or date.min) >= since)


def list_parts(clone: Path, tip: str, kinds: Collection[Kind] = ()) -> tuple[Entry, ...]:
    """The archive's parts."""
    found = list_files(clone, tip, ARCHIVE, kinds)
    return tuple(each for each in found if len(each.place) == 4 and is_place(each.place))


def read_entries(
    clone: Path, entries: Iterable[Entry], skipped: Counter[str]
) -> Iterator[tuple[Entry, Record]]:
    """The records that can be read; the others are counted in `skipped`, by reason."""
    for entry, record, _ in read_lines(clone, entries, skipped):
        yield entry, record


def read_lines(
    clone: Path, entries: Iterable[Entry], skipped: Counter[str]
) -> Iterator[tuple[Entry, Record, bytes]]:
    """As `read_entries`, with the bytes of each."""
    known = list(entries)
    blobs = read_blobs(clone, (each.blob for each in known), LARGEST_BYTES)
    for entry, (_, data, size) in zip(known, blobs, strict=True):
        if data is None:
            skipped[Skip.MISSING if size < 0 else Skip.LARGE] += 1
            continue
        try:
            record = read_record(data)
        except NotARecordError as error:
            skipped[error.skip] += 1
            continue
        if place_of(record) != entry.place:
            skipped[Skip.MISPLACED] += 1
            continue
        yield entry, record, data


def read_parts(clone: Path, parts: Iterable[Entry], skipped: Counter[str]) -> Iterator[Record]:
    """The archive's records; of a part that cannot be unpacked each is lost, and it counts once."""
    known = list(parts)
    blobs = read_blobs(clone, (each.blob for each in known), archive.LARGEST_PACKED_BYTES)
    for _, packed, size in blobs:
        if packed is None:
            skipped[Skip.MISSING if size < 0 else Skip.LARGE] += 1
            continue
        try:
            for line in archive.unpack(packed):
                try:
                    yield read_record(line)
                except NotARecordError as error:
                    skipped[error.skip] += 1
        except NotARecordError as error:
            skipped[error.skip] += 1


def read_all(
    clone: Path,
    tip: str,
    skipped: Counter[str],
    kinds: Collection[Kind] = (),
    since: date | None = None,
) -> Iterator[Record]:
    """Every record of the ledger, archives first, each kind's in the order of their places.

    `since` leaves out runs that began before that day (UTC).
    """
    parts = list_parts(clone, tip, kinds)
    if since is not None:  # a part begins at its day and may hold the whole year's rest
        parts = tuple(part for part in parts if part.place[2] >= str(since.year))
    for record in read_parts(clone, parts, skipped):
        if since is None or record.day >= since:
            yield record
    for _, record in read_entries(clone, list_entries(clone, tip, kinds, since), skipped):
        yield record


# --- views -------------------------------------------------------------------------------------


def read_view(clone: Path, tip: str, name: str) -> View | None:
    """What was written last under this name; None where there is none, or it is damaged."""
    blobs = {entry.place[-1]: entry.blob for entry in view_files(clone, tip, name)}
    if not {"data", "about.json"} <= set(blobs):
        return None
    read = read_blobs(clone, (blobs["about.json"], blobs["data"]), LARGEST_VIEW_BYTES)
    (_, about, _), (_, data, _) = read
    if about is None or data is None:
        return None
    try:
        row = strictjson.load_bytes(about, most=LARGEST_BYTES)
        row = strictjson.mapping(row, "about", {"schema", "commit", "when"})
        strictjson.schema(row, 1)
        commit = strictjson.sha(row["commit"], "commit")
        when = datetime.fromtimestamp(strictjson.whole(row["when"], "when", most=10**11), UTC)
    except (strictjson.BadJsonError, ValueError, OverflowError):
        return None
    return View(data, tree_at(clone, tip, f"{VIEW}/{name}/covered") or "", commit, when)


def view_files(clone: Path, tip: str, name: str) -> tuple[Entry, ...]:
    """The files that a view has of its own."""
    words = ("--literal-pathspecs", "ls-tree", "-z", "--full-tree", tip, "--", f"{VIEW}/{name}/")
    rows = out_of_git(clone, *words).decode("utf-8", "replace").split("\0")
    return tuple(_entry(r.partition("\t")) for r in rows if r and r.split()[1] == "blob")


def list_since(
    clone: Path,
    tip: str,
    name: str,
    kinds: Collection[Kind] = (),
    *,
    fallback_from: date | None = None,
) -> Since:
    """The view and the loose records that it does not cover yet.

    Which they are follows from the tip alone, in any clone of it, however shallow: the branch
    keeps the tree that the view covers. Without a usable view they are all loose records from the
    day `fallback_from` on, at most MOST_LOOSE of them, the newest; the note says so.
    """
    view = read_view(clone, tip, name)
    if view is not None:
        return Since(_added(clone, view.covered, tip, kinds), view)
    entries = list_entries(clone, tip, kinds, fallback_from)
    note = f"There is no view `{name}` of the ledger yet: its loose records are read."
    if len(entries) > MOST_LOOSE:
        entries = tuple(sorted(entries, key=lambda each: each.place[2:4])[-MOST_LOOSE:])
        note += f" Only the newest {MOST_LOOSE} of them are; `ailab ledger compact` makes it."
    return Since(entries, None, note)


def _added(clone: Path, covered: str, tip: str, kinds: Collection[Kind]) -> tuple[Entry, ...]:
    now = tree_at(clone, tip, RECORDS)
    if now is None or not covered:
        return list_entries(clone, tip, kinds)
    folders = ("--", *(str(kind) for kind in kinds)) if kinds else ()
    words = ("--literal-pathspecs", "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev")
    rows = out_of_git(clone, *words, covered, now, *folders).decode("utf-8", "replace").split("\0")
    found = []
    for meta, path in zip(rows[::2], rows[1::2], strict=False):
        _, _, _, blob, letter = meta.split()
        if letter == "A":
            found.append(Entry(f"{RECORDS}/{path}", blob))
    return _loose(found, None)


def tip_at(clone: Path, tip: str, when: datetime) -> str | None:
    """The newest commit of the branch that everybody saw who fetched it at `when` or later.

    Two jobs of one run plan at different times; with the run's beginning as `when` they read the
    same. A commit is there no later than those on top of it: one whose time is ahead, of a machine
    with a wrong clock, is found by what comes after it. None where there was none yet, or the
    clone's history does not reach back that far.
    """
    at_s = int((when - SETTLED).timestamp())
    words = ("rev-list", "--first-parent", "--max-count=1", f"--min-age={at_s}", tip)
    return out_of_git(clone, *words).decode().strip() or None


def is_ledger(clone: Path, tip: str) -> bool:
    """Whether anything at the commit lies where records do."""
    return any(tree_at(clone, tip, top) for top in (RECORDS, ARCHIVE))


def tree_at(clone: Path, tip: str, path: str) -> str | None:
    """The id of the folder at the path."""
    words = ("--literal-pathspecs", "ls-tree", "-d", "-z", "--full-tree", tip, "--", path)
    row = out_of_git(clone, *words).decode("utf-8", "replace").rstrip("\0")
    return row.partition("\t")[0].split()[2] if row else None
