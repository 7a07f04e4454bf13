"""An incident: a regression of a release branch, from its detection until a measured fix.

What happened is a list of steps, each said once and never changed; what an incident is now follows
from them, in whatever order they are read. Plain data: what may happen next is `flows.lifecycle`'s
duty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ailab_bot.model.verdict import Interval


class State(StrEnum):
    """Where an incident stands. Only a measurement, or somebody who accepts it, ends one."""

    DETECTED = "detected"
    ATTRIBUTED = "attributed"
    ACKNOWLEDGED = "acknowledged"
    FIX_PROPOSED = "fix proposed"
    FIX_MEASURED = "fix measured"
    CLOSED = "closed"


class What(StrEnum):
    """What a step says."""

    DETECTED = "detected"  # a release's measurement confirmed a regression
    FILED = "filed"  # its issue has a number
    SEEN = "seen"  # a later measurement of the branch confirmed it again
    SEARCHING = "searching"  # a search for its culprit was started
    WIDENED = "widened"  # the range that was searched did not have it: a longer one may
    SEARCH_FAILED = "search failed"  # it could not be carried out: another one may
    ATTRIBUTED = "attributed"  # the culprit was found and confirmed
    UNATTRIBUTED = "unattributed"  # the search ended, and names nobody
    ACKNOWLEDGED = "acknowledged"  # somebody has taken it on
    REVERT_PREPARED = "revert prepared"  # a branch that takes the culprit back is there
    FIX_DROPPED = "fix dropped"  # that pull request was closed without being merged
    FIX_PROPOSED = "fix proposed"  # an open pull request says that it ends it
    CALM = "calm"  # it is gone from one of its branches, and not yet from all
    FIX_MEASURED = "fix measured"  # a measurement of the branch shows that it is gone
    ACCEPTED = "accepted"  # a maintainer lets it stay
    JOINED = "joined"  # another incident has the same culprit, and goes on for both
    CLOSED = "closed"
    TOLD = "told"  # remarks and assignee are there, of all that was known until then


#: What ends an incident, beside CLOSED itself.
ENDS = frozenset({What.FIX_MEASURED, What.ACCEPTED, What.JOINED})


@dataclass(frozen=True)
class Moved:
    """One metric of one scenario, slower than at the baseline. `effect` and `interval` are
    fractions; medians are in the metric's unit."""

    scenario: str
    metric: str
    effect: float
    interval: Interval | None = None
    base_median: float | None = None
    head_median: float | None = None
    blocks: int = 0
    threshold: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        return self.scenario, self.metric


@dataclass(frozen=True)
class Proof:
    """A comparison that the verdict engine made of a suspect: `what` says of what, `held` whether
    it came out as the suspicion says."""

    what: str
    held: bool
    effect: float | None = None
    interval: Interval | None = None
    blocks: int = 0


@dataclass(frozen=True)
class Blame:
    """The commit that was found, and why. `login`: of its author on GitHub, empty where GitHub
    knows nobody by the commit's address. `pull`: the pull request that brought it, 0 where there
    is none. `ending`: a value of `model.culprit.Ending`. `inside`: SHA of the merge that it came
    with. `why`: what the explanation found, sentences of ours."""

    sha: str
    subject: str
    author: str
    login: str = ""
    pull: int = 0
    probability: float = 0.0
    ending: str = "found"
    inside: str = ""
    also: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    why: tuple[str, ...] = ()
    trials: int = 0
    runner_seconds: float = 0.0
    reproduce: str = ""


@dataclass(frozen=True)
class Step:
    """Something that happened to one incident.

    `run`: the workflow run that says so. `by`: the login of who did it, empty for the bot. `sha`:
    the commit that was measured. `issue` and `pull` are numbers, 0 for none. `moved`: of DETECTED,
    SEEN and FIX_MEASURED what was measured; of ATTRIBUTED what the culprit itself moves. `text`:
    why, in a sentence; of ACCEPTED in somebody's own words, which are nobody's promise of being
    harmless.
    """

    incident: str
    what: What
    at: datetime
    run: int = 0
    by: str = ""
    sha: str = ""
    branch: str = ""
    baseline: str = ""
    good: str = ""
    issue: int = 0
    pull: int = 0
    other: str = ""
    moved: tuple[Moved, ...] = ()
    blame: Blame | None = None
    text: str = ""


