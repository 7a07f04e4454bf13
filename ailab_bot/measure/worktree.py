"""A workplace for one run: both commits checked out side by side, and gone afterwards.

The arms' folders differ in one word of equal length, so no path is longer in one arm. The user's
own work tree is never touched. A workplace is locked, so runs at the same time take different
ones, and what a killed run left is cleared by the next run that takes its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.measure.execute import PROBE_FOLDER, uninterrupted
from ailab_bot.measure.git import Repository
from ailab_bot.model.trial import Arm

#: Runs at the same time on one repository, before something is surely wrong.
_MOST_PLACES = 64


def cache_folder() -> Path:
    """Where environments, workplaces and runs are kept: AILAB_CACHE_DIR, else the user's cache."""
    chosen = os.environ.get("AILAB_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).absolute() / "ailab"


def make_folder(folder: Path) -> None:
    """Have a folder of the cache. UserError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"no folder can be made at {folder}",
            why=str(error),
            advice="Set AILAB_CACHE_DIR to a folder that you may write to.",
        ) from error


@dataclass(frozen=True)
class Workplace:
    """`checkouts` by arm; `probe` is a copy whose byte code can be cached; `scratch` is private."""

    folder: Path
    repository: Repository

    @property
    def probe(self) -> Path:
        return self.folder / "probe"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def checkout(self, arm: Arm) -> Path:
        return self.folder / arm.value


@contextlib.contextmanager
def open_workplace(repository: Repository, shas: dict[Arm, str]) -> Iterator[Workplace]:
    """Check out each arm's commit; remove everything again, whatever happens inside."""
    home = cache_folder() / "work" / hashlib.sha256(os.fsencode(repository.root)).hexdigest()[:12]
    with _lock_one(home) as folder:
        place = Workplace(folder, repository)
        _clear(place)
        try:
            place.scratch.mkdir(mode=0o700)
            shutil.copytree(PROBE_FOLDER, place.probe, ignore=shutil.ignore_patterns("__pycache__"))
            for arm, sha in shas.items():
                _check_out(place, arm, sha)
            yield place
        finally:
            # What cannot be removed is left to the next run: it is no reason to lose this one.
            with uninterrupted(), contextlib.suppress(OSError):
                _clear(place)
                folder.rmdir()


def _check_out(place: Workplace, arm: Arm, sha: str) -> None:
    path = place.checkout(arm)
    place.repository.git("worktree", "add", "--quiet", "--detach", "--force", str(path), sha)
    if (path / ".gitmodules").exists():
        place.repository.git("submodule", "--quiet", "update", "--init", "--recursive", cwd=path)


def _clear(place: Workplace) -> None:
    for arm in Arm:
        path = place.checkout(arm)
        if path.exists():
            with contextlib.suppress(RunnerError):
                place.repository.git("worktree", "remove", "--force", "--force", str(path))
    with contextlib.suppress(RunnerError, OSError):
        _forget_worktrees(place)
    for child in place.folder.iterdir():
        shutil.rmtree(child, ignore_errors=True)


def _forget_worktrees(place: Workplace) -> None:
    """Drop what git still knows of worktrees in this place, and of no others.

    `git worktree prune` would also drop the user's own that are only away, on a disk not mounted.
    """
    common = place.repository.git("rev-parse", "--git-common-dir").rstrip("\n")
    ours = place.folder.resolve()
    for record in (place.repository.root / common / "worktrees").glob("*/gitdir"):
        # The path of the worktree's `.git`, absolute or relative to the record's folder.
        named = os.fsdecode(record.read_bytes()).rstrip("\n")
        if (record.parent / named).resolve().is_relative_to(ours):
            shutil.rmtree(record.parent, ignore_errors=True)


@contextlib.contextmanager
def _lock_one(home: Path) -> Iterator[Path]:
    """The first free folder below `home`. The lock is on the folder itself, so no file is left."""
    for number in range(_MOST_PLACES):
        folder = home / f"{number:02}"
        make_folder(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # its last user has just removed it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
                yield folder
                return
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    raise RunnerError(
        f"no free workplace below {home}",
        why=f"{_MOST_PLACES} runs on this repository hold one each.",
        advice="Wait for them, or set AILAB_CACHE_DIR to another folder.",
    )
