"""What a calibration found and what follows from it: plain data, all fractions unless named.

`ailab calibrate` makes one, `policyfile` writes and reads it, the judge uses the `Policy` in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ailab_bot.model.policy import Limits, Policy

#: Machine class of trials that do not say where they ran.
UNKNOWN_CLASS = "unknown"
#: False alarms a week that a team is willing to look into.
FALSE_POSITIVES_PER_WEEK = 1.0
#: 150 changes a week, 6 scenarios, 2 metrics each: until a ledger counts them.
VERDICTS_PER_WEEK = 1800.0
#: A scenario whose smallest reliably found effect is larger than this must not block a change: what
#: it would find is seen without a bot, and what it misses is what the bot is for.
LARGEST_MDE = 0.10
#: Independent blocks that a certificate has to rest on: with fewer, a replay repeats the same few
#: slow moments, and says more about them than about the next week.
LEAST_BLOCKS = 200


class Mode(StrEnum):
    """Whether regressions block (`gate`) or are only shown (`shadow`)."""

    GATE = "gate"
    SHADOW = "shadow"


@dataclass(frozen=True)
class NoiseRow:
    """The noise of one scenario's metric on one class of machines, from blocks of equal arms.

    `sigma`: robust standard deviation of a block's log ratio as measured; `scale`: shrunk toward
    the class. `autocorrelation` is of neighbouring blocks, `far_slow` a share of trials, `bias_sd`
    the standard deviation between builds that noise within builds does not explain.
    """

    scenario: str
    metric: str
    machine: str
    blocks: int
    builds: int
    sigma: float
    scale: float
    autocorrelation: float
    far_slow: float
    bias_sd: float
    independent_blocks: float


@dataclass(frozen=True)
class Judged:
    """What one scenario's metric is judged by, and the smallest effect found 9 times in 10.

    `mde` None: larger than was tried, or not looked for because the metric does not gate.
    """

    scenario: str
    metric: str
    limits: Limits
    mde: float | None = None
    gates: bool = False

    @property
    def too_noisy(self) -> bool:
        return self.gates and (self.mde is None or self.mde > LARGEST_MDE)


@dataclass(frozen=True)
class OperatingPoint:
    """One setting of the rule. `margin` is the one of a scenario without bias between builds."""

    threshold: float
    margin: float
    error: float
    max_blocks: int


@dataclass(frozen=True)
class RocPoint:
    """How one setting did on replays: `false_positives` in `replays` of equal arms; `detection`,
    the weighted share of injected effects that were found, and its standard error; mean `blocks`
    that a replay of equal arms took. `at_most` bounds the false positive rate, 95 % confidence.
    """

    point: OperatingPoint
    false_positives: int
    replays: int
    at_most: float
    detection: float
    detection_error: float
    blocks: float


@dataclass(frozen=True)
class Certificate:
    """Replays of equal arms at the chosen setting: at most so many false positives a week, with
    95 % confidence. `reached`: the bound is within the budget and rests on enough blocks.
    """

    false_positives: int
    replays: int
    at_most_per_week: float
    independent_blocks: int
    reached: bool
    text: str


@dataclass(frozen=True)
class CovariateFit:
    """Whether what the machine did explains a class's noise. `sigma_*`: robust standard deviation
    of blocks that the fit has not seen. `coefficients`: log seconds per unit of covariate a second.
    """

    used: bool
    coefficients: Mapping[str, float]
    sigma_before: float
    sigma_after: float
    why: str


@dataclass(frozen=True)
class Data:
    """What a calibration rests on. `commits` is empty where recorded trials were given."""

    files: tuple[str, ...]
    blocks: int
    independent_blocks: int
    machines: tuple[str, ...]
    commits: tuple[str, ...] = ()
    split: str = ""


@dataclass(frozen=True)
class Budget:
    """False positives that a week may hold, and what people reported: see `ailab feedback`."""

    false_positives_per_week: float = FALSE_POSITIVES_PER_WEEK
    verdicts_per_week: float = VERDICTS_PER_WEEK
    observed_per_week: float = 0.0

    @property
    def tightened_by(self) -> int:
        """By what the error is divided because people saw more false alarms than agreed."""
        # -(-a // b) rounds up; 1 while the budget is kept.
        return max(1, int(-(-self.observed_per_week // self.false_positives_per_week)))


@dataclass(frozen=True)
class Calibration:
    """Everything in a policy file."""

    when: datetime
    mode: Mode
    why: str
    data: Data
    budget: Budget
    point: OperatingPoint
    certificate: Certificate
    judged: tuple[Judged, ...]
    noise: tuple[NoiseRow, ...]
    covariates: Mapping[str, CovariateFit]
    roc: tuple[RocPoint, ...]
    notes: tuple[str, ...] = ()

    @property
    def too_noisy(self) -> frozenset[str]:
        """Scenarios that must not block a change."""
        return frozenset(row.scenario for row in self.judged if row.too_noisy)

    @property
    def chosen(self) -> RocPoint | None:
        """How the chosen setting did on the replays, before people's feedback tightened it."""
        error = self.point.error * self.budget.tightened_by
        for row in self.roc:
            where = row.point
            same = (where.threshold, where.max_blocks) == (
                self.point.threshold,
                self.point.max_blocks,
            )
            if same and math.isclose(where.error, error, rel_tol=1e-4):
                return row
        return None

    def policy(self, origin: str) -> Policy:
        """The judge's numbers; `origin` says where they come from."""
        return Policy(
            threshold=self.point.threshold,
            margin=self.point.margin,
            error=self.point.error,
            max_blocks=self.point.max_blocks,
            own={(row.scenario, row.metric): row.limits for row in self.judged},
            too_noisy=self.too_noisy,
            shadow=self.mode is Mode.SHADOW,
            shadow_reason=self.why if self.mode is Mode.SHADOW else "",
            covariates={
                machine: fit.coefficients for machine, fit in self.covariates.items() if fit.used
            },
            origin=origin,
        )


@dataclass(frozen=True)
class Opinion:
    """Somebody's word on an alarm: `right` says whether it was one. `verdict` names it as
    `<scenario>:<metric>@<head or report>`.
    """

    when: datetime
    verdict: str
    right: bool
    note: str = ""


#: Weeks that observed false alarms are averaged over.
OBSERVED_WEEKS = 4


def false_alarms_per_week(opinions: tuple[Opinion, ...], now: datetime) -> float:
    """Alarms called wrong in the last weeks. The latest opinion on a verdict counts, once."""
    latest: dict[str, Opinion] = {}
    for opinion in sorted(opinions, key=lambda each: each.when):
        latest[opinion.verdict] = opinion
    days = OBSERVED_WEEKS * 7
    recent = [
        opinion
        for opinion in latest.values()
        if not opinion.right and (now - opinion.when).total_seconds() <= days * 86_400
    ]
    return len(recent) / OBSERVED_WEEKS
