"""Puts together what the recorder of each process wrote and what the kernel saw: a footprint.

The files come from the processes of a hostile program: they are read line by line within bounds,
and what is damaged makes the footprint incomplete, never an error. Paths outside the repository
are nobody's business here. Letters of a line, as `probe/_ailab_footprint.py` writes them:

    H pid parent python   the process begins          B   it is a fork
    m name                a module was there before   M name     a module was asked for
    P folder              sys.path has it             V name     a variable was asked for
    O path i|t|r|w        opened by import or to show its lines, each time; or read; or written
    X path                looked for, and not there   Y path     looked at, and there
    L folder              listed                      I folder   listed by import, each time
    S event               a program was started       W   a worker of multiprocessing's was
    C folder              which a program is started in
    U reason              what could not be seen

and of what it ran, in NAME.e at the first batch or the end, NAME.s when the supervisor asked,
NAME.p before a print (the last one counts), NAME.x before another program took over, NAME.k before
another process killed it:

    F path name line calls calls-in-threads nanoseconds builtin-calls    a function that ran
    A path name line                                                     one that is not over
    N calls builtin-calls files bytes nanoseconds mark sleeps            all of it
    T name                                               a distribution's folder or native library
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import re
import stat
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from ailab_bot.measure.opens import Opens
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use

#: Bytes and lines of one file, bytes of all, and processes, that are read.
LARGEST_BYTES, MOST_LINES, MOST_BYTES, MOST_PROCESSES = 64 << 20, 2_000_000, 256 << 20, 2_000
#: Entries of one table of a footprint, and characters of a name; its codec takes no more.
MOST_ENTRIES, LONGEST_NAME = 100_000, 4_000
_MOST_LINKS = 40  # on the way to one file, as Linux follows
_LARGEST = 10**15
_DAMAGED = "a process left a damaged record"
#: Moments of which a process tells what it ran, those first whose counts are the same in each run.
_MOMENTS = ("e", "p", "s", "k", "x")
#: Those after which a process told all that it ran.
_COMPLETE = {"e", "s", "k", "x"}
_UNREAD = "a process recorded more than is read"
_CUT = "a process was ended before it told which functions it ran"
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
    execs: int = 0
    workers: int = 0
    preloaded: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    search: dict[str, None] = field(default_factory=dict)
    opened: dict[str, set[str]] = field(default_factory=dict)
    imports: Counter[str] = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)
    cwds: set[str] = field(default_factory=set)
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
    distributions: Mapping[str, tuple[tuple[str, str], ...]],
) -> Footprint | None:
    """What lies in `folder` after a recorded trial; None where no process recorded anything.

    `trainer`: the process whose first batch it was. `distributions`: by imported name, the
    distributions' names and versions.
    """
    processes, unseen = _read_all(folder)
    if not processes:
        return None
    lead = next((each for each in processes if each.pid == trainer), None)
    signature = _signature(lead, processes) if lead is not None else None
    for each in processes:  # code that was made while it ran has such names: it is no file
        each.functions = [one for one in each.functions if not one.path.startswith("<")]
    if opens.lost:
        unseen.add(opens.lost)
    links = {_text(path): _text(target) for path, target in opens.links.items()}
    followed = _follow(processes, links) if links else set()
    asked = {name for each in processes for name in each.modules | each.preloaded}
    loaded = asked.union(*(each.libraries for each in processes))
    files, foreign = _files(processes, opens)
    files |= {path: frozenset({Use.OPENED}) for path in followed}
    folders = {path for each in processes for path in each.folders}
    # What native code opened to list, and what it may have listed to find what it read.
    by_import = sum((each.listed for each in processes), Counter[str]())
    opened = ((_text(path), count) for path, count in opens.folders.items())
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


# --- one process -------------------------------------------------------------------------------


def _read_all(folder: Path) -> tuple[list[_Process], set[str]]:
    """The processes, and what of them could not be seen."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in islice(entries, 8 * MOST_PROCESSES))
    except OSError:
        return [], set()
    firsts = [name for name in names if "." not in name and name != "tell"]
    left = MOST_BYTES - sum(_size(folder / name) for name in names)
    if len(firsts) > MOST_PROCESSES or len(names) == 8 * MOST_PROCESSES or left < 0:
        return [], set()  # no program that trains: it has no footprint
    processes = [_read(folder / name) for name in firsts]
    return (
        [each for each in processes if each.pid],
        {reason for each in processes for reason in each.unseen},
    )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _read(path: Path) -> _Process:
    found = _Process()
    _read_lines(path, found)
    if not found.pid:
        return found
    for mark in _MOMENTS:
        told = _Process()
        _read_lines(path.with_name(f"{path.name}.{mark}"), told)
        found.active += told.active
        found.libraries |= told.libraries
        found.totals |= told.totals
        found.unseen |= told.unseen
        if told.totals and not found.functions:
            found.functions = told.functions
        elif told.functions:  # what ran later, as in the grace at the end, ran at least
            known = {(each.path, each.name) for each in found.functions}
            new = [each for each in told.functions if (each.path, each.name) not in known]
            found.active += [(each.path, each.name, each.line) for each in new]
    if not _COMPLETE & set(found.totals):
        found.unseen.add(_CUT)
    return found


