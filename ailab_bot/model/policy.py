"""The rule's numbers: what a verdict asks for before it is announced.

Each constant has its reason; `python bench/verdicts.py` shows what they do on recorded noise.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Smallest effect called relevant, as a fraction. NO_CHANGE means: inside plus or minus this.
#: At 0.05 a clean change on a noisy shared runner ends after about 22 blocks, at 0.03 after 34.
THRESHOLD = 0.05

#: Bias that no statistics sees (memory layout, paths, caches) moves an effect by about 1 %; the
#: interval has to clear this margin, not only 0. Fraction, at most the threshold.
MARGIN = 0.02

#: Error level of one stage, one-sided. Screen and confirmation use different blocks, so both are
#: wrong together in at most 0.02 x 0.02 = 4e-4 of scenarios without effect.
STAGE_ERROR = 0.02

#: One-sided error of NO_CHANGE: a shift beyond the threshold is called none in at most 5 %.
CLEAN_ERROR = 0.05

#: Expected robust standard deviation of a block's log ratio. It sets where outliers are clipped
#: and so the power, never the errors. 0.049 was recorded on a shared two-core machine.
SCALE = 0.05

#: Blocks that one verdict may use, both stages together.
MAX_BLOCKS = 40


@dataclass(frozen=True)
class Policy:
    """`gate`: the metrics whose regression blocks and that decide when to stop measuring."""

    threshold: float = THRESHOLD
    margin: float = MARGIN
    stage_error: float = STAGE_ERROR
    clean_error: float = CLEAN_ERROR
    scale: float = SCALE
    max_blocks: int = MAX_BLOCKS
    gate: tuple[str, ...] = ("ttfb_s",)

    @property
    def level(self) -> float:
        """Level of the reported interval: each side errs with `clean_error` at the most."""
        return 1 - 2 * self.clean_error
