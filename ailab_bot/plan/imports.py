"""How many imports lie between what a scenario runs and what a change touches, read off sources.

A hint for prediction where no footprint tells more, and never a proof. Import statements are read,
wherever they stand; nothing is run, so `importlib`, plug-ins and edits of `sys.path` are not seen.
Refuses to read files: who asks brings a reader. Sources are hostile: what is too large or does not
parse imports nothing, and nothing is ever raised.

Hubs: what more than a part of the files import (settings, logging, a package's front door) lies on
a short way between any two files, so that every scenario would be near to every change. It is
neither walked through nor near to anything.
"""

from __future__ import annotations

import ast
import itertools
import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

from ailab_bot.model.scenario import Scenario
from ailab_bot.plan.parsing import UNREADABLE, parse
from ailab_bot.plan.shadowing import folders_above
from ailab_bot.plan.tokens import LARGEST_BYTES

#: What is read for all scenarios of a plan together, nearest first: parsing 4 MiB takes a second,
#: or 10 where somebody wrote them for that and had them merged.
MOST_FILES, MOST_BYTES = 600, 4 << 20
#: Imports that are followed. Each further one halves the nearness: 7 would be worth less than 1 %.
MOST_STEPS = 6
#: A hub is imported by more than this part of the files that were read, and by no fewer than this:
#: in a small repository a third of the files is one scenario's own.
HUB_PART, LEAST_IMPORTERS = 0.3, 10
#: Words of names that one file imports, that all do together, and characters of a name: each word
#: is looked for in each folder that is searched.
_MOST_WORDS, _MOST_WORDS_TOGETHER, _LONGEST_NAME = 2000, 100_000, 500
#: Folders of PYTHONPATH, of all scenarios together, the most used first.
_MOST_SEARCHED = 20
_MOST_LINKS = 10
_INIT = "__init__.py"

#: The contents of blobs by id, as far as they are there and take no more bytes than asked for.
Reader: TypeAlias = Callable[[Sequence[str], int], Mapping[str, bytes]]
#: By each file that was read, the files that run because it imports them.
Graph: TypeAlias = Mapping[str, frozenset[str]]


