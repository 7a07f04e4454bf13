"""Belief over the histories that a range of commits may have: exact sums, forward and backward.

A history says after each commit how far the range has shifted from its good end: it starts at 0 and
changes at up to three commits, each an unknown size away from the last.

    family        levels along the range     who explains the tip
    NONE          0                          nobody
    SINGLE        0 a                        the first change
    TWO           0 a b, b beyond a          both changes
    PARTLY        0 a b, b short of a        the first change (the second took part of it back)
    REVERTED      0 a 0                      nobody (the tip is as the good end is)
    REINTRODUCED  0 a 0 b                    the third change

Changes are weighted by the prior of their commits, sizes by a prior over a grid of levels; within
a family, histories that the range is too short for do not exist, and the others share its weight.
There are n^3 / 6 places of three changes with sizes each; a chain over commits with the levels as
states sums over all of them in n steps (Rabiner: A tutorial on hidden Markov models, 1989).
Everything is an array over many ranges at once. Refuses to know what was measured: log likelihoods
in, probabilities out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Family(IntEnum):
    """Shapes of a history; see the module."""

    NONE = 0
    SINGLE = 1
    TWO = 2
    PARTLY = 3
    REVERTED = 4
    REINTRODUCED = 5


FAMILIES = len(Family)
#: A regression that comes back is mostly the same one.
_SAME_AGAIN = 0.7
#: Fields of `Belief` with one number for each commit.
PER_COMMIT = ("blamed", "again", "reverted", "reverts", "once", "undone", "step", "step_square")
#: Parts of a history above 0, by family: rows of `Belief.levels`.
PARTS = 7
#: Those after the last change: of SINGLE, TWO, PARTLY and REINTRODUCED.
_LAST_PARTS = [0, 2, 4, 6]


@dataclass(frozen=True)
class Chain:
    """What is believed before any block.

    `first`: prior of each level as the first change, (levels,). `up`, `down`, `again`: of the level
    after another change, (levels, levels). `places`: prior of each commit, (commits,).
    `weights`: of each family, (families,), 0 for those that the range is too short for.
    """

    first: Array
    up: Array
    down: Array
    again: Array
    places: Array
    weights: Array


@dataclass(frozen=True)
class Belief:
    """After the blocks so far; n commits, all of shape (ranges, ...).

    `families` (families,). `blamed` (n,): that this commit explains the tip, alone or with another.
    `again` (n,): the part of it as a re-introduction. `reverted` and `reverts` (n,): that it is the
    first, the second change of REVERTED. `once` and `undone` (n,): of REINTRODUCED. `step`,
    `step_square` (n,): mean and mean square of the log step at a blamed commit, times `blamed`.
    `tip` (levels + 1,): the level at the bad end, 0 first. `levels` (n, PARTS, levels): level after
    each commit, by part of the history; what is missing to 1 is level 0.
    """

    families: Array
    blamed: Array
    again: Array
    reverted: Array
    reverts: Array
    once: Array
    undone: Array
    step: Array
    step_square: Array
    tip: Array
    levels: Array

    def spread(self, place: NDArray[np.int64], share: Array) -> Belief:
        """Over commits of which several are one here: each has its share of what is believed at
        its place, and the level of that place."""
        return replace(
            self,
            levels=self.levels[:, place],
            **{name: getattr(self, name)[:, place] * share for name in PER_COMMIT},
        )

    def at_tip(self) -> Array:
        """Chance that a commit is shifted as the bad end is, since nothing changed after it,
        (ranges, n); of a bad end that is not shifted only the end itself is said to be."""
        there: Array = self.levels[:, :, _LAST_PARTS].sum(axis=(2, 3))
        there[:, -1] = 1.0
        return there


def chain(places: Array, sizes: Array, families: Array) -> Chain:
    """`places` (commits,) and `families` (families,) need not sum to 1. `sizes` (levels,): log
    ratios in rising distance from 0, all of one sign."""
    levels = len(sizes)
    order = np.arange(levels)
    up = (order[None, :] > order[:, None]).astype(float)
    down = (order[None, :] < order[:, None]).astype(float)
    up /= np.maximum(up.sum(axis=1, keepdims=True), 1.0)
    down /= np.maximum(down.sum(axis=1, keepdims=True), 1.0)
    near = np.exp(-0.5 * ((order[None, :] - order[:, None]) / 1.0) ** 2)
    near /= near.sum(axis=1, keepdims=True)
    again = _SAME_AGAIN * near + (1 - _SAME_AGAIN) / levels
    plain = Chain(
        np.full(levels, 1 / levels), up, down, again, places / places.sum(), np.ones(FAMILIES)
    )
    nothing = np.zeros((1, len(places), levels))
    mass = _forward(plain, np.exp(nothing))[1][0]
    weights = np.where(mass > 0, families, 0.0)
    weights = weights / weights.sum() / np.where(mass > 0, mass, 1.0)
    return Chain(plain.first, up, down, again, plain.places, weights)


@dataclass(frozen=True)
class _States:
    """Weights of the states after one commit: level 0 before any change (ranges,), then (ranges,
    levels) each: after the first change, after the second up and down, reverted, re-introduced."""

    zero: Array
    one: Array
    two: Array
    partly: Array
    reverted: Array
    again: Array


def _forward(chain: Chain, likelihood: Array) -> tuple[list[_States], Array]:
    """States before the first and after every commit, and the mass of each family at the end.

    `likelihood` (ranges, n, levels) is relative to level 0; each state is scaled to sum to 1,
    and so is the likelihood of a commit where it exceeds 1.
    """
    ranges, commits, levels = likelihood.shape
    empty = np.zeros((ranges, levels))
    states = [_States(np.ones(ranges), empty, empty, empty, empty, empty)]
    for commit in range(commits):
        s, q = states[-1], chain.places[commit]
        seen, unseen = _emission(likelihood[:, commit])
        zero = s.zero * unseen
        reverted = (s.reverted + q * s.one) * unseen[:, None]
        one = (s.one + q * s.zero[:, None] * chain.first) * seen
        two = (s.two + q * s.one @ chain.up) * seen
        partly = (s.partly + q * s.one @ chain.down) * seen
        again = (s.again + q * s.reverted @ chain.again) * seen
        total = zero + (one + two + partly + reverted + again).sum(axis=1)
        by = 1 / total[:, None]
        states.append(
            _States(zero / total, one * by, two * by, partly * by, reverted * by, again * by)
        )
    last = states[-1]
    mass = np.stack([
        last.zero, last.one.sum(1), last.two.sum(1), last.partly.sum(1),
        last.reverted.sum(1), last.again.sum(1),
    ], axis=1)  # fmt: skip
    return states, mass


def _emission(likelihood: Array) -> tuple[Array, Array]:
    """Of the levels (ranges, levels) and of level 0 (ranges,), the largest of them 1."""
    top = np.maximum(likelihood.max(axis=1), 1.0)
    return likelihood / top[:, None], 1 / top


@dataclass(frozen=True)
class _Rest:
    """Weights of what is still to come, by the state now and the family that it ends in.

    `zero` (ranges, families). `one` (ranges, levels, 5): SINGLE to REINTRODUCED. `reverted`
    (ranges, levels, 2): REVERTED, REINTRODUCED. The others have one family, (ranges, levels).
    """

    zero: Array
    one: Array
    two: Array
    partly: Array
    reverted: Array
    again: Array

    def with_blocks(self, seen: Array, unseen: Array) -> _Rest:
        """Before the blocks of a commit instead of after them."""
        return _Rest(
            self.zero * unseen[:, None],
            self.one * seen[..., None],
            self.two * seen,
            self.partly * seen,
            self.reverted * unseen[:, None, None],
            self.again * seen,
        )

    def with_change(self, chain: Chain, q: float) -> _Rest:
        """Before a commit's change, or none, instead of after it; the largest weight is 1."""
        zero, one, reverted = self.zero.copy(), self.one.copy(), self.reverted.copy()
        zero[:, 1:] += q * np.einsum("g,rgf->rf", chain.first, self.one)
        one[:, :, 1] += q * self.two @ chain.up.T
        one[:, :, 2] += q * self.partly @ chain.down.T
        one[:, :, 3:] += q * self.reverted
        reverted[:, :, 1] += q * self.again @ chain.again.T
        most = [each.reshape(len(zero), -1).max(axis=1) for each in (zero, one, reverted)]
        most += [each.max(axis=1) for each in (self.two, self.partly, self.again)]
        by = 1 / np.maximum.reduce([*most, np.full(len(zero), 1e-300)])
        wide, widest = by[:, None], by[:, None, None]
        return _Rest(
            zero * wide,
            one * widest,
            self.two * wide,
            self.partly * wide,
            reverted * widest,
            self.again * wide,
        )


