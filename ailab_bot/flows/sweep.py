"""Ends what was left pending: a report that never ran, a run that never ended. What a release lost
to a machine is measured once more.

Looks at the measurements of the last days, not at every pull request: one request tells which
commits can have a status of ours. Refuses to touch one whose measurement still goes on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ailab_bot.flows.desk import (
    MEASURE_FILE,
    NOT_MEASURED,
    QUEUE_FILE,
    Desk,
    gate_of,
    is_ours,
    set_gate,
    turn,
)
from ailab_bot.flows.publish import publish
from ailab_bot.gh.client import GitHubError, NotFoundError, OutOfTimeError, Run
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report import status

#: The report has this long after a run's end before it counts as lost.
GRACE = timedelta(minutes=10)
#: After so long nobody tries to read the results any more: the status ends without them.
GIVE_UP = timedelta(hours=6)
#: GitHub ends a job after 6 hours and a run that waits for a runner after 24: a run that is older
#: will not end any more.
OLDEST_RUN = timedelta(hours=26)
#: How long after its end a measurement is looked at. What is older was seen by an earlier sweep.
WINDOW = timedelta(days=3)
LATELY = timedelta(hours=2)
#: GitHub runs a workflow again for so long, and its run keeps the day on which it was made.
OLDEST_RERUN = timedelta(days=31)
#: A release is measured again so long after its run came to be: later the next night has begun.
RELEASE_WINDOW = timedelta(hours=24)
#: The release workflow, and what starts it.
RELEASE_FILE = "ailab-release.yml"
_RELEASES = frozenset({"push", "schedule", "workflow_dispatch"})
#: Commits looked at in one sweep: one request each, of the 1,000 an hour that a token has.
MOST_COMMITS = 100


@dataclass
class Swept:
    """What a sweep did: SHAs by what became of them. `again`: releases of which what was lost is
    measured once more."""

    ended: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0


def sweep(desk: Desk, bot_id: int, rng: random.Random, most: int = MOST_COMMITS) -> Swept:
    """End every status that nobody else will end; one that fails does not stop the others.

    At most `most` commits are looked at; the others have their turn in a later sweep.
    """
    now = desk.now()
    found = Swept()
    newest: dict[str, Run] = {}
    for run in measurements(desk, now - OLDEST_RERUN):
        known = newest.get(run.head_sha)
        if known is None or turn(run) > turn(known):
            newest[run.head_sha] = run
    due = []
    for run in newest.values():
        ended, age = run.status == "completed", _age(run, now)
        if age < (GRACE if ended else OLDEST_RUN):
            found.live.append(run.head_sha)
        elif not ended or age < WINDOW:
            due.append(run)
    # What ended lately is looked at for certain, several times; the rest has its turn by chance.
    rng.shuffle(due)
    due.sort(key=lambda run: run.status != "completed" or now - run.updated_at > LATELY)
    found.left = max(0, len(due) - most)
    for run in due[:most]:
        try:
            _sweep_one(desk, run, bot_id, found)
        except OutOfTimeError:
            raise
        except Exception as error:
            found.failed[run.head_sha] = getattr(error, "what", repr(error))
    _start_again(desk, found, now)
    return found


def _start_again(desk: Desk, found: Swept, now: datetime) -> None:
    """Releases with jobs that failed, once: a job's status says whether it did its work, not what
    it found. The jobs that ended well are not run again, so their shards' results stand."""
    try:
        runs = desk.github.runs(RELEASE_FILE, since=now - RELEASE_WINDOW)
    except NotFoundError:  # the workflow is not installed
        return
    newest: set[str | None] = set()
    for run in sorted(runs, key=lambda run: run.id, reverse=True):
        is_own = run.repository_id == desk.repository_id and run.event in _RELEASES
        # One that is not its branch's newest would take a waiting one's place in the queue.
        if not is_own or run.head_branch in newest:
            continue
        newest.add(run.head_branch)
        if run.status != "completed" or run.conclusion != "failure" or run.attempt > 1:
            continue
        try:
            desk.github.rerun(run.id, failed_only=True)
        except OutOfTimeError:
            raise
        except GitHubError as error:
            found.failed[run.head_sha] = error.what
        else:
            found.again.append(run.head_sha)


def measurements(desk: Desk, since: datetime) -> list[Run]:
    """Runs of our measuring workflows; a workflow that is not installed has none."""
    found: list[Run] = []
    for file in (MEASURE_FILE, QUEUE_FILE):
        try:
            runs = desk.github.runs(file, since=since)
        except NotFoundError:
            continue
        found += [r for r in runs if is_ours(desk, r) and r.conclusion not in NOT_MEASURED]
    return found


def _age(run: Run, now: datetime) -> timedelta:
    """Since its end, or, where it has none, since its latest attempt began."""
    return now - (run.updated_at if run.status == "completed" else run.started_at)


def _sweep_one(desk: Desk, run: Run, bot_id: int, found: Swept) -> None:
    age = _age(run, desk.now())
    gate = gate_of(desk.github.statuses(run.head_sha), bot_id)
    if gate is not None and gate.state != Conclusion.PENDING.value:
        return
    if run.status == "completed" and age < GIVE_UP:
        publish(desk, run)
    else:
        text = status.swept(age.total_seconds() / 3600)
        set_gate(desk, run.head_sha, Conclusion.ERROR, text, run.url)
    found.ended.append(run.head_sha)
