"""A question about a range of commits made ready, for many ranges at once.

Puts the noise, the histories and the builds' biases together: evidence of blocks in, a belief out,
and from it the commit to measure next and whether there is an answer. `attribution` asks it about
one range; simulations about hundreds. Refuses to know what a commit is, and does no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ailab_bot.stats import attribution_noise as noise
from ailab_bot.stats.attribution_chain import Belief, Chain, Family, believe, chain

Array = NDArray[np.float64]

#: Sizes that a change may have, as log ratios: steps of a fifth, from half of what is worth finding
#: to 27 times as slow; what is beyond counts as the last. What lies between two steps is taken up
#: by the builds' bias. Commits that made it faster than the good end have none: they are at 0.
_SMALLEST, _LARGEST, SIZE_RATIO = 0.024, 3.3, 1.2
#: Bias of builds: a normal distribution on points close enough for what many blocks can tell.
_BIAS_AT: Array = np.linspace(-2.4, 2.4, 7)
_BIAS_WEIGHTS: Array = np.exp(-0.5 * _BIAS_AT**2) / np.exp(-0.5 * _BIAS_AT**2).sum()
#: Another culprit is sought while there is one with this probability, beside those named.
_ANOTHER = 0.1
#: A tip that is as the good end is gets an answer without a look inside the range, unless something
#: was slow inside with this probability.
_SLOW_INSIDE = 0.1
_GOLDEN = 0.6180339887498949


class Outcome(StrEnum):
    """How an attribution ends, or that it goes on. `words` says it to people."""

    CULPRIT = "culprit"
    CULPRITS = "culprits"
    INDISTINCT = "indistinct"
    REINTRODUCED = "reintroduced"
    REVERTED = "reverted"
    NO_CULPRIT = "no-culprit"
    CAPACITY = "capacity"
    OPEN = "open"

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS: Mapping[Outcome, str] = {
    Outcome.CULPRIT: "one commit explains what the bad end shows",
    Outcome.CULPRITS: "several commits explain it together",
    Outcome.INDISTINCT: "one of these commits explains it; those between cannot be built",
    Outcome.REINTRODUCED: "it was introduced, taken back, and brought back by this commit",
    Outcome.REVERTED: "a commit introduced it and a later one took it back: the bad end is fine",
    Outcome.NO_CULPRIT: "the bad end is no worse than the good end: its cause is gone, or outside",
    Outcome.CAPACITY: "the capacity was used up before any commit could be named",
    Outcome.OPEN: "not known yet",
}


@dataclass(frozen=True)
class Families:
    """Prior weights of the shapes of a history (see `attribution_chain`).

    A range with a bad end that was confirmed needs no weight for `none` but what the world outside
    the repository deserves. `reverted` is small: asked about a tip that is fine, the answer is that
    it is fine. Raise it (0.3) where the history says that the range was slow inside.
    """

    none: float = 0.3
    single: float = 0.55
    two: float = 0.06
    partly: float = 0.02
    reverted: float = 0.02
    reintroduced: float = 0.05

    def array(self) -> Array:
        return np.array([
            self.none, self.single, self.two, self.partly, self.reverted, self.reintroduced,
        ])  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is asked. `scale`: robust deviation to expect of a block's log ratio. `bias_sd`: of a
    build's own log ratio, beyond its code. `prior`: weight of each commit, uniform if empty
    (`mixed_prior` makes one of scores). `skipped`: commits (1..n-1) that cannot be measured.
    `slower`: False seeks who made it faster. `capacity`: blocks in all.
    """

    commits: int
    scale: float
    bias_sd: float = 0.005
    prior: tuple[float, ...] = ()
    skipped: frozenset[int] = frozenset()
    slower: bool = True
    families: Families = field(default_factory=Families)
    confidence: float = 0.99
    capacity: int = 200

    def __post_init__(self) -> None:
        if self.commits < 1:
            raise ValueError("a range has at least one commit after its good end")
        if self.scale <= 0:
            raise ValueError("the scale of the noise is positive")
        if self.prior and (len(self.prior) != self.commits or min(self.prior) <= 0):
            raise ValueError("the prior has one positive weight per commit")
        if not all(0 < each < self.commits for each in self.skipped):
            raise ValueError("only commits between the ends can be skipped: move the end instead")


