"""Builds the demo's repository: a small training platform whose newest commit got slower.

The commits are real, made by git with fixed authors and dates, so their SHAs are the same
everywhere. Nothing is downloaded. Refuses to write into a folder that holds anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import UserError

_HERE = Path(__file__).parent
_BASE_COMMITS = (
    ("Train a ranking model from a job file", ("README.md", "launch.py", "jobs", "trainkit")),
    ("Measure the time to first batch with AI Lab bot", (".ailab",)),
)
_HEAD_COMMIT = "Record run metadata in the background\n\nTraining no longer waits for its log."


@dataclass(frozen=True)
class DemoRepository:
    """A repository whose branch `head` plants a regression on top of `base`."""

    path: Path
    base: str = "main"
    head: str = "record-run-metadata"


def build_demo_repository(folder: Path) -> DemoRepository:
    """Build it in `folder`, which must be empty or absent. UserError where that cannot be."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} is not empty",
            why="The demo builds its repository there and deletes nothing.",
            advice="Name a folder that does not exist yet.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    made = DemoRepository(folder)
    _git(folder, "init", "--quiet", f"--initial-branch={made.base}")
    for number, (message, names) in enumerate(_BASE_COMMITS):
        for name in names:
            _copy(_HERE / "base" / name, folder / name)
        _commit(folder, message, number)
    _git(folder, "checkout", "--quiet", "-b", made.head)
    _copy(_HERE / "head", folder)
    _commit(folder, _HEAD_COMMIT, len(_BASE_COMMITS))
    _git(folder, "checkout", "--quiet", made.base)
    return made


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    else:
        shutil.copyfile(source, target)


def _commit(folder: Path, message: str, number: int) -> None:
    _git(folder, "add", "--all", "--force")
    _git(folder, "commit", "--quiet", "--message", message, date=f"2026-01-0{number + 1}T09:00:00Z")


def _git(folder: Path, *arguments: str, date: str = "2026-01-01T09:00:00Z") -> None:
    settings = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "AI Lab demo",
        "GIT_AUTHOR_EMAIL": "demo@example.invalid",
        "GIT_COMMITTER_NAME": "AI Lab demo",
        "GIT_COMMITTER_EMAIL": "demo@example.invalid",
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**inherited, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            "git is not installed", why="There is no `git` on PATH.", advice="Install git."
        ) from error
    if result.returncode:
        raise UserError(
            f"git {arguments[0]} failed in {folder}",
            why=result.stderr.strip(),
            advice="Check that the folder can be written.",
        )
