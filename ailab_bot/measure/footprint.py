"""Puts together what the recorder of each process wrote and what the kernel saw: a footprint.

What cannot be read makes it incomplete, never an error. Paths outside the repository are nobody's
business here.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from ailab_bot.measure.footprint_processes import UNREAD, Process, read_processes, text_of
from ailab_bot.measure.opens import Opens
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use

#: Entries of one table of a footprint; its codec takes no more.
MOST_ENTRIES = 100_000
_MOST_LINKS = 40  # on the way to one file, as Linux follows
#: Byte code, and what becomes of it under a passing name.
_CACHE = re.compile(r"(?:(.*)/)?__pycache__/([^/]+?)\.[^/]*\.pyc(\.[0-9]+)?", re.DOTALL)
_PATIENCE_S = 60.0
#: Prints, for the interpreter that runs it: each distribution's name, version and the first words
#: of what it installs.
_LISTING = """
import importlib.metadata as metadata, json, sys
found = []
for each in metadata.distributions():
    name = each.metadata["Name"]
    if name:
        tops = {top.split(".")[0] for top in (each.read_text("top_level.txt") or "").split()}
        for file in map(str, each.files or ()):
            if file.startswith("../"):
                tops.add(file.split("/")[-1] if ".so" in file else "")
            elif file.endswith(".py") or ".so" in file:
                tops.add(file.split("/")[0].split(".")[0])
        found.append([name, each.version, sorted(tops - {""})])