@dataclass(frozen=True)
class Stop:
    """Per range: the outcome (ranges,) and which groups are named (ranges, n)."""

    outcome: NDArray[np.object_]
    named: NDArray[np.bool_]


@dataclass(frozen=True)
class Model:
    """A question made ready for many ranges at once, as simulations need it.

    Evidence has shape (ranges, n, 1 + levels, bias points): the log likelihood of each commit's
    shift, level 0 first. `owner[i]`: index of the first commit from i on that can be measured.
    Commits with one owner are one place of the chain (`place[i]`, of which i has `share[i]`), with
    one change at most: one taken back between them would be told from nothing by no measurement,
    and what was measured of a commit before it had to be skipped does not count.
    """

    question: Question
    sizes: Array
    chain: Chain
    shifts: Array
    channel: Array
    owner: NDArray[np.int64]
    place: NDArray[np.int64]
    share: Array

    def empty(self, ranges: int) -> Array:
        points = self.shifts.shape[1]
        return np.zeros((ranges, self.question.commits, len(self.sizes) + 1, points))

    def absorb(self, level: noise.Level, good: Array, value: Array) -> tuple[Array, noise.Level]:
        """What one block of each range adds to its commit's evidence. Logs of seconds, (ranges,).

        Level: see `noise.first_level`, in scales. Returns (ranges, 1 + levels, bias points).
        """
        unit = self.question.scale
        likely, after = noise.absorb(level, good / unit, value / unit, self.shifts.T.ravel() / unit)
        shape = (len(good), self.shifts.shape[1], self.shifts.shape[0])
        return likely.reshape(shape).transpose(0, 2, 1), after

    def believe(self, evidence: Array) -> Belief:
        """Builds' biases summed out, then the histories."""
        measured = np.unique(self.owner)
        blurred = len(measured) < len(self.owner)
        if blurred:
            evidence = evidence[:, measured]
        if evidence.shape[3] > 1:
            top = evidence.max(axis=3, keepdims=True)
            summed = top[..., 0] + np.log(np.exp(evidence - top) @ _BIAS_WEIGHTS)
        else:
            summed = evidence[..., 0]
        relative = summed[:, :, 1:] - summed[:, :, :1]
        belief = believe(self.chain, self.sizes, relative)
        return belief.spread(self.place, self.share) if blurred else belief

    def information(self, belief: Belief) -> Array:
        """What a block of each commit tells about the answer, in nats, (ranges, n).

        Mutual information of the answer and the trial's place; sizes are averaged within a shape of
        history and a part of it. Minus infinity where a commit cannot be measured.
        """
        parts = belief.levels  # (ranges, n, parts, levels)
        mass = parts.sum(axis=3)
        above = mass.sum(axis=2)
        zero, up = self.channel[0], self.channel[1:]
        seen = parts @ up  # joint with the bins
        mixed = np.maximum(1 - above, 0.0)[..., None] * zero + seen.sum(axis=2)
        known = _entropy(seen) + _log_times(mass)  # sums of mass x entropy given the part
        within = known.sum(axis=2) + np.maximum(1 - above, 0.0) * _entropy(zero)
        gain = np.maximum(_entropy(mixed) - within, 0.0)
        gain[:, self.owner != np.arange(len(self.owner))] = -np.inf
        result: Array = gain
        return result

    def choose(self, belief: Belief, costs: Array) -> NDArray[np.int64]:
        """The commit (1..n) to measure next, (ranges,)."""
        best: NDArray[np.int64] = np.argmax(self.information(belief) / costs, axis=1) + 1
        return best

    def imagine(self, evidence: Array, belief: Belief, commit: int, draw: int) -> Array:
        """Evidence with one more block of `commit`, a different outcome in each of the ranges.

        Outcomes are spread over their predictive distribution, so the choice needs no chance.
        """
        ranges = len(evidence)
        at = belief.levels[:, commit - 1].sum(axis=1)
        predicted = at @ self.channel[1:] + (1 - at.sum(axis=1))[:, None] * self.channel[0]
        where = (np.arange(ranges) * _GOLDEN**draw + (np.arange(ranges) + 0.5) / ranges) % 1.0
        drawn = (np.cumsum(predicted, axis=1) < where[:, None]).sum(axis=1)
        drawn = np.minimum(drawn, self.channel.shape[1] - 1)
        imagined = evidence.copy()
        imagined[:, commit - 1] += np.log(self.channel[:, drawn]).T[:, :, None]
        return imagined

    def groups(self, per_commit: Array) -> Array:
        """Sums over commits that nothing tells apart, at the one that can be measured."""
        summed = np.zeros_like(per_commit)
        for index, owner in enumerate(self.owner):
            summed[:, owner] += per_commit[:, index]
        return summed

    def stop(self, belief: Belief, blocks: float) -> Stop:
        """Whether each range has an answer after so many blocks."""
        sure = self.question.confidence
        blamed = self.groups(belief.blamed)
        named = blamed >= sure
        others = np.where(named, 0.0, blamed).sum(axis=1)
        several = named.sum(axis=1) > 1
        again = (named & (self.groups(belief.again) > blamed / 2)).any(axis=1)
        sizes = np.bincount(self.owner, minlength=len(self.owner))
        wide = (named & (sizes > 1)).any(axis=1)
        reverted = belief.families[:, Family.REVERTED]
        nobody = belief.families[:, Family.NONE] + reverted
        inside = reverted > _SLOW_INSIDE
        both = np.minimum(
            self.groups(belief.reverted).max(axis=1), self.groups(belief.reverts).max(axis=1)
        )
        full = blocks >= self.question.capacity
        outcome = np.full(len(blamed), Outcome.CAPACITY if full else Outcome.OPEN, dtype=object)
        answer = named.any(axis=1) & ((others <= _ANOTHER) | full)
        outcome[answer] = Outcome.CULPRIT
        outcome[answer & again] = Outcome.REINTRODUCED
        outcome[answer & several] = Outcome.CULPRITS
        outcome[answer & wide] = Outcome.INDISTINCT
        outcome[(nobody >= sure) & (~inside | full)] = Outcome.NO_CULPRIT
        outcome[both >= sure] = Outcome.REVERTED
        return Stop(outcome, named)


