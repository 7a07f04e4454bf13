"""Which commit of a range made it slower: a posterior over commits, the next blocks, when to stop.

A range has commits 1..n after its good end, commit 0; commit n is its bad end. One *block* is one
trial of a commit and one of the good end, interleaved in random order on one machine, as `ailab ab`
measures; its unit is two trials. The good end's trial is what tells a commit from the machine's
level: recorded machines have phases in which several trials in a row are 30 % slower. It may be
shared: measured next to two commits it tells as much of each (bench/bisection_scheme.py), and a
culprit is found with about a fifth fewer trials; next to four it is no cheaper than that, since
commits chosen together are chosen with less knowledge. A commit that shares costs half a block. The
ends are measured as every other commit is, and blocks from earlier runs count.

The list of measurements is the whole state: what is believed, chosen and said is a function of the
question and that list, so an interrupted run continues where it was. Three parts:

- the noise: what a block says of a commit's shift (`attribution_noise`);
- the histories: no change, one, two, one taken back, one taken back and re-introduced, with sizes
  on a grid (`attribution_chain`). A commit's own build adds a bias that is not in any history;
- the choice: the commit whose next block tells most about the answer (who explains the tip), per
  cost. "How large" is no part of the answer: the confirmation measures that.

Stops at `confidence` for a commit, for a set that no measurement tells apart, since the commits
between cannot be built, or for "nobody"; or when the blocks are used up. Nobody is notified of a
posterior: the verdict engine compares the culprit with its parent first, on fresh blocks. Refuses
to know what a commit is, and does no I/O.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ailab_bot.stats import attribution_noise as noise
from ailab_bot.stats.attribution_chain import Belief, Family
from ailab_bot.stats.attribution_model import (
    SIZE_RATIO,
    Families,
    Model,
    Outcome,
    Question,
    model_of,
)
from ailab_bot.stats.attribution_tip import Shift, shift_of

__all__ = [
    "Attribution",
    "Families",
    "Measurement",
    "Outcome",
    "Question",
    "Suspect",
    "attribute",
    "mixed_prior",
    "next_commits",
    "spread_of",
]

Array = NDArray[np.float64]

#: Outcomes that are imagined for the runners already chosen for, to choose for the next.
_IMAGINED = 8
#: Repeats of commits before their spread says anything of the noise, and how many times the spread
#: that was expected makes it the one to reckon with: on the recorded machines it stays below.
_LEAST_REPEATS, _TOO_NOISY = 5, 2.0
#: The median of |x - y| of two normal numbers with a deviation of 1.
_MEDIAN_DISTANCE = 0.9539
#: Share of a prior over commits that the scores do not decide.
UNIFORM_SHARE = 0.3
#: Where the bad end is fine, or nothing is known: who was taken back is named if it is so likely.
_LIKELY_TAKEN_BACK = 0.9
#: Of a culprit that brought something back: who did it before is told if it is so likely.
_LIKELY_BEFORE = 0.5


@dataclass(frozen=True)
class Measurement:
    """One block: seconds of the good end and of the commit (1..n), both positive.

    `machine`: where it ran; every machine's level is learned on its own. `shares`: its trial of the
    good end is that of the measurement before it on this machine.
    """

    commit: int
    good: float
    value: float
    machine: str = ""
    shares: bool = False

    def record(self) -> dict[str, int | float | str]:
        """For a state file; `Measurement(**record)` is equal to this."""
        return {
            "commit": self.commit,
            "good": self.good,
            "value": self.value,
            "machine": self.machine,
            "shares": self.shares,
        }


@dataclass(frozen=True)
class Suspect:
    """One who explains the tip: a commit, or several that nothing tells apart, most likely first.

    `effect` and `interval`: the step there, as fractions (0.1: a tenth slower). They come from the
    blocks that found it and flatter it: the size to show is the confirmation's.
    """

    commits: tuple[int, ...]
    probability: float
    effect: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Attribution:
    """What is known after some blocks.

    `posterior[i]`: that commit i + 1 explains the tip, alone or with others: with two culprits it
    sums to 2, and what is missing to 1 says nothing. `nobody`: that none does. `families`: of each
    shape. `suspects`: who is named; of INDISTINCT those that nothing tells apart come first.
    `reverted`: a commit that was taken back and the one that did it, several where nothing tells
    them apart. They are named if that is the outcome, if it is likely where the outcome names
    nobody, and of a culprit that brought something back as what was before, if that is known.
    `tip_effect`: shift of the bad end as its blocks show it, a fraction, of either sign; 0 before
    there is one. `tip_interval`: its 99 % interval, None before there is one.
    """

    outcome: Outcome
    trials: int
    posterior: tuple[float, ...]
    nobody: float
    families: Mapping[str, float]
    suspects: tuple[Suspect, ...]
    reverted: tuple[tuple[int, ...], tuple[int, ...]]
    tip_effect: float
    tip_interval: tuple[float, float] | None = None

    @property
    def blocks(self) -> float:
        """Two trials are a block."""
        return self.trials / 2


def mixed_prior(scores: Sequence[float], uniform: float = UNIFORM_SHARE) -> tuple[float, ...]:
    """A prior of scores (0 or more each): their share, and the same for all. Never 0."""
    known = np.asarray(scores, dtype=float)
    share = known / known.sum() if known.sum() > 0 else np.full(len(known), 1 / len(known))
    return tuple(float(each) for each in (1 - uniform) * share + uniform / len(known))


def attribute(question: Question, measurements: Sequence[Measurement]) -> Attribution:
    """What these blocks say; the order matters only per machine, as its level drifts."""
    model = model_of(_as_noisy(question, measurements))
    evidence = _evidence(model, measurements)
    belief = model.believe(evidence)
    trials = sum(1 if each.shares else 2 for each in measurements)
    stop = model.stop(belief, trials / 2)
    found = _attribution(model, belief, Outcome(stop.outcome[0]), stop.named[0], trials)
    shift = _tip(model, belief, measurements)
    if shift is None:
        return found
    interval = math.expm1(shift.low), math.expm1(shift.high)
    return replace(found, tip_effect=math.expm1(shift.middle), tip_interval=interval)


def next_commits(
    question: Question,
    measurements: Sequence[Measurement],
    costs: Sequence[float] = (),
    runners: int = 1,
) -> tuple[int, ...]:
    """Commits to measure in the next block of each of `runners`; one may be named twice.

    `costs`: of the next block of each commit (n,), in any unit, preparation counted; equal if
    empty. Decided after every round: a block of a commit that was prepared is cheaper now.
    """
    model = model_of(_as_noisy(question, measurements))
    price = np.asarray(costs, dtype=float) if costs else np.ones(question.commits)
    if len(price) != question.commits or price.min() <= 0:
        raise ValueError("costs are positive, one per commit")
    evidence = _evidence(model, measurements)
    belief = model.believe(evidence)
    chosen = [int(model.choose(belief, price)[0])]
    if runners > 1:
        evidence = np.repeat(evidence, _IMAGINED, axis=0)
        belief = model.believe(evidence)
    while len(chosen) < runners:
        evidence = model.imagine(evidence, belief, chosen[-1], len(chosen))
        belief = model.believe(evidence)
        gains = model.information(belief).mean(axis=0) / price
        chosen.append(int(np.argmax(gains)) + 1)
    return tuple(chosen)


def spread_of(measurements: Sequence[Measurement]) -> float | None:
    """The robust deviation of a block's log ratio, of a commit's blocks on one machine; None where
    too few were repeated. From the median distance of two of them: no commit's own shift is in it,
    and a few outliers do not move it."""
    own: dict[tuple[str, int], list[float]] = {}
    for each in measurements:
        ratio = math.log(each.value / each.good)
        own.setdefault((each.machine, each.commit), []).append(ratio)
    if sum(len(ratios) - 1 for ratios in own.values()) < _LEAST_REPEATS:
        return None
    apart = [abs(a - b) for ratios in own.values() for a, b in itertools.combinations(ratios, 2)]
    return float(np.median(apart)) / _MEDIAN_DISTANCE


def _as_noisy(question: Question, measurements: Sequence[Measurement]) -> Question:
    """With the noise that there is, where it is far above the one that was expected: on a machine
    that is busy with other work every block would count for more than it says."""
    if any(not (each.good > 0 and each.value > 0) for each in measurements):
        return question  # refused where the blocks are read
    spread = spread_of(measurements)
    if spread is None or spread <= _TOO_NOISY * question.scale:
        return question
    return replace(question, scale=spread)


def _evidence(model: Model, measurements: Sequence[Measurement]) -> Array:
    evidence = model.empty(1)
    levels: dict[str, noise.Level] = {}  # of each machine, after its last trial of the good end
    before: dict[str, tuple[float, noise.Level]] = {}  # that trial, and the level it was seen from
    for each in measurements:
        if not 1 <= each.commit <= model.question.commits:
            raise ValueError(f"commit {each.commit} is not in the range")
        if not (0 < each.good < math.inf and 0 < each.value < math.inf):
            raise ValueError("a block has two positive times")
        good, value = np.log([each.good]), np.log([each.value])
        unit, machine = model.question.scale, each.machine
        if each.shares:
            seconds, level = before.get(machine, (0.0, None))
            if level is None or seconds != each.good:
                raise ValueError("what shares a trial of the good end follows the one that has it")
        else:
            level = levels.get(machine) or noise.first_level(good / unit)
            before[machine] = each.good, level
        likely, levels[machine] = model.absorb(level, good, value)
        evidence[:, each.commit - 1] += likely
    return evidence


def _tip(model: Model, belief: Belief, measurements: Sequence[Measurement]) -> Shift | None:
    ratios = np.log([each.value / each.good for each in measurements])
    commits = np.array([each.commit - 1 for each in measurements], dtype=np.int64)
    question = model.question
    return shift_of(ratios, belief.at_tip()[0, commits], question.scale, question.bias_sd)


def _attribution(
    model: Model, belief: Belief, outcome: Outcome, named: NDArray[np.bool_], trials: int
) -> Attribution:
    blamed, families = belief.blamed[0], belief.families[0]
    answered = outcome not in {Outcome.OPEN, Outcome.CAPACITY}
    suspects = [
        _suspect(belief, np.flatnonzero(model.owner == owner))
        for owner in np.flatnonzero(named)
        if answered
    ]
    if outcome is Outcome.INDISTINCT:
        suspects.sort(key=lambda each: len(each.commits) == 1)
    return Attribution(
        outcome=outcome,
        trials=trials,
        posterior=tuple(float(each) for each in blamed),
        nobody=float(families[Family.NONE] + families[Family.REVERTED]),
        families={family.name.lower(): float(families[family]) for family in Family},
        suspects=tuple(suspects),
        reverted=_taken_back(model, belief, outcome),
        tip_effect=0.0,
    )


def _taken_back(
    model: Model, belief: Belief, outcome: Outcome
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Who was taken back, and by whom; nobody where that would be a guess."""
    if outcome is Outcome.REINTRODUCED:
        known = max(float(belief.families[0, Family.REINTRODUCED]), 1e-300)
        changes, least = (belief.once / known, belief.undone / known), _LIKELY_BEFORE
    else:
        changes, least = (belief.reverted, belief.reverts), _LIKELY_TAKEN_BACK
    if outcome in {Outcome.CULPRIT, Outcome.CULPRITS, Outcome.INDISTINCT, Outcome.OPEN}:
        return (), ()
    if min(float(model.groups(each).max()) for each in changes) < least:
        return (), ()
    first, second = (_likely(model, each) for each in changes)
    return first, second


def _suspect(belief: Belief, members: NDArray[np.int64]) -> Suspect:
    blamed = belief.blamed[0, members]
    mass = max(float(blamed.sum()), 1e-300)
    mean = float(belief.step[0, members].sum()) / mass
    square = float(belief.step_square[0, members].sum()) / mass
    grid = abs(mean) * (SIZE_RATIO - 1) / math.sqrt(12)  # sizes between two steps of the grid
    reach = 2.576 * math.sqrt(max(square - mean**2, 0.0) + grid**2)
    order = members[np.argsort(-blamed, kind="stable")]
    return Suspect(
        tuple(int(index) + 1 for index in order),
        min(mass, 1.0),
        math.expm1(mean),
        (math.expm1(mean - reach), math.expm1(mean + reach)),
    )


def _likely(model: Model, per_commit: Array) -> tuple[int, ...]:
    """The commits of the likeliest group."""
    owner = int(np.argmax(model.groups(per_commit)[0]))
    return tuple(int(index) + 1 for index in np.flatnonzero(model.owner == owner))
