"""Asks git about the user's repository. `worktree` is what adds and removes folders.

The only thing it adds is history that a shallow clone lacks, and only where it is asked to.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.model.report import Commit

#: No hook of the user's repository runs, and git never waits for a password.
_SETTINGS = ("-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
#: Variables that bind git to one repository and its index; a hook of the user's has them set. What
#: `git rev-parse --local-env-vars` prints, without GIT_CONFIG_PARAMETERS and GIT_CONFIG_COUNT:
#: those are settings such as `safe.directory`, which git hands on to other repositories too.
LOCAL_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
#: By how many commits a shallow clone is deepened, one fetch after the other, before all of its
#: history is fetched. Most pull requests fork from the last 50 commits; each fetch costs a second.
_DEEPEN_BY = (50, 200, 1000)
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Repository:
    """A repository with a work tree at `root` (absolute)."""

    root: Path

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """Output of a git command that must succeed; RunnerError where it does not."""
        result = _git(arguments, cwd or self.root)
        if result.returncode:
            raise _failed(arguments[0], result.stderr)
        return result.stdout

    def resolve(self, ref: str) -> Commit:
        """The commit that a branch, tag, SHA or expression such as `HEAD~1` names."""
        result = _git(
            ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"), self.root
        )
        if result.returncode or not ref.strip():
            raise self._unknown(ref)
        sha = result.stdout.strip()
        return Commit(ref, sha, self.git("log", "-1", "--format=%s", sha).strip())

    def tree_of(self, sha: str) -> str:
        return self.git("rev-parse", f"{sha}^{{tree}}").strip()

    def blobs(self, sha: str) -> dict[str, str]:
        """Blob ids of all files of a commit, by path."""
        rows = self.git("ls-tree", "-r", "-z", "--full-tree", sha).split("\0")
        return {
            path: meta.split()[2] for meta, _, path in (row.partition("\t") for row in rows if row)
        }

    def bytes_of(self, sha: str) -> int:
        """What all files of a commit take together."""
        rows = self.git("ls-tree", "-r", "-l", "-z", "--full-tree", sha).split("\0")
        sizes = [row.partition("\t")[0].split()[3] for row in rows if row]
        return sum(int(size) for size in sizes if size.isdecimal())

    def export(self, sha: str, paths: Sequence[str], folder: Path) -> None:
        """Write what `paths` of a commit hold below `folder`: files and links, as they are.

        `git archive` would leave out what `.gitattributes` keeps out of releases.
        """
        rows = self.git("ls-tree", "-r", "-z", "--full-tree", sha, "--", *paths).split("\0")
        entries = [(row.partition("\t")[0].split(), row.partition("\t")[2]) for row in rows if row]
        wanted = [(meta[0], meta[2], path) for meta, path in entries if meta[1] == "blob"]
        for (mode, _, path), data in zip(
            wanted, self.read_blobs([b for _, b, _ in wanted]), strict=True
        ):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if mode == "120000":
                place.symlink_to(os.fsdecode(data))
            else:
                place.write_bytes(data)
                place.chmod(0o755 if mode == "100755" else 0o644)

    def git_bytes(self, *arguments: str, request: bytes = b"") -> bytes:
        """Output, as it is, of a git command that reads `request` and must succeed."""
        result = _git_bytes(arguments, self.root, request)
        if result.returncode:
            raise _failed(arguments[0], result.stderr.decode("utf-8", "replace"))
        return result.stdout

    def read_blobs(self, ids: Sequence[str]) -> list[bytes]:
        """What the blobs hold, in their order; RunnerError where one is not here."""
        request = "".join(f"{blob}\n" for blob in ids).encode()
        answer = _git_bytes(("cat-file", "--batch"), self.root, request).stdout
        found, place = [], 0
        for blob in ids:
            end = answer.find(b"\n", place)
            fields = answer[place:end].split()
            if end < 0 or len(fields) != 3 or fields[0] != blob.encode():
                raise RunnerError(
                    "a file of the commit is not in this clone",
                    why=answer[place:end].decode("utf-8", "replace") or "git ended early",
                    advice="Fetch the whole commit: `fetch-depth: 0`, and no `filter`.",
                )
            size = int(fields[2])
            found.append(answer[end + 1 : end + 1 + size])
            place = end + size + 2
        return found

    def remote_tip(self, branch: str) -> str | None:
        """The newest commit of origin's branch that this clone has fetched."""
        ref = f"refs/remotes/origin/{branch}"
        result = _git(("rev-parse", "--verify", "--quiet", "--end-of-options", ref), self.root)
        return result.stdout.strip() or None

    def before(self, sha: str, when: datetime | None = None) -> str | None:
        """The first-parent ancestor that was there at `when`, or (None) the parent itself."""
        limit = () if when is None else (f"--before={when.isoformat()}",)
        words = ("rev-list", "--first-parent", "--max-count=1", *limit, f"{sha}^@")
        result = _git(words, self.root)
        return result.stdout.strip() or None

    def keeps_credentials(self) -> bool:
        """Whether the clone's own settings hold a header to log in with. Reads its name alone."""
        key = r"^http\..*extraheader$"
        result = _git(("config", "--local", "--name-only", "--get-regexp", key), self.root)
        return bool(result.stdout.strip())

    def has_commit(self) -> bool:
        return bool(_git(("rev-parse", "--verify", "--quiet", "HEAD"), self.root).stdout)

    def is_dirty(self) -> bool:
        return bool(self.git("status", "--porcelain", "--untracked-files=no").strip())

    def is_shallow(self) -> bool:
        return self.git("rev-parse", "--is-shallow-repository").strip() == "true"

    def has(self, sha: str) -> bool:
        """Whether the commit is here."""
        return not _git(("cat-file", "-e", f"{sha}^{{commit}}"), self.root).returncode

    def contains(self, sha: str, head: str) -> bool:
        """Whether `sha` is `head` or comes before it; False where one of them is not here."""
        return not _git(("merge-base", "--is-ancestor", sha, head), self.root).returncode

    def merge_base(self, base: str, head: str) -> str:
        """Where `head` forked from `base`; UserError where nothing here shows it.

        In a shallow clone ask `ensure_commits` first: what is missing may hide a later fork.
        """
        result = _git(("merge-base", base, head), self.root)
        if result.returncode:
            raise UserError(
                f"{head[:12]} and {base[:12]} have no common ancestor",
                why="Base and head share no commit"
                + (" in this shallow clone." if self.is_shallow() else "."),
                advice="Rebase head onto its base branch; "
                "in a workflow check out with `fetch-depth: 0`.",
            )
        return result.stdout.strip()

    def _unknown(self, ref: str) -> UserError:
        if self.is_shallow():
            return UserError(
                f"this shallow clone does not hold `{ref}`",
                why="Only part of the history was fetched, so its commit is not here.",
                advice="Fetch it: `git fetch --unshallow`, or `git fetch --depth=1 origin SHA` "
                "(in a workflow: `actions/checkout` with `fetch-depth: 0`).",
            )
        names = self.git("for-each-ref", "--format=%(refname:short)").split()
        close = difflib.get_close_matches(ref, names, n=3)
        if not self.has_commit():
            advice = "The repository has no commit yet: commit base and head first."
        elif close:
            advice = "Did you mean " + " or ".join(f"`{name}`" for name in close) + "?"
        else:
            advice = "`git branch --all` and `git tag` list what is here; `git fetch` brings more."
        return UserError(
            f"unknown ref `{ref}`",
            why=f"It names no commit in {self.root}.",
            advice=advice,
        )


