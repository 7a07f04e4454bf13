"""What crosses a job's boundary beside trials: the shard that a job is given, and its result.

A result comes from a job that ran a pull request's code: it is read as hostile input, field by
field, and contributes numbers and names, never an identity or a verdict. What is only shown is cut
where it is too long; everything else is as it should be, or the whole is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from ailab_bot.errors import UserError
from ailab_bot.model import strictjson as read
from ailab_bot.model.report import Machine
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.shard import (
    LONGEST_NOTE,
    LONGEST_REASON,
    MOST_NOTES,
    READERS_OWN,
    Loss,
    LossKind,
    Shard,
    ShardResult,
)
from ailab_bot.model.verdict import Explanation, ImportChange

SCHEMA = 1
#: The two files that a shard leaves, and one more where footprints were asked for: one a line.
TRIALS, RESULT, FOOTPRINTS = "trials.jsonl", "shard.json", "footprints.jsonl"
#: A result holds names and imports; real ones stay below 100 KiB.
LARGEST_RESULT_BYTES = 4 << 20
#: Of a list of scenarios, notes or imports.
_MOST = 1000
_LONGEST = 1000

_SHARD = {field.name for field in fields(Shard)}
_RESULT = {"schema"} | {field.name for field in fields(ShardResult)}
_IMPORT = {field.name for field in fields(ImportChange)}
_MACHINE = {field.name for field in fields(Machine)}
_LOSS = {field.name for field in fields(Loss)}


def shards_to_json(shards: Sequence[Shard]) -> str:
    """The matrix of the measuring jobs, one line."""
    return json.dumps([asdict(shard) for shard in shards], ensure_ascii=False)


def shard_from_json(text: str, source: str) -> Shard:
    """One entry of the matrix; UserError where it is none."""
    try:
        row = read.mapping(read.load(text), "the shard", _SHARD)
        return Shard(
            index=read.whole(row["index"], "index", most=_MOST),
            labels=read.names(row["labels"], "labels"),
            timeout_minutes=read.whole(row["timeout_minutes"], "timeout_minutes", least=1),
            scenarios=read.names(row["scenarios"], "scenarios", most=_MOST),
            expected_s=read.number(row["expected_s"], "expected_s"),
            capacity_s=None
            if row["capacity_s"] is None
            else read.number(row["capacity_s"], "capacity_s"),
            base=read.sha(row["base"], "base"),
            head=read.sha(row["head"], "head"),
            definitions=read.text(row["definitions"], "definitions", least=0),
            seed=read.whole(row["seed"], "seed", most=2**31),
            family=read.whole(row["family"], "family", most=10**6),
            footprints=read.flag(row["footprints"], "footprints"),
        )
    except read.BadJsonError as error:
        raise UserError(
            f"{source} holds no shard",
            why=str(error),
            advice="It must be one entry of the matrix that `ailab plan` prints.",
        ) from None


def result_to_json(result: ShardResult) -> str:
    """The text of shard.json."""
    return json.dumps(result_document(result), ensure_ascii=False, indent=1) + "\n"


def result_document(result: ShardResult) -> dict[str, object]:
    """What shard.json holds, also the document of `ailab measure --json`."""
    row: dict[str, object] = {"schema": SCHEMA, **asdict(result)}
    row["explanations"] = [explanation_to_row(item) for item in result.explanations]
    return row


def result_from_json(data: bytes) -> ShardResult:
    """A hostile shard.json; BadJsonError with the reason where it is not one."""
    row = read.mapping(read.load_bytes(data, most=LARGEST_RESULT_BYTES), "shard.json", _RESULT)
    read.schema(row, SCHEMA)
    machine = read.mapping(row["machine"], "machine", _MACHINE)
    return ShardResult(
        index=read.whole(row["index"], "index", most=_MOST),
        base=read.sha(row["base"], "base"),
        head=read.sha(row["head"], "head"),
        seed=read.whole(row["seed"], "seed", most=2**31),
        machine=Machine(
            cpu=read.text(machine["cpu"], "machine.cpu"),
            cores=read.whole(machine["cores"], "machine.cores", most=100_000),
            memory_bytes=read.whole(machine["memory_bytes"], "machine.memory_bytes", most=10**18),
            system=read.text(machine["system"], "machine.system"),
            python=read.text(machine["python"], "machine.python"),
        ),
        spent_s=read.number(row["spent_s"], "spent_s", most=1e7),
        definitions=_texts(row["definitions"], "definitions"),
        explanations=tuple(
            explanation_from_row(item)
            for item in read.items(row["explanations"], "explanations", most=_MOST)
        ),
        lost=_lost(row["lost"]),
        notes=tuple(
            _shown(note, "a note", LONGEST_NOTE)
            for note in read.items(row["notes"], "notes", most=MOST_NOTES)
        ),
        interrupted=read.flag(row["interrupted"], "interrupted"),
    )


def fingerprint(scenario: Scenario) -> str:
    """What tells two definitions of a scenario apart; where its file lies does not matter."""
    row = {k: v for k, v in vars(scenario).items() if k not in {"directory", "description"}}
    text = json.dumps(row, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    return vars(value) if hasattr(value, "__dict__") else dict(value)  # type: ignore[call-overload]


def explanation_to_row(item: Explanation) -> dict[str, object]:
    return {
        "scenario": item.scenario,
        "imports_added": [asdict(change) for change in item.imports_added],
        "imports_removed": [asdict(change) for change in item.imports_removed],
        "note": item.note,
    }


def explanation_from_row(value: object) -> Explanation:
    names = {"scenario", "imports_added", "imports_removed", "note"}
    row = read.mapping(value, "an explanation", names)
    return Explanation(
        read.text(row["scenario"], "explanation.scenario"),
        imports_added=_imports(row["imports_added"]),
        imports_removed=_imports(row["imports_removed"]),
        note=_shown(row["note"], "explanation.note", LONGEST_NOTE),
    )


def _imports(value: object) -> tuple[ImportChange, ...]:
    found = []
    for each in read.items(value, "imports", most=_MOST):
        row = read.mapping(each, "an import", _IMPORT)
        found.append(
            ImportChange(
                read.text(row["module"], "import.module"),
                read.number(row["seconds"], "import.seconds", most=1e6),
                read.whole(row["submodules"], "import.submodules"),
                read.text(row["importer"], "import.importer", most=_LONGEST),
            )
        )
    return tuple(found)


def _lost(value: object) -> dict[str, Loss]:
    if not isinstance(value, dict) or len(value) > _MOST:
        read.refuse(f"lost must be an object of at most {_MOST} scenarios")
    found = {}
    for key, each in value.items():
        name = read.text(key, "a name in lost")
        row = read.mapping(each, f"lost.{name:.40}", _LOSS)
        kind = read.one_of(row["kind"], f"lost.{name:.40}.kind", LossKind)
        if kind in READERS_OWN:
            read.refuse(f"lost.{name:.40}.kind is {kind}, which no job says of itself")
        found[name] = Loss(kind, _shown(row["reason"], f"lost.{name:.40}.reason", LONGEST_REASON))
    return found


def _shown(value: object, name: str, most: int) -> str:
    """A text that people read and nothing depends on: cut, where it is too long."""
    text = read.text(value, name, least=0, most=LARGEST_RESULT_BYTES)
    return text if len(text) <= most else text[: most - 1] + "…"


def _texts(value: object, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MOST:
        read.refuse(f"{name} must be an object of at most {_MOST} texts")
    return {
        read.text(key, f"a name in {name}"): read.text(each, f"{name}.{key:.40}", most=_LONGEST)
        for key, each in value.items()
    }
