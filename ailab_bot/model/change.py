"""What a change did to the repository's files, as git tells it. Plain data, no I/O.

Refuses to hold contents: who compares code reads the blobs by their ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Git's modes: what a tree entry is. A missing side of a change has mode ABSENT.
ABSENT, LINK, SUBMODULE = "000000", "120000", "160000"


class ChangeKind(StrEnum):
    """What happened to one path. RENAMED may have changed the contents, too."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    RETYPED = "retyped"  # file, link and submodule turned into one another


@dataclass(frozen=True)
class ChangedFile:
    """`path` is head's (base's where head has none), `old_path` base's where it was renamed.

    Paths are relative to the repository, with `/`. Modes are git's six digits. Blobs are hex ids,
    empty where that side has none; of a submodule they are commits of another repository.
    """

    path: str
    kind: ChangeKind
    old_path: str = ""
    old_mode: str = ABSENT
    new_mode: str = ABSENT
    old_blob: str = ""
    new_blob: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that are not what they were: both of a rename."""
        return (self.old_path, self.path) if self.old_path else (self.path,)

    @property
    def appears(self) -> bool:
        """Whether `path` is new: something could find it that found nothing before."""
        return self.kind in {ChangeKind.ADDED, ChangeKind.RENAMED}

    @property
    def vanishes(self) -> bool:
        """Whether a path of base is gone."""
        return self.kind in {ChangeKind.DELETED, ChangeKind.RENAMED}

    @property
    def is_plain(self) -> bool:
        """Whether each side that there is is a file: no link, no submodule."""
        return not {self.old_mode, self.new_mode} & {LINK, SUBMODULE}


@dataclass(frozen=True)
class Change:
    """All files that differ between two commits, sorted by path. SHAs have 40 hex digits."""

    base: str
    head: str
    files: tuple[ChangedFile, ...]
