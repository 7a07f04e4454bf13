"""A search in rounds: from what all workers have left so far to what comes next, or to the end.

A pure function of the parcels, so the job that plans a round and the one that decides after it
agree. A worker that is lost costs what it measured; two rounds in a row that brought nothing end
the search, as does a finish that came to no end twice. Where a finish refuses who is suspected,
further rounds look on, until somebody holds or the capacity is spent. What a finish confirmed is
judged again here, from its raw trials, and its commits are taken from the clone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ailab_bot.flows.confirming import PARENT, TIP, check_of, concluded
from ailab_bot.flows.finding import ENDINGS, Subject, failed, found_of
from ailab_bot.flows.parcels import Asked, Parcel, checked_trials, merge
from ailab_bot.flows.refusal import again, is_settled, refusal_of
from ailab_bot.flows.seeking import Range
from ailab_bot.measure.git import Repository
from ailab_bot.measure.ranges import brought_by
from ailab_bot.model.culprit import Check, Culprit, Ending, RangeCommit
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Part, Phase, Refusal
from ailab_bot.model.verdict import VerdictKind
from ailab_bot.stats.attribution import Attribution

#: Rounds of one search, its finish counted.
MOST_ROUNDS = 12
#: So often in a row a round may bring nothing, and a finish no end.
_MOST_IN_VAIN = 2


@dataclass(frozen=True)
class Ground:
    """What a search is on, as the clone and the definitions have it."""

    clone: Repository
    asked: Asked
    range: Range
    subject: Subject
    policy: Policy
    also: tuple[Scenario, ...]


@dataclass(frozen=True)
class Standing:
    """Where a search stands: `phase` of the next round, or None and what was `found`."""

    evidence: Evidence
    belief: Attribution
    phase: Phase | None = None
    found: Culprit | None = None


def standing_of(ground: Ground, rounds: Sequence[Sequence[Parcel]]) -> Standing:
    """After these rounds, the first first; a round of which nothing arrived is empty."""
    known = [
        merge([parcel for own in rounds[:count] for parcel in own], ground.asked)
        for count in range(len(rounds) + 1)
    ]
    begun, refusals = 0, tuple[Refusal, ...]()
    while True:
        standing, refusal, begun = _stage(ground, rounds, known, refusals, begun)
        if refusal is None:
            return standing
        refusals = (*refusals, refusal)


def _stage(
    ground: Ground,
    rounds: Sequence[Sequence[Parcel]],
    known: Sequence[Evidence],
    refusals: tuple[Refusal, ...],
    begun: int,
) -> tuple[Standing, Refusal | None, int]:
    """From round `begun` until somebody is suspected and compared. Where that refuses them, and
    there is capacity left, the refusal and the round after it."""
    range_ = ground.range
    count = begun
    while True:
        evidence = replace(known[count], refusals=refusals)
        belief = range_.belief(evidence)
        if count == len(rounds) or not range_.goes_on(evidence, belief):
            break
        count += 1
    standing = Standing(replace(known[-1], refusals=refusals), belief)
    if range_.goes_on(evidence, belief):
        return _go_on(ground, rounds[begun:], known[begun:], len(rounds), standing), None, count
    found = replace(
        found_of(ground.subject, range_, evidence, belief),
        trials=known[-1].trials,
        runner_seconds=known[-1].spent_s,
    )
    if not ENDINGS[belief.outcome].names_one:
        return replace(standing, found=found), None, count
    if found.culprit and found.culprit.sha in {each.sha for each in refusals}:
        return replace(standing, found=again(found)), None, count
    finishes = rounds[count:]
    for number, own in enumerate(finishes, count + 1):
        for parcel in own:
            confirmed = _confirmed(ground, found, parcel, refusals)
            if confirmed is None:
                continue
            refusal = refusal_of(confirmed, ground.policy, _measured(evidence, parcel))
            spent = evidence.spent_blocks + (refusal.blocks if refusal else 0)
            ends = refusal is None or spent >= range_.capacity
            return replace(standing, found=confirmed), None if ends else refusal, number
    if len(finishes) < _MOST_IN_VAIN and len(rounds) < MOST_ROUNDS:
        return replace(standing, phase=Phase.FINISH), None, count
    suspect = found.culprit.sha[:12] if found.culprit else "A commit"
    reason = (
        f"{suspect} is suspected, but could not be compared with its parent "
        f"({_why(finishes) or 'no result arrived from its runner'}): nobody is blamed."
    )
    return replace(standing, found=found.nobody(Ending.FAILED, reason)), None, count


def _measured(evidence: Evidence, parcel: Parcel) -> Counter[str]:
    """Blocks of each commit, those inside a merge counted; they are measured anew each time."""
    inside = {(head, t.block) for part, _, head, t in parcel.lines if part is Part.INSIDE}
    return Counter([*(each.sha for each in evidence.blocks), *(head for head, _ in inside)])


def _go_on(
    ground: Ground,
    rounds: Sequence[Sequence[Parcel]],
    known: Sequence[Evidence],
    count: int,
    standing: Standing,
) -> Standing:
    """Another round, unless that would be as the last ones were. `count`: of all rounds so far."""
    vain = 0
    for before, after in zip(reversed(known[:-1]), reversed(known[1:]), strict=True):
        if len(after.blocks) > len(before.blocks) or set(after.skipped) - set(before.skipped):
            break
        vain += 1
    last = rounds[-1] if rounds else ()
    hopeless = vain > 0 and bool(last) and all(parcel.result.for_good for parcel in last)
    if vain >= _MOST_IN_VAIN or hopeless:
        why = _why(rounds[-vain:]) or "no result arrived from its runners"
        reason = f"The range could not be measured: {why}."
        return replace(standing, found=failed(ground.subject, reason, standing.evidence))
    if count < MOST_ROUNDS:
        return replace(standing, phase=Phase.SEARCH)
    found = found_of(ground.subject, ground.range, standing.evidence, standing.belief)
    reason = f"The limit was {MOST_ROUNDS} rounds; the likeliest commits are below."
    return replace(standing, found=found.nobody(Ending.CAPACITY, reason))


def _why(rounds: Sequence[Sequence[Parcel]]) -> str:
    """What the last worker that said anything said."""
    said = [parcel.result.failed for own in rounds for parcel in own if parcel.result.failed]
    checks = [c for own in rounds for p in own if p.result.found for c in p.result.found.checks]
    said += [check.why_not for check in checks if check.why_not]
    return said[-1].rstrip(".") if said else ""


# --- what a finish brought ---------------------------------------------------------------------


def _confirmed(
    ground: Ground, found: Culprit, parcel: Parcel, refusals: Sequence[Refusal]
) -> Culprit | None:
    """The end that the finish says, where its own trials and the clone say so, too."""
    told = parcel.result.found
    if told is None:
        return None
    commit, inside = _commit(ground, found, told)
    if commit is None or not commit.parents:
        return None
    if commit.sha in {each.sha for each in refusals}:
        return again(replace(found, culprit=commit, inside=inside))
    parent = commit.parents[0]
    quest, scenario, policy = ground.asked.quest, ground.asked.scenario, ground.policy

    def check(told_check: Check, expected: VerdictKind, own: Scenario, *, named: bool) -> Check:
        base, head = told_check.base, told_check.head
        trials = checked_trials(parcel, base, head, own.id)
        what = PARENT if expected is VerdictKind.REGRESSION else TIP
        return check_of(
            what, base, head, expected, trials, own, policy,
            metric=ground.asked.metric, named=named, why_not=told_check.why_not,
        )  # fmt: skip

    first = next((c for c in told.checks if (c.base, c.head) == (parent, commit.sha)), None)
    if first is None:
        return None
    checks = [check(first, VerdictKind.REGRESSION, scenario, named=False)]
    verdict = checks[0].verdict
    if verdict is None:
        return None  # it could not be measured, which says nothing of the commit
    if told.ending is Ending.INTERRUPTED and not is_settled(verdict, policy):
        return None
    tip = next((c for c in told.checks if c.base == quest.bad and c is not first), None)
    if tip is not None:
        checks.append(check(tip, VerdictKind.IMPROVEMENT, scenario, named=False))
    by_id = {each.id: each for each in ground.also}
    others = [
        check(each, VerdictKind.REGRESSION, by_id[each.scenario], named=True)
        for each in told.others
        if each.scenario in by_id and (each.base, each.head) == (parent, commit.sha)
    ]
    names = {scenario.id, *by_id}
    found = replace(
        found,
        culprit=commit,
        inside=inside,
        checks=tuple(checks),
        others=tuple(others),
        explanations=tuple(e for e in told.explanations if e.scenario in names),
        notes=tuple(dict.fromkeys((*found.notes, *told.notes))),
    )
    return concluded(found)


def _commit(
    ground: Ground, found: Culprit, told: Culprit
) -> tuple[RangeCommit | None, RangeCommit | None]:
    """The commit that is meant, and the merge it came with, as the clone has them; None where
    that is not the one that the evidence suspects."""
    suspect = found.culprit
    named = told.culprit or next(iter(told.suspects), None)
    if suspect is None or named is None:
        return None, None
    if told.inside is None:
        return (suspect, None) if named.sha == suspect.sha else (None, None)
    if told.inside.sha != suspect.sha:
        return None, None
    return brought_by(ground.clone, suspect).get(named.sha), suspect
