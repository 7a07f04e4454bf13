"""A shard: the scenarios that one job measures, and what it gives back. Plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ailab_bot.model.report import Machine
from ailab_bot.model.verdict import Explanation


@dataclass(frozen=True)
class Shard:
    """One job of a plan; base and head of each of its scenarios run there, on one machine.

    `base` (the merge base) and `head` are what is measured; `definitions` is the commit whose
    `.ailab` folder says how, empty for the work tree. `expected_s` and `capacity_s` are seconds,
    None: no limit. `family` counts the verdicts of the whole change. `footprints`: what head's
    scenarios touched is handed over as well, for history to keep.
    """

    index: int
    labels: tuple[str, ...]
    timeout_minutes: int
    scenarios: tuple[str, ...]
    expected_s: float
    capacity_s: float | None
    base: str
    head: str
    definitions: str
    seed: int
    family: int
    footprints: bool = False


#: Characters of what is shown of a shard: longer texts are cut where they are written, and where
#: they are read. A shard gives at most MOST_NOTES notes.
LONGEST_REASON, LONGEST_NOTE, MOST_NOTES = 300, 900, 1000


class LossKind(StrEnum):
    """Why a scenario has no result."""

    SETUP_HEAD = "setup_head"  # its set-up fails on head, and works on base
    SETUP = "setup"  # its set-up fails on base, or on both
    ERROR = "error"
    INTERRUPTED = "interrupted"
    CAPACITY = "capacity"
    # What only its reader can tell.
    NO_RESULT = "no_result"
    UNREADABLE = "unreadable"  # its job died before it had written everything
    REFUSED = "refused"  # it contradicts the plan
    CHANGED = "changed"  # the base branch defines the scenario differently by now


#: A job does not say these of itself.
READERS_OWN = {LossKind.NO_RESULT, LossKind.UNREADABLE, LossKind.REFUSED, LossKind.CHANGED}


@dataclass(frozen=True)
class Loss:
    """`reason`: one line of at most LONGEST_REASON characters."""

    kind: LossKind
    reason: str


@dataclass(frozen=True)
class ShardResult:
    """What a shard says beside its trials. `definitions`: of each scenario that it began, the
    fingerprint of the definition it used. `lost`: scenarios that it could not measure to the end,
    with the reason. `explanations` hold imports; phases are computed from the trials.
    """

    index: int
    base: str
    head: str
    seed: int
    machine: Machine
    spent_s: float
    definitions: dict[str, str]
    explanations: tuple[Explanation, ...] = ()
    lost: dict[str, Loss] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interrupted: bool = False
