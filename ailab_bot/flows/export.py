"""The ledger as flat tables, in CSV or Parquet, for pandas, DuckDB and their like.

One table for each kind of record: a row for each verdict, each choice of a plan, each file of a
footprint. Rows are in the order of their runs' days, then of their names, whatever the ledger's
back end and whenever it was compacted. Refuses to trust what a record holds: a value of another
type than its column's is left empty.
"""

from __future__ import annotations

import csv
import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ailab_bot.errors import UserError
from ailab_bot.ledger.records import Kind, Record, read_record, record_to_json
from ailab_bot.ledger.store import Store
from ailab_bot.model.footprint import Use
from ailab_bot.model.footprintwire import footprint_from_json
from ailab_bot.model.strictjson import BadJsonError

CSV, PARQUET = "csv", "parquet"
FORMATS = (CSV, PARQUET)
#: Records sorted in memory: 70 MB of them. More are sorted in files, then merged.
_SORTED_AT_ONCE = 50_000
#: Rows of a Parquet row group: what a reader takes into memory at once.
_GROUP = 50_000

Value = str | int | float | bool | datetime | None
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Table:
    """`columns` by name with their types; `rows` of one record, without the columns that all
    tables begin with."""

    name: str
    columns: Mapping[str, type]
    rows: Callable[[Record], Iterable[Row]]


_COMMON: Mapping[str, type] = {
    "sha": str, "base": str, "scenario": str, "run": int, "attempt": int, "begun": datetime,
    "when": datetime, "machine": str, "origin": str,
}  # fmt: skip
_VERDICT: Mapping[str, type] = {
    "metric": str, "verdict": str, "confirmed": bool, "effect": float, "interval_low": float,
    "interval_high": float, "level": float, "threshold": float, "p_value": float, "noise": float,
    "base_median": float, "head_median": float, "blocks_used": int, "blocks_available": int,
    "confirmation_blocks": int, "stopped": str, "reason": str, "gates": bool, "margin": float,
    "evidence": float, "pattern": str, "conclusion": str, "runner_seconds": float,
}  # fmt: skip
_CHOICE: Mapping[str, type] = {
    "chosen_scenario": str, "taken": bool, "rule": str, "reason": str, "probability": float,
    "propensity": float, "cost_s": float, "seed": int, "capacity_s": float, "basis": str,
}  # fmt: skip
_FILE: Mapping[str, type] = {
    "path": str, "imported": bool, "opened": bool, "functions": int, "calls": int, "share": float,
    "python": str, "definition": str,
}  # fmt: skip
_FEEDBACK: Mapping[str, type] = {"verdict": str, "right": bool, "note": str, "body": str}
_INCIDENT: Mapping[str, type] = {"incident": str, "state": str, "metric": str, "body": str}
_MODEL: Mapping[str, type] = {"body": str}


def _typed(value: object, kind: type) -> Value:
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is int and abs(value) >= 2**63:
        return None
    return value if type(value) is kind else None  # type: ignore[return-value]


def _picked(source: Mapping[str, object], columns: Mapping[str, type]) -> Row:
    return tuple(_typed(source.get(name), kind) for name, kind in columns.items())


def _verdict_rows(record: Record) -> Iterator[Row]:
    """A scenario without a verdict has a row too: what it cost is known."""
    for verdict in record.verdicts or ({},):
        interval = verdict.get("interval")
        low, high = interval if isinstance(interval, list) and len(interval) == 2 else (None, None)
        more = {"interval_low": low, "interval_high": high, "runner_seconds": record.runner_seconds}
        yield _picked({**verdict, **more}, _VERDICT)


def _choice_rows(record: Record) -> Iterator[Row]:
    choices = record.body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield _picked(
                {**record.body, **choice, "chosen_scenario": choice.get("scenario")}, _CHOICE
            )


def _file_rows(record: Record) -> Iterator[Row]:
    """What ran of each file, too; a footprint that cannot be read has no rows."""
    try:
        footprint = footprint_from_json(record.body.get("footprint"))
    except BadJsonError:
        return
    definition = _typed(record.body.get("definition"), str)
    for path, uses in sorted(footprint.files.items()):
        ran = footprint.functions.get(path, {}).values()
        yield (
            path, Use.IMPORTED in uses, Use.OPENED in uses, len(ran),
            min(sum(each.calls for each in ran), 2**63 - 1), sum(each.share for each in ran),
            footprint.python, definition,
        )  # fmt: skip


def _body_rows(columns: Mapping[str, type]) -> Callable[[Record], Iterator[Row]]:
    def rows(record: Record) -> Iterator[Row]:
        text = json.dumps(dict(record.body), ensure_ascii=False, sort_keys=True)
        yield _picked({**record.body, "body": text}, columns)

    return rows


