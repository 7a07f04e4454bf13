"""What a scenario touched up to its first batch, and the counts that repeat from run to run.

Plain data, no I/O. A footprint is recorded by the probe in a separate trial that is not timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Use(StrEnum):
    """How a file of the repository was used. Of one that was only IMPORTED the code alone counts:
    what compiles to the same code is the same to it. OPENED: something read the file's bytes.
    """

    IMPORTED = "imported"
    OPENED = "opened"


@dataclass(frozen=True)
class Executed:
    """A function of the repository that ran before the first batch. `share`: of the trainer's time
    the part spent in itself and in the libraries that it called, without other functions of the
    repository, 0 to 1."""

    calls: int
    share: float


@dataclass(frozen=True)
class Signature:
    """Counts of the trainer's main thread up to the first batch, which noise hardly moves.

    `calls`: of functions written in Python; `builtin_calls`: of those written in C; the import
    system's own are left out of both. `bytes_read`: sizes of the files opened for reading, each
    once. `subprocesses`: programs that any process started. `exact` is a digest of how often each
    function of the repository ran and called what is written in C, of the modules imported and of
    the number of sleeps.
    """

    modules: int
    calls: int
    builtin_calls: int
    files: int
    bytes_read: int
    subprocesses: int
    exact: str = ""


@dataclass(frozen=True)
class Footprint:
    """Of one scenario at one commit. Paths are relative to the repository, with `/`.

    `files`: used by any process of the trial. `folders`: listed by the program (import's own
    looking around is not; "" is the root). `missing`: paths that were looked for and not there;
    `present`: files and folders that were looked at and there, whether or not they were opened.
    `search`: folders of the repository that imports were looked for in, as "" or "src".
    `modules`: top-level names of all modules imported (a new file of such a name in a folder of
    `search` would hide it), and dotted names of those of the repository. `functions`: by path, by
    qualified name as in `Trainer.fit` and `make.<locals>.inner`; a module's own body is
    `<module>`. `distributions`: third-party ones that modules were imported from, normalised name
    to version. `variables`: environment variables that Python code asked for.
    `unseen`: what the probe could not look into (a program without Python, a lost event); with any
    of it, that something is not in the footprint proves nothing.
    `python`: the interpreter's version, as "3.11.7".
    """

    scenario: str
    sha: str
    python: str
    files: Mapping[str, frozenset[Use]] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    search: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    functions: Mapping[str, Mapping[str, Executed]] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()
    signature: Signature | None = None
    unseen: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