class Import(NamedTuple):
    """`from ..module import names`: two dots are level 2. Plain `import` has no names."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0

    @property
    def words(self) -> int:
        return self.module.count(".") + 1 + len(self.names)


def imports_of(source: bytes) -> tuple[Import, ...]:
    """What a file imports anywhere, a file's own body first. Left out: what stands below
    `if TYPE_CHECKING`, which never runs."""
    if len(source) > LARGEST_BYTES:
        return ()
    try:
        tree = parse(source)
    except UNREADABLE:
        return ()
    found: dict[Import, None] = {}
    words = 0
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            own = [Import(each.name) for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            own = [Import(node.module or "", tuple(each.name for each in node.names), node.level)]
        else:
            continue
        for each in own:
            words += each.words
            if words > _MOST_WORDS:
                return tuple(found)
            if max(map(len, (each.module, *each.names))) <= _LONGEST_NAME:
                found[each] = None
    return tuple(found)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    nodes: list[ast.AST] = [tree]
    for node in nodes:  # grows
        yield node
        blocks = ("body", "orelse", "handlers", "finalbody", "cases")
        skipped = isinstance(node, ast.If) and _is_for_types(node.test)
        for block in blocks[1:] if skipped else blocks:
            nodes += getattr(node, block, ())


def _is_for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


@dataclass(frozen=True)
class Tree:
    """What a commit holds: `files` are Python sources with their blobs (empty: not to be read),
    `links` where links lead, both by path."""

    files: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def folders(self) -> frozenset[str]:
        """With sources anywhere below, without the root."""
        found: set[str] = set()
        for path in self.files:
            for folder in folders_above(path):
                if folder in found:
                    break
                found.add(folder)
        return frozenset(found - {""})

    def real(self, path: str) -> str:
        """Where the path lies once links are followed; only whole folders and files are links."""
        for _ in range(_MOST_LINKS if self.links else 0):
            link = next((each for each in (path, *folders_above(path)) if each in self.links), None)
            if link is None:
                break
            target = posixpath.join(posixpath.dirname(link), self.links[link])
            path = posixpath.normpath(target + path[len(link) :])
        return path


class _Found(NamedTuple):
    """`packages`: files that run before the module. `module`: empty where it has no file.
    `folder`: where its own modules lie; None where it can have none."""

    packages: tuple[str, ...] = ()
    module: str = ""
    folder: str | None = None


@dataclass(frozen=True)
class Modules:
    """Where names of modules lead to. `own`: by folder, what only the files below it search, as a
    script's folder is by itself; `shared`: what all files search ("" is the root).

    A name that several shared folders hold leads to each of them: which one is searched first
    differs from scenario to scenario.
    """

    tree: Tree
    own: Mapping[str, Collection[str]] = field(default_factory=dict)
    shared: tuple[str, ...] = ("", "src")

    def run_by(self, path: str, imports: Iterable[Import]) -> frozenset[str]:
        """Files that run because the file at `path` imports these. Its own packages ran before it:
        they count only where something is taken from them by name."""
        found: set[str] = set()
        above = folders_above(path)
        inside = {posixpath.join(each, _INIT) for each in above}
        own = [searched for each in above for searched in self.own.get(each, ())]
        for each in imports:
            for packages, modules in self._places(each, above, own):
                found |= packages - inside
                found |= modules
        return frozenset(found - {path, ""})

    def _places(
        self, asked: Import, above: Sequence[str], own: Sequence[str]
    ) -> Iterator[tuple[set[str], set[str]]]:
        """In each folder that holds it: packages that run first, and what is asked for."""
        if asked.level:
            # A package lies below a folder that is searched, so never is the root one.
            base = above[asked.level - 1] if asked.level <= len(above) else ""
            if base:
                yield self._taken(base, asked)
            return
        for searched in own:
            found = self._taken(searched, asked)
            if any(found):
                yield found
                return
        for searched in self.shared:
            yield self._taken(searched, asked)

    def _taken(self, searched: str, asked: Import) -> tuple[set[str], set[str]]:
        source = self.find(searched, asked.module)
        packages, modules = set(source.packages), {source.module}
        if asked.names and source.folder is not None:
            below = [self._file(posixpath.join(source.folder, name)) for name in asked.names]
            packages |= modules
            modules = {each or source.module for each in below}
        return packages - {""}, modules - {""}

    def find(self, searched: str, name: str) -> _Found:
        """The module `name` (of words with dots between, or none) below a folder; nothing where it
        is not there, as for what is installed."""
        place, files = searched, list[str]()
        words = name.split(".") if name else []
        for word in words:
            place = posixpath.join(place, word)
            files.append(self._file(place))
            if files[-1] == f"{place}.py" or place not in self.tree.folders:
                is_whole = len(files) == len(words)  # or something is asked of what is no package
                return _Found((*files[:-1],), files[-1]) if is_whole else _Found((*files,))
        own = files.pop() if words else self._file(f"{place}/__init__")
        return _Found((*files,), own, place)

    def _file(self, place: str) -> str:
        """What runs for the module or package at a place: nothing for a folder without a file."""
        names = (f"{place}/{_INIT}", f"{place}.py")
        return next((each for each in names if each in self.tree.files), "")


def entries_of(scenario: Scenario, directory: str, modules: Modules) -> frozenset[str]:
    """Files that a scenario's command names: scripts, and what `-m` runs with its packages.

    `directory`: what `{scenario_dir}` stands for, in the repository.
    """
    found = {*_scripts(scenario, directory, modules.tree)}
    for word, after in itertools.pairwise(scenario.command):
        if word == "-m" and after:
            searched = ("", *_searched(scenario, directory, modules.tree), "src")
            names = (f"{after}.__main__", after)
            runs = (modules.find(folder, name) for folder in searched for name in names)
            first = next((each for each in runs if each.module), _Found())
            found |= {*first.packages, first.module} - {""}
    return frozenset(found)


def _scripts(scenario: Scenario, directory: str, tree: Tree) -> list[str]:
    words = (word for word in scenario.command if word.endswith(".py"))
    places = (_place(word, directory, tree) for word in words)
    return [place for place in places if place is not None and place in tree.files]


def _place(word: str, directory: str, tree: Tree) -> str | None:
    """The path in the repository that a word names; None outside of it."""
    said = word.replace("{scenario_dir}", f"{{checkout}}/{directory}")
    if said.startswith("{checkout}"):
        said = "./" + said.removeprefix("{checkout}")
    path = posixpath.normpath(said)
    if path.startswith(("/", "..")):
        return None
    path = tree.real(path)
    return "" if path == "." else path


def _searched(scenario: Scenario, directory: str, tree: Tree) -> list[str]:
    words = scenario.env.get("PYTHONPATH", "").split(":")
    places = [_place(word, directory, tree) for word in words if word]
    return [place for place in places if place is not None]


def walk(modules: Modules, entries: Collection[str], read: Reader) -> tuple[Graph, frozenset[str]]:
    """The imports of all files within MOST_STEPS of the entries, nearest first, as far as bounds
    allow; and the hubs among them."""
    graph: dict[str, frozenset[str]] = {}
    level, asked, left = sorted(entries), set(entries), MOST_BYTES
    files = modules.tree.files
    words = 0
    for _ in range(MOST_STEPS):
        level = [path for path in level if files.get(path)][: MOST_FILES - len(graph)]
        if not level or left <= 0:
            break
        sources = read([*dict.fromkeys(files[path] for path in level)], left)
        left -= sum(map(len, sources.values()))
        further: set[str] = set()
        for path in level:
            source = sources.get(files[path])
            if source is None or words > _MOST_WORDS_TOGETHER:
                continue
            imports = imports_of(source)
            words += sum(each.words for each in imports)
            graph[path] = modules.run_by(path, imports)
            further |= graph[path]
        level = sorted(further - asked)
        asked |= further
    importers = Counter(path for found in graph.values() for path in found)
    least = max(LEAST_IMPORTERS, int(HUB_PART * len(graph)) + 1)
    return graph, frozenset(path for path, number in importers.items() if number >= least)


def steps_to(changed: Collection[str], graph: Graph, hubs: Collection[str]) -> dict[str, int]:
    """By file, how many imports lead from it to the nearest changed one; MOST_STEPS where that is
    a hub. Files from which no way leads to any are left out."""
    importers: defaultdict[str, list[str]] = defaultdict(list)
    for path, found in graph.items():
        for each in found:
            importers[each].append(path)
    steps = _back({path for path in changed if path not in hubs}, importers, hubs)
    for path in _back({path for path in changed if path in hubs}, importers, hubs):
        steps.setdefault(path, MOST_STEPS)
    return steps


def _back(
    starts: Collection[str], importers: Mapping[str, Sequence[str]], hubs: Collection[str]
) -> dict[str, int]:
    steps = dict.fromkeys(starts, 0)
    level = [*starts]
    for step in range(1, MOST_STEPS + 1):
        above = dict.fromkeys(
            each
            for path in level
            if step == 1 or path not in hubs
            for each in importers.get(path, ())
            if each not in steps
        )
        steps |= dict.fromkeys(above, step)
        level = [*above]
    return steps


def imported_near(
    scenarios: Mapping[str, tuple[Scenario, str]],
    tree: Tree,
    changed: Collection[str],
    read: Reader,
) -> dict[str, float]:
    """By scenario, how near the nearest of the changed paths lies to what it runs: 1 for a script
    that its command names, then half as much for each import between, 0 where none leads there.

    `scenarios`: each with what `{scenario_dir}` stands for in the tree. Scenarios without any
    script in the tree are left out.
    """
    modules = modules_of(scenarios.values(), tree)
    entries = {
        name: entries_of(scenario, directory, modules)
        for name, (scenario, directory) in scenarios.items()
    }
    graph, hubs = walk(modules, frozenset[str]().union(*entries.values()), read)
    steps = steps_to(changed, graph, hubs)
    return {
        name: 1.0
        if not found.isdisjoint(changed)
        else max((0.5 ** steps[path] for path in found if path in steps), default=0.0)
        for name, found in entries.items()
        if found
    }


def modules_of(scenarios: Iterable[tuple[Scenario, str]], tree: Tree) -> Modules:
    """Searches the root, `src`, the scripts' folders and those of PYTHONPATH. What lies below a
    script's folder is searched from there alone, as two scenarios may each have a `model.py`."""
    shared: Counter[str] = Counter()
    own: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for scenario, directory in scenarios:
        homes = {posixpath.dirname(each) for each in _scripts(scenario, directory, tree)}
        for home in homes - {""}:
            own[home][home] = None
        for each in dict.fromkeys(_searched(scenario, directory, tree)):
            home = next((above for above in (each, *folders_above(each)) if above in homes), "")
            if home:
                own[home][each] = None
            else:
                shared[each] += 1
    most = sorted(shared, key=lambda each: (-shared[each], each))[:_MOST_SEARCHED]
    return Modules(tree, own, tuple(dict.fromkeys((*most, "", "src"))))
