"""Append-only history on a branch of the repository: one file per record, written once.

Many jobs write at the same time. Files never change, so a writer that comes too late only has to
put its files on top of what is there now: it fetches, builds a commit and pushes, without force.
Refuses to touch anything of the user's: no work tree, index, branch or FETCH_HEAD; the commit is
made with an index of its own and pushed by its id. Nothing is ever checked out.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ailab_bot.errors import AilabError, RunnerError, UserError

#: A record's path below the branch's root, as words.
Place = tuple[str, ...]

#: Pushes that other writers may be faster than. Of sixteen writers that start together the last
#: has sixteen rounds to go; a round that nobody wins does not exist.
MOST_TRIES = 30
#: Failures of the connection that are worth another try; a minute of outage is not waited out.
MOST_FAULTS = 3
#: Full jitter: a wait is drawn from 0 to this, doubled with each try up to the longest.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 3.0
#: One command; what takes longer than that hangs.
_TIMEOUT_S = 120.0

_WORD = re.compile(r"[\w][\w.-]{0,99}")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
#: Variables that bind git to another repository, index or object store than the one that is named.
_BINDING = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR"
    r"|NAMESPACE|PREFIX|SHALLOW_FILE|GRAFT_FILE|REPLACE_REF_BASE|CONFIG)"
)
_NAME, _EMAIL = "AI Lab bot", "ailab-bot@users.noreply.invalid"
#: What git's server says when another push was faster, besides a plain rejection.
_RACE = re.compile(r"cannot lock ref|failed to update ref|incorrect old value|reference already")


class LedgerError(RunnerError):
    """The history cannot be reached or written now; the same call may succeed later."""


class RecordConflictError(UserError):
    """There is already another record under this name. `place` says which."""

    def __init__(self, place: Place) -> None:
        super().__init__(
            f"history already holds another {'/'.join(place)}",
            why="A record is written once; this one has other content under the same name.",
            advice="A second attempt of a run needs an attempt number of its own.",
        )
        self.place = place


@dataclass(frozen=True)
class Ledger:
    """A branch of a remote, reached through a clone whose object store is used to build commits.

    `variables` are added to git's environment, for instance settings that hold a token.
    """

    repository: Path
    remote: str = "origin"
    branch: str = "ailab-ledger"
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


def append(
    ledger: Ledger,
    records: Mapping[Place, str],
    *,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> bool:
    """Add the records in one commit. False: all were there already, and nothing was pushed.

    Raises RecordConflictError, before anything is pushed, when one is there with other content;
    LedgerError when the remote cannot be reached, refuses, or others were faster for too long.
    """
    for place in records:
        check_place(place)
    if not _BRANCH.fullmatch(ledger.branch) or ".." in ledger.branch:
        raise UserError(
            f"not a branch for history: `{ledger.branch:.60}`",
            why="Its name must be plain letters, digits, `.`, `_`, `-` and `/`.",
            advice="Leave the default, ailab-ledger.",
        )
    git = _Git(ledger)
    faults = 0
    last: AilabError | None = None
    with _private_ref(git) as private:
        for number in range(MOST_TRIES):
            if number:
                most_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**number)
                sleep(rng.uniform(0, most_s))
            try:
                tip = _fetch(git, ledger, private)
                missing = _missing(git, tip, records)
                if not missing:
                    return False
                if _push(git, ledger, _commit(git, tip, missing)):
                    return True
            except _FaultError as error:
                last, faults = error, faults + 1
                if faults == MOST_FAULTS:
                    break
    raise LedgerError(
        f"history could not be written to {ledger.branch}",
        why=last.why if last else f"Other writers were faster {MOST_TRIES} times.",
        advice="The verdict does not depend on it; the sweeper makes the records again later. The "
        "job needs `contents: write`, and no rule may forbid pushes to this branch.",
    )


def is_place(place: Place) -> bool:
    """Whether the words make a path that means the same everywhere."""
    return bool(place) and all(_WORD.fullmatch(w) and not w.endswith(".") for w in place)


def check_place(place: Place) -> None:
    """UserError unless it is one."""
    if not is_place(place):
        raise UserError(
            f"not a record's name: {'/'.join(place)!r:.100}",
            why="Each word has 1 to 100 letters, digits, `.`, `_` and `-`, and no dot at an end.",
            advice="Name records with `place_of`.",
        )


def unbound_environ() -> dict[str, str]:
    """Our environment without what would bind git to another repository than the one it is in."""
    return {name: text for name, text in os.environ.items() if not _BINDING.fullmatch(name)}


class _FaultError(RunnerError):
    """A failure of the connection or the remote."""


class _Git:
    """Git's plumbing in the ledger's repository."""

    def __init__(self, ledger: Ledger) -> None:
        self.root = ledger.repository
        self.env = {
            **unbound_environ(),
            **ledger.variables,
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",  # its messages are read
            "GIT_AUTHOR_NAME": _NAME,
            "GIT_AUTHOR_EMAIL": _EMAIL,
            "GIT_COMMITTER_NAME": _NAME,
            "GIT_COMMITTER_EMAIL": _EMAIL,
        }

    def run(
        self, *words: str, text: str = "", index: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        env = self.env if index is None else {**self.env, "GIT_INDEX_FILE": str(index)}
        quiet = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=0")
        try:
            return subprocess.run(
                ["git", *quiet, *words],
                cwd=self.root,
                env=env,
                input=text,
                encoding="utf-8",
                errors="replace",
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _FaultError(f"git {words[0]} failed", why=str(error)) from error

    def out(self, *words: str, text: str = "", index: Path | None = None) -> str:
        """What a command printed that must succeed."""
        result = self.run(*words, text=text, index=index)
        if result.returncode:
            raise _FaultError(f"git {words[0]} failed", why=result.stderr.strip())
        return result.stdout.strip()


@contextmanager
def _private_ref(git: _Git) -> Iterator[str]:
    """A ref that keeps what was fetched from being collected, and that no other writer uses."""
    name = f"refs/ailab/ledger-{secrets.token_hex(8)}"
    try:
        yield name
    finally:
        with suppress(_FaultError):
            git.run("update-ref", "-d", name)


def _fetch(git: _Git, ledger: Ledger, private: str) -> str | None:
    """The branch's newest commit, None where there is no such branch yet."""
    quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
    spec = f"+{ledger.ref}:{private}"
    result = git.run("fetch", *quiet, "--refmap=", ledger.remote, spec)
    if not result.returncode:
        return git.out("rev-parse", "--verify", private)
    # Only an answer without the branch says that there is none.
    listed = git.run("ls-remote", "--exit-code", ledger.remote, ledger.ref)
    if listed.returncode == 2:
        return None
    raise _FaultError("git fetch failed", why=(listed.stderr or result.stderr).strip())