def _read_lines(path: Path, found: _Process) -> None:
    try:  # a pipe that nobody writes to must not hold us, and a link lead nowhere
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError:
        found.unseen.add(_DAMAGED)
        return
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        found.unseen.add(_DAMAGED)
        return
    with os.fdopen(file, "rb") as stream:
        data = stream.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        found.unseen.add(_UNREAD)
        data = data[: data.rfind(b"\n") + 1]
    for number, line in enumerate(io.BytesIO(data)):
        if number == MOST_LINES:
            found.unseen.add(_UNREAD)
            return
        if not line.endswith(b"\n"):
            found.unseen.add(_DAMAGED)
            return
        fields = [_unescape(word) for word in line[:-1].split(b"\t")]
        try:
            _take(found, fields[0], fields[1:])
        except (ValueError, IndexError):
            found.unseen.add(_DAMAGED)


def _take(found: _Process, letter: str, fields: list[str]) -> None:
    names = {
        "M": found.modules, "m": found.preloaded, "V": found.variables, "T": found.libraries
    }.get(letter)  # fmt: skip
    paths = {
        "X": found.missing, "Y": found.present, "L": found.folders, "C": found.cwds
    }.get(letter)  # fmt: skip
    if names is not None:
        names.add(_name(fields[0]))
    elif paths is not None:
        paths.add(_inside(fields[0]))
    elif letter == "H":
        found.pid, found.parent = _whole(fields[0]), _whole(fields[1])
        found.python = _name(fields[2])[:40]
    elif letter == "P":
        found.search[_inside(fields[0])] = None
    elif letter == "O":
        path = _inside(fields[0])
        found.opened.setdefault(path, set()).add(fields[1][:1])
        found.imports[path] += fields[1] in ("i", "t")
    elif letter == "I":
        found.listed[_inside(fields[0])] += 1
    elif letter == "F":
        line, calls, threads, spent_ns, builtins = (_whole(fields[at]) for at in range(2, 7))
        path, name = _inside(fields[0]), _name(fields[1])
        found.functions.append(_Function(path, name, line, calls, threads, spent_ns, builtins))
    elif letter == "N":
        found.totals[fields[5][:1]] = tuple(_whole(fields[at]) for at in (0, 1, 2, 3, 4, 6))
    elif letter == "A":
        found.active.append((_inside(fields[0]), _name(fields[1]), _whole(fields[2])))
    elif letter == "U":
        found.unseen.add(fields[0][:200])
    else:
        found.started += letter == "S"
        found.execs += letter == "S" and fields[:1] == ["os.exec"]
        found.workers += letter == "W"
        found.forked |= letter == "B"


def _whole(word: str) -> int:
    number = int(word)
    if not 0 <= number <= _LARGEST:
        raise ValueError(word[:40])
    return number


def _name(word: str) -> str:
    if len(word) > LONGEST_NAME:
        raise ValueError(word[:40])
    return word


_ESCAPES = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n"}


def _unescape(word: bytes) -> str:
    return _text(re.sub(rb"\\[\\tn]", lambda match: _ESCAPES[match.group()], word))


def _text(path: bytes) -> str:
    """As git's output is read: what is not UTF-8 is replaced."""
    return path.decode("utf-8", "replace")


def _inside(path: str) -> str:
    """ValueError where it does not lie in the repository."""
    outside = path.startswith("/") or ".." in path.split("/") or "\0" in path
    if outside or len(path) > LONGEST_NAME:
        raise ValueError(path[:40])
    return path


# --- all of them -------------------------------------------------------------------------------


def _follow(processes: Iterable[_Process], links: Mapping[str, str]) -> set[str]:
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


def _ran_others(processes: Iterable[_Process]) -> bool:
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
    processes: Iterable[_Process], opens: Opens
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
        path = _text(raw)
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
        unseen.add(_UNREAD)
    return replace(footprint, **changes)  # type: ignore[arg-type]


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