def ensure_commits(
    repository: Repository, shas: Iterable[str], *, merge_base_of: tuple[str, str] | None = None
) -> None:
    """Fetch from `origin` what is missing of the commits, and of the history between two of them.

    A shallow clone is deepened in growing steps, at last to its end; another one is left as deep
    as it is. Without `merge_base_of` no history is fetched. UserError when a commit cannot be had,
    so that nobody compares with a wrong base.
    """
    wanted = [*dict.fromkeys([*shas, *(merge_base_of or ())])]
    for sha in wanted:
        if not _SHA.fullmatch(sha):
            raise UserError(
                f"not a commit: `{sha:.80}`",
                why="Only a full id of 40 or 64 hex digits names one commit for ever.",
                advice="Give the id that `git rev-parse` prints.",
            )
    missing = [sha for sha in wanted if not repository.has(sha)]
    if missing:
        depth = ["--depth=1"] if repository.is_shallow() else []
        error = _fetch(repository, *depth, shas=missing)
        if gone := [sha for sha in missing if not repository.has(sha)]:
            raise _cannot_get(f"commit {gone[0][:12]} is not here", error)
    if merge_base_of is None:
        return
    for step in (*(f"--deepen={number}" for number in _DEEPEN_BY), "--unshallow"):
        if _knows_fork(repository, *merge_base_of):
            break
        error = _fetch(repository, step, shas=merge_base_of)
        if error:
            base, head = (sha[:12] for sha in merge_base_of)
            raise _cannot_get(f"the history between {base} and {head} is not here", error)
    repository.merge_base(*merge_base_of)  # there is one, or an error says so


