"""A search for a culprit in rounds: what a worker is given, and what it gives back. Plain data.

A round is a few workers side by side, each on a machine of its own; what they measured is put
together before the next round begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ailab_bot.model.culprit import Culprit


class Phase(StrEnum):
    """SEARCH measures until the culprit is certain; FINISH confirms who is suspected."""

    SEARCH = "search"
    FINISH = "finish"


class Part(StrEnum):
    """What a trial was measured for: the range itself, inside a merge, or to confirm."""

    RANGE = "range"
    INSIDE = "inside"
    CHECK = "check"


@dataclass(frozen=True)
class Quest:
    """What a search is about: which commit of (good, bad] moved the scenario's metric. `metric`
    is empty for the scenario's first."""

    good: str
    bad: str
    scenario: str
    metric: str = ""


@dataclass(frozen=True)
class Task:
    """What one worker of a round does. `index` counts from 0 and `of` workers; `round` from 1.

    It measures for `minutes`. `also`: the scenarios that regressed together with the quest's, for
    FINISH to compare. `definitions` is the commit whose `.ailab` folder says how.
    """

    phase: Phase
    index: int
    of: int
    round: int
    labels: tuple[str, ...]
    timeout_minutes: int
    minutes: int
    quest: Quest
    also: tuple[str, ...]
    seed: int
    definitions: str

    @property
    def own_seed(self) -> int:
        """Another for each worker and round: they must not draw the same order of arms."""
        return (self.seed + 1009 * self.round + self.index) % 2**31


@dataclass(frozen=True)
class SeenBlock:
    """One whole block: the metric at GOOD and at the commit, and the machine where it ran."""

    sha: str
    good: float
    value: float
    machine: str


@dataclass(frozen=True)
class Refusal:
    """A suspect whose comparison with its parent did not hold. `blocks`: what that took. `needed`:
    by SHA, the blocks that it and its parent must have before anybody is suspected again."""

    sha: str
    blocks: int
    needed: Mapping[str, int]


@dataclass(frozen=True)
class Evidence:
    """What is known of a range. `blocks`: in the order in which beliefs take them in, for every
    machine as they ran. `skipped`: why a commit cannot be measured."""

    blocks: tuple[SeenBlock, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    trials: int = 0
    spent_s: float = 0.0
    refusals: tuple[Refusal, ...] = ()

    @property
    def spent_blocks(self) -> int:
        """Of the search's capacity: what it took to refuse somebody counts, too."""
        return len(self.blocks) + sum(each.blocks for each in self.refusals)

    def refusing(self, *more: Refusal) -> Evidence:
        """The same, and these refusals with their trials."""
        trials = self.trials + 2 * sum(each.blocks for each in more)
        return replace(self, refusals=(*self.refusals, *more), trials=trials)

    def effects(self) -> dict[str, list[SeenBlock]]:
        found: dict[str, list[SeenBlock]] = {}
        for block in self.blocks:
            found.setdefault(block.sha, []).append(block)
        return found


@dataclass(frozen=True)
class WorkerResult:
    """What a worker says beside its trials. `definition`: the fingerprint of the scenario as it
    measured it. `failed`: why it gave up, empty where it did not; `for_good`: another worker would
    fail, too, as GOOD or BAD does not run. `found`: of FINISH, what it confirmed."""

    quest: Quest
    index: int
    of: int
    seed: int
    definition: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    spent_s: float = 0.0
    interrupted: bool = False
    failed: str = ""
    for_good: bool = False
    found: Culprit | None = None
