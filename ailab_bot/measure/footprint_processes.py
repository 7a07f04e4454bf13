"""Reads what the recorder of each process wrote, for `footprint` to put together.

The files come from the processes of a hostile program: they are read line by line within bounds,
and what is damaged is told as unseen, never an error. Refuses paths outside the repository.
Letters of a line, as `probe/_ailab_footprint.py` writes them:

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

import io
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

#: Bytes and lines of one file, bytes of all, and processes, that are read.
LARGEST_BYTES, MOST_LINES, MOST_BYTES, MOST_PROCESSES = 64 << 20, 2_000_000, 256 << 20, 2_000
#: Characters of a name; a footprint's codec takes no more.
LONGEST_NAME = 4_000
UNREAD = "a process recorded more than is read"
_LARGEST = 10**15
_DAMAGED = "a process left a damaged record"
_CUT = "a process was ended before it told which functions it ran"
#: Moments of which a process tells what it ran, those first whose counts are the same in each run.
_MOMENTS = ("e", "p", "s", "k", "x")
#: Those after which a process told all that it ran.
_COMPLETE = {"e", "s", "k", "x"}


@dataclass(frozen=True)
class Function:
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
class Process:
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
    functions: list[Function] = field(default_factory=list)
    active: list[tuple[str, str, int]] = field(default_factory=list)
    totals: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)


def read_processes(folder: Path) -> tuple[list[Process], set[str]]:
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


def _read(path: Path) -> Process:
    found = Process()
    _read_lines(path, found)
    if not found.pid:
        return found
    for mark in _MOMENTS:
        told = Process()
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


def _read_lines(path: Path, found: Process) -> None:
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
        found.unseen.add(UNREAD)
        data = data[: data.rfind(b"\n") + 1]
    for number, line in enumerate(io.BytesIO(data)):
        if number == MOST_LINES:
            found.unseen.add(UNREAD)
            return
        if not line.endswith(b"\n"):
            found.unseen.add(_DAMAGED)
            return
        fields = [_unescape(word) for word in line[:-1].split(b"\t")]
        try:
            _take(found, fields[0], fields[1:])
        except (ValueError, IndexError):
            found.unseen.add(_DAMAGED)


def _take(found: Process, letter: str, fields: list[str]) -> None:
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
        found.functions.append(Function(path, name, line, calls, threads, spent_ns, builtins))
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
    return text_of(re.sub(rb"\\[\\tn]", lambda match: _ESCAPES[match.group()], word))


def text_of(path: bytes) -> str:
    """As git's output is read: what is not UTF-8 is replaced."""
    return path.decode("utf-8", "replace")


def _inside(path: str) -> str:
    """ValueError where it does not lie in the repository."""
    outside = path.startswith("/") or ".." in path.split("/") or "\0" in path
    if outside or len(path) > LONGEST_NAME:
        raise ValueError(path[:40])
    return path
