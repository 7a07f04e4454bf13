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

import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC
from pathlib import Path

from ailab_bot.gh.client import Run
from ailab_bot.ledger.git_branch import append
from ailab_bot.ledger.places import (
    DamagedViewError,
    LedgerError,
    Place,
    RecordConflictError,
    is_place,
)
from ailab_bot.ledger.reading import Entry, list_entries, list_since, read_entries
from ailab_bot.ledger.records import (
    CHANGE,
    Kind,
    Origin,
    Record,
    place_for,
    place_of,
    record_to_json,
    split_name,
)
from ailab_bot.ledger.scratch import Ledger
from ailab_bot.model import strictjson
from ailab_bot.model.report import Report
from ailab_bot.model.wire import results_to_json

BRANCH = "ailab-ledger"
#: The artifact that hands records from one job to the next, and the file in it.
ARTIFACT, FILE = "ailab-records", "ailab-records.json"
#: The ledger's view that says how long scenarios take. What reads another format has another name.
DURATIONS = "durations-1"
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
    day = run.created_at.astimezone(UTC).date()
    return place_for(Kind.VERDICT, day, run.head_sha, CHANGE, run.id, run.attempt)


def records_of(
    report: Report,
    run: Run,
    plan_body: Mapping[str, object],
    origin: Origin = Origin.PULL_REQUEST,
    footprints: Iterable[tuple[str, Mapping[str, object]]] = (),
) -> tuple[Record, ...]:
    """The measured change, its plan, then each of its scenarios that has times. Nothing without
    any. `footprints`: bodies by scenario, of a release's head.
    """
    if not report.trial_seconds or (run.conclusion not in ENDED and origin is not Origin.RELEASE):
        return ()
    if run.event == "merge_group":
        origin = Origin.MERGE_GROUP
    machine = ", ".join(dict.fromkeys(each.cpu for each in report.machines))
    document = results_to_json(report.verdicts, report.failures, report.conclusion)
    verdicts = document["results"]
    assert isinstance(verdicts, list)

    def record(
        scenario: str,
        found: Iterable[Mapping[str, object]] = (),
        seconds: float = 0.0,
        kind: Kind = Kind.VERDICT,
        body: Mapping[str, object] | None = None,
    ) -> Record:
        return Record(
            sha=report.head.sha,
            base=report.base.sha,
            scenario=scenario,
            run=run.id,
            attempt=run.attempt,
            begun=run.created_at,
            when=run.updated_at,
            machine=machine[:_LONGEST_MACHINE],
            verdicts=tuple(found),
            runner_seconds=seconds,
            origin=origin,
            kind=kind,
            body=body or {},
        )

    made = [record("", [{"conclusion": report.conclusion.value}], report.runner_seconds)]
    made.append(record("", kind=Kind.PLAN, body=plan_body))
    made += [record(name, kind=Kind.FOOTPRINT, body=body) for name, body in footprints]
    for scenario, seconds in report.trial_seconds.items():
        own = [verdict for verdict in verdicts if verdict["scenario"] == scenario]
        made.append(record(scenario, own, seconds))
    return tuple(record for record in made if is_place(place_of(record)))


def plan_of(sha: str, base: str, run: Run, plan_body: Mapping[str, object]) -> tuple[Record, ...]:
    """The plan alone, of a change of which nothing was measured: without those, what plans leave
    out would be estimated from the changes that they were less sure of."""
    if run.conclusion not in ENDED:
        return ()
    origin = Origin.MERGE_GROUP if run.event == "merge_group" else Origin.PULL_REQUEST
    return (
        Record(
            sha=sha,
            base=base,
            scenario="",
            run=run.id,
            attempt=run.attempt,
            begun=run.created_at,
            when=run.updated_at,
            origin=origin,
            kind=Kind.PLAN,
            body=plan_body,
        ),
    )


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
    changes: dict[tuple[str, int, int], dict[Place, Record]] = {}
    for record in records:
        key = (record.sha, record.run, record.attempt)
        changes.setdefault(key, {})[place_of(record)] = record
    written = 0
    for own in changes.values():
        texts = {place: record_to_json(record) for place, record in own.items()}
        ended = max(record.when for record in own.values())
        try:
            written += append(ledger, texts, sleep=sleep, rng=rng, not_before=ended)
        except RecordConflictError:
            continue
    return written


def read_places(clone: Path, tip: str | None) -> frozenset[Place]:
    """Loose verdicts of the branch's commit; none where there is no such commit, or it is
    damaged. What the sweeper may make again is loose."""
    if tip is None:
        return frozenset()
    try:
        return frozenset(entry.place for entry in list_entries(clone, tip, (Kind.VERDICT,)))
    except LedgerError:
        return frozenset()


