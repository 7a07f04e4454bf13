"""History of a repository's measurements: its records, how they get to the branch, what plans read.

The job that decides has read hostile artifacts, and may not write to the repository; the job that
may write reads nothing but the records that the first one made, in an artifact of their own run.
It comes last: status, comment, history. No verdict waits for it or depends on it.

There is no queue of records that could not be written. What is needed to make one lies in the
measurement's artifacts for weeks, and the branch says which one is missing: the sweeper makes it
again (`flows/catch_up`). That also covers a job that was never started, was ended in its middle or
lost its disk, which a queue would not survive.

A pull request's numbers never become a baseline or a threshold. They are read here for one thing,
how long a scenario takes, which decides who measures it and not what is found. Refuses to let
them be anything: each is clipped, and a median of several counts.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.gh.client import Run
from ailab_bot.ledger.git_branch import (
    Ledger,
    LedgerError,
    Place,
    RecordConflictError,
    append,
    is_place,
)
from ailab_bot.ledger.reading import list_places, read_texts
from ailab_bot.ledger.records import (
    CHANGE,
    Origin,
    Record,
    place_of,
    record_from_json,
    record_to_json,
)
from ailab_bot.model.report import Report
from ailab_bot.model.wire import results_to_json

BRANCH = "ailab-ledger"
#: The artifact that hands records from one job to the next, and the file in it.
ARTIFACT, FILE = "ailab-records", "ailab-records.json"
#: Ends of a run that measured what it was to measure; what was cut short says little.
ENDED = frozenset({"success", "failure"})
#: Measurements of a scenario that its expected duration is the median of.
MOST_RECORDS = 10
#: No scenario is expected to take less or more; GitHub ends a job after 6 hours.
SHORTEST_S, LONGEST_S = 1.0, 6 * 3600.0
#: Characters of a processor's name, which a measuring job has said.
_LONGEST_MACHINE = 200


def change_place(run: Run) -> Place:
    """Where the record of the change lies that this attempt measured."""
    return (run.head_sha[:2], run.head_sha, CHANGE, f"{run.id}-{run.attempt}.json")


def records_of(report: Report, run: Run) -> tuple[Record, ...]:
    """The measured change, then each of its scenarios that has times. Nothing without any."""
    if run.conclusion not in ENDED or not report.trial_seconds:
        return ()
    origin = Origin.MERGE_GROUP if run.event == "merge_group" else Origin.PULL_REQUEST
    machine = ", ".join(dict.fromkeys(each.cpu for each in report.machines))
    document = results_to_json(report.verdicts, report.failures, report.conclusion)
    verdicts = document["results"]
    assert isinstance(verdicts, list)

    def record(scenario: str, found: Iterable[Mapping[str, object]], seconds: float) -> Record:
        return Record(
            sha=run.head_sha,
            base=report.base.sha,
            scenario=scenario,
            run=run.id,
            attempt=run.attempt,
            when=run.updated_at,
            machine=machine[:_LONGEST_MACHINE],
            verdicts=tuple(found),
            runner_seconds=seconds,
            origin=origin,
        )

    made = [record("", [{"conclusion": report.conclusion.value}], report.runner_seconds)]
    for scenario, seconds in report.trial_seconds.items():
        own = [verdict for verdict in verdicts if verdict["scenario"] == scenario]
        made.append(record(scenario, own, seconds))
    return tuple(record for record in made if is_place(place_of(record)))


def write_history(
    ledger: Ledger,
    records: Iterable[Record],
    *,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> int:
    """How many changes are new on the branch. LedgerError where it cannot be written.

    A change that is there stays as it was written first: made again it may differ, where the base
    branch's policy has changed since.
    """
    changes: dict[tuple[str, int, int], dict[Place, str]] = {}
    for record in records:
        key = (record.sha, record.run, record.attempt)
        changes.setdefault(key, {})[place_of(record)] = record_to_json(record)
    written = 0
    for texts in changes.values():
        try:
            written += append(ledger, texts, sleep=sleep, rng=rng)
        except RecordConflictError:
            continue
    return written


def read_places(clone: Path, tip: str | None) -> frozenset[Place]:
    """All records of the branch's commit; none where there is no such commit, or it is damaged."""
    if tip is None:
        return frozenset()
    try:
        return frozenset(list_places(clone, tip))
    except LedgerError:
        return frozenset()


def expected_s(clone: Path, tip: str | None, scenarios: Collection[str]) -> dict[str, float]:
    """Seconds by scenario, as far as the branch's commit knows any. Never an error.

    A scenario's trials in one run count once, as its latest attempt has them: a later attempt
    repeats what an earlier one found.
    """
    wanted = set(scenarios)
    latest: dict[tuple[str, int], tuple[int, Place]] = {}
    for place in read_places(clone, tip):
        run, _, attempt = place[3].removesuffix(".json").partition("-")
        if place[2] in wanted and _is_number(run) and _is_number(attempt):
            key = (place[2], int(run))
            latest[key] = max(latest.get(key, (0, place)), (int(attempt), place))
    newest: dict[str, list[Place]] = {}
    for (scenario, _), (_, place) in sorted(latest.items(), reverse=True):  # runs count upwards
        if len(newest.setdefault(scenario, [])) < MOST_RECORDS:
            newest[scenario].append(place)
    places = [place for own in newest.values() for place in own]
    try:
        texts = read_texts(clone, tip, places) if tip and places else {}
    except LedgerError:
        return {}
    found: dict[str, list[float]] = {}
    for place, text in texts.items():
        try:
            seconds = record_from_json(text, "/".join(place)).runner_seconds
        except UserError:
            continue
        found.setdefault(place[2], []).append(min(max(seconds, SHORTEST_S), LONGEST_S))
    return {scenario: statistics.median(each) for scenario, each in found.items()}


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 18
