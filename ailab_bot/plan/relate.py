"""What a change touches of each scenario's footprint, and where it touches nothing: the proof.

A proof holds only if every path of the change allows it. Reads no files: who calls it hands over
the blobs that `blobs_wanted` names. Work is done once for each path, on sets of scenarios.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ailab_bot.model.change import Change, ChangedFile, ChangeKind
from ailab_bot.plan import lockfiles
from ailab_bot.plan.codecompare import MODULE
from ailab_bot.plan.index import Bits, FootprintIndex
from ailab_bot.plan.parsing import UNREADABLE, parse
from ailab_bot.plan.relation import MOST_TOUCHES, Finding, How, Relation, Touch
from ailab_bot.plan.sets import by_scenario, first, flags
from ailab_bot.plan.shadowing import Folders, folders_above, stem
from ailab_bot.plan.touches import Touches

#: A reason names so many functions and leaves out the rest.
_MOST_NAMED = 3
#: Shares below this are noise of the recording, and not worth a person's time.
_SHARE_WORTH_TELLING = 0.005


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
    work = Touches(index, sources, folders)
    for each in change.files:
        work.look_at(each)
    work.look_at_dependencies(change)
    stale, other = Stale(0, 0), moved_since or {}
    paths = frozenset(path for each in change.files for path in each.paths)
    for sha, who in index.shas.items():
        if sha != change.base:
            stale = stale.joined(_stale(sha, who, index, sources, other, paths))
    return _findings(work, change, scenarios, definitions, stale)


class Stale(NamedTuple):
    """Whose footprint is older than what the scenario runs; and of these, whose may run files by
    now that it does not know."""

    changed: Bits
    grown: Bits

    def joined(self, other: Stale) -> Stale:
        return Stale(self.changed | other.changed, self.grown | other.grown)


def _stale(
    sha: str,
    who: Bits,
    index: FootprintIndex,
    sources: Mapping[str, bytes],
    moved_since: Mapping[str, Change],
    paths: frozenset[str],
) -> Stale:
    """`paths`: of the change. One that was newly imported since may be used by now."""
    since = moved_since.get(sha)
    if since is None:
        return Stale(who, who)
    modules = frozenset(map(_module, paths)) - {""}
    work = Touches(index, sources, None)
    for each in since.files:
        work.look_at(each)
    work.look_at_dependencies(since)
    files = {each.path: each for each in since.files}
    imported: dict[str, frozenset[str]] = {}
    grown: Bits = 0
    for touch, own in work.rows:
        if touch.how is How.CODE and touch.path not in imported:
            imported[touch.path] = _newly_imported(files[touch.path], sources)
        if touch.path in paths or imported.get(touch.path, frozenset()) & modules:
            grown |= own
    return Stale(work.touched & who, grown & who)


def _module(path: str) -> str:
    """The last word by which the file can be imported; empty for what is no source."""
    plain = PurePosixPath(stem(path))
    return "" if plain.suffix else plain.parent.name if plain.name == "__init__" else plain.name


def _newly_imported(file: ChangedFile, sources: Mapping[str, bytes]) -> frozenset[str]:
    """Words of the imports that head has and base has not: any may be a module's file."""
    old, new = (_imported(sources.get(each)) for each in (file.old_blob, file.new_blob))
    return new - old


def _imported(source: bytes | None) -> frozenset[str]:
    if source is None:
        return frozenset()
    try:
        nodes = list(ast.walk(parse(source)))
    except UNREADABLE:
        return frozenset()
    words: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            words.update(word for each in node.names for word in each.name.split("."))
            words.update((getattr(node, "module", None) or "").split("."))
    return frozenset(words)


def _findings(
    work: Touches,
    change: Change,
    scenarios: Sequence[str],
    definitions: Mapping[str, str],
    stale: Stale,
) -> dict[str, Finding]:
    index = work.index
    numbers = {name: number for number, name in enumerate(index.scenarios)}
    size = len(index.scenarios)
    touches = _touches(work, size)
    quiet = [*((path, (), who) for path, who in work.same)]
    first_dormant = first([who for _, _, who in work.dormant], size)
    first_same = first([who for _, _, who in quiet], size)
    is_stale, is_grown = (flags(who, size) for who in stale)
    unseen = first([*index.unseen.values()], size)
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
        others = touches.get(number, ())
        if others or mine:
            key = ("touched", mine, id(others))
            if key not in cache:
                why = _why_touched((*mine, *others[:1]))
                cache[key] = Finding(Relation.TOUCHED, why, (*mine, *others))
        elif unseen[number] >= 0:
            key = ("unseen", unseen[number])
            what = why_unseen[unseen[number]]
            cache[key] = Finding(
                Relation.UNKNOWN, f"its footprint could not see everything: {what}"
            )
        elif is_grown[number]:
            key = ("grown",)
            cache[key] = Finding(
                Relation.UNKNOWN,
                "its footprint is older than what it runs, which may use what changes here by now",
            )
        elif is_stale[number]:
            key = ("stale",)
            cache[key] = Finding(
                Relation.STALE,
                "touches nothing of its footprint, which is older than what it runs",
            )
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


def _touches(work: Touches, size: int) -> dict[int, tuple[Touch, ...]]:
    """By scenario, the most telling first. Who has the same ones has the same tuple."""
    rows = sorted(work.rows, key=lambda row: _telling(row[0]))
    made: dict[bytes, tuple[Touch, ...]] = {}
    found = {}
    for number, places in by_scenario([who for _, who in rows], size).items():
        some = places[:MOST_TOUCHES]
        key = some.tobytes()
        if key not in made:
            made[key] = tuple(rows[place][0] for place in some)
        found[number] = made[key]
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
            for place in (path, *folders_above(path)):
                for name in by_place.get(place, ()):
                    found[name].append(Touch(path, How.SCENARIO))
    return {name: tuple(touches) for name, touches in found.items()}


def _telling(touch: Touch) -> tuple[int, float]:
    """The most telling ones first."""
    return -_TELLING[touch.how], -touch.share


def _why_touched(touches: Sequence[Touch]) -> str:
    """The most telling touch: who ran changed code is told which, and how much of it."""
    best = min(touches, key=_telling)
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