def expected_s(clone: Path, tip: str | None, scenarios: Collection[str]) -> dict[str, float]:
    """Seconds by scenario, as far as the branch's commit knows any. Never an error.

    A scenario's trials in one run count once, as its latest attempt has them: a later attempt
    repeats what an earlier one found.
    """
    if tip is None:
        return {}
    try:
        return _expected_s(clone, tip, frozenset(scenarios))
    except LedgerError:
        return {}


def _expected_s(clone: Path, tip: str, wanted: frozenset[str]) -> dict[str, float]:
    since = list_since(clone, tip, DURATIONS, (Kind.VERDICT,))
    known = _durations_of(since.view.data) if since.view else {}
    entries = since.entries
    if since.view and known is None:  # damaged: as if there were none
        entries, known = list_entries(clone, tip, (Kind.VERDICT,)), {}
    newest = _newest(known or {}, entries, wanted)
    asked = [each for own in newest.values() for each in own.values() if isinstance(each, Entry)]
    read = {entry.path: record for entry, record in read_entries(clone, asked, Counter())}
    found: dict[str, float] = {}
    for scenario, runs in newest.items():
        seconds = []
        for each in runs.values():
            if isinstance(each, Entry):
                record = read.get(each.path)
                seconds += [] if record is None else [_clipped(record.runner_seconds)]
            else:
                seconds.append(_clipped(each))
        if seconds:
            found[scenario] = statistics.median(seconds)
    return found


def _newest(
    known: Mapping[str, Mapping[int, tuple[int, float]]],
    entries: Iterable[Entry],
    wanted: frozenset[str],
) -> dict[str, dict[int, float | Entry]]:
    """By scenario and run, of its last MOST_RECORDS runs, what the latest attempt has."""
    latest: dict[str, dict[int, tuple[int, float | Entry]]] = {
        scenario: dict(known[scenario]) for scenario in wanted if scenario in known
    }
    for entry in entries:
        words = split_name(entry.path.rpartition("/")[2])
        if words is None or words[0] not in wanted:
            continue
        scenario, run, attempt = words
        own = latest.setdefault(scenario, {})
        if run not in own or own[run][0] < attempt:
            own[run] = (attempt, entry)
    return {
        scenario: {run: own[run][1] for run in sorted(own)[-MOST_RECORDS:]}  # they count upwards
        for scenario, own in latest.items()
    }


def build_durations(previous: bytes | None, records: Iterator[Record]) -> bytes:
    """The view DURATIONS: by scenario the last runs, each with its attempt and seconds.
    DamagedViewError, see `Build`."""
    known = _durations_of(previous) if previous is not None else {}
    if known is None:
        raise DamagedViewError(DURATIONS)
    latest = {scenario: dict(runs) for scenario, runs in known.items()}
    for record in records:
        if record.kind is not Kind.VERDICT or not record.scenario:
            continue
        own = latest.setdefault(record.scenario, {})
        if record.run not in own or own[record.run][0] < record.attempt:
            own[record.run] = (record.attempt, _clipped(record.runner_seconds))
        if len(own) > 2 * MOST_RECORDS:
            latest[record.scenario] = _last(own)
    rows = {
        scenario: [[run, *own] for run, own in sorted(_last(runs).items())]
        for scenario, runs in sorted(latest.items())
    }
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def _last(runs: Mapping[int, tuple[int, float]]) -> dict[int, tuple[int, float]]:
    return {run: runs[run] for run in sorted(runs)[-MOST_RECORDS:]}


def _durations_of(data: bytes) -> dict[str, dict[int, tuple[int, float]]] | None:
    """None where it is damaged."""
    try:
        rows = strictjson.load_bytes(data, most=len(data))
        if not isinstance(rows, dict):
            return None
        return {
            strictjson.text(scenario, "a scenario"): dict(
                _run_of(run) for run in strictjson.items(runs, "runs", most=MOST_RECORDS)
            )
            for scenario, runs in rows.items()
        }
    except strictjson.BadJsonError:
        return None


def _run_of(row: object) -> tuple[int, tuple[int, float]]:
    run, attempt, seconds = strictjson.items(row, "a run", least=3, most=3)
    return strictjson.whole(run, "run", most=10**15), (
        strictjson.whole(attempt, "attempt", least=1),
        strictjson.number(seconds, "seconds"),
    )


def _clipped(seconds: float) -> float:
    return min(max(seconds, SHORTEST_S), LONGEST_S)