json.dump(found, sys.stdout)
"""


def read_footprint(
    folder: Path,
    opens: Opens,
    *,
    scenario: str,
    sha: str,
    trainer: int | None,
    distributions: Mapping[str, tuple[tuple[str, str], ...]],
) -> Footprint | None:
    """What lies in `folder` after a recorded trial; None where no process recorded anything.

    `trainer`: the process whose first batch it was. `distributions`: by imported name, the
    distributions' names and versions.
    """
    processes, unseen = read_processes(folder)
    if not processes:
        return None
    lead = next((each for each in processes if each.pid == trainer), None)
    signature = _signature(lead, processes) if lead is not None else None
    for each in processes:  # code that was made while it ran has such names: it is no file
        each.functions = [one for one in each.functions if not one.path.startswith("<")]
    if opens.lost:
        unseen.add(opens.lost)
    links = {text_of(path): text_of(target) for path, target in opens.links.items()}
    followed = _follow(processes, links) if links else set()
    asked = {name for each in processes for name in each.modules | each.preloaded}
    loaded = asked.union(*(each.libraries for each in processes))
    files, foreign = _files(processes, opens)
    files |= {path: frozenset({Use.OPENED}) for path in followed}
    folders = {path for each in processes for path in each.folders}
    # What native code opened to list, and what it may have listed to find what it read.
    by_import = sum((each.listed for each in processes), Counter[str]())
    opened = ((text_of(path), count) for path, count in opens.folders.items())
    folders |= {path for path, count in opened if count > by_import[path]}
    folders |= {posixpath.dirname(path) for path in foreign}
    if _ran_others(processes):  # they do not tell what they look for: it is from where they are
        folders |= {""}.union(*(each.cwds for each in processes))
        folders |= {parent for path in foreign for parent in _parents(path)}
    search = list(dict.fromkeys(path for each in processes for path in each.search))
    found = Footprint(
        scenario=scenario,
        sha=sha,
        python=(lead or processes[0]).python,
        files=files,
        folders=frozenset(folders),
        missing=frozenset(path for each in processes for path in each.missing),
        present=frozenset(path for each in processes for path in each.present),
        search=tuple(search),
        modules=frozenset(_modules(asked, search, files)),
        functions=_functions(processes, lead),
        distributions=_distributions(loaded, distributions),
        variables=frozenset(name for each in processes for name in each.variables),
        signature=signature,
    )
    return replace(_bounded(found, unseen), unseen=tuple(sorted(unseen)))


def installed_distributions(python: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """By the name that is imported, or of a native library: normalised names and versions of the
    distributions that have it, which are several for a namespace.

    Asks the arm's interpreter, once for each; nothing where it does not answer.
    """
    return dict(_installed(python))


@lru_cache(maxsize=64)
def _installed(python: str) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _LISTING],
            capture_output=True,
            timeout=_PATIENCE_S,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
        rows = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for name, version, tops in rows:
        for top in tops:
            one = (re.sub(r"[-_.]+", "-", name).lower(), str(version))
            found[top] = (*found.get(top, ()), one)
    return tuple(found.items())


def _follow(processes: Iterable[Process], links: Mapping[str, str]) -> set[str]:
    """Put what lies behind a link in the place of the link's name, as git knows no other. Returns
    the links."""
    used: set[str] = set()

    def real(path: str) -> str:
        """Where it leads; out of the repository: the last link on the way."""
        for _ in range(_MOST_LINKS):
            parts = path.split("/")
            prefixes = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
            link = next((prefix for prefix in prefixes if prefix in links), None)
            if link is None:
                return path
            used.add(link)
            rest = path[len(link) + 1 :]
            target = posixpath.join(posixpath.dirname(link), links[link], rest)
            target = posixpath.normpath(target)
            if target.startswith("/") or target.split("/")[0] == "..":
                return link
            path = "" if target == "." else target
        return path

    for each in processes:
        for table in ("missing", "present", "folders", "cwds"):
            setattr(each, table, {real(path) for path in getattr(each, table)})
        for table in ("imports", "listed"):
            counts: Counter[str] = Counter()
            for path, count in getattr(each, table).items():
                counts[real(path)] += count
            setattr(each, table, counts)
        opened: dict[str, set[str]] = {}
        for path, how in each.opened.items():
            opened.setdefault(real(path), set()).update(how)
        each.opened = opened
        each.search = dict.fromkeys(real(path) for path in each.search)
        each.functions = [replace(one, path=real(one.path)) for one in each.functions]
        each.active = [(real(path), name, line) for path, name, line in each.active]
    return used


def _ran_others(processes: Iterable[Process]) -> bool:
    """Whether a program was started of which no process reports."""
    children: dict[int, int] = {}
    images: dict[int, int] = {}  # programs in one process, after each other
    for each in processes:
        images[each.pid] = images.get(each.pid, 0) + 1
        if not each.forked and images[each.pid] == 1:
            children[each.parent] = children.get(each.parent, 0) + 1
    known = {os.getpid(), *images}
    return any(
        each.started - each.execs + each.workers > children.get(each.pid, 0)
        or (each.execs and images[each.pid] == 1)
        or each.parent not in known  # a shell started it
        for each in processes
    )


def _files(
    processes: Iterable[Process], opens: Opens
) -> tuple[dict[str, frozenset[Use]], set[str]]:
    """How each path was used, and the paths that something else than recorded Python opened.

    What only import's loader opened is imported; its caches stand for their source.
    """
    uses: dict[str, set[Use]] = {}
    reported: set[str] = set()
    imports: Counter[str] = Counter()
    for process in processes:
        imports.update(process.imports)
        for path, how in process.opened.items():
            source = _source(path)
            if "i" in how:
                uses.setdefault(source, set()).add(Use.IMPORTED)
            if "r" in how:
                uses.setdefault(source, set()).add(Use.OPENED)
            if how - {"i", "t"}:
                reported.add(path)
        for function in process.functions:  # as a program that another one hands over
            uses.setdefault(function.path, set()).add(Use.IMPORTED)
    foreign = set()
    for raw, count in opens.files.items():
        path = text_of(raw)
        if path not in reported and count > imports[path] and not _is_passing(path):
            foreign.add(path)
            uses.setdefault(_source(path), set()).add(Use.OPENED)
    return {path: frozenset(how) for path, how in sorted(uses.items())}, foreign


def _is_passing(path: str) -> bool:
    match = _CACHE.fullmatch(path)
    return match is not None and match[3] is not None


def _source(path: str) -> str:
    match = _CACHE.fullmatch(path)
    if match is None:
        return path
    return posixpath.join(match[1] or "", f"{match[2]}.py")


def _modules(asked: Iterable[str], search: Iterable[str], files: Iterable[str]) -> set[str]:
    """First words of all names, and whole ones of the repository's packages."""
    known = set(files)
    own = set()
    folders = {part for path in known for part in _parents(path)}
    tops = {name.partition(".")[0] for name in asked}
    for top in tops:
        for folder in search:
            place = posixpath.join(folder, top)
            if f"{place}.py" in known or place in folders or place in known:  # a link
                own.add(top)
    return tops | {name for name in asked if name.partition(".")[0] in own}


