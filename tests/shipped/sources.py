"""The repository of a story as git has it: scenarios, the shipped workflow files, pull requests.

Knows nothing of GitHub's API, and refuses to keep what a fork has in a branch of its own.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hub.state import Pull
from repositories import commit, git, new_repository

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / ".github" / "workflows"
#: Quick, and at ease on a machine that has other things to do: it finds no slower head, which
#: takes 12 blocks that agree, but one that does not work.
CONFIG = """\
max_blocks: 10
threshold: 0.3
noise: {max_load: 1, max_steal: 1, wait_s: 0, pin: "off"}
"""
#: Finds a much slower head too, with blocks to spare for a busy machine.
PATIENT = CONFIG.replace("10", "20").replace("0.3", "0.6")
SCENARIO = "id: {id}\ncommand: [python, {id}.py]\nfirst_batch: {{marker: READY}}\n"


#: Fails the gate in no time, wherever base works.
BROKEN = "raise SystemExit(3)\n"


def script(seconds: float, more: str = "") -> str:
    """A training that needs `seconds` to its first batch, after the lines of `more`."""
    return f"import time\n{more}\ntime.sleep({seconds})\nprint('READY', flush=True)\n"


@dataclass
class Sources:
    """`origin` is what checkout clones; its work tree is on main between two calls."""

    folder: Path
    origin: Path = field(init=False)

    def __post_init__(self) -> None:
        self.origin = new_repository(self.folder / "origin")

    def found(self, scenarios: Iterable[str], config: str) -> str:
        """The first commit: the shipped files, and scenarios that are quick."""
        files = {f".github/workflows/{path.name}": path.read_text() for path in SHIPPED.iterdir()}
        for name in scenarios:
            files[f".ailab/scenarios/{name}.yml"] = SCENARIO.format(id=name)
            files[f"{name}.py"] = script(0.05)
        return commit(self.origin, {**files, ".ailab/config.yml": config})

    def commit_on(self, branch: str, files: Mapping[str, str]) -> str:
        """A commit on the branch, which begins at main where it is new."""
        exists = git(self.origin, "branch", "--list", branch)
        git(self.origin, "checkout", "--quiet", *([] if exists else ["-b"]), branch)
        sha = commit(self.origin, files)
        git(self.origin, "checkout", "--quiet", "main")
        return sha

    def keep_pull(self, pull: Pull, *, in_fork: bool) -> None:
        """Head and test merge, as GitHub keeps them; of a fork there is no branch."""
        git(self.origin, "update-ref", f"refs/pull/{pull.number}/head", pull.head_sha)
        if in_fork:
            git(self.origin, "branch", "--quiet", "-D", pull.head_ref)
        git(self.origin, "checkout", "--quiet", "--detach", "main")
        git(self.origin, "merge", "--quiet", "--no-ff", "-m", "Test merge", pull.head_sha)
        git(self.origin, "update-ref", f"refs/pull/{pull.number}/merge", "HEAD")
        git(self.origin, "checkout", "--quiet", "main")

    def files(self, ref: str) -> Path:
        """The folder of a commit's workflow files, laid out."""
        sha = git(self.origin, "rev-parse", f"{ref}^{{commit}}")
        folder = self.folder / "files" / sha
        if not folder.exists():
            folder.mkdir(parents=True)
            packed = folder / "packed.tar"
            git(self.origin, "archive", f"--output={packed}", sha, ".github/workflows")
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
        return folder / ".github" / "workflows"
