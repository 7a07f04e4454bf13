"""Simulated ranges of commits on recorded noise, and our attribution run over many of them at once.

A range is a log shift per commit against its good end; its blocks are runs of neighbouring recorded
blocks (`replay.replays`), in the order in which they are used, whichever commits they measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ailab_bot.stats import attribution_noise as noise
from ailab_bot.stats.attribution_model import Outcome, Question, model_of

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

KINDS = ("one culprit", "no culprit", "two culprits", "reverted", "reintroduced")
#: Ranges simulated together: bounded by memory.
_TOGETHER = 100


@dataclass(frozen=True)
class Ranges:
    """`shifts` (ranges, commits): log shift of each. `changes` (ranges, up to 3): the commits
    (from 1) at which it changes, in order, 0 where there is none."""

    kind: str
    shifts: Array
    changes: Numbers

    @property
    def culprits(self) -> list[frozenset[int]]:
        """Who explains the tip, per range."""
        if self.kind in {"no culprit", "reverted"}:
            return [frozenset()] * len(self.shifts)
        if self.kind == "reintroduced":
            return [frozenset({int(row[2])}) for row in self.changes]
        return [frozenset(int(each) for each in row if each) for row in self.changes]


def ranges_of(
    kind: str, many: int, commits: int, effect: float, random: np.random.Generator
) -> Ranges:
    """Culprits anywhere in (good, bad], each slower by `effect` than the level before it."""
    count = {"one culprit": 1, "no culprit": 0, "two culprits": 2, "reverted": 2}.get(kind, 3)
    changes = np.zeros((many, 3), dtype=np.int64)
    signs = np.array([1, 1, 0] if kind == "two culprits" else [1, -1, 1])
    shifts = np.zeros((many, commits))
    for row in range(many):
        places = np.sort(random.permutation(commits)[:count]) + 1
        changes[row, :count] = places
        for place, sign in zip(places, signs[:count], strict=True):
            shifts[row, place - 1 :] += sign * np.log1p(effect)
    return Ranges(kind, shifts, changes)


def with_bias(ranges: Ranges, bias_sd: float, random: np.random.Generator) -> Ranges:
    """Every build, the good end's too, has a log shift of its own that no commit explains."""
    own = random.normal(0, bias_sd, ranges.shifts.shape)
    good = random.normal(0, bias_sd, (len(own), 1))
    return replace(ranges, shifts=ranges.shifts + own - good)


def with_jump(logs: Array, jump: float, random: np.random.Generator) -> Array:
    """Slower by `jump` from one of the first twenty blocks on. `logs` (ranges, blocks, 2)."""
    start = random.integers(1, 20, (len(logs), 1, 1))
    jumped: Array = logs + np.log1p(jump) * (np.arange(logs.shape[1])[None, :, None] >= start)
    return jumped


@dataclass(frozen=True)
class Found:
    """Per range: who was named for the tip, blocks used, the outcome in a word, and which commit
    was taken back by which, where that was said."""

    named: list[frozenset[int]]
    blocks: Numbers
    outcomes: list[str]
    taken_back: list[tuple[int, int] | None] = field(default_factory=list)


def by_posterior(ranges: Ranges, logs: Array, question: Question) -> Found:
    """Our procedure, block by block. `logs` (ranges, blocks, 2): good end and a commit without
    shift. Equal to `attribute` and `next_commits` (tests/stats/test_attribution.py checks it)."""
    parts = [
        _together(ranges.shifts[at : at + _TOGETHER], logs[at : at + _TOGETHER], question)
        for at in range(0, len(logs), _TOGETHER)
    ]
    return Found(
        [each for part in parts for each in part.named],
        np.concatenate([part.blocks for part in parts]),
        [each for part in parts for each in part.outcomes],
        [each for part in parts for each in part.taken_back],
    )


def _together(shifts: Array, logs: Array, question: Question) -> Found:
    model = model_of(question)
    many = len(logs)
    named: list[frozenset[int]] = [frozenset()] * many
    taken_back: list[tuple[int, int] | None] = [None] * many
    blocks, outcomes = np.zeros(many, dtype=np.int64), [""] * many
    live = np.arange(many)
    evidence = model.empty(many)
    level: noise.Level | None = None
    costs = np.ones(question.commits)
    for block in range(question.capacity + 1):
        belief = model.believe(evidence)
        stop = model.stop(belief, block)
        done = stop.outcome != Outcome.OPEN
        for place in np.flatnonzero(done):
            row = int(live[place])
            blocks[row], outcomes[row] = block, str(stop.outcome[place])
            if stop.outcome[place] is Outcome.REVERTED:
                first, second = belief.reverted[place].argmax(), belief.reverts[place].argmax()
                taken_back[row] = int(first) + 1, int(second) + 1
            elif stop.outcome[place] is not Outcome.CAPACITY:
                named[row] = frozenset(int(c) + 1 for c in np.flatnonzero(stop.named[place]))
        if done.all():
            break
        chosen = model.choose(belief, costs)[~done] - 1
        live, evidence = live[~done], evidence[~done]
        good = logs[live, block, 0]
        value = logs[live, block, 1] + shifts[live, chosen]
        if level is None:
            level = noise.first_level(good / question.scale)
        else:
            level = noise.Level(level.anchor[~done], level.belief[~done])
        likely, level = model.absorb(level, good, value)
        evidence[np.arange(len(live)), chosen] += likely
    return Found(named, blocks, outcomes, taken_back)