TABLES: Mapping[Kind, Table] = {
    Kind.VERDICT: Table("verdicts", _VERDICT, _verdict_rows),
    Kind.PLAN: Table("plans", _CHOICE, _choice_rows),
    Kind.FOOTPRINT: Table("footprints", _FILE, _file_rows),
    Kind.FEEDBACK: Table("feedback", _FEEDBACK, _body_rows(_FEEDBACK)),
    Kind.INCIDENT: Table("incidents", _INCIDENT, _body_rows(_INCIDENT)),
    Kind.MODEL: Table("models", _MODEL, _body_rows(_MODEL)),
}


@dataclass(frozen=True)
class Exported:
    """`rows` by file; `skipped`: by reason what of the ledger could not be read."""

    rows: Mapping[Path, int]
    skipped: Mapping[str, int] = field(default_factory=dict)


def export(
    store: Store,
    target: Path,
    *,
    kinds: Collection[Kind] = (),
    since: date | None = None,
    form: str = "",
) -> Exported:
    """Write the tables: into `target` where it names a file, else into files below that folder.

    An existing file is replaced once the new one is whole. `form` is one of FORMATS, by default
    as the file's name ends, else CSV.
    """
    suffix = target.suffix.lower().lstrip(".")
    is_file = suffix in FORMATS and not target.is_dir()
    form = form or (suffix if is_file else CSV)
    if is_file and len(kinds) != 1:
        raise UserError(
            f"{target} would hold several tables",
            why="A file holds one kind of record; their columns differ.",
            advice="Add --kind KIND, or name a folder.",
        )
    if is_file and form != suffix:
        raise UserError(
            f"{target} would not hold what its name says",
            why=f"The format asked for is {form}.",
            advice=f"Name a file that ends in .{form}, or leave --format out.",
        )
    writer = _csv_writer if form == CSV else _parquet_writer()
    skipped: Counter[str] = Counter()
    rows: dict[Path, int] = {}
    for kind in kinds or TABLES:
        table = TABLES[kind]
        path = target if is_file else target / f"{table.name}.{form}"
        rows[path] = _write(writer, path, table, store.read(skipped, (kind,), since))
    return Exported(rows, dict(skipped))


_Writer = Callable[[Path, Mapping[str, type], Iterator[Row]], None]


def _write(writer: _Writer, path: Path, table: Table, records: Iterator[Record]) -> int:
    columns = {**_COMMON, **table.columns}
    count = 0

    def rows() -> Iterator[Row]:
        nonlocal count
        for record in in_order(records):
            first = _common(record)
            for row in table.rows(record):
                count += 1
                yield (*first, *row)

    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(unfinished, columns, rows())
        unfinished.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}", why=str(error), advice="Name a folder of yours with space left."
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return count


def _common(record: Record) -> Row:
    begun = (record.begun or record.when).astimezone(UTC)
    return (
        record.sha, record.base, record.scenario, record.run, record.attempt, begun,
        record.when.astimezone(UTC), record.machine, record.origin.value,
    )  # fmt: skip


def in_order(records: Iterator[Record]) -> Iterator[Record]:
    """By day, commit, scenario, run and attempt; what does not fit into memory goes over disk."""
    first = sorted(_line(record) for record in islice(records, _SORTED_AT_ONCE))
    with ExitStack() as stack:
        runs: list[Iterable[str]] = [first]
        while more := sorted(_line(record) for record in islice(records, _SORTED_AT_ONCE)):
            file: IO[str] = stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")
            )
            file.writelines(more)
            file.seek(0)
            runs.append(file)
        for line in heapq.merge(*runs):
            yield read_record(line.rpartition("\x1f")[2].encode())


def _line(record: Record) -> str:
    key = (
        str(record.day),
        record.sha,
        record.scenario,
        f"{record.run:020}",
        f"{record.attempt:020}",
    )
    return "\x1f".join((*key, record_to_json(record)))


# --- formats -----------------------------------------------------------------------------------


def _csv_writer(path: Path, columns: Mapping[str, type], rows: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        out.writerows([_in_csv(value) for value in row] for row in rows)


def _in_csv(value: Value) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else value


def _parquet_writer() -> _Writer:
    """UserError where the extra is not installed, before anything is read or written."""
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise UserError(
            "Parquet cannot be written here",
            why="The package pyarrow is not installed.",
            advice="pip install 'ailab-bot[export]', or use --format csv.",
        ) from None
    types: dict[type, Any] = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", tz="UTC"),
    }

    def write(path: Path, columns: Mapping[str, type], rows: Iterator[Row]) -> None:
        schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        with _closed_whatever(parquet.ParquetWriter(path, schema)) as out:
            while some := list(islice(rows, _GROUP)):
                cells = zip(*some, strict=True)
                arrays = [pa.array(c, f.type) for c, f in zip(cells, schema, strict=True)]
                out.write_table(pa.Table.from_arrays(arrays, schema=schema))

    return write


@contextmanager
def _closed_whatever(writer: Any) -> Iterator[Any]:
    try:
        yield writer
    finally:
        writer.close()
