"""Replays of recorded noise: what the simulations in bench/ and tests/stats/ draw from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ailab_bot.judge import pair_blocks
from ailab_bot.model.wire import parse_trials

RECORDING = Path(__file__).parent / "data" / "aa-shared-2core.jsonl"
#: Blocks drawn together, so that a replay keeps the recording's autocorrelation.
RUN_BLOCKS = 5

Array = NDArray[np.float64]
#: (replays, blocks, random) -> seconds without effect, shape (replays, blocks, 2)
Source = Callable[[int, int, np.random.Generator], Array]


def recorded_pairs(path: Path = RECORDING) -> Array:
    """Seconds of base and head in each recorded block, shape (blocks, 2)."""
    with path.open(encoding="utf-8") as file:
        blocks = pair_blocks(parse_trials(file, str(path)))
    return np.array([[b.base.metrics["ttfb_s"], b.head.metrics["ttfb_s"]] for b in blocks])


def replays(pairs: Array, many: int, blocks: int, random: np.random.Generator) -> Array:
    """Resampled experiments without effect, shape (many, blocks, 2): runs of neighbouring blocks,
    arms swapped at random (they are the same code)."""
    starts = random.integers(0, len(pairs), (many, -(-blocks // RUN_BLOCKS)))
    index = (starts[..., None] + np.arange(RUN_BLOCKS)).reshape(many, -1)[:, :blocks] % len(pairs)
    drawn = pairs[index]
    swap = random.random((many, blocks)) < 0.5
    return np.where(swap[..., None], drawn[..., ::-1], drawn)


def replay(pairs: Array, blocks: int, effect: float, random: np.random.Generator) -> Array:
    """One of `replays`, shape (blocks, 2), its head multiplied by 1 + effect."""
    return with_effect(replays(pairs, 1, blocks, random), effect)[0]


def with_effect(seconds: Array, effect: float) -> Array:
    """Every head slower by the same factor."""
    return seconds * np.array([1.0, 1.0 + effect])


def heavy_tailed(blocks: int, effect: float, random: np.random.Generator) -> Array:
    """Synthetic trials, shape (blocks, 2): a drifting machine, and one-sided outliers in 10 %."""
    return with_effect(_heavy_tailed(1, blocks, random), effect)[0]


def _heavy_tailed(many: int, blocks: int, random: np.random.Generator) -> Array:
    drift = np.cumsum(random.normal(0, 0.01, (many, blocks)), axis=1)[..., None]
    noise = random.normal(0, 0.03, (many, blocks, 2))
    outliers = random.random(noise.shape) < 0.1
    return np.exp(drift + noise + outliers * random.exponential(0.3, noise.shape))


def _bimodal(many: int, blocks: int, random: np.random.Generator) -> Array:
    """A machine that slows one trial in five by 40 %, on a level that wanders (AR(1), 0.7)."""
    level = np.zeros((many, 2 * blocks))
    for trial in range(1, 2 * blocks):
        level[:, trial] = 0.7 * level[:, trial - 1] + random.normal(0, 0.02, many)
    slow = np.where(random.random(level.shape) < 0.2, np.log(1.4), 0.0)
    logs = level + slow + random.normal(0, 0.015, level.shape)
    pairs = np.exp(logs).reshape(many, blocks, 2)
    swap = random.random((many, blocks)) < 0.5  # which of the two neighbours is head
    return np.where(swap[..., None], pairs[..., ::-1], pairs)


def sources() -> dict[str, Source]:
    """Kinds of noise by name."""
    pairs = recorded_pairs()
    quiet = np.exp(np.median(np.log(pairs)) * 0.75 + np.log(pairs) * 0.25)
    return {
        "recorded": lambda many, blocks, random: replays(pairs, many, blocks, random),
        "a quarter of it": lambda many, blocks, random: replays(quiet, many, blocks, random),
        "drift and outliers": _heavy_tailed,
        "bimodal, wandering": _bimodal,
    }
