"""A record of the ledger: what one run planned, found, touched or was told, about one scenario of
a commit or about the change as a whole.

One envelope for all kinds, as one line of JSON; several in the file that one job hands to the
next. Refuses to interpret what a record holds: verdicts and bodies are kept as they were written,
so that a record stays readable when their words grow. What cannot be read is named by a reason,
for its reader to count and say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from ailab_bot.errors import UserError
from ailab_bot.ledger.places import RECORDS, Place
from ailab_bot.model import strictjson
from ailab_bot.model.strictjson import Json

SCHEMA = 1
#: Bytes of a record. Verdicts of a scenario stay below 20 KiB; the footprint of a training script
#: that imports a framework of 3,000 files takes about 300 KiB.
LARGEST_BYTES = 1 << 20
#: Stands for a scenario's name where the record is about the whole change. No scenario's name
#: begins with a `_`.
CHANGE = "_change"
#: A file that is handed over: 300 scenarios take 600 KiB.
LARGEST_FILE_BYTES = 32 << 20
_MOST_RECORDS = 10_000
_MOST_VERDICTS = 1000
_KEYS = {
    *("schema", "kind", "sha", "base", "scenario", "run", "attempt", "begun", "when", "machine"),
    *("origin", "verdicts", "runner_seconds", "body"),
}


class Kind(StrEnum):
    """What a record is about."""

    VERDICT = "verdict"  # what a run measured
    PLAN = "plan"  # which scenarios were taken and left, and with what propensity
    FOOTPRINT = "footprint"  # what a scenario touched
    FEEDBACK = "feedback"  # whether somebody called an alarm right
    INCIDENT = "incident"  # a step in the life of a tracked regression
    MODEL = "model"  # what selection learned


class Origin(StrEnum):
    """Whose code was measured. Only a release's numbers may become a baseline or a threshold."""

    PULL_REQUEST = "pull_request"
    MERGE_GROUP = "merge_group"
    RELEASE = "release"
    LOCAL = "local"


class Skip(StrEnum):
    """Why something on the branch was not read as a record."""

    DAMAGED = "damaged"
    NEWER = "of a newer ailab"
    LARGE = "too large"
    MISPLACED = "under another record's name"
    MISSING = "not in this clone"


#: What may become a baseline or a threshold: numbers of code that was reviewed and merged,
#: measured on machines that no pull request reaches.
BASELINE_ORIGINS = frozenset({Origin.RELEASE})


@dataclass(frozen=True)
class Record:
    """`scenario` is empty for a record of the whole change. `run` and `attempt` are GitHub's.

    `verdicts` are plain mappings as the JSON report has them; `when` has a time zone.
    `runner_seconds`: of a change what its shards say that they spent; of a scenario the sum of the
    times to first batch of its trials, and nothing for what lies between them. Other kinds than
    VERDICT have neither, but a `body` of plain JSON. `base` may be empty where nothing was
    compared. `begun`: when the run came to be, the same for all its attempts, which says where the
    record lies; None: as `when`.
    """

    sha: str
    base: str
    scenario: str
    run: int
    attempt: int
    when: datetime
    machine: str = ""
    verdicts: tuple[Mapping[str, object], ...] = ()
    runner_seconds: float = 0.0
    origin: Origin = Origin.PULL_REQUEST
    kind: Kind = Kind.VERDICT
    body: Mapping[str, object] = field(default_factory=dict)
    begun: datetime | None = None

    @property
    def day(self) -> date:
        return (self.begun or self.when).astimezone(UTC).date()


class NotARecordError(Exception):
    """`skip` is the kind of reason, the text the reason."""

    def __init__(self, skip: Skip, why: str) -> None:
        super().__init__(why)
        self.skip = skip


def baseline_records(records: Iterable[Record]) -> Iterator[Record]:
    """The records that a baseline, a threshold or the truth of training may be made of.

    The one place where that is decided: never from a pull request, a merge queue or a desk.
    """
    return (record for record in records if record.origin in BASELINE_ORIGINS)


def place_of(record: Record) -> Place:
    """Where the record lies: one file per kind, commit, scenario, run and attempt."""
    day = record.day
    return place_for(
        record.kind, day, record.sha, record.scenario or CHANGE, record.run, record.attempt
    )


def place_for(kind: Kind, day: date, sha: str, scenario: str, run: int, attempt: int) -> Place:
    """As `place_of`, where only the name is known. `day` is the UTC day of the run's beginning."""
    folder = (RECORDS, kind.value, f"{day.year:04d}", f"{day.month:02d}-{day.day:02d}", sha)
    return (*folder, f"{scenario}.{run}-{attempt}.json")


def split_name(name: str) -> tuple[str, int, int] | None:
    """Scenario, run and attempt of a loose record's file name; None where it is none."""
    scenario, dot, rest = name.removesuffix(".json").rpartition(".")
    run, dash, attempt = rest.partition("-")
    if not (dot and dash and name.endswith(".json") and _is_number(run) and _is_number(attempt)):
        return None
    return scenario, int(run), int(attempt)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 18


# --- writing -----------------------------------------------------------------------------------


