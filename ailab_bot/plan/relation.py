"""How a change relates to a scenario: what of the scenario's footprint it touches. Plain data.

The vocabulary that elimination writes, prediction reads and people see.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Touches of one scenario that a finding keeps: the others of so many would say the same.
MOST_TOUCHES = 50


class Relation(StrEnum):
    """From "cannot move it" to "nobody knows". Up to DORMANT it is a proof that head runs the same
    instructions as base up to the first batch."""

    APART = "apart"  # no file, folder, dependency or build file of the footprint is touched
    SAME_CODE = "same_code"  # what is touched compiles to the same code
    DORMANT = "dormant"  # what differs are functions that never ran
    TOUCHED = "touched"
    STALE = "stale"  # nothing of its footprint is touched; what it runs changed since, in its code
    UNKNOWN = "unknown"  # there is no footprint, or it could not see everything

    @property
    def is_proof(self) -> bool:
        return self in _PROOFS


_PROOFS = frozenset({Relation.APART, Relation.SAME_CODE, Relation.DORMANT})


class How(StrEnum):
    """How one changed path touches a scenario."""

    CODE = "code"  # executed code differs: `functions` says which
    CONTENT = "content"  # a file that was opened, or code that could not be compared
    APPEARS = "appears"  # a new path that was looked for, could be listed, or hides a module
    VANISHES = "vanishes"
    DEPENDENCY = "dependency"  # a lock or requirements file moves a distribution it loaded
    BUILD = "build"  # what builds the environment or image
    SCENARIO = "scenario"  # its own definition or set-up


@dataclass(frozen=True)
class Touch:
    """`functions`: qualified names that differ and ran; `<module>` is the file's own body.

    `share`: of the traced time the part spent in those functions, 0 to 1. `detail`: what people
    read beside the path, such as the dependency's name.
    """

    path: str
    how: How
    functions: tuple[str, ...] = ()
    share: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """The relation of one change to one scenario. `reason` is one sentence that people read.
    `touches`: the most telling ones first, and of very many the first of these."""

    relation: Relation
    reason: str
    touches: tuple[Touch, ...] = ()
