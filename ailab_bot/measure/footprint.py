"""Puts together what the recorder of each process wrote and what the kernel saw: a footprint.

The files come from the processes of a hostile program: they are read line by line within bounds,
and what is damaged makes the footprint incomplete, never an error. Paths outside the repository
are nobody's business here. Letters of a line, as `probe/_ailab_footprint.py` writes them:

    H pid parent python   the process begins          B   it is a fork
    M name                a module was asked for      P folder   sys.path has it
    O path i|r|w          opened by import, or read, or written
    X path                looked for, and not there   Y path     looked at, and there
    L folder              listed
    V name                a variable was asked for    S event    a program was started
    U reason              what could not be seen

and of what it ran, in NAME.e at the first batch or the end, NAME.s when the supervisor asked,
NAME.p before a print (the last one counts), NAME.x before another program took over:

    F path name line calls calls-in-threads nanoseconds builtin-calls    a function that ran
    A path name line                                                     one that is not over
    N calls builtin-calls files bytes nanoseconds mark sleeps            all of it
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ailab_bot.measure.opens import Opens
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use

#: Bytes of one process's file, and processes, that are read.
LARGEST_BYTES, MOST_PROCESSES = 64 << 20, 2_000
_DAMAGED = "a process left a damaged record"
#: Moments of which a process tells what it ran, those first whose counts are the same in each run.
_MOMENTS = ("e", "p", "s", "x")
_CUT = "a process was ended before it had told what it did"
_CACHE = re.compile(r"(?:(.*)/)?__pycache__/([^/]+?)\.[^/]*\.pyc")
_PATIENCE_S = 60.0
#: Prints, for the interpreter that runs it: each distribution's name, version and the first words
#: of what it installs.
_LISTING = """
import importlib.metadata as metadata, json, sys
found = []
for each in metadata.distributions():
    name = each.metadata["Name"]
    if name:
        tops = (each.read_text("top_level.txt") or "").split()
        if not tops:
            files = [str(file) for file in each.files or ()]
            tops = sorted({file.split("/")[0] for file in files if file.endswith((".py", ".so"))})
        found.append([name, each.version, [top.split(".")[0] for top in tops]])
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class _Function:
    """`threads`: calls in other threads than the main one; `spent_ns` in the main one. `builtins`:
    calls of functions written in C that it made itself.
    """

    path: str
    name: str
    line: int
    calls: int
    threads: int
    spent_ns: int
    builtins: int


@dataclass
class _Process:
    """What one process left. `functions` are of the first moment of MOMENTS that there is, `active`
    of all; `totals` by moment: the six numbers of its line."""

    pid: int = 0
    parent: int = 0
    python: str = ""
    forked: bool = False
    started: int = 0
    modules: set[str] = field(default_factory=set)
    search: dict[str, None] = field(default_factory=dict)
    opened: dict[str, set[str]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    functions: list[_Function] = field(default_factory=list)
    active: list[tuple[str, str, int]] = field(default_factory=list)
    totals: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)


def read_footprint(
    folder: Path,
    opens: Opens,
    *,
    scenario: str,
    sha: str,
    trainer: int | None,
    distributions: Mapping[str, tuple[str, str]],
) -> Footprint | None:
    """What lies in `folder` after a recorded trial; None where no process recorded anything.

    `trainer`: the process whose first batch it was. `distributions`: by imported name, the
    distribution's name and version.
    """
    names = sorted(path for path in folder.iterdir() if "." not in path.name)
    processes = [_read(path) for path in names[:MOST_PROCESSES]]
    processes = [each for each in processes if each.pid]
    if not processes:
        return None
    lead = next((each for each in processes if each.pid == trainer), None)
    unseen = {reason for each in processes for reason in each.unseen}
    if opens.lost:
        unseen.add(opens.lost)
    asked = {name for each in processes for name in each.modules}
    files = _files(processes, opens)
    folders = {path for each in processes for path in each.folders}
    if _ran_others(processes):
        # A program without Python may have listed what it opened, and looked beside what it read.
        folders |= {_text(path) for path in opens.folders}
        reported = {path for each in processes for path in each.opened}
        folders |= {posixpath.dirname(path) for path in files if path not in reported}
    search = list(dict.fromkeys(path for each in processes for path in each.search))
    return Footprint(
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
        distributions=_distributions(asked, distributions),
        variables=frozenset(name for each in processes for name in each.variables),
        signature=_signature(lead, processes) if lead is not None else None,
        unseen=tuple(sorted(unseen)),
    )


def installed_distributions(python: str) -> dict[str, tuple[str, str]]:
    """By the name that is imported: normalised name and version of its distribution.

    Asks the arm's interpreter, once for each; nothing where it does not answer.
    """
    return dict(_installed(python))


@lru_cache(maxsize=64)
def _installed(python: str) -> tuple[tuple[str, tuple[str, str]], ...]:
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
    found = {}
    for name, version, tops in rows:
        for top in tops:
            found[top] = (re.sub(r"[-_.]+", "-", name).lower(), str(version))
    return tuple(found.items())


