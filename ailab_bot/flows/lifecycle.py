"""What may happen to an incident next. Pure: steps so far and something new in, new steps out.

A measurement opens one, confirms it, or shows that it is gone; a search names its culprit; people
take it on, propose a fix, or let it stay. Refuses to end one on anything but a measurement of
another commit, or a maintainer's word: noise neither closes an incident nor opens it again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ailab_bot.model.culprit import Ending
from ailab_bot.model.incident import Blame, Incident, Moved, State, Step, What, incidents_of
from ailab_bot.model.report import Report
from ailab_bot.model.verdict import Verdict, VerdictKind

#: GitHub ends a run that waits for a runner after 24 hours: a search that is silent for longer is
#: lost, and is started again.
SEARCH_LOST = timedelta(hours=26)
#: So often a search is started for one incident.
MOST_SEARCHES = 3

#: Steps that say what a measurement found.
_MEASURED = (What.DETECTED, What.SEEN)

Key = tuple[str, str]


@dataclass(frozen=True)
class Seen:
    """What a measurement of a branch saw. `slower`: confirmed regressions that gate; `settled`: by
    scenario and metric what is known not to be slower, as it was measured. `contains(a, b)`:
    whether commit b is a, or comes after it. `planned`: the scenarios that belong to the branch,
    None: not told. One that was removed holds nothing up any more.
    """

    sha: str
    branch: str
    baseline: str
    at: datetime
    run: int
    slower: tuple[Moved, ...]
    settled: Mapping[Key, Moved]
    contains: Callable[[str, str], bool]
    planned: frozenset[str] | None = None


def moved_of(report: Report) -> tuple[Moved, ...]:
    """The regressions of a report that block, the largest first."""
    found = [
        _measured(verdict, verdict.effect)
        for verdict in report.verdicts
        if verdict.kind is VerdictKind.REGRESSION
        and verdict.confirmed
        and verdict.gates
        and verdict.effect is not None
    ]
    return tuple(sorted(found, key=lambda each: -each.effect))


def settled_of(report: Report) -> dict[Key, Moved]:
    """What the report knows not to be slower, as it was measured. What it does not know is not
    among it."""
    calm = {VerdictKind.NO_CHANGE, VerdictKind.IMPROVEMENT}
    return {
        (each.scenario, each.metric): _measured(each, each.effect)
        for each in report.verdicts
        if each.kind in calm and each.effect is not None
    }


def _measured(verdict: Verdict, effect: float) -> Moved:
    return Moved(
        verdict.scenario,
        verdict.metric,
        effect,
        verdict.interval,
        verdict.base_median,
        verdict.head_median,
        verdict.blocks_used,
        verdict.threshold,
    )


def concerns(incident: Incident, seen: Seen) -> bool:
    """Whether what was measured has what the incident is about: its culprit, or the commit at which
    it was detected, is in it. On the incident's own branch always, as history may be rewritten."""
    known = incident.blame.sha if incident.blame else incident.bad
    return incident.branch == seen.branch or seen.contains(known, seen.sha)


