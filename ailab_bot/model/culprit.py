"""A range of commits in which a regression began, and what was found of its cause. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ailab_bot.model.report import Commit
from ailab_bot.model.verdict import Explanation, Interval, Verdict


@dataclass(frozen=True)
class RangeCommit:
    """A commit of a range. `author` is a name and `email` an address as the commit says them."""

    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    subject: str

    @property
    def is_merge(self) -> bool:
        return len(self.parents) > 1


class Ending(StrEnum):
    """How a search for a culprit ended. FOUND, SEVERAL and REINTRODUCED name a commit."""

    FOUND = "found"
    #: More than one commit moved it: `also` names the others.
    SEVERAL = "several"
    #: Commits that could not be measured lie beside it: the culprit is one of `suspects`.
    AMBIGUOUS = "ambiguous"
    #: A commit was taken back, and a later one brought the same back: that one explains BAD.
    REINTRODUCED = "reintroduced"
    #: A commit moved it and a later one took that back: BAD is as fast as GOOD.
    REVERTED = "reverted"
    #: BAD is as fast as GOOD here and today: what was seen has its cause outside of the range.
    NO_CULPRIT = "no_culprit"
    #: What the search found did not hold when it was measured again.
    UNCONFIRMED = "unconfirmed"
    CAPACITY = "capacity"
    INTERRUPTED = "interrupted"
    #: It could not be carried out: an end does not run, a commit is gone, no worker came back.
    FAILED = "failed"

    @property
    def names_one(self) -> bool:
        return self in {Ending.FOUND, Ending.SEVERAL, Ending.REINTRODUCED}

    @property
    def is_known(self) -> bool:
        """Whether the search has its answer; otherwise it is incomplete."""
        return self.names_one or self in {Ending.NO_CULPRIT, Ending.REVERTED}


@dataclass(frozen=True)
class Measured:
    """What was measured of one commit against GOOD. `effects`: log(commit/GOOD) of each block."""

    sha: str
    effects: tuple[float, ...] = ()


@dataclass(frozen=True)
class Check:
    """A comparison by the ordinary verdict engine, once somebody is suspected. `what` says of what
    it is, for people; `held`: whether it came out as the suspicion says; `why_not`: what kept it
    from an end, where anything did. `scenario` is empty for the one that the search was about."""

    what: str
    base: str
    head: str
    held: bool
    verdict: Verdict | None = None
    why_not: str = ""
    scenario: str = ""


@dataclass(frozen=True)
class Culprit:
    """What a search found.

    `culprit` is there where `ending` names one, and nowhere else: who is only suspected stands in
    `suspects`, as do all between which nothing tells. `posterior`: by SHA, the chance that the
    commit explains BAD, alone or with others, so that it can sum to more than 1. `reverted`: a
    commit and the one that took it back, of REINTRODUCED those before the culprit. `effect` and
    `interval` are fractions of BAD against GOOD. `inside`: the merge that the culprit came with.
    `also`: other commits that move the metric within the range, with their effects. `others`:
    scenarios that regressed together with this one, each compared at the culprit and its parent.
    `explanations`: what the culprit imports that its parent does not.
    """

    scenario: str
    metric: str
    good: Commit
    bad: Commit
    ending: Ending
    reason: str
    culprit: RangeCommit | None = None
    inside: RangeCommit | None = None
    suspects: tuple[RangeCommit, ...] = ()
    reverted: tuple[RangeCommit, ...] = ()
    also: tuple[tuple[RangeCommit, float], ...] = ()
    posterior: Mapping[str, float] = field(default_factory=dict)
    tested: tuple[Measured, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    effect: float | None = None
    interval: Interval | None = None
    checks: tuple[Check, ...] = ()
    others: tuple[Check, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    trials: int = 0
    runner_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    reproduce: str = ""

    def __post_init__(self) -> None:
        if self.culprit is not None and not self.ending.names_one:
            raise ValueError(f"a search that ended {self.ending} names nobody")

    def nobody(self, ending: Ending, reason: str) -> Culprit:
        """The same without a culprit: who was one is a suspect."""
        own = (self.culprit,) if self.culprit is not None else ()
        suspects = tuple(dict.fromkeys((*own, *self.suspects)))
        return replace(self, ending=ending, reason=reason, culprit=None, suspects=suspects)
