"""The rules: what one changed path touches, once for all scenarios.

Refuses to guess: whatever a rule cannot tell counts as touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ailab_bot.model.change import Change, ChangedFile, ChangeKind
from ailab_bot.plan import lockfiles
from ailab_bot.plan.codecompare import MODULE, CodeDifference, compare_code
from ailab_bot.plan.index import Bits, FootprintIndex
from ailab_bot.plan.pythons import oldest_python, with_short_names
from ailab_bot.plan.relation import How, Touch
from ailab_bot.plan.sets import by_share
from ailab_bot.plan.shadowing import Folders, Imports, folders_above, source_of, stem

#: Compile Python code to machine code: functions run that no one sees running.
_COMPILERS = ("numba", "taichi", "pythran")


@dataclass
class Touches:
    """What each path touches, for all scenarios of an index at once.

    `rows`: a touch and who has it. `same` and `dormant`: whose code is the same in a path, or
    differs in functions that never ran.
    """

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
        #: Who asked for a module, in small letters.
        self._asked: defaultdict[str, Bits] = defaultdict(int)
        for name, who in self.index.modules.items():
            self._asked[name.lower()] |= who
        self._above: dict[str, Bits] | None = None
        self._imports = Imports(self.index, self.folders)
        self._python = oldest_python(self.index)
        self._short_names = with_short_names(self.index)

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
        for source in filter(None, map(source_of, file.paths)):  # byte code of it, committed
            used = self.index.opened.get(source, 0) | self.index.imported.get(source, 0)
            self.touch(Touch(file.path, How.CONTENT), used)
        for path in file.paths:  # something used it that is a folder to git
            for folder in folders_above(path):
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
            who = self._who_loads(name)
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

    def _who_loads(self, name: str) -> Bits:
        """Who imported something of a distribution, or asked for a module that it may bring; of one
        whose libraries are loaded without an import of its name, whoever loads any."""
        if lockfiles.is_native(name):
            loads = 0
            for who in self.index.distributions.values():
                loads |= who
            return loads
        asked = 0
        for guess in lockfiles.import_names(name):
            asked |= self._asked.get(guess, 0)
        return self.index.distributions.get(name, 0) | asked

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
            for share, who in by_share(cell, shares, len(self.index.scenarios)):
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
            if name == MODULE or name in difference.added:
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
        for folder in folders_above(path):
            if kept is not None and (folder in kept or not folder):
                break
            looked |= index.present.get(folder, 0) if folder else 0
        looked &= ~(index.imported.get(path, 0) | index.opened.get(path, 0))
        self.touch(Touch(path, How.VANISHES, detail="it was looked at"), looked)
        self._listed(path, How.VANISHES, kept)

    def _appear(self, path: str) -> None:
        index = self.index
        # Base had no such file: the program made it, or its set-up.
        made = index.imported.get(path, 0) | index.opened.get(path, 0) | index.present.get(path, 0)
        self.touch(Touch(path, How.CONTENT, detail="it has its own file there"), made)
        known = self.folders.base if self.folders else None
        self._listed(path, How.APPEARS, known)
        looked_for = 0
        for place in (path, *folders_above(path)):
            looked_for |= self.index.missing.get(place, 0) | self.index.missing.get(stem(place), 0)
        self.touch(Touch(path, How.APPEARS, detail="it was looked for"), looked_for)
        self.touch(
            Touch(path, How.APPEARS, detail="it may hide a module"), self._imports.hidden_by(path)
        )

    def _listed(self, path: str, how: How, standing: frozenset[str] | None) -> None:
        """Who lists the folder, or one above it in which a folder appears or vanishes along."""
        who = 0
        for folder in folders_above(path):
            who |= self.index.folders.get(folder, 0)
            if standing is not None and (folder in standing or not folder):
                break
        self.touch(Touch(path, how, detail="its folder is listed"), who)

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
                    for folder in folders_above(path):
                        above[folder] |= who
            self._above = above
        for path in file.paths:
            self.touch(Touch(path, How.CONTENT), self._above.get(path, 0))
            if not file.appears and not file.vanishes:
                # Who lists its folder may now walk into it, or no longer.
                listed = self.index.folders.get(path.rpartition("/")[0], 0)
                self.touch(Touch(path, How.CONTENT, detail="its folder is listed"), listed)
            # What is below it may have grown a module.
            hides = self._imports.hidden_by(path, is_link=True)
            self.touch(Touch(path, How.APPEARS, detail="it may hide a module"), hides)
