"""What a change touches of each scenario's footprint, and where it touches nothing: the proof.

A proof holds only if every path of the change allows it; whatever a rule cannot tell counts as
touched. Reads no files: who calls it hands over the blobs that `blobs_wanted` names. Work is done
once for each path, on sets of scenarios, not once for each scenario.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ailab_bot.model.change import Change, ChangedFile, ChangeKind
from ailab_bot.plan import lockfiles
from ailab_bot.plan.codecompare import MODULE, CodeDifference, compare_code
from ailab_bot.plan.index import Bits, FootprintIndex
from ailab_bot.plan.relation import Finding, How, Relation, Touch

#: What the import system takes for a module.
_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
#: Modules that every start of Python looks for.
_CUSTOM = frozenset({"sitecustomize", "usercustomize"})
#: Compile Python code to machine code: functions run that no one sees running.
_COMPILERS = ("numba", "taichi", "pythran")
#: The first Python whose code objects know `Trainer.fit` from `fit`.
_QUALIFIED_NAMES = (3, 11)
#: A reason names so many functions and leaves out the rest.
_MOST_NAMED = 3
#: Shares below this are noise of the recording, and not worth a person's time.
_SHARE_WORTH_TELLING = 0.005


@dataclass(frozen=True)
class Folders:
    """All folders of base and of head, so that one that appears or vanishes is known as such.

    Without them every folder above a new file may be new.
    """

    base: frozenset[str]
    head: frozenset[str]


def blobs_wanted(change: Change, index: FootprintIndex) -> set[str]:
    """Blobs that `relate` compares: code that someone only imported, and dependency files."""
    wanted: set[str] = set()
    for each in change.files:
        if not each.is_plain:
            continue
        depends = any(lockfiles.is_dependency_file(path) for path in each.paths)
        if depends or (each.kind is ChangeKind.MODIFIED and each.path in index.imported):
            wanted |= {each.old_blob, each.new_blob}
    return wanted - {""}


def relate(
    change: Change,
    sources: Mapping[str, bytes],
    index: FootprintIndex,
    scenarios: Sequence[str],
    definitions: Mapping[str, str],
    moved_since: Mapping[str, Change] | None = None,
    folders: Folders | None = None,
) -> dict[str, Finding]:
    """The finding of each of `scenarios`, in their order.

    `definitions`: by scenario, the folder or file in the repository that defines it. `moved_since`:
    by a footprint's sha, what happened from there to base; blobs of these changes may be in
    `sources` too. A footprint of another commit without one proves nothing.
    """
    work = _Work(index, sources, folders)
    for each in change.files:
        work.look_at(each)
    work.look_at_dependencies(change)
    stale: Bits = 0
    for sha, who in index.shas.items():
        if sha != change.base:
            stale |= _stale(sha, who, index, sources, moved_since or {})
    return _findings(work, change, scenarios, definitions, stale)


def _stale(
    sha: str,
    who: Bits,
    index: FootprintIndex,
    sources: Mapping[str, bytes],
    moved_since: Mapping[str, Change],
) -> Bits:
    since = moved_since.get(sha)
    if since is None:
        return who
    work = _Work(index, sources, None)
    for each in since.files:
        work.look_at(each)
    work.look_at_dependencies(since)
    return work.touched & who


@dataclass
class _Work:
    """Sets of scenarios, path by path."""

    index: FootprintIndex
    sources: Mapping[str, bytes]
    folders: Folders | None
    rows: list[tuple[Touch, Bits]] = field(default_factory=list)
    same: list[tuple[str, Bits]] = field(default_factory=list)
    dormant: list[tuple[str, tuple[str, ...], Bits]] = field(default_factory=list)
    touched: Bits = 0

    def __post_init__(self) -> None:
        self.everyone: Bits = (1 << len(self.index.scenarios)) - 1
        self._compiled = 0
        for name in _COMPILERS:
            self._compiled |= self.index.distributions.get(name, 0)
        self._above: dict[str, Bits] | None = None
        self._imported_below: dict[str, Bits] | None = None
        self._python = _oldest_python(self.index)
        #: Whose interpreters told only the last word of a function's name.
        self._short_names: Bits = 0
        for text, who in self.index.pythons.items():
            if (_version(text) or (0, 0)) < _QUALIFIED_NAMES:
                self._short_names |= who

    def touch(self, touch: Touch, who: Bits) -> None:
        if who:
            self.rows.append((touch, who))
            self.touched |= who

    def look_at(self, file: ChangedFile) -> None:
        if lockfiles.is_build_file(file.path) or lockfiles.is_build_file(file.old_path):
            self.touch(Touch(file.path, How.BUILD), self.everyone)
        if not file.is_plain:
            self._link(file)
        gone = file.old_path or file.path
        if file.vanishes:
            self._vanish(gone)
        if file.appears:
            self._appear(file.path)
        if not file.appears and not file.vanishes:
            self._modify(file)
        for path in file.paths:  # something used it that is a folder to git
            for folder in _folders_above(path):
                used = self.index.opened.get(folder, 0) | self.index.imported.get(folder, 0)
                self.touch(Touch(path, How.CONTENT), used)

    def look_at_dependencies(self, change: Change) -> None:
        locked = {
            str(PurePosixPath(each.path).parent)
            for each in change.files
            if lockfiles.is_lock(each.path)
        }
        for each in change.files:
            paths = [path for path in each.paths if lockfiles.is_dependency_file(path)]
            if not paths:
                continue
            old = self.sources.get(each.old_blob) if each.old_blob else b""
            new = self.sources.get(each.new_blob) if each.new_blob else b""
            # Under its new name nothing reads a renamed file any more, or something begins to.
            pairs = [(old, new)] if len(each.paths) == 1 else [(old, b""), (b"", new)]
            for path, (before, after) in zip(each.paths, pairs, strict=True):
                if path in paths:
                    self._dependencies(path, before, after, locked)

    def _dependencies(
        self, path: str, old: bytes | None, new: bytes | None, locked: set[str]
    ) -> None:
        if old is None or new is None:
            self.touch(Touch(path, How.DEPENDENCY), self.everyone)
            return
        if lockfiles.rebuilds(old, new, path):
            self.touch(Touch(path, How.BUILD), self.everyone)
        names = lockfiles.moved(old, new, path)
        if names is None:
            self.touch(Touch(path, How.DEPENDENCY), self.everyone)
            return
        told: Bits = 0
        for name in sorted(names):
            who = self.index.distributions.get(name, 0)
            self.touch(Touch(path, How.DEPENDENCY, detail=name), who)
            told |= who
        closed = lockfiles.is_lock(path) or str(PurePosixPath(path).parent) in locked
        closed = closed or (lockfiles.is_hashed(old) and lockfiles.is_hashed(new))
        if names and not closed:
            # What is declared is not all that is installed: others may move along with it.
            loads = 0
            for who in self.index.distributions.values():
                loads |= who
            self.touch(Touch(path, How.DEPENDENCY, detail=", ".join(sorted(names))), loads & ~told)

    # --- one path ------------------------------------------------------------------------------

    def _modify(self, file: ChangedFile) -> None:
        index, path = self.index, file.path
        opened, imported = index.opened.get(path, 0), index.imported.get(path, 0)
        if looked := index.present.get(path, 0) & ~opened & ~imported:
            self.touch(Touch(path, How.CONTENT, detail="its size or mode was looked at"), looked)
        if not opened | imported:
            return
        if file.kind is not ChangeKind.MODIFIED or file.old_mode != file.new_mode:
            self.touch(Touch(path, How.CONTENT), opened | imported)
            return
        self.touch(Touch(path, How.CONTENT), opened)
        if not imported:
            return
        old, new = self.sources.get(file.old_blob), self.sources.get(file.new_blob)
        if old is None or new is None:
            self.touch(Touch(path, How.CONTENT, detail="not compared"), imported)
            return
        difference = compare_code(old, new, path, oldest_python=self._python)
        if not difference.known:
            self.touch(Touch(path, How.CONTENT, detail="not compared"), imported)
        elif difference.same:
            self.same.append((path, imported))
        else:
            self._code(path, difference, imported)

    def _code(self, path: str, difference: CodeDifference, imported: Bits) -> None:
        """Who ran which of the changed functions: one touch for each combination and share."""
        ran = self._who_ran(path, difference, imported)
        some = 0
        for who in ran.values():
            some |= who
        idle = imported & ~some
        if idle:
            self.dormant.append((path, tuple(sorted(difference.changed)), idle))
        shares = self._shares(path, difference.changed)
        cells: dict[tuple[str, ...], Bits] = {(): imported & some}
        for name, who in sorted(ran.items()):
            parts: dict[tuple[str, ...], Bits] = {}
            for names, cell in cells.items():
                if cell & who:
                    parts[(*names, name)] = cell & who
                if cell & ~who:
                    parts[names] = cell & ~who
            cells = parts
        for names, cell in cells.items():
            for share, who in _by_share(cell, shares, len(self.index.scenarios)):
                self.touch(Touch(path, How.CODE, names, share), who)

    def _who_ran(self, path: str, difference: CodeDifference, imported: Bits) -> dict[str, Bits]:
        functions = self.index.functions.get(path, {})
        # Where not even the module's body was seen running, nothing is known of its functions.
        blind = imported & (~functions.get(MODULE, 0) | self._compiled)
        bodies = dict(difference.bodies)
        ran = {}
        for name in difference.changed:
            short = functions.get(name.rpartition(".")[2], 0) & self._short_names
            who = functions.get(name, 0) | short | blind
            if name == MODULE:
                who = imported
            elif name in bodies:
                around = bodies[name]
                short = functions.get(around.rpartition(".")[2], 0) & self._short_names
                who |= functions.get(around, 0) | short
            if who & imported:
                ran[name] = who & imported
        return ran

    def _shares(self, path: str, changed: Iterable[str]) -> list[tuple[int, Bits]]:
        by_name = self.index.shares.get(path, {})
        return [pair for name in changed for pair in by_name.get(name, {}).items()]

    def _vanish(self, path: str) -> None:
        index = self.index
        self.touch(
            Touch(path, How.VANISHES), index.imported.get(path, 0) | index.opened.get(path, 0)
        )
        kept = self.folders.head if self.folders else None
        looked = index.present.get(path, 0)
        for folder in _folders_above(path):
            if kept is not None and (folder in kept or not folder):
                break
            looked |= index.present.get(folder, 0) if folder else 0
        looked &= ~(index.imported.get(path, 0) | index.opened.get(path, 0))
        self.touch(Touch(path, How.VANISHES, detail="it was looked at"), looked)
        self._listed(path, How.VANISHES, kept)

    def _appear(self, path: str) -> None:
        known = self.folders.base if self.folders else None
        self._listed(path, How.APPEARS, known)
        looked_for = 0
        for place in (path, *_folders_above(path)):
            looked_for |= self.index.missing.get(place, 0) | self.index.missing.get(_stem(place), 0)
        self.touch(Touch(path, How.APPEARS, detail="it was looked for"), looked_for)
        self.touch(Touch(path, How.APPEARS, detail="it may hide a module"), self._hides(path))

    def _listed(self, path: str, how: How, standing: frozenset[str] | None) -> None:
        """Who lists the folder, or one above it in which a folder appears or vanishes along."""
        who = 0
        for folder in _folders_above(path):
            who |= self.index.folders.get(folder, 0)
            if standing is not None and (folder in standing or not folder):
                break
        self.touch(Touch(path, how, detail="its folder is listed"), who)

    def _hides(self, path: str, *, is_link: bool = False) -> Bits:
        """Whose imports may find this new file, or what is below this link, in the place of
        another module."""
        index, who = self.index, 0
        parts = path.split("/")
        for depth in range(len(parts)):
            search = index.search.get("/".join(parts[:depth]), 0)
            if not search:
                continue
            if depth == len(parts) - 1 and _stem(parts[-1]) in _CUSTOM:
                who |= search
            dotted = ""
            for at in range(depth, len(parts)):
                is_file = at == len(parts) - 1 and (_is_module(parts[at]) or not is_link)
                if is_file and not _is_module(parts[at]):
                    break
                if is_file and parts[at].split(".")[0] == "__init__":
                    who |= search & index.modules.get(dotted, 0)
                    break
                dotted = f"{dotted}.{_stem(parts[at])}".lstrip(".")
                named = search & index.modules.get(dotted, 0)
                if not is_file:
                    # A package that it imported from here was here before.
                    named &= ~self._imports_below("/".join(parts[: at + 1]))
                    if not is_link:
                        named &= self._may_be_new("/".join(parts[: at + 1]), parts[-1])
                who |= named
        return who

    def _may_be_new(self, folder: str, name: str) -> Bits:
        """Everyone, unless the folder was there and this file makes no module of it."""
        known = self.folders is not None and folder in self.folders.base
        return 0 if known and not _is_module(name) else self.everyone

    def _imports_below(self, folder: str) -> Bits:
        if self._imported_below is None:
            below: defaultdict[str, Bits] = defaultdict(int)
            # Also a module that was opened, too, was there.
            for table in (self.index.imported, self.index.opened):
                for path, who in table.items():
                    if _is_module(path):
                        for above in _folders_above(path):
                            below[above] |= who
            self._imported_below = below
        return self._imported_below.get(folder, 0)

    def _link(self, file: ChangedFile) -> None:
        """A link or submodule stands for all that is below it."""
        if self._above is None:
            above: defaultdict[str, Bits] = defaultdict(int)
            index = self.index
            tables = (
                index.imported,
                index.opened,
                index.folders,
                index.missing,
                index.present,
                index.search,
            )
            for table in tables:
                for path, who in table.items():
                    above[path] |= who
                    for folder in _folders_above(path):
                        above[folder] |= who
            self._above = above
        for path in file.paths:
            self.touch(Touch(path, How.CONTENT), self._above.get(path, 0))
            # What is below it may have grown a module.
            hides = self._hides(path, is_link=True)
            self.touch(Touch(path, How.APPEARS, detail="it may hide a module"), hides)


# --- from sets to findings ---------------------------------------------------------------------


def _findings(
    work: _Work,
    change: Change,
    scenarios: Sequence[str],
    definitions: Mapping[str, str],
    stale: Bits,
) -> dict[str, Finding]:
    index = work.index
    numbers = {name: number for number, name in enumerate(index.scenarios)}
    size = len(index.scenarios)
    touches = _by_scenario([who for _, who in work.rows], size)
    quiet = [*((path, (), who) for path, who in work.same)]
    first_dormant = _first([who for _, _, who in work.dormant], size)
    first_same = _first([who for _, _, who in quiet], size)
    is_stale, unseen = _flags(stale, size), _first([*index.unseen.values()], size)
    why_unseen = [*index.unseen]
    own = _own_files(change, scenarios, definitions)
    cache: dict[tuple[object, ...], Finding] = {}
    found = {}
    for name in scenarios:
        mine = own.get(name, ())
        number = numbers.get(name)
        if number is None:
            found[name] = Finding(Relation.UNKNOWN, "it has no footprint yet", mine)
            continue
        key: tuple[object, ...]
        rows = touches.get(number)
        if rows is not None or mine:
            key = ("touched", mine, b"" if rows is None else rows.tobytes())
            if key not in cache:
                every = (*mine, *(() if rows is None else (work.rows[row][0] for row in rows)))
                cache[key] = Finding(Relation.TOUCHED, _why_touched(every), every)
        elif unseen[number] >= 0:
            key = ("unseen", unseen[number])
            what = why_unseen[unseen[number]]
            cache[key] = Finding(
                Relation.UNKNOWN, f"its footprint could not see everything: {what}"
            )
        elif is_stale[number]:
            key = ("stale",)
            cache[key] = Finding(Relation.UNKNOWN, "its footprint is older than what it runs")
        elif first_dormant[number] >= 0:
            key = ("dormant", first_dormant[number])
            path, names, _ = work.dormant[first_dormant[number]]
            reason = (
                f"changed functions never ran before the first batch: {_named(names)} in {path}"
            )
            cache[key] = Finding(Relation.DORMANT, reason)
        elif first_same[number] >= 0:
            key = ("same", first_same[number])
            path = quiet[first_same[number]][0]
            reason = f"only comments, docstrings or annotations differ in {path}"
            cache[key] = Finding(Relation.SAME_CODE, reason)
        else:
            key = ("apart", index.counts[number])
            reason = (
                f"touches nothing it used: {index.counts[number]:,} files, "
                f"{len(change.files):,} changed here"
            )
            cache[key] = Finding(Relation.APART, reason)
        found[name] = cache[key]
    return found


def _own_files(
    change: Change, scenarios: Sequence[str], definitions: Mapping[str, str]
) -> dict[str, tuple[Touch, ...]]:
    """By scenario: changed files that are or lie below what defines it."""
    by_place: defaultdict[str, list[str]] = defaultdict(list)
    for name in scenarios:
        if place := definitions.get(name):
            by_place[place.rstrip("/")].append(name)
    found: defaultdict[str, list[Touch]] = defaultdict(list)
    for each in change.files:
        for path in each.paths:
            for place in (path, *_folders_above(path)):
                for name in by_place.get(place, ()):
                    found[name].append(Touch(path, How.SCENARIO))
    return {name: tuple(touches) for name, touches in found.items()}


def _why_touched(touches: Sequence[Touch]) -> str:
    """The most telling touch: who ran changed code is told which, and how much of it."""
    best = max(touches, key=lambda each: (_TELLING[each.how], each.share))
    if best.how is How.CODE:
        share = f" ({best.share:.0%} of the traced time)".replace("%", " %")
        share = share if best.share >= _SHARE_WORTH_TELLING else ""
        return f"runs changed code: {_named(best.functions)} in {best.path}{share}"
    detail = f": {best.detail}" if best.detail else ""
    return f"{_WORDS[best.how]} {best.path}{detail}"


_TELLING = {
    How.CODE: 6, How.CONTENT: 5, How.VANISHES: 4, How.APPEARS: 3, How.DEPENDENCY: 2,
    How.SCENARIO: 1, How.BUILD: 0,
}  # fmt: skip
_WORDS = {
    How.CONTENT: "uses a changed file:",
    How.APPEARS: "may find a new file:",
    How.VANISHES: "misses a file:",
    How.DEPENDENCY: "loads a dependency that moves:",
    How.BUILD: "is built from a changed file:",
    How.SCENARIO: "its own definition changes:",
}


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    told = ("the module's body" if name == MODULE else name for name in names[:_MOST_NAMED])
    return ", ".join(told) + more


# --- sets of scenarios as arrays ---------------------------------------------------------------


def _flags(who: Bits, size: int) -> NDArray[np.bool_]:
    data = np.frombuffer(who.to_bytes(size // 8 + 1, "little"), dtype=np.uint8)
    return np.unpackbits(data, bitorder="little")[:size].view(np.bool_)


def _first(sets: Sequence[Bits], size: int) -> list[int]:
    """For each scenario the first set that holds it, or -1."""
    found = np.full(size, -1, dtype=np.int64)
    seen = 0
    for number, who in enumerate(sets):
        if new := who & ~seen:
            found[_flags(new, size)] = number
            seen |= new
    return [int(each) for each in found]


def _by_scenario(sets: Sequence[Bits], size: int) -> dict[int, NDArray[np.int32]]:
    """For each scenario the numbers of the sets that hold it, where there are any."""
    if not sets:
        return {}
    members = [np.flatnonzero(_flags(who, size)) for who in sets]
    rows = np.repeat(np.arange(len(sets), dtype=np.int32), [len(each) for each in members])
    everyone = np.concatenate(members)
    order = np.argsort(everyone, kind="stable")
    everyone, rows = everyone[order], rows[order]
    starts = np.flatnonzero(np.diff(everyone, prepend=-1))
    return {
        int(everyone[start]): part
        for start, part in zip(starts, np.split(rows, starts[1:]), strict=True)
    }


def _by_share(
    cell: Bits, shares: Sequence[tuple[int, Bits]], size: int
) -> list[tuple[float, Bits]]:
    """The cell by what its scenarios spend in all of the functions together."""
    shares = [(step, who & cell) for step, who in shares if who & cell]
    if not shares:
        return [(0.0, cell)]
    total = np.zeros(size, dtype=np.int64)
    for step, who in shares:
        total[_flags(who, size)] += step
    inside = _flags(cell, size)
    parts = []
    for value in np.unique(total[inside]):
        flags = np.packbits(inside & (total == value), bitorder="little")
        parts.append((min(int(value), 1000) / 1000, int.from_bytes(flags.tobytes(), "little")))
    return parts


# --- paths -------------------------------------------------------------------------------------


def _folders_above(path: str) -> list[str]:
    """Nearest first, the root ("") last; empty for the root itself."""
    found = []
    while path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


def _is_module(name: str) -> bool:
    return name.endswith(_MODULE_SUFFIXES)


def _stem(path: str) -> str:
    """Of `src/foo.cpython-311.so` `src/foo`: what an import asks for."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.split(".")[0] if _is_module(name) else name)


def _oldest_python(index: FootprintIndex) -> tuple[int, int] | None:
    return min((each for text in index.pythons if (each := _version(text))), default=None)


def _version(text: str) -> tuple[int, int] | None:
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0]), int(parts[1])
