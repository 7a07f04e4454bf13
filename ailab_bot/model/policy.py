"""The rule's numbers: what a verdict asks for before it is announced.

Each constant has its reason; `python bench/verdicts.py` shows what they do on recorded noise.
`ailab calibrate` replaces the noise and the thresholds by measured ones, scenario by scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

#: The effect that has to be found, as a fraction. NO_CHANGE means: inside plus or minus this.
THRESHOLD = 0.05

#: Bias that no statistics sees (memory layout, paths, caches) moves an effect by about 1 %; the
#: evidence has to clear this margin, not only 0. Fraction, at most the threshold.
MARGIN = 0.02

#: The same in seconds, for scenarios so short that 2 % is what a scheduler's tick decides.
MARGIN_S = 0.002

#: Width between margin and threshold, where a change may be called either way. A wider threshold
#: moves the margin up with it; to tell apart what lies closer together costs too many blocks.
ZONE = 0.03

#: Probability of announcing a regression where there is none, over any number of blocks, per
#: verdict. With the margin, the replays of recorded noise stay far below it.
ERROR = 1e-3

#: Error level of the screen and of the confirmation, each on its own blocks.
STAGE_ERROR = 0.05

#: Error of each side of the interval, and so of NO_CHANGE: at 0.07 a clean change on a noisy
#: shared runner ends after about 12 blocks, at 0.05 after about 14.
INTERVAL_ERROR = 0.07

#: Where both arms did the same by their counts (`model.signature`), a relevant effect is at least
#: this many times less probable than elsewhere, by assumption; so NO_CHANGE may ask for as many
#: times less evidence and is as seldom wrong. At 4 it takes two thirds of the blocks
#: (`python bench/signature.py`). It is for the histories of real repositories to say whether 4 is
#: too bold; it never lessens what a regression has to show.
EQUAL_ODDS = 4.0

#: Blocks that have to be timed all the same, as no count sees `sleep(1)` become `sleep(2)`. A head
#: slow in three of ten trials shows in one of six blocks nine times in ten.
EQUAL_BLOCKS = 6

#: Share of false announcements among all in one change (e-BH). It asks for more than ERROR only
#: where more than ERROR_IN_CHANGE / ERROR = 100 verdicts belong to a change.
ERROR_IN_CHANGE = 0.1

#: Expected robust standard deviation of a block's log ratio. It sets what counts as an outlier and
#: so the power, never the errors. 0.049 was recorded on a shared two-core machine.
SCALE = 0.05

#: The same for metrics that other work on the machine hardly moves.
SCALES = {"peak_rss_bytes": 0.01}

#: Blocks that one verdict may use, both stages together.
MAX_BLOCKS = 40


@dataclass(frozen=True)
class Limits:
    """What one scenario's metric is judged by: fractions. See the constants of the same names.

    `bias`: the least margin that what was measured between builds allows, whatever the threshold.
    """

    threshold: float
    margin: float
    scale: float
    bias: float = MARGIN


@dataclass(frozen=True)
class Policy:
    """`gate`: the metrics whose regression blocks and that decide when to stop measuring.

    `own`: calibrated limits by (scenario, metric). Where there are any, a scenario without them
    does not gate: no certificate speaks of it. `too_noisy`: scenarios that calibration found
    too noisy to gate. `gate_anyway`: scenarios that gate all the same. `shadow`: verdicts are
    shown, but block nothing; `shadow_reason` says why. `covariates`: coefficients by machine
    class that have been shown to lessen the noise.
    `origin` says in words where the numbers come from.
    """

    threshold: float = THRESHOLD
    margin: float = MARGIN
    error: float = ERROR
    stage_error: float = STAGE_ERROR
    interval_error: float = INTERVAL_ERROR
    equal_odds: float = EQUAL_ODDS
    margin_s: float = MARGIN_S
    max_blocks: int = MAX_BLOCKS
    gate: tuple[str, ...] = ("ttfb_s",)
    own: Mapping[tuple[str, str], Limits] = field(default_factory=dict)
    too_noisy: frozenset[str] = frozenset()
    gate_anyway: frozenset[str] = frozenset()
    shadow: bool = False
    shadow_reason: str = ""
    covariates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    origin: str = "built in, not calibrated"

    @property
    def level(self) -> float:
        """Level of the reported interval: each side errs with `interval_error` at the most."""
        return 1 - 2 * self.interval_error

    def limits(self, scenario: str, metric: str) -> Limits:
        """The calibrated limits, else the policy's own."""
        known = self.own.get((scenario, metric))
        return known or Limits(self.threshold, self.margin, SCALES.get(metric, SCALE))

    def gates(self, scenario: str, metric: str) -> bool:
        """Whether a regression of this metric blocks the change."""
        advisory = scenario in self.too_noisy or self.uncalibrated(scenario)
        return metric in self.gate and not advisory and not self.shadow

    def uncalibrated(self, scenario: str) -> bool:
        """Whether there was a calibration that says nothing of this scenario."""
        return bool(self.own) and scenario not in self._known

    @cached_property
    def _known(self) -> frozenset[str]:
        """Asked for each of thousands of verdicts."""
        return frozenset(name for name, _ in self.own) | self.gate_anyway

    def with_threshold(self, threshold: float) -> Policy:
        """One threshold for every scenario, as the user asked; the measured noise stays."""
        own = {
            key: replace(limits, threshold=threshold, margin=margin_of(threshold, limits.bias))
            for key, limits in self.own.items()
        }
        return replace(self, threshold=threshold, margin=margin_of(threshold), own=own)


def margin_of(threshold: float, bias: float = MARGIN) -> float:
    """The margin that belongs to a threshold: a zone below it, at least the bias, at most all."""
    return min(max(bias, threshold - ZONE), threshold)
