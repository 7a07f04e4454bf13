"""A shard: the scenarios that one job measures, and what it gives back. Plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from ailab_bot.model.report import Machine
from ailab_bot.model.verdict import Explanation


@dataclass(frozen=True)
class Shard:
    """One job of a plan; base and head of each of its scenarios run there, on one machine.

    `base` (the merge base) and `head` are what is measured; `definitions` is the commit whose
    `.ailab` folder says how, empty for the work tree. `expected_s` and `capacity_s` are seconds,
    None: no limit. `family` counts the verdicts of the whole change.
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
    lost: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interrupted: bool = False