# --- one process -------------------------------------------------------------------------------


def _read(path: Path) -> _Process:
    found = _Process()
    _read_lines(path, found)
    if not found.pid:
        return found
    for mark in _MOMENTS:
        told = _Process()
        _read_lines(path.with_name(f"{path.name}.{mark}"), told)
        found.active += told.active
        found.totals |= told.totals
        found.unseen |= told.unseen
        if told.totals and not found.functions:
            found.functions = told.functions
        elif told.functions:  # what ran later, as in the grace at the end, ran at least
            known = {(each.path, each.name) for each in found.functions}
            new = [each for each in told.functions if (each.path, each.name) not in known]
            found.active += [(each.path, each.name, each.line) for each in new]
    if not {"e", "s", "x"} & set(found.totals):
        found.unseen.add("a process was ended before it told which functions it ran")
    return found


def _read_lines(path: Path, found: _Process) -> None:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError:
        return
    if len(data) > LARGEST_BYTES:
        found.unseen.add("a process recorded more than is read")
    *lines, rest = data[:LARGEST_BYTES].split(b"\n")
    for line in lines:
        fields = [_unescape(word) for word in line.split(b"\t")]
        try:
            _take(found, fields[0], fields[1:])
        except (ValueError, IndexError):
            found.unseen.add(_DAMAGED)
    if rest:
        found.unseen.add(_DAMAGED)


def _take(found: _Process, letter: str, fields: list[str]) -> None:
    names = {"M": found.modules, "V": found.variables}.get(letter)
    paths = {"X": found.missing, "Y": found.present, "L": found.folders}.get(letter)
    if names is not None:
        names.add(fields[0])
    elif paths is not None:
        paths.add(_inside(fields[0]))
    elif letter == "H":
        found.pid, found.parent, found.python = int(fields[0]), int(fields[1]), fields[2]
    elif letter == "P":
        found.search[_inside(fields[0])] = None
    elif letter == "O":
        found.opened.setdefault(_inside(fields[0]), set()).add(fields[1])
    elif letter == "F":
        found.functions.append(_Function(_inside(fields[0]), fields[1], *map(int, fields[2:7])))
    elif letter == "N":
        found.totals[fields[5]] = tuple(int(word) for word in (*fields[:5], fields[6]))
    elif letter == "A":
        found.active.append((_inside(fields[0]), fields[1], int(fields[2])))
    elif letter == "U":
        found.unseen.add(fields[0][:200])
    else:
        found.started += letter == "S"
        found.forked |= letter == "B"


_ESCAPES = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n"}


def _unescape(word: bytes) -> str:
    return _text(re.sub(rb"\\[\\tn]", lambda match: _ESCAPES[match.group()], word))


def _text(path: bytes) -> str:
    """As git's output is read: what is not UTF-8 is replaced."""
    return path.decode("utf-8", "replace")


def _inside(path: str) -> str:
    """ValueError where it does not lie in the repository."""
    if path.startswith("/") or posixpath.normpath(path).startswith("..") or "\0" in path:
        raise ValueError(path)
    return path


# --- all of them -------------------------------------------------------------------------------


def _ran_others(processes: Iterable[_Process]) -> bool:
    """Whether a program was started of which no process reports."""
    children: dict[int, int] = {}
    for each in processes:
        if not each.forked:
            children[each.parent] = children.get(each.parent, 0) + 1
    return any(each.started > children.get(each.pid, 0) for each in processes)


def _files(processes: Iterable[_Process], opens: Opens) -> dict[str, frozenset[Use]]:
    """By path. What only import's loader opened is imported; its caches stand for their source."""
    uses: dict[str, set[Use]] = {}
    reported: set[str] = set()
    for process in processes:
        for path, how in process.opened.items():
            reported.add(path)
            source = _source(path)
            if "i" in how:
                uses.setdefault(source, set()).add(Use.IMPORTED)
            if "r" in how:
                uses.setdefault(source, set()).add(Use.OPENED)
        for function in process.functions:  # as a program that another one hands over
            uses.setdefault(function.path, set()).add(Use.IMPORTED)
    for raw in opens.files:
        path = _text(raw)
        if path not in reported and _source(path) == path:
            uses.setdefault(path, set()).add(Use.OPENED)
    return {path: frozenset(how) for path, how in sorted(uses.items())}


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
            if f"{place}.py" in known or place in folders:
                own.add(top)
    return tops | {name for name in asked if name.partition(".")[0] in own}


def _parents(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path


def _distributions(
    asked: Iterable[str], installed: Mapping[str, tuple[str, str]]
) -> dict[str, str]:
    tops = {name.partition(".")[0] for name in asked}
    return dict(sorted(installed[top] for top in tops if top in installed))


def _functions(
    processes: Iterable[_Process], lead: _Process | None
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


def _signature(lead: _Process, processes: Iterable[_Process]) -> Signature | None:
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