def _end(chain: Chain, ranges: int) -> _Rest:
    """After the last commit: the families' weights."""
    levels = len(chain.first)
    rest = _Rest(
        np.zeros((ranges, FAMILIES)),
        np.zeros((ranges, levels, 5)),
        np.full((ranges, levels), chain.weights[Family.TWO]),
        np.full((ranges, levels), chain.weights[Family.PARTLY]),
        np.zeros((ranges, levels, 2)),
        np.full((ranges, levels), chain.weights[Family.REINTRODUCED]),
    )
    rest.zero[:, 0] = chain.weights[Family.NONE]
    rest.one[:, :, 0] = chain.weights[Family.SINGLE]
    rest.reverted[:, :, 0] = chain.weights[Family.REVERTED]
    return rest


def believe(chain: Chain, sizes: Array, log_likelihood: Array) -> Belief:
    """The belief after blocks with this log likelihood, relative to level 0: (ranges, n, levels).

    `sizes` as in `chain`. Memory: about 8 (ranges)(n)(PARTS)(levels) bytes.
    """
    likelihood = np.exp(np.clip(log_likelihood, -600.0, 600.0))
    states, _ = _forward(chain, likelihood)
    ranges, commits, levels = likelihood.shape
    belief = Belief(
        families=np.zeros((ranges, FAMILIES)),
        tip=np.zeros((ranges, levels + 1)),
        levels=np.zeros((ranges, commits, PARTS, levels)),
        **{name: np.zeros((ranges, commits)) for name in PER_COMMIT},
    )
    rest = _end(chain, ranges)
    for commit in range(commits - 1, -1, -1):
        rest = rest.with_blocks(*_emission(likelihood[:, commit]))
        _join(belief, commit, chain, sizes, states[commit], rest)
        rest = rest.with_change(chain, float(chain.places[commit]))
    belief.tip[:, 1:] = belief.levels[:, -1].sum(axis=1)
    belief.tip[:, 0] = np.maximum(1 - belief.tip[:, 1:].sum(axis=1), 0.0)
    return belief


