"""A record of history: what one run found about one scenario, or about a change as a whole.

Plain data and its JSON. Refuses to interpret verdicts: they are kept as they were written, so that
a record stays readable when the words of a verdict grow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

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
_MOST_VERDICTS = 1000
_KEYS = {
    *("schema", "sha", "base", "scenario", "run", "attempt", "when", "machine"),
    *("verdicts", "runner_seconds"),
}


@dataclass(frozen=True)
class Record:
    """`scenario` is empty for a record of the whole change. `run` and `attempt` are GitHub's.

    `verdicts` are plain mappings as the JSON report has them; `when` has a time zone.
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


def place_of(record: Record) -> Place:
    """Where the record lies: one file per commit, scenario, run and attempt."""
    name = f"{record.run}-{record.attempt}.json"
    return (record.sha[:2], record.sha, record.scenario or CHANGE, name)


def record_to_json(record: Record) -> str:
    """The same record gives the same bytes: a second append of it is none."""
    row: Json = {
        "schema": SCHEMA,
        "sha": record.sha,
        "base": record.base,
        "scenario": record.scenario,
        "run": record.run,
        "attempt": record.attempt,
        "when": record.when.isoformat(timespec="seconds"),
        "machine": record.machine,
        "verdicts": [dict(verdict) for verdict in record.verdicts],
        "runner_seconds": round(record.runner_seconds, 3),
    }
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    # Halves of characters, as raw output may hold, could not be read back.
    return text.encode("utf-8", "replace").decode("utf-8") + "\n"


def record_from_json(text: str, source: str) -> Record:
    """UserError where it is none; `source` names it."""
    try:
        return _parse(text)
    except strictjson.BadJsonError as error:
        raise UserError(
            f"{source}: not a record of history",
            why=str(error),
            advice="Records are written by ailab alone; remove the file if a person changed it.",
        ) from None


def _parse(text: str) -> Record:
    if len(text) > LARGEST_BYTES:
        strictjson.refuse(f"it has {len(text)} characters; at most {LARGEST_BYTES} are read")
    row = strictjson.load_object(text)
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
    )


def _time(value: object) -> datetime:
    try:
        when = datetime.fromisoformat(strictjson.text(value, "when"))
    except ValueError:
        strictjson.refuse("when is not a time such as 2026-01-31T12:00:00+00:00")
    if when.tzinfo is None:
        strictjson.refuse("when has no time zone")
    return when
