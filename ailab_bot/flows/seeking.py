"""Looks for the culprit in a range: blocks of the commit that tells most, until it is certain.

What other workers measured counts from the start. Refuses to name anybody: it ends with a belief.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.flows.parcels import joined
from ailab_bot.flows.stand import CannotMeasureError, Stand
from ailab_bot.model.culprit import RangeCommit
from ailab_bot.model.policy import MARGIN, Limits
from ailab_bot.model.search import Evidence, SeenBlock
from ailab_bot.report.culprit import step_line
from ailab_bot.stats.attribution import (
    Attribution,
    Measurement,
    Outcome,
    Question,
    attribute,
    next_commits,
)

#: Blocks of one search, unless said otherwise: the bench's ranges of 64 commits need 20 to 90.
CAPACITY_BLOCKS = 150
#: What checking a commit out and setting it up is taken to cost beside a block of one that is.
_NEW_COST, _KNOWN_COST = 1.5, 1.0
#: So often a commit may fail, and as often as it works, before it is left out.
_MOST_FAILED_BLOCKS = 3
#: Blocks that may fail in a row, of whatever commit: then it is the machine.
_MOST_IN_VAIN = 12
#: Log ratio by which a build's own time strays from its code's, where no calibration says more,
#: and how many of them a calibrated margin holds (`stats.roc`).
_BIAS_SD, _BIASES_IN_MARGIN = 0.005, 2.0


@dataclass(frozen=True)
class Range:
    """Commits, oldest first; commit N of the statistics is N - 1 here."""

    commits: Sequence[RangeCommit]
    limits: Limits
    prior: tuple[float, ...] = ()
    capacity: int = CAPACITY_BLOCKS

    def question(self, evidence: Evidence) -> Question:
        last = len(self.commits)
        places = {each.sha: number for number, each in enumerate(self.commits, 1)}
        skipped = {places[sha] for sha in evidence.skipped if places.get(sha, last) != last}
        return Question(
            last,
            self.limits.scale,
            bias_sd=bias_sd_of(self.limits),
            prior=self.prior,
            skipped=frozenset(skipped),
            capacity=max(self.capacity - evidence.spent_blocks + len(evidence.blocks), 1),
        )

    def measurements(self, blocks: Sequence[SeenBlock]) -> list[Measurement]:
        places = {each.sha: number for number, each in enumerate(self.commits, 1)}
        return [
            Measurement(places[each.sha], each.good, each.value, each.machine)
            for each in blocks
            if each.sha in places
        ]

    def belief(self, evidence: Evidence) -> Attribution:
        return attribute(self.question(evidence), self.measurements(evidence.blocks))

    def wanting(self, evidence: Evidence) -> list[int]:
        """Numbers of the commits that need further blocks, after a suspicion was refused."""
        seen = Counter(block.sha for block in evidence.blocks)
        short = {
            sha
            for refusal in evidence.refusals
            for sha, count in refusal.needed.items()
            if seen[sha] < count and sha not in evidence.skipped
        }
        return [number for number, each in enumerate(self.commits, 1) if each.sha in short]

    def goes_on(self, evidence: Evidence, belief: Attribution) -> bool:
        """Whether more is to be measured before anybody is suspected."""
        left = evidence.spent_blocks < self.capacity
        return belief.outcome is Outcome.OPEN or (left and bool(self.wanting(evidence)))


def bias_sd_of(limits: Limits) -> float:
    """Of a build's own log ratio; more than the least where a calibration has seen more."""
    return _BIAS_SD if limits.bias <= MARGIN else limits.bias / _BIASES_IN_MARGIN


@dataclass
class Search:
    """One range under search on one machine. `runners` search at once, and this is number `place`
    (from 0). `deadline_s`: by time.monotonic(), None: no limit. `least`: blocks to measure even
    when it is certain, as those who ask know more."""

    range: Range
    stand: Stand
    tell: Callable[[str], None]
    earlier: Evidence = field(default_factory=Evidence)
    runners: int = 1
    place: int = 0
    deadline_s: float | None = None
    least: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    late: bool = False
    _longest_s: float = 0.0
    _in_vain: int = 0

    def run(self) -> Attribution:
        """Blocks until it is known, or the capacity or the time is spent. UserError where GOOD or
        BAD does not run."""
        found, done = self.belief(), 0
        try:
            while self.range.goes_on(self.evidence, found) or done < self.least:
                if self._is_late():
                    self.late = True
                    break
                number = self._choose()
                effect = self._measure(number)
                found, done = self.belief(), done + 1
                if effect is not None:
                    sha, blocks = self.range.commits[number - 1].sha, len(self.evidence.blocks)
                    self.tell(step_line(blocks, sha, effect, found.posterior))
        except KeyboardInterrupt:
            self.interrupted = True
            found = self.belief()
        return found

    @property
    def evidence(self) -> Evidence:
        """Everything that is known, here and before."""
        blocks = tuple(self.stand.in_order())  # also what an earlier run of this search measured
        own = Evidence(blocks, self.skipped, self.stand.trials, self.stand.spent_s)
        return joined(self.earlier, own)

    def belief(self) -> Attribution:
        return self.range.belief(self.evidence)

    def _is_late(self) -> bool:
        """Whether another block as long as the longest would end after the deadline."""
        return self.deadline_s is not None and time.monotonic() + self._longest_s > self.deadline_s

    def _choose(self) -> int:
        costs = [
            _KNOWN_COST if self.stand.is_prepared(each.sha) else _NEW_COST
            for each in self.range.commits
        ]
        evidence = self.evidence
        if wanting := self.range.wanting(evidence):
            return wanting[self.place % len(wanting)]
        rows = self.range.measurements(evidence.blocks)
        return next_commits(self.range.question(evidence), rows, costs, self.runners)[self.place]

    def _measure(self, number: int) -> float | None:
        """The block's effect; None where there was none, and the commit may be left out."""
        commit = self.range.commits[number - 1]
        started = time.monotonic()
        try:
            effect = self.stand.block(commit.sha)
            failed, whole = self.stand.failed_blocks(commit.sha), len(self.stand.blocks(commit.sha))
            if effect is None and failed >= max(_MOST_FAILED_BLOCKS, whole):
                raise CannotMeasureError("its trials keep failing")
        except CannotMeasureError as error:
            self._skip(commit, str(error))
            return None
        finally:
            self._longest_s = max(self._longest_s, time.monotonic() - started)
        self._in_vain = 0 if effect is not None else self._in_vain + 1
        if self._in_vain >= _MOST_IN_VAIN:
            raise RunnerError(
                f"{_MOST_IN_VAIN} blocks in a row failed",
                why="At GOOD too, where others before them had not.",
                advice="See what fails in the folder of trials; then go on with --resume.",
            )
        return effect

    def _skip(self, commit: RangeCommit, why: str) -> None:
        if commit is self.range.commits[-1]:
            raise UserError(
                f"the scenario does not run at BAD ({commit.sha[:12]})",
                why=f"{commit.sha[:12]}: {why}.",
                advice="Take a BAD commit at which it runs.",
            )
        self.skipped[commit.sha] = why
        self.tell(f"{commit.sha[:9]} is left out: {why}")
