"""The end of a search in words and types: a belief -> what was found of the cause.

Refuses to measure: everybody who has the same evidence finds the same.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ailab_bot.flows.refusal import notes_of
from ailab_bot.flows.seeking import Range
from ailab_bot.model.culprit import Culprit, Ending, Measured, RangeCommit
from ailab_bot.model.report import Commit
from ailab_bot.model.search import Evidence
from ailab_bot.model.verdict import Interval
from ailab_bot.stats.attribution import Attribution, Outcome

ENDINGS = {
    Outcome.CULPRIT: Ending.FOUND,
    Outcome.CULPRITS: Ending.SEVERAL,
    Outcome.INDISTINCT: Ending.AMBIGUOUS,
    Outcome.REINTRODUCED: Ending.REINTRODUCED,
    Outcome.REVERTED: Ending.REVERTED,
    Outcome.NO_CULPRIT: Ending.NO_CULPRIT,
    Outcome.CAPACITY: Ending.CAPACITY,
    Outcome.OPEN: Ending.INTERRUPTED,
}


@dataclass(frozen=True)
class Subject:
    """What was searched, as the document names it. `reproduce`: the command that searches again."""

    scenario: str
    metric: str
    good: Commit
    bad: Commit
    reproduce: str = ""


def reproduce(quest_good: str, quest_bad: str, scenario: str, *more: str) -> str:
    """The command line of a search, to be pasted."""
    words = ["ailab", "bisect", quest_good[:12], quest_bad[:12], "--scenario", scenario, *more]
    return shlex.join(words)


def found_of(subject: Subject, range_: Range, evidence: Evidence, belief: Attribution) -> Culprit:
    """What the evidence says of the range; of an open belief that it was interrupted."""
    commits = range_.commits
    ending = ENDINGS[belief.outcome]
    groups = [[commits[number - 1] for number in each.commits] for each in belief.suspects]
    culprit = groups[0][0] if groups and ending.names_one else None
    also = tuple(
        (commits[each.commits[0] - 1], each.effect)
        for each in belief.suspects[1:]
        if ending is Ending.SEVERAL
    )
    interval = belief.tip_interval
    effects = {
        sha: tuple(math.log(each.value / each.good) for each in blocks)
        for sha, blocks in evidence.effects().items()
    }
    return Culprit(
        scenario=subject.scenario,
        metric=subject.metric,
        good=subject.good,
        bad=subject.bad,
        ending=ending,
        reason=reason_of(ending, belief, _left_out(groups, evidence)),
        culprit=culprit,
        suspects=tuple(groups[0]) if groups and ending is Ending.AMBIGUOUS else (),
        reverted=tuple(commits[group[0] - 1] for group in belief.reverted if group),
        also=also,
        posterior={
            each.sha: chance for each, chance in zip(commits, belief.posterior, strict=True)
        },
        tested=tuple(
            Measured(each.sha, effects[each.sha]) for each in commits if each.sha in effects
        ),
        skipped=dict(evidence.skipped),
        effect=belief.tip_effect if interval else None,  # BAD was not measured yet
        interval=Interval(*interval) if interval else None,
        trials=evidence.trials,
        runner_seconds=evidence.spent_s,
        notes=notes_of(evidence.refusals),
        reproduce=subject.reproduce,
    )


def _left_out(groups: Sequence[Sequence[RangeCommit]], evidence: Evidence) -> int:
    """Of the commits that nothing tells apart."""
    return sum(each.sha in evidence.skipped for each in groups[0]) if groups else 0


def failed(subject: Subject, reason: str, evidence: Evidence | None = None) -> Culprit:
    """A search that could not be carried out; what was measured is still told."""
    known = evidence or Evidence()
    return Culprit(
        scenario=subject.scenario,
        metric=subject.metric,
        good=subject.good,
        bad=subject.bad,
        ending=Ending.FAILED,
        reason=reason,
        skipped=dict(known.skipped),
        trials=known.trials,
        runner_seconds=known.spent_s,
        reproduce=subject.reproduce,
    )


def reason_of(ending: Ending, belief: Attribution, skipped: int) -> str:
    count = f"{belief.blocks:g}"
    blocks = "1 block" if count == "1" else f"{count} blocks"
    if ending is Ending.NO_CULPRIT:
        return (
            f"After {blocks} BAD is as fast as GOOD on this machine with today's dependencies "
            f"({belief.nobody:.0%} sure). If it was slower elsewhere, look there for the cause: at "
            "the dependencies, the image or the runner."
        )
    if ending is Ending.CAPACITY:
        return f"The limit was {blocks} (--blocks); the likeliest commits are below."
    if ending is Ending.INTERRUPTED:
        return f"Stopped after {blocks}; --resume goes on with what was measured."
    if ending is Ending.AMBIGUOUS:
        return (
            f"After {blocks}: commits beside it could not be measured "
            f"({skipped} left out), so nothing tells these apart."
        )
    return f"After {blocks}: {belief.outcome.words}."
