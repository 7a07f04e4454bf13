"""Replays of blocks of equal arms: new experiments with known effects, from recorded noise.

Runs of neighbouring blocks are drawn with replacement, so drift and autocorrelation stay (moving
block bootstrap; Künsch: The jackknife and the bootstrap for general stationary observations, Annals
of Statistics 1989). The arms of a block are swapped at random: they are the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ailab_bot.stats.compare import robust_deviation
from ailab_bot.stats.sequential import Sample

Array = NDArray[np.float64]

#: Blocks drawn together. On recorded noise neighbours at a distance of 5 blocks hardly correlate.
RUN_BLOCKS = 5


@dataclass(frozen=True)
class Pool:
    """Recorded blocks to draw from: log values per build, each of shape (blocks, 2), base and head.

    `scale` and `bias_sd`: see `NoiseRow`. `level_s`: the typical value, in seconds where the metric
    is one, else 0.
    """

    builds: tuple[Array, ...]
    scale: float
    bias_sd: float = 0.0
    level_s: float = 0.0

    @property
    def blocks(self) -> int:
        return sum(len(build) for build in self.builds)

    @property
    def ratios(self) -> Array:
        """Log ratios of all blocks, in order."""
        return np.concatenate([build[:, 1] - build[:, 0] for build in self.builds])

    def split(self) -> tuple[Pool, Pool]:
        """The first half of the blocks in time, and the rest; a single block is both."""
        if self.blocks < 2:
            return self, self
        cut = self.blocks // 2
        first: list[Array] = []
        later: list[Array] = []
        for build in self.builds:
            taken = min(max(cut - sum(len(each) for each in first), 0), len(build))
            first += [build[:taken]] if taken else []
            later += [build[taken:]] if taken < len(build) else []
        return replace(self, builds=tuple(first)), replace(self, builds=tuple(later))


def centred(values: Array) -> Array:
    """Positive values (blocks, 2) of one build as logs about their median: levels do not mix."""
    logs = np.log(values)
    result: Array = logs - np.median(logs)
    return result


def scaled_to(pools: Sequence[Pool], target: Pool) -> Pool:
    """For a scenario with few blocks: those of its class, at its own scale."""
    builds: list[Array] = []
    for pool in pools:
        own = robust_deviation(pool.ratios)
        factor = target.scale / own if own > 0 else 1.0
        builds += [build * factor for build in pool.builds]
    return replace(target, builds=tuple(builds))


def draw(pool: Pool, count: int, blocks: int, random: np.random.Generator) -> Array:
    """`count` experiments of equal arms as logs, shape (count, blocks, 2).

    Each has one bias of its own, as two builds of one commit have.
    """
    lengths = np.array([len(build) for build in pool.builds])
    ends = np.cumsum(lengths)
    starts = random.integers(0, ends[-1], (count, -(-blocks // RUN_BLOCKS)))
    build = np.searchsorted(ends, starts, side="right")
    first = (ends - lengths)[build]
    # A run that reaches the end of its build goes on at its start.
    steps = (starts - first)[..., None] + np.arange(RUN_BLOCKS)
    index = (first[..., None] + steps % lengths[build][..., None]).reshape(count, -1)[:, :blocks]
    drawn = np.concatenate(pool.builds)[index]
    swap = random.random((count, blocks)) < 0.5
    drawn = np.where(swap[..., None], drawn[..., ::-1], drawn)
    if pool.bias_sd > 0:
        drawn[..., 1] += random.normal(0, pool.bias_sd, (count, 1))
    result: Array = drawn
    return result


def samples(logs: Array, effect: float) -> list[Sample]:
    """What the rule decides on: head takes 1 + `effect` times as long."""
    values = np.exp(logs)
    return [Sample(each[:, 0], each[:, 1] * (1 + effect)) for each in values]