# --- a measurement -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    """What a measurement adds, and what then stands against releasing the commit. `accepted`:
    incidents that a maintainer let stay, by which something slower is explained."""

    steps: tuple[Step, ...]
    standing: tuple[Incident, ...]
    accepted: tuple[Incident, ...]


def observe(known: Sequence[Incident], seen: Seen, good_of: Callable[[Moved], str]) -> Observed:
    """`good_of` a regression: the newest commit that did not have it."""
    steps: list[Step] = []
    accepted: list[Incident] = []
    left = {each.key: each for each in seen.slower}
    for incident in (each for each in known if concerns(each, seen)):
        still = [each for each in seen.slower if each.key in {m.key for m in incident.moved}]
        grown = [each for each in still if _has_grown(incident, each, seen.baseline)]
        if incident.is_open:
            last = _last_seen(incident)
            steps += _again(incident, seen, still)
            if last != seen.sha:
                steps += _detections(grown, seen, lambda _, last=last: last)  # type: ignore[misc]
            explained = still
        elif incident.has(What.ACCEPTED) and _is_clean(incident, seen):
            explained = [each for each in still if each not in grown]
            accepted += [incident] if explained else []
        else:
            continue
        for each in explained:
            left.pop(each.key, None)
    steps += _detections(left.values(), seen, good_of)
    after = incidents_of([*(step for each in known for step in each.steps), *steps])
    standing = tuple(each for each in after if each.is_open and _stands(each, seen))
    return Observed(tuple(steps), standing, tuple(accepted))


def _stands(incident: Incident, seen: Seen) -> bool:
    """Whether an open incident holds up what was measured. On a branch that is not its own a
    measurement without it is enough, as that branch may have been mended before."""
    if not concerns(incident, seen):
        return False
    if seen.planned is not None and not seen.planned.intersection(incident.scenarios):
        return False
    return seen.branch in incident.branches or not _is_calm(incident, seen)


def _is_calm(incident: Incident, seen: Seen) -> bool:
    """Whether all of it was measured to be gone, against a baseline without it."""
    settled = all(each.key in seen.settled for each in incident.moved)
    return settled and _is_clean(incident, seen)


def _again(incident: Incident, seen: Seen, still: Sequence[Moved]) -> list[Step]:
    """Seen again, or gone: that needs another commit than the one at which it was seen, unless the
    search said that no commit is to blame; and a baseline that does not have it itself."""
    measured = {step.sha for step in incident.steps if step.what in _MEASURED}
    if still:
        told = seen.sha in measured
        return [] if told else [_step(incident.id, What.SEEN, seen, moved=tuple(still))]
    ended = incident.last(What.UNATTRIBUTED)
    nobody = ended is not None and ended.other == Ending.NO_CULPRIT
    if (nobody or seen.sha not in measured) and _is_calm(incident, seen):
        return _calm(incident, seen, tuple(seen.settled[each.key] for each in incident.moved))
    return []


def _calm(incident: Incident, seen: Seen, now: tuple[Moved, ...]) -> list[Step]:
    """It is gone from this branch: the measured fix, once it is gone from every branch where it was
    detected. Of other branches it says nothing."""
    if seen.branch not in incident.branches:
        return []
    calm: dict[str, bool] = {}  # by branch what its latest measurement said
    for step in incident.steps:
        if step.what in {What.CALM, *_MEASURED}:
            calm[step.branch] = step.what is What.CALM
    left = [each for each in incident.branches if each != seen.branch and not calm.get(each)]
    what = What.CALM if left else What.FIX_MEASURED
    return [_step(incident.id, what, seen, pull=incident.fix, moved=now)]


def _is_clean(incident: Incident, seen: Seen) -> bool:
    """Whether the baseline came before what the incident is about: else "as fast as the baseline"
    says nothing of it."""
    if seen.baseline == incident.baseline:
        return True
    if incident.blame is not None:
        sha = incident.blame.sha  # one that a rewritten history has lost may be there under a name
        return seen.contains(sha, sha) and not seen.contains(sha, seen.baseline)
    return seen.contains(seen.baseline, incident.good)


def _has_grown(incident: Incident, now: Moved, baseline: str) -> bool:
    """Whether it is slower than it was by more than its threshold, against the same baseline:
    something else came on top."""
    for step in reversed(incident.steps):
        before = next((each for each in step.moved if each.key == now.key), None)
        if before is None or step.what not in _MEASURED:
            continue
        if step.baseline != baseline or before.interval is None or now.interval is None:
            return False
        return now.interval.low > before.interval.high + max(now.threshold, before.threshold)
    return False


def _last_seen(incident: Incident) -> str:
    last = incident.last(*_MEASURED)
    return last.sha if last is not None else incident.bad


def _detections(slower: Iterable[Moved], seen: Seen, good_of: Callable[[Moved], str]) -> list[Step]:
    """One incident for all that began in the same range: whether it is one culprit, the search
    will say."""
    groups: dict[str, list[Moved]] = defaultdict(list)
    for each in slower:
        groups[good_of(each)].append(each)
    return [
        _step(incident_id(good, seen.sha, own), What.DETECTED, seen, good=good, moved=tuple(own))
        for good, own in groups.items()
    ]


def incident_id(good: str, bad: str, moved: Iterable[Moved]) -> str:
    """12 hex digits; the same for whoever detects the same, however often."""
    lines = [good, bad, *sorted(" ".join(each.key) for each in moved)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _step(
    incident: str,
    what: What,
    seen: Seen,
    *,
    good: str = "",
    pull: int = 0,
    moved: tuple[Moved, ...] = (),
) -> Step:
    return Step(
        incident,
        what,
        seen.at,
        run=seen.run,
        sha=seen.sha,
        branch=seen.branch,
        baseline=seen.baseline,
        good=good,
        pull=pull,
        moved=moved,
    )


# --- a search ----------------------------------------------------------------------------------


def needs_search(incident: Incident, now: datetime) -> bool:
    """Whether a search for its culprit should be started: none goes on, none has ended."""
    if not incident.is_open or incident.has(What.ATTRIBUTED, What.UNATTRIBUTED):
        return False
    begun = _searches(incident)
    if len(begun) >= MOST_SEARCHES:
        return False
    if not begun:
        return True
    failed = incident.last(What.SEARCH_FAILED)
    again = failed is not None and failed.at >= begun[-1].at
    return again or now - begun[-1].at > SEARCH_LOST


def _searches(incident: Incident) -> list[Step]:
    """Those that were started for the range that is searched now."""
    longer = incident.last(What.WIDENED)
    return [
        step
        for step in incident.steps
        if step.what is What.SEARCHING and (longer is None or step.at >= longer.at)
    ]


def give_up(incident: Incident, now: datetime, run: int) -> tuple[Step, ...]:
    """After the last search was lost, too: people have to look, and are told so."""
    if not incident.is_open or incident.has(What.ATTRIBUTED, What.UNATTRIBUTED):
        return ()
    begun = _searches(incident)
    if len(begun) < MOST_SEARCHES or now - begun[-1].at <= SEARCH_LOST:
        return ()
    text = f"The search was started {MOST_SEARCHES} times and never came to an end."
    return (Step(incident.id, What.UNATTRIBUTED, now, run=run, text=text, other=Ending.FAILED),)


def lead_of(incident: Incident) -> Moved:
    """What a search looks at: of the metrics that moved, the one furthest above its threshold."""
    return max(incident.moved, key=lambda each: (each.effect - each.threshold, each.scenario))


@dataclass(frozen=True)
class Searched:
    """How a search ended. `confirmed`: what its culprit was measured to move, against its parent;
    `other`: what regressed with it, and the culprit does not move."""

    ending: Ending
    reason: str
    blame: Blame | None
    confirmed: tuple[Moved, ...] = ()
    other: tuple[Moved, ...] = ()


def attribute(
    known: Sequence[Incident], incident: Incident, found: Searched, at: datetime, run: int
) -> tuple[Step, ...]:
    """What a search's end adds: blame, the incident that has the same culprit already, and a new
    incident for what this culprit does not move. A range that was narrowed, and does not have it,
    is widened to the baseline once."""
    if not incident.is_open or incident.blame is not None:
        return ()
    if found.ending is Ending.NO_CULPRIT and incident.good != incident.baseline:
        longer = Step(
            incident.id, What.WIDENED, at, run=run, good=incident.baseline, text=found.reason
        )
        return (longer,)
    again = found.ending in {Ending.FAILED, Ending.INTERRUPTED}
    if again and len(_searches(incident)) < MOST_SEARCHES:
        return (Step(incident.id, What.SEARCH_FAILED, at, run=run, text=found.reason),)
    if found.blame is None or not found.confirmed:
        text = found.reason or found.ending.value
        return (Step(incident.id, What.UNATTRIBUTED, at, run=run, text=text, other=found.ending),)
    blame = found.blame
    steps = []
    older = next((e for e in known if e.id != incident.id and _is_of(e, blame.sha)), None)
    blamed = Step(
        incident.id, What.ATTRIBUTED, at, run=run, sha=blame.sha, branch=incident.branch,
        moved=found.confirmed, blame=blame,
    )  # fmt: skip
    if older is None:
        steps.append(blamed)
    else:
        steps += _join(incident, older, found.confirmed, at, run)
    if found.other:
        steps.append(
            Step(
                incident_id(incident.good, incident.bad, found.other),
                What.DETECTED,
                at,
                run=run,
                sha=incident.bad,
                branch=incident.branch,
                baseline=incident.baseline,
                good=incident.good,
                moved=found.other,
            )
        )
    return tuple(steps)


def _is_of(incident: Incident, culprit: str) -> bool:
    return incident.is_open and incident.blame is not None and incident.blame.sha == culprit


def _join(
    younger: Incident, older: Incident, moved: Iterable[Moved], at: datetime, run: int
) -> list[Step]:
    """The older goes on for both, with its own blame."""
    blame = older.blame
    assert blame is not None
    mine = {each.key: each for each in (*moved, *older.moved)}
    return [
        Step(younger.id, What.JOINED, at, run=run, sha=blame.sha, other=older.id),
        Step(
            older.id, What.ATTRIBUTED, at, run=run, sha=blame.sha, branch=younger.branch,
            moved=tuple(mine.values()), blame=blame,
        ),
    ]  # fmt: skip


def reconcile(known: Sequence[Incident], at: datetime, run: int) -> tuple[Step, ...]:
    """Open incidents that turned out to have one culprit while neither knew of the other."""
    first: dict[str, Incident] = {}
    steps: list[Step] = []
    for each in known:
        if each.is_open and each.blame is not None:
            older = first.setdefault(each.blame.sha, each)
            if older is not each:
                steps += _join(each, older, each.moved, at, run)
    return tuple(steps)


# --- people ------------------------------------------------------------------------------------


def acknowledge(incident: Incident, by: str, at: datetime, run: int) -> tuple[Step, ...]:
    """Somebody takes it on; again by the same one adds nothing."""
    if not incident.is_open or incident.acknowledged_by == by:
        return ()
    return (Step(incident.id, What.ACKNOWLEDGED, at, run=run, by=by),)


def propose(
    incident: Incident, fixes: Mapping[int, str], dropped: Collection[int], at: datetime, run: int
) -> tuple[Step, ...]:
    """`fixes`: open pull requests that say that they end it, with their authors, the likeliest
    last; `dropped`: those that were closed without being merged. One that was merged and did not
    help gives way to another."""
    if not incident.is_open or incident.state is State.FIX_MEASURED:
        return ()
    steps = []
    if incident.fix and incident.fix in dropped:
        steps.append(Step(incident.id, What.FIX_DROPPED, at, run=run, pull=incident.fix))
    if fixes and incident.fix not in fixes:
        number = [*fixes][-1]
        steps.append(
            Step(incident.id, What.FIX_PROPOSED, at, run=run, pull=number, by=fixes[number])
        )
    return tuple(steps)
