"""Asks git what a change did: its files, and what some of its blobs hold.

One git process for each question, however large the change. Refuses to run what a repository's
settings or attributes name: no external diff, no text conversion, no hook.
"""

from __future__ import annotations

from collections.abc import Iterable

from ailab_bot.errors import RunnerError
from ailab_bot.measure.git import Repository
from ailab_bot.model.change import ABSENT, Change, ChangedFile, ChangeKind

#: Above so many added or deleted files git looks only for renames that changed nothing: finding
#: others compares each with each. A missed rename is one file deleted and one added.
_RENAME_LIMIT = 400
_KINDS = {
    "A": ChangeKind.ADDED,
    "M": ChangeKind.MODIFIED,
    "D": ChangeKind.DELETED,
    "R": ChangeKind.RENAMED,
    "T": ChangeKind.RETYPED,
}


def read_change(repository: Repository, base: str, head: str) -> Change:
    """All files that differ between two commits (full ids)."""
    answer = repository.git_bytes(
        "diff-tree", "-r", "-z", "--raw", "-M", f"-l{_RENAME_LIMIT}", "--no-abbrev",
        "--no-commit-id", "--no-relative", "--no-ext-diff", "--no-textconv",
        "--ignore-submodules=none", base, head, "--",
    )  # fmt: skip
    fields = iter(answer.split(b"\0"))
    files = []
    for meta in fields:
        if not meta:
            break  # after the last file
        try:
            old_mode, new_mode, old_blob, new_blob, status = meta[1:].decode("ascii").split(" ")
            kind = _KINDS[status[0]]
            paths = [_text(next(fields)) for _ in range(2 if kind is _KINDS["R"] else 1)]
        except (ValueError, KeyError, StopIteration) as error:
            raise RunnerError(
                "git named a change that cannot be read",
                why=f"Its line is {meta[:120]!r}.",
                advice="Report it with the version that `git --version` prints.",
            ) from error
        files.append(
            ChangedFile(
                path=paths[-1],
                kind=kind,
                old_path=paths[0] if len(paths) == 2 else "",
                old_mode=old_mode,
                new_mode=new_mode,
                old_blob="" if old_mode == ABSENT else old_blob,
                new_blob="" if new_mode == ABSENT else new_blob,
            )
        )
    return Change(base, head, tuple(sorted(files, key=lambda each: each.path)))


def _text(path: bytes) -> str:
    """As footprints are read, too: what is not UTF-8 is replaced, so that names may fall together,
    but none is missed."""
    return path.decode("utf-8", "replace")


def read_folders(repository: Repository, sha: str) -> frozenset[str]:
    """All folders of a commit, without the root; submodules count as folders."""
    answer = repository.git_bytes("ls-tree", "-r", "-t", "-z", "--full-tree", sha)
    rows = (row.partition(b"\t") for row in answer.split(b"\0") if row)
    return frozenset(
        _text(path) for meta, _, path in rows if meta.split()[1] in {b"tree", b"commit"}
    )


def read_blobs(
    repository: Repository,
    ids: Iterable[str],
    *,
    largest_bytes: int = 512 << 10,
    most: int = 5000,
    budget_bytes: int = 64 << 20,
) -> dict[str, bytes]:
    """What the blobs hold. Left out: missing and larger ones, what is no blob (a submodule's
    commit), all after the first `most`, and all after those that take `budget_bytes` together."""
    wanted = [*dict.fromkeys(ids)][:most]
    if not wanted:
        return {}
    request = "".join(f"{each}\n" for each in wanted).encode("ascii")
    answer = repository.git_bytes("cat-file", "--batch-check", request=request)
    rows = [line.split() for line in answer.splitlines()]
    small, spent = [], 0
    for row in rows:
        if len(row) == 3 and row[1] == b"blob" and int(row[2]) <= largest_bytes:
            spent += int(row[2])
            if spent > budget_bytes:
                break
            small.append(row[0].decode("ascii"))
    return dict(zip(small, repository.read_blobs(small), strict=True))