@dataclass(frozen=True)
class Incident:
    """The steps of one incident, oldest first; the first is its detection.

    `branch`: where it was detected. `baseline`: the last good release, which it was measured
    against. The culprit lies in (`good`, `bad`].
    """

    id: str
    steps: tuple[Step, ...] = field(default_factory=tuple)

    @property
    def _first(self) -> Step:
        return self.steps[0]

    @property
    def branch(self) -> str:
        return self._first.branch

    @property
    def branches(self) -> tuple[str, ...]:
        """Where it was detected; more than one, where incidents with one culprit were joined."""
        told = [step.branch for step in self.steps if step.what is What.ATTRIBUTED]
        return tuple(dict.fromkeys(each for each in (self.branch, *told) if each))

    @property
    def baseline(self) -> str:
        return self._first.baseline

    @property
    def good(self) -> str:
        longer = self.last(What.WIDENED)
        return (longer or self._first).good

    @property
    def bad(self) -> str:
        return self._first.sha

    @property
    def detected_at(self) -> datetime:
        return self._first.at

    @property
    def moved(self) -> tuple[Moved, ...]:
        """What it moves: as its culprit was confirmed to do, before that as it was detected."""
        blamed = self.last(What.ATTRIBUTED)
        return (blamed.moved if blamed is not None else ()) or self._first.moved

    @property
    def scenarios(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.scenario for each in self.moved))

    @property
    def blame(self) -> Blame | None:
        blamed = self.last(What.ATTRIBUTED)
        return blamed.blame if blamed is not None else None

    @property
    def issue(self) -> int:
        """0 where none could be filed."""
        filed = self.last(What.FILED)
        return filed.issue if filed is not None else 0

    @property
    def fix(self) -> int:
        """The pull request that says that it ends it; 0 where there is none any more."""
        last = self.last(What.FIX_PROPOSED, What.FIX_DROPPED)
        return last.pull if last is not None and last.what is What.FIX_PROPOSED else 0

    @property
    def acknowledged_by(self) -> str:
        taken = self.last(What.ACKNOWLEDGED)
        return taken.by if taken is not None else ""

    @property
    def untold(self) -> tuple[Step, ...]:
        """The steps that came since people were last told."""
        told = [place for place, step in enumerate(self.steps) if step.what is What.TOLD]
        return self.steps[told[-1] + 1 :] if told else self.steps

    @property
    def ended(self) -> Step | None:
        """What ended it, None while it is open."""
        return self.last(What.CLOSED, *ENDS)

    @property
    def is_open(self) -> bool:
        return self.ended is None

    @property
    def state(self) -> State:
        if self.has(What.CLOSED, What.ACCEPTED, What.JOINED):
            return State.CLOSED
        if self.has(What.FIX_MEASURED):
            return State.FIX_MEASURED
        if self.fix:
            return State.FIX_PROPOSED
        if self.has(What.ACKNOWLEDGED):
            return State.ACKNOWLEDGED
        return State.ATTRIBUTED if self.blame is not None else State.DETECTED

    @property
    def times(self) -> Mapping[State, datetime]:
        """When it came to each state for the first time; what was skipped is missing."""
        reached = {
            What.DETECTED: State.DETECTED,
            What.ATTRIBUTED: State.ATTRIBUTED,
            What.ACKNOWLEDGED: State.ACKNOWLEDGED,
            What.FIX_PROPOSED: State.FIX_PROPOSED,
            What.FIX_MEASURED: State.FIX_MEASURED,
            What.ACCEPTED: State.CLOSED,
            What.JOINED: State.CLOSED,
            What.CLOSED: State.CLOSED,
        }
        found: dict[State, datetime] = {}
        for step in self.steps:
            if step.what in reached:
                found.setdefault(reached[step.what], step.at)
        return found

    def has(self, *what: What) -> bool:
        return any(step.what in what for step in self.steps)

    def last(self, *what: What) -> Step | None:
        """The latest step that is one of these."""
        return next((step for step in reversed(self.steps) if step.what in what), None)


def incidents_of(steps: Iterable[Step]) -> tuple[Incident, ...]:
    """By their detection, oldest first. Steps of which the detection is missing are left out: a
    ledger that lost it cannot say what they are about. A step that is there twice counts once."""
    by_id: dict[str, list[Step]] = defaultdict(list)
    for step in dict.fromkeys(steps):
        by_id[step.incident].append(step)
    order = list(What)
    found = []
    for name, own in by_id.items():
        own.sort(key=lambda step: (step.what is not What.DETECTED, step.at, order.index(step.what)))
        if own[0].what is What.DETECTED:
            found.append(Incident(name, tuple(own)))
    return tuple(sorted(found, key=lambda each: (each.detected_at, each.id)))
