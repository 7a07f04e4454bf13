"""Replays of recorded noise: what the simulations in bench/ and tests/stats/ draw from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ailab_bot.judge import pair_blocks
from ailab_bot.model.wire import parse_trials

RECORDING = Path(__file__).parent / "data" / "aa-shared-2core.jsonl"
#: Blocks drawn together, so that a replay keeps the recording's autocorrelation.
RUN_BLOCKS = 5

Array = NDArray[np.float64]


def recorded_pairs(path: Path = RECORDING) -> Array:
    """Seconds of base and head in each recorded block, shape (blocks, 2)."""
    with path.open(encoding="utf-8") as file:
        blocks = pair_blocks(parse_trials(file, str(path)))
    return np.array([[b.base.metrics["ttfb_s"], b.head.metrics["ttfb_s"]] for b in blocks])


def replay(pairs: Array, blocks: int, effect: float, random: np.random.Generator) -> Array:
    """One resampled experiment, shape (blocks, 2): runs of neighbouring blocks, arms swapped at
    random (they are the same code), head multiplied by 1 + effect."""
    starts = random.integers(0, len(pairs), -(-blocks // RUN_BLOCKS))
    index = (starts[:, None] + np.arange(RUN_BLOCKS)).ravel()[:blocks] % len(pairs)
    drawn = pairs[index]
    swap = random.random(blocks) < 0.5
    drawn = np.where(swap[:, None], drawn[:, ::-1], drawn)
    return drawn * np.array([1.0, 1.0 + effect])


def heavy_tailed(blocks: int, effect: float, random: np.random.Generator) -> Array:
    """Synthetic trials, shape (blocks, 2): a drifting machine, and one-sided outliers in 10 %."""
    drift = np.cumsum(random.normal(0, 0.01, blocks))[:, None]
    noise = random.normal(0, 0.03, (blocks, 2))
    outliers = (random.random((blocks, 2)) < 0.1) * random.exponential(0.3, (blocks, 2))
    return np.exp(drift + noise + outliers) * np.array([1.0, 1.0 + effect])