def _parents(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path


def _distributions(
    loaded: Iterable[str], installed: Mapping[str, tuple[tuple[str, str], ...]]
) -> dict[str, str]:
    """`loaded`: modules, and native libraries by folder or by file."""
    tops = {part for name in loaded for part in (name, name.partition(".")[0])}
    return dict(sorted(each for top in tops for each in installed.get(top, ())))


def _bounded(footprint: Footprint, unseen: set[str]) -> Footprint:
    """With no more entries than its codec takes; what is left out counts as unseen."""
    changes: dict[str, object] = {}
    for name in ("files", "functions", "distributions"):
        table = getattr(footprint, name)
        if len(table) > MOST_ENTRIES:
            changes[name] = dict(islice(table.items(), MOST_ENTRIES))
    for name in ("folders", "missing", "present", "modules", "variables"):
        table = getattr(footprint, name)
        if len(table) > MOST_ENTRIES:
            changes[name] = frozenset(sorted(table)[:MOST_ENTRIES])
    if len(footprint.search) > MOST_ENTRIES:
        changes["search"] = footprint.search[:MOST_ENTRIES]
    if changes or len(unseen) > MOST_ENTRIES:
        unseen.clear()
        unseen.add(UNREAD)
    return replace(footprint, **changes)  # type: ignore[arg-type]


def _functions(
    processes: Iterable[Process], lead: Process | None
) -> dict[str, dict[str, Executed]]:
    """Calls of all processes; shares of the trainer's time, where there is one."""
    calls: dict[tuple[str, str], int] = {}
    spent: dict[tuple[str, str], float] = {}
    for process in processes:
        mine = lead is None or process is lead
        total_ns = max((totals[4] for totals in process.totals.values()), default=1)
        left = 1.0
        for each in process.functions:
            key = (each.path, each.name)
            calls[key] = calls.get(key, 0) + max(each.calls + each.threads, 1)
            share = each.spent_ns / max(total_ns, 1) if mine else 0.0
            spent[key] = spent.get(key, 0.0) + share
            left -= share
        # Those that are not over yet have what is left of the time, each as much as the others.
        active = {(path, name) for path, name, _ in process.active}
        for key in active:
            calls.setdefault(key, 1)
            spent[key] = spent.get(key, 0.0) + (max(left, 0.0) / len(active) if mine else 0.0)
    found: dict[str, dict[str, Executed]] = {}
    for (path, name), count in sorted(calls.items()):
        share = min(round(spent.get((path, name), 0.0), 6), 1.0)
        found.setdefault(path, {})[name] = Executed(count, share)
    return found


def _signature(lead: Process, processes: Iterable[Process]) -> Signature | None:
    """Of the trainer: what other processes do up to the first batch is a matter of chance.

    None where its counts were not taken at a moment that is the same in each run.
    """
    totals = lead.totals.get("e") or lead.totals.get("p")
    if totals is None:
        return None
    calls, builtin_calls, files, size, _, sleeps = totals
    own = sorted(
        (each.path, each.name, each.calls, each.builtins) for each in lead.functions if each.calls
    )
    told = repr((own, sorted(lead.modules), sleeps))
    exact = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:16]
    return Signature(
        modules=len(lead.modules),
        calls=calls,
        builtin_calls=builtin_calls,
        files=files,
        bytes_read=size,
        subprocesses=sum(process.started for process in processes),
        exact=exact,
    )