def record_to_json(record: Record) -> str:
    """One line. The same record gives the same bytes: a second append of it is none.

    UserError where it would be too large for a reader.
    """
    text = _written(_row(record), None)
    if len(text.encode()) > LARGEST_BYTES:
        raise UserError(
            f"the {record.kind} of {record.scenario or 'the change'} is too large to record",
            why=f"It has {len(text.encode())} bytes; a record has at most {LARGEST_BYTES}.",
            advice="A scenario that touches that much should be split, or history switched off.",
        )
    return text


def records_to_json(records: Iterable[Record]) -> str:
    """Several records as one document, for `records_from_json`."""
    return _written([_row(record) for record in records], 1)


def _row(record: Record) -> Json:
    return {
        "schema": SCHEMA,
        "kind": record.kind.value,
        "sha": record.sha,
        "base": record.base,
        "scenario": record.scenario,
        "run": record.run,
        "attempt": record.attempt,
        "begun": record.begun.isoformat(timespec="seconds") if record.begun else None,
        "when": record.when.isoformat(timespec="seconds"),
        "machine": record.machine,
        "origin": record.origin.value,
        "verdicts": [dict(verdict) for verdict in record.verdicts],
        "runner_seconds": round(record.runner_seconds, 3),
        "body": dict(record.body),
    }


def _written(document: object, indent: int | None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(
        document,
        ensure_ascii=False,
        allow_nan=False,
        sort_keys=True,
        indent=indent,
        separators=separators,
    )
    # Halves of characters, as raw output may hold, could not be read back.
    return text.encode("utf-8", "replace").decode("utf-8") + "\n"


# --- reading -----------------------------------------------------------------------------------


def read_record(data: bytes) -> Record:
    """NotARecordError, with its kind of reason, where it is none."""
    if len(data) > LARGEST_BYTES:
        raise NotARecordError(
            Skip.LARGE, f"it has {len(data)} bytes; at most {LARGEST_BYTES} are read"
        )
    try:
        row = strictjson.load_bytes(data, most=LARGEST_BYTES)
        if not isinstance(row, dict):
            strictjson.refuse("not a JSON object")
        schema = row.get("schema")
        if type(schema) is int and schema > SCHEMA:
            raise NotARecordError(
                Skip.NEWER, f"schema {schema} is not {SCHEMA}; a newer ailab may read it"
            )
        return _parse(row)
    except strictjson.BadJsonError as error:
        raise NotARecordError(Skip.DAMAGED, str(error)) from None


def record_from_json(text: str, source: str) -> Record:
    """UserError where it is none; `source` names it."""
    try:
        return read_record(text.encode("utf-8", "replace"))
    except NotARecordError as error:
        raise _not_one(source, str(error)) from None


def records_from_json(data: bytes, source: str) -> tuple[Record, ...]:
    """What `records_to_json` wrote; UserError where anything in it is no record."""
    try:
        rows = strictjson.load_bytes(data, most=LARGEST_FILE_BYTES)
        return tuple(
            _parse(row) if isinstance(row, dict) else strictjson.refuse("not a JSON object")
            for row in strictjson.items(rows, "the document", most=_MOST_RECORDS)
        )
    except strictjson.BadJsonError as error:
        raise _not_one(source, str(error)) from None


def _not_one(source: str, why: str) -> UserError:
    return UserError(
        f"{source}: not a record of history",
        why=why,
        advice="Records are written by ailab alone; remove the file if a person changed it.",
    )


def _parse(row: Json) -> Record:
    strictjson.keys(row, _KEYS)
    strictjson.schema(row, SCHEMA)
    kind = strictjson.one_of(row["kind"], "kind", Kind)
    verdicts = strictjson.items(row["verdicts"], "verdicts", most=_MOST_VERDICTS)
    for verdict in verdicts:
        if not isinstance(verdict, dict):
            strictjson.refuse("verdicts must be a list of objects")
    body = row["body"]
    if not isinstance(body, dict):
        strictjson.refuse("body must be an object")
    if verdicts and kind is not Kind.VERDICT:
        strictjson.refuse(f"a {kind} has no verdicts")
    if body and kind is Kind.VERDICT:
        strictjson.refuse("a verdict has no body")
    base = row["base"]
    return Record(
        sha=strictjson.sha(row["sha"], "sha"),
        base="" if base == "" and kind is not Kind.VERDICT else strictjson.sha(base, "base"),
        scenario=strictjson.text(row["scenario"], "scenario", least=0),
        run=strictjson.whole(row["run"], "run", most=10**15),
        attempt=strictjson.whole(row["attempt"], "attempt", least=1),
        when=_time(row["when"], "when"),
        begun=None if row["begun"] is None else _time(row["begun"], "begun"),
        machine=strictjson.text(row["machine"], "machine", least=0),
        verdicts=tuple(verdict for verdict in verdicts if isinstance(verdict, dict)),
        runner_seconds=strictjson.number(row["runner_seconds"], "runner_seconds"),
        origin=strictjson.one_of(row["origin"], "origin", Origin),
        kind=kind,
        body=body,
    )


def _time(value: object, name: str) -> datetime:
    try:
        when = datetime.fromisoformat(strictjson.text(value, name))
    except ValueError:
        strictjson.refuse(f"{name} is not a time such as 2026-01-31T12:00:00+00:00")
    if when.tzinfo is None:
        strictjson.refuse(f"{name} has no time zone")
    return when
