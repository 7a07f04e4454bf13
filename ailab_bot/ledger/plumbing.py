"""Git's plumbing as the ledger uses it: single commands, and many blobs at once.

Refuses to run hooks, to ask for passwords, and to be bound to another repository by variables.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ailab_bot.ledger.places import LedgerError

#: One command; what takes longer than that hangs. A first compaction of a million records fetches
#: and writes some hundred MB.
_TIMEOUT_S = 600.0
#: Ids handed to `git cat-file` before its answers are read: they must fit into a pipe, or both
#: sides would wait for each other. 64 KiB hold 1,000 of SHA-256.
_IDS_AT_ONCE = 500
#: Blobs asked of a server at once.
_BLOBS_AT_ONCE = 20_000

_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=0")
#: Variables that bind git to another repository, index or object store than the one that is named.
_BINDING = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR"
    r"|NAMESPACE|PREFIX|SHALLOW_FILE|GRAFT_FILE|REPLACE_REF_BASE|CONFIG)"
)


class FaultError(LedgerError):
    """A failure of the connection or the remote."""


def unbound_environ() -> dict[str, str]:
    """Our environment without what would bind git to another repository than the one it is in."""
    return {name: text for name, text in os.environ.items() if not _BINDING.fullmatch(name)}


def run_git(
    folder: Path, *words: str, data: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """FaultError where it cannot be started or hangs; its exit status is the caller's to read."""
    env = {**unbound_environ(), **(variables or {}), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *_QUIET, *words],
            cwd=folder,
            env=env,
            input=data,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FaultError(f"git {words[0]} failed", why=str(error)) from error


def out_of_git(folder: Path, *words: str, data: bytes = b"") -> bytes:
    """What a command that reads a clone printed; LedgerError where it fails."""
    try:
        result = run_git(folder, *words, data=data)
    except FaultError as error:
        raise LedgerError("history cannot be read", why=error.why) from error
    if result.returncode:
        raise LedgerError("history cannot be read", why=said_by(result.stderr))
    return result.stdout


def blob_id(data: bytes, like: str) -> str:
    """The id that git gives a file of these bytes, in the hash of the id `like`."""
    digest = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return digest(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_blobs(
    folder: Path,
    ids: Iterable[str],
    most_bytes: int,
    variables: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, bytes | None, int]]:
    """Each id with its bytes and size, in order, one in memory at a time.

    None for bytes where there are more than `most_bytes`, or where it is no blob or is missing
    (then the size is -1). LedgerError where git ends early.
    """
    env = {**unbound_environ(), **(variables or {}), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            ["git", *_QUIET, "cat-file", "--batch"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for some in _in_groups(ids, _IDS_AT_ONCE):
                process.stdin.write("".join(f"{each}\n" for each in some).encode())
                process.stdin.flush()
                for each in some:
                    words = process.stdout.readline().split()
                    if words[1:] == [b"missing"]:
                        yield each, None, -1
                        continue
                    if len(words) != 3:
                        raise LedgerError("history cannot be read", why="git cat-file ended early")
                    size, left = int(words[2]), int(words[2]) + 1
                    keep = words[1] == b"blob" and size <= most_bytes
                    parts = []
                    while left:
                        part = process.stdout.read(min(left, 1 << 20))
                        if not part:
                            raise LedgerError("history cannot be read", why="an object is cut off")
                        left -= len(part)
                        if keep:
                            parts.append(part)
                    is_blob = words[1] == b"blob"
                    yield each, b"".join(parts)[:-1] if keep else None, size if is_blob else -1
        except BrokenPipeError as error:
            errors.seek(0)
            raise LedgerError("history cannot be read", why=said_by(errors.read())) from error
        finally:
            process.kill()


def _in_groups(items: Iterable[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def fetch_blobs(
    folder: Path, remote: str, ids: Sequence[str], variables: Mapping[str, str]
) -> None:
    """Bring blobs into a partial clone, many at once: git itself would ask for one at a time."""
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
    lines = ("-c", "fetch.negotiationAlgorithm=noop")
    for some in _in_groups(ids, _BLOBS_AT_ONCE):
        data = "".join(f"{each}\n" for each in some).encode()
        options = ("--filter=blob:none", "--refmap=", "--stdin", remote)
        result = run_git(folder, *lines, *words, *options, data=data, variables=variables)
        if result.returncode:
            raise FaultError("git fetch failed", why=said_by(result.stderr))


def said_by(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()[-2000:]
