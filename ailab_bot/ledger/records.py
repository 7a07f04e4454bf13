"""A record of history: what one run found about one scenario, or about a change as a whole.

Plain data and its JSON, one record a file, or several in the file that one job hands to the next.
Refuses to interpret verdicts: they are kept as they were written, so that a record stays readable
when the words of a verdict grow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ailab_bot.errors import UserError
from ailab_bot.ledger.git_branch import Place
from ailab_bot.model import strictjson
from ailab_bot.model.strictjson import Json

SCHEMA = 1
#: A record holds a scenario's verdicts; real ones stay below 20 KiB.
LARGEST_BYTES = 1 << 20
#: Stands for a scenario's name where the record is about the whole change. No scenario's name
#: begins with a `_`.
CHANGE = "_change"
#: A file that is handed over: 300 scenarios take 600 KiB.
LARGEST_FILE_BYTES = 32 << 20
_MOST_RECORDS = 10_000
_MOST_VERDICTS = 1000
_KEYS = {
    *("schema", "sha", "base", "scenario", "run", "attempt", "when", "machine"),
    *("origin", "verdicts", "runner_seconds"),
}


class Origin(StrEnum):
    """Whose code was measured. Only a release's numbers may become a baseline or a threshold."""

    PULL_REQUEST = "pull_request"
    MERGE_GROUP = "merge_group"
    RELEASE = "release"


@dataclass(frozen=True)
class Record:
    """`scenario` is empty for a record of the whole change. `run` and `attempt` are GitHub's.

    `verdicts` are plain mappings as the JSON report has them; `when` has a time zone.
    `runner_seconds`: of a change what its shards say that they spent; of a scenario the sum of the
    times to first batch of its trials, and nothing for what lies between them.
    """

    sha: str
    base: str
    scenario: str
    run: int
    attempt: int
    when: datetime
    machine: str
    verdicts: tuple[Mapping[str, object], ...]
    runner_seconds: float
    origin: Origin = Origin.PULL_REQUEST


def place_of(record: Record) -> Place:
    """Where the record lies: one file per commit, scenario, run and attempt."""
    name = f"{record.run}-{record.attempt}.json"
    return (record.sha[:2], record.sha, record.scenario or CHANGE, name)


def record_to_json(record: Record) -> str:
    """The same record gives the same bytes: a second append of it is none."""
    return _written(_row(record))


def records_to_json(records: Iterable[Record]) -> str:
    """Several records as one document, for `records_from_json`."""
    return _written([_row(record) for record in records])


def _row(record: Record) -> Json:
    return {
        "schema": SCHEMA,
        "sha": record.sha,
        "base": record.base,
        "scenario": record.scenario,
        "run": record.run,
        "attempt": record.attempt,
        "when": record.when.isoformat(timespec="seconds"),
        "machine": record.machine,
        "origin": record.origin.value,
        "verdicts": [dict(verdict) for verdict in record.verdicts],
        "runner_seconds": round(record.runner_seconds, 3),
    }


def _written(document: object) -> str:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    # Halves of characters, as raw output may hold, could not be read back.
    return text.encode("utf-8", "replace").decode("utf-8") + "\n"


def record_from_json(text: str, source: str) -> Record:
    """UserError where it is none; `source` names it."""
    try:
        if len(text) > LARGEST_BYTES:
            strictjson.refuse(f"it has {len(text)} characters; at most {LARGEST_BYTES} are read")
        return _parse(strictjson.load_object(text))
    except strictjson.BadJsonError as error:
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
    when = _time(row["when"])
    verdicts = strictjson.items(row["verdicts"], "verdicts", most=_MOST_VERDICTS)
    for verdict in verdicts:
        if not isinstance(verdict, dict):
            strictjson.refuse("verdicts must be a list of objects")
    return Record(
        sha=strictjson.sha(row["sha"], "sha"),
        base=strictjson.sha(row["base"], "base"),
        scenario=strictjson.text(row["scenario"], "scenario", least=0),
        run=strictjson.whole(row["run"], "run", most=10**15),
        attempt=strictjson.whole(row["attempt"], "attempt", least=1),
        when=when,
        machine=strictjson.text(row["machine"], "machine", least=0),
        verdicts=tuple(verdict for verdict in verdicts if isinstance(verdict, dict)),
        runner_seconds=strictjson.number(row["runner_seconds"], "runner_seconds"),
        origin=strictjson.one_of(row["origin"], "origin", Origin),
    )


def _time(value: object) -> datetime:
    try:
        when = datetime.fromisoformat(strictjson.text(value, "when"))
    except ValueError:
        strictjson.refuse("when is not a time such as 2026-01-31T12:00:00+00:00")
    if when.tzinfo is None:
        strictjson.refuse("when has no time zone")
    return when