@lru_cache(maxsize=64)
def model_of(question: Question) -> Model:
    """The question made ready; built once for each."""
    count = int(math.log(_LARGEST / _SMALLEST) / math.log(SIZE_RATIO)) + 1
    sign = 1.0 if question.slower else -1.0
    sizes: Array = np.array([sign * _SMALLEST * SIZE_RATIO**step for step in range(count)])
    places = np.array(question.prior) if question.prior else np.ones(question.commits)
    bias = _BIAS_AT * question.bias_sd if question.bias_sd > 0 else np.zeros(1)
    levels = np.concatenate([[0.0], sizes])
    owner = np.arange(question.commits)
    for index in range(question.commits - 2, -1, -1):
        if index + 1 in question.skipped:
            owner[index] = owner[index + 1]
    place = np.unique(owner, return_inverse=True)[1]
    together = np.bincount(place, weights=places).astype(float)
    return Model(
        question,
        sizes,
        chain(together, sizes, question.families.array()),
        levels[:, None] + bias[None, :],
        noise.channel(levels / question.scale),
        owner,
        place,
        places / together[place],
    )


def _log_times(mass: Array) -> Array:
    """mass x log mass, 0 at 0."""
    result: Array = mass * np.log(np.maximum(mass, 1e-300))
    return result


def _entropy(joint: Array) -> Array:
    """Minus the sum of p log p over the last axis; p need not sum to 1."""
    result: Array = -_log_times(joint).sum(axis=-1)
    return result