def _missing(git: _Git, tip: str | None, records: Mapping[Place, str]) -> dict[str, str]:
    """Blob ids by path of the records that are not there; their content is stored here."""
    blobs = {
        "/".join(place): git.out("hash-object", "-w", "--stdin", text=text)
        for place, text in records.items()
    }
    if tip is None:
        return blobs
    rows = git.out("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", tip, "--", *blobs)
    there = dict(_path_and_blob(row) for row in rows.split("\0") if row)
    for place in records:
        path = "/".join(place)
        if there.get(path, blobs[path]) != blobs[path]:
            raise RecordConflictError(place)
    return {path: blob for path, blob in blobs.items() if path not in there}


def _path_and_blob(row: str) -> tuple[str, str]:
    meta, _, path = row.partition("\t")
    return path, meta.split()[2]


def _commit(git: _Git, tip: str | None, blobs: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="ailab-ledger-") as folder:
        index = Path(folder) / "index"
        if tip is not None:
            git.out("read-tree", tip, index=index)
        entries = "".join(f"100644 {blob}\t{path}\0" for path, blob in blobs.items())
        git.out("update-index", "-z", "--add", "--index-info", text=entries, index=index)
        tree = git.out("write-tree", index=index)
    first, *others = sorted(blobs)
    subject = f"Record {first}" + (f" and {len(others)} more" if others else "")
    parents = () if tip is None else ("-p", tip)
    return git.out("commit-tree", tree, *parents, "-m", subject)


def _push(git: _Git, ledger: Ledger, commit: str) -> bool:
    """Whether it is the branch's newest commit now; False: another writer was faster."""
    spec = f"{commit}:{ledger.ref}"
    result = git.run("push", "--porcelain", "--no-verify", ledger.remote, spec)
    if not result.returncode:
        return True
    said = f"{result.stdout}\n{result.stderr}".strip()
    if "[rejected]" in said or _RACE.search(said):
        return False
    raise _FaultError("git push failed", why=said)
