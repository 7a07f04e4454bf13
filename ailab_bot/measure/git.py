"""Asks git about the user's repository. Reads only; `worktree` is what adds and removes folders."""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Repository:
    """A repository with a work tree at `root` (absolute)."""

    root: Path

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """Output of a git command that must succeed; RunnerError where it does not."""
        result = _git(arguments, cwd or self.root)
        if result.returncode:
            raise RunnerError(
                f"git {arguments[0]} failed",
                why=result.stderr.strip(),
                advice="Run the same command in the repository to see whether it is damaged.",
            )
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


def _git(arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {name: text for name, text in os.environ.items() if name not in LOCAL_VARIABLES}
    try:
        return subprocess.run(
            ["git", *_SETTINGS, *arguments],
            cwd=cwd,
            env=variables,
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
