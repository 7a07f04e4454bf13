"""Makes the records again that history lacks: a job that failed, or was never started.

What a record holds follows from a measurement's artifacts, which GitHub keeps for weeks. Refuses
to write: that is for a job which has read nothing hostile.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from ailab_bot.errors import AilabError
from ailab_bot.flows.desk import Desk, open_case, resolve
from ailab_bot.flows.history import ENDED, change_place, read_places, records_of
from ailab_bot.flows.publish import chosen_artifacts, judge_case
from ailab_bot.flows.sweep import measurements
from ailab_bot.gh.client import OutOfTimeError, Run
from ailab_bot.ledger.records import Record

#: How far back to look: a history that cannot be written over a long weekend loses nothing.
WINDOW = timedelta(days=5)
#: The report's own jobs have this long after a run's end.
GRACE = timedelta(minutes=20)
#: Measurements made again in one sweep: each costs about 5 requests and one for each shard.
MOST_AT_ONCE = 5


@dataclass(frozen=True)
class Made:
    """`failed`: by SHA why a measurement could not be read again."""

    records: tuple[Record, ...]
    failed: dict[str, str]


def make_missing(desk: Desk, rng: random.Random) -> Made:
    """Records of finished measurements that the branch lacks, of some of them by chance.

    By chance, because a measurement may be one that gives no record: in a fixed order a few of
    those would stand before the others in every sweep.
    """
    known = read_places(desk.around.workspace, desk.ledger_tip())
    since = desk.now() - WINDOW
    done = measurements(desk, since)
    runs = [run for run in done if run.status == "completed" and run.conclusion in ENDED]
    late = [run for run in runs if desk.now() - run.updated_at >= GRACE]
    missing = [run for run in late if change_place(run) not in known]
    records: list[Record] = []
    failed: dict[str, str] = {}
    for run in rng.sample(missing, min(MOST_AT_ONCE, len(missing))):
        try:
            records += _make(desk, run)
        except OutOfTimeError:
            break
        except AilabError as error:
            failed[run.head_sha] = error.what
    return Made(tuple(records), failed)


def _make(desk: Desk, run: Run) -> tuple[Record, ...]:
    artifacts = chosen_artifacts(desk.github, run)
    subject = resolve(desk, run) if artifacts else None
    if subject is None or subject.rivals or subject.superseded_by:
        return ()
    case = open_case(desk, subject, desk.around.capacity_s)
    if case.change.refusal or case.change.skip or not case.definitions.config.github.history:
        return ()
    report, _ = judge_case(desk, case, artifacts)
    return records_of(report, run, case.change.body())
