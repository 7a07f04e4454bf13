"""What was decided, and about what. Plain data; deciding is `judge`'s duty."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ailab_bot.model.policy import ERROR, STAGE_ERROR
from ailab_bot.model.trial import Outcome


class VerdictKind(StrEnum):
    REGRESSION = "REGRESSION"
    IMPROVEMENT = "IMPROVEMENT"
    NO_CHANGE = "NO_CHANGE"
    INCONCLUSIVE = "INCONCLUSIVE"


class Conclusion(StrEnum):
    """What the required status says."""

    SUCCESS = "success"
    FAILURE = "failure"
    PENDING = "pending"
    ERROR = "error"


class Stopped(StrEnum):
    """Why no further block was used."""

    DECIDED = "decided"
    CAPACITY = "capacity"


class Pattern(StrEnum):
    """How an effect shows where the middle of the trials hides it."""

    NONE = ""
    SLOW_IN_SOME = "slow_in_some"


@dataclass(frozen=True)
class Interval:
    """Confidence interval of an effect, as fractions: 0.18 is +18 %."""

    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """The decision for one scenario and metric.

    `effect` is head/base - 1 (0.182: head is 18.2 % above base), from the confirmation's blocks
    alone when `confirmed`. `interval` is None where the blocks bound only one of its ends. `noise`
    is the robust standard deviation of a block's log ratio. `p_value` belongs to the paired t-test
    and describes, it does not decide. `base_median` and `head_median` are in the metric's unit.
    `confirmation_blocks` are the fresh blocks that the confirmation used. `evidence` is an e-value:
    how often the blocks outweigh "no effect", 1000 being 1000 to 1. `margin` is a fraction, as the
    threshold. With `pattern` SLOW_IN_SOME and confirmed the effect is of the mean, and has no
    interval.
    """

    scenario: str
    metric: str
    kind: VerdictKind
    confirmed: bool
    effect: float | None
    interval: Interval | None
    level: float
    threshold: float
    blocks_used: int
    blocks_available: int
    stopped: Stopped
    reason: str
    confirmation_blocks: int = 0
    base_median: float | None = None
    head_median: float | None = None
    noise: float | None = None
    p_value: float | None = None
    gates: bool = False
    margin: float = 0.0
    evidence: float = 1.0
    pattern: Pattern = Pattern.NONE


@dataclass(frozen=True)
class FailureSummary:
    """The failed trials of one scenario, shown as what they are and never as a speed.

    `arms` says which arms failed: "head" blocks the change; "base" or "both" is the scenario's
    own (or the machine's) trouble. `failed` of `trials` trials in those arms; `other_ok` trials of
    the other arm succeeded. `evidence` is an e-value: how often the blocks in which only one arm
    failed outweigh "head fails as often as base". `in_setup`: head's set-up failed and base's did
    not, so there was no trial at all.
    """

    scenario: str
    arms: str
    outcome: Outcome
    failed: int
    trials: int
    reason: str
    advice: str = ""
    output_tail: tuple[str, ...] = ()
    other_ok: int = 0
    evidence: float = 1.0
    in_setup: bool = False

    @property
    def blocks_the_change(self) -> bool:
        """Whether head never worked, tried at least twice, where base did; or fails more often than
        base with the evidence that a regression has to have. A flaky scenario blocks no change.
        """
        never = self.arms == "head" and self.failed == self.trials > 1 and self.other_ok > 1
        return never or self.in_setup or self.evidence >= 1 / ERROR

    @property
    def head_fails_more(self) -> bool:
        """Whether chance alone is unlikely to have made head fail and base not."""
        return self.evidence >= 1 / STAGE_ERROR


@dataclass(frozen=True)
class PhaseShift:
    """Median seconds of one phase in both arms."""

    phase: str
    base_s: float
    head_s: float

    @property
    def delta_s(self) -> float:
        return self.head_s - self.base_s


@dataclass(frozen=True)
class ImportChange:
    """A module that only one arm imports before its first batch.

    `seconds` includes what it imported in turn (`submodules` further modules that the other arm
    does not import either); `importer` is "path/in/repo.py:12", the line that imports it first.
    """

    module: str
    seconds: float
    submodules: int
    importer: str


@dataclass(frozen=True)
class Explanation:
    """The cheapest evidence for why a scenario's TTFB moved. `phases` are in PHASES order."""

    scenario: str
    phases: tuple[PhaseShift, ...] = ()
    imports_added: tuple[ImportChange, ...] = ()
    imports_removed: tuple[ImportChange, ...] = ()
    note: str = ""
