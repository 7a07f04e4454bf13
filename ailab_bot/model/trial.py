"""Trials and blocks: what one execution of one scenario in one arm gave. No I/O, no statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ailab_bot.model.signature import Likeness


class Arm(StrEnum):
    BASE = "base"
    HEAD = "head"


class Outcome(StrEnum):
    OK = "ok"
    TIMEOUT = "timeout"
    CRASH = "crash"
    OOM = "oom"
    NO_FIRST_BATCH = "no_first_batch"


#: The phases that are inferred, in the order in which they usually happen. A scenario may mark
#: further names of its own.
PHASES = ("interpreter", "import", "config", "data", "model", "first_batch")


@dataclass(frozen=True)
class Failure:
    """Why a trial gave no value. `output_tail` holds the last lines of stderr (else stdout)."""

    reason: str
    advice: str = ""
    output_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One execution. `metrics` is empty unless `outcome` is OK; `failure` is set unless it is.

    `block` counts from 0 within a scenario; `order` is 0 for the arm that ran first in its block.
    Seconds and bytes; `phases` sum to `metrics["ttfb_s"]`. `machine` names where it ran; blocks of
    several machines may belong to one scenario, a block to one machine only. `judged`: the metrics
    that the measurement judged (empty: all), `family`: the verdicts of the whole change (0: not
    known). `signature`: whether both arms did the same by the counts of a trial that was recorded
    before the first block; None: not known. They let a later reader reach the same verdicts from
    the trials alone.
    """

    scenario: str
    block: int
    order: int
    arm: Arm
    outcome: Outcome = Outcome.OK
    metrics: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    covariates: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    machine: str = ""
    judged: tuple[str, ...] = ()
    family: int = 0
    signature: Likeness | None = None


@dataclass(frozen=True)
class Block:
    """Adjacent base and head trials of one scenario on one machine: the unit of pairing."""

    index: int
    base: Trial
    head: Trial

    @property
    def equal(self) -> bool:
        """Whether both trials say that the arms did the same; one that says nothing does not."""
        return self.base.signature is self.head.signature is Likeness.EQUAL

    @property
    def complete(self) -> bool:
        return self.base.outcome is Outcome.OK and self.head.outcome is Outcome.OK