def _join(belief: Belief, commit: int, chain: Chain, sizes: Array, s: _States, rest: _Rest) -> None:
    """Writes what is believed at one commit (index): `s` before it, `rest` from its blocks on."""
    q = chain.places[commit]
    jump = sizes[None, :] - sizes[:, None]
    # Changes at this commit.
    first = q * s.zero[:, None, None] * chain.first[:, None] * rest.one
    second = q * (s.one @ chain.up) * rest.two
    back = q * s.one[..., None] * rest.reverted
    third = q * (s.reverted @ chain.again) * rest.again
    # States after it.
    zero = s.zero[:, None] * rest.zero
    one = s.one[..., None] * rest.one + first
    two = s.two * rest.two + second
    partly = (s.partly + q * s.one @ chain.down) * rest.partly
    reverted = s.reverted[..., None] * rest.reverted + back
    again = s.again * rest.again + third
    total = zero.sum(1) + one.sum((1, 2)) + reverted.sum((1, 2)) + (two + partly + again).sum(1)
    by = 1 / total
    alone = first[:, :, :3].sum(axis=2) + third  # SINGLE, TWO, PARTLY; the level is the step
    belief.blamed[:, commit] = (alone + second).sum(1) * by
    belief.again[:, commit] = third.sum(1) * by
    belief.reverted[:, commit] = first[:, :, 3].sum(1) * by
    belief.reverts[:, commit] = back[:, :, 0].sum(1) * by
    belief.once[:, commit] = first[:, :, 4].sum(1) * by
    belief.undone[:, commit] = back[:, :, 1].sum(1) * by
    for power, steps in ((1, belief.step), (2, belief.step_square)):
        between = q * (s.one @ (chain.up * jump**power)) * rest.two
        steps[:, commit] = (alone @ sizes**power + between.sum(1)) * by
    parts = (one[:, :, 0], one[:, :, 1], two, one[:, :, 2], partly, one[:, :, 3:].sum(2), again)
    belief.levels[:, commit] = np.stack(parts, axis=1) * by[:, None, None]
    if commit == 0:
        belief.families[:] = zero * by[:, None]
        belief.families[:, 1:] += one.sum(1) * by[:, None]