def _knows_fork(repository: Repository, base: str, head: str) -> bool:
    """Whether the merge base that git names here is the true one.

    It is where none of the commits between it and both ends has had its parents cut off: any
    later common ancestor would be reached through such commits alone.
    """
    if not repository.is_shallow():
        return True
    result = _git(("merge-base", base, head), repository.root)
    if result.returncode:
        return False
    named = repository.git("rev-parse", "--git-path", "shallow").rstrip("\n")
    cut_off = set((repository.root / named).read_text(encoding="ascii").split())
    between = repository.git("rev-list", base, head, "--not", result.stdout.strip()).split()
    return cut_off.isdisjoint(between)


def _fetch(repository: Repository, *options: str, shas: Sequence[str]) -> str:
    """What git said when it failed, else nothing. Moves no ref and writes no FETCH_HEAD."""
    quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
    command = ("fetch", *quiet, "--refmap=", *options, "origin", *shas)
    result = _git(command, repository.root)
    return (result.stderr.strip() or "git fetch failed") if result.returncode else ""


def _cannot_get(what: str, error: str) -> UserError:
    return UserError(
        what,
        why=f"It could not be fetched from `origin`: {error}" if error else "",
        advice="Check out with all history: `actions/checkout` with `fetch-depth: 0`, or "
        "`git fetch --unshallow`.",
    )


def git_version() -> str:
    """`2.39.5`; UserError where there is no git."""
    return _git(("--version",), Path("/")).stdout.removeprefix("git version ").strip()


def open_repository(path: Path) -> Repository:
    """The repository that `path` lies in; UserError where there is none."""
    if not path.is_dir():
        raise UserError(
            f"no folder at {path}",
            why="--repo must name a folder inside a git repository.",
            advice="Check the path.",
        )
    result = _git(("rev-parse", "--show-toplevel"), path)
    if result.returncode:
        bare = _git(("rev-parse", "--is-bare-repository"), path).stdout.strip() == "true"
        raise UserError(
            f"{path} is a bare repository" if bare else f"{path} is not in a git repository",
            why="It has no work tree to read .ailab/ from." if bare else result.stderr.strip(),
            advice="Change to your project's clone, or name it with --repo DIR.",
        )
    return Repository(Path(result.stdout.rstrip("\n")))


def _failed(command: str, error: str) -> RunnerError:
    return RunnerError(
        f"git {command} failed",
        why=error.strip(),
        advice="Run the same command in the repository to see whether it is damaged.",
    )


def _git_bytes(
    arguments: Sequence[str], cwd: Path, request: bytes
) -> subprocess.CompletedProcess[bytes]:
    """A git command that reads `request`; what it lacks it says in its output."""
    return subprocess.run(
        ["git", *_SETTINGS, *arguments],
        cwd=cwd,
        env=_variables(),
        input=request,
        capture_output=True,
        check=False,
    )


def _variables() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name not in LOCAL_VARIABLES}


def _git(arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *_SETTINGS, *arguments],
            cwd=cwd,
            env=_variables(),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            "git is not installed",
            why="There is no `git` on PATH.",
            advice="Install git 2.30 or later.",
        ) from error
