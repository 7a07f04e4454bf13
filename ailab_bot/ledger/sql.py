"""The ledger in PostgreSQL, for repositories whose history outgrew a branch. The only module that
knows SQL.

Records are only ever inserted; the database refuses anything else by a trigger. Appends take turns
by a lock, so that a record's number is in the order in which others can see it, and a view knows
by one number what it covers. Refuses to show the database's address or password in any error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    create_engine,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ailab_bot.errors import UserError
from ailab_bot.ledger.compaction import Build, Compacted
from ailab_bot.ledger.places import (
    DamagedViewError,
    LedgerError,
    RecordConflictError,
    check_place,
)
from ailab_bot.ledger.records import (
    Kind,
    NotARecordError,
    Record,
    place_of,
    read_record,
    record_to_json,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

#: The variable that holds the database's address, with its password.
URL_VARIABLE = "AILAB_LEDGER_URL"
#: Version of the tables; a newer ailab that changes them raises it.
TABLES = 1
#: Rows of one statement.
_AT_ONCE = 500
#: Keys of PostgreSQL's advisory locks: any two numbers that nobody else in the database uses.
_APPENDING, _COMPACTING = 0x61696C61, 0x61696C62
_CONNECT_S = 15

_METADATA = MetaData()
_RECORDS = Table(
    "ailab_records",
    _METADATA,
    Column("number", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("sha", Text, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("day", Date, nullable=False),
    Column("origin", Text, nullable=False),
    Column("line", Text, nullable=False),
    PrimaryKeyConstraint("kind", "sha", "scenario", "run", "attempt"),
    Index("ailab_records_day", "kind", "day"),
)
_VIEWS = Table(
    "ailab_views",
    _METADATA,
    Column("name", Text, primary_key=True),
    Column("covered", BigInteger, nullable=False),
    Column("made", DateTime(timezone=True), nullable=False),
    Column("data", LargeBinary, nullable=False),
)
_TABLES = Table("ailab_tables", _METADATA, Column("version", Integer, primary_key=True))
_KEY = (
    _RECORDS.c.kind,
    _RECORDS.c.sha,
    _RECORDS.c.scenario,
    _RECORDS.c.run,
    _RECORDS.c.attempt,
)
_ONLY_INSERTS = (
    """CREATE FUNCTION ailab_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'ailab_records is append-only'; END $$""",
    """CREATE TRIGGER ailab_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ailab_records
    FOR EACH STATEMENT EXECUTE FUNCTION ailab_refuse()""",
)


@dataclass(frozen=True)
class SqlStore:
    """See `store.Store`. Made by `open_store`."""

    engine: Engine
    #: Takes what may be secret out of a text.
    redact: Callable[[str], str]

    def append(self, records: Iterable[Record]) -> bool:
        rows = [_row(record) for record in records]
        written = 0
        with self._said("written"), self.engine.begin() as connection:
            _lock(connection, _APPENDING)
            for start in range(0, len(rows), _AT_ONCE):
                written += _insert(connection, rows[start : start + _AT_ONCE])
        return written > 0

    def read(
        self, skipped: Counter[str], kinds: Collection[Kind] = (), since: date | None = None
    ) -> Iterator[Record]:
        chosen = select(_RECORDS.c.line)
        if kinds:
            chosen = chosen.where(_RECORDS.c.kind.in_([str(kind) for kind in kinds]))
        if since is not None:
            chosen = chosen.where(_RECORDS.c.day >= since)
        chosen = chosen.order_by(_RECORDS.c.kind, _RECORDS.c.day, *_KEY[1:])
        with self._said("read"), self.engine.connect() as connection:
            result = connection.execution_options(yield_per=1000).execute(chosen)
            yield from _records((str(row.line) for row in result), skipped)

    def view(self, name: str) -> bytes | None:
        with self._said("read"), self.engine.connect() as connection:
            data = connection.execute(
                select(_VIEWS.c.data).where(_VIEWS.c.name == name)
            ).scalar_one_or_none()
        return None if data is None else bytes(data)

    def news(self, name: str, skipped: Counter[str]) -> Iterator[Record]:
        with self._said("read"), self.engine.connect() as connection:
            covered = select(_VIEWS.c.covered).where(_VIEWS.c.name == name)
            after = connection.execute(covered).scalar_one_or_none() or 0
            yield from _between(connection, after, _last(connection), skipped)

    def compact(self, now: datetime, views: Mapping[str, Build]) -> Compacted:
        """The views alone: the database keeps old records as quick to reach as new ones."""
        made = []
        skipped: Counter[str] = Counter()
        with self._said("written"), self.engine.begin() as connection:
            _lock(connection, _COMPACTING)
            for name, build in views.items():
                row = connection.execute(
                    select(_VIEWS.c.data, _VIEWS.c.covered).where(_VIEWS.c.name == name)
                ).one_or_none()
                last, after = _last(connection), row.covered if row else 0
                if row and last == after and _is_whole(build, bytes(row.data)):
                    continue
                own: Counter[str] = Counter()
                try:
                    records = _between(connection, after, last, own)
                    data = build(bytes(row.data) if row else None, records)
                except DamagedViewError:
                    own.clear()
                    data = build(None, _between(connection, 0, last, own))
                values = {"covered": last, "made": now, "data": data}
                # What a view says follows from the records; it is the one thing to be replaced.
                connection.execute(
                    insert(_VIEWS)
                    .values(name=name, **values)
                    .on_conflict_do_update(index_elements=["name"], set_=values)
                )
                made.append(name)
                for reason, count in own.items():
                    skipped[reason] = max(skipped[reason], count)
        return Compacted(views=tuple(made), skipped=dict(skipped))

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """The database's errors as ours."""
        try:
            yield
        except SQLAlchemyError as error:
            why = self.redact(str(getattr(error, "orig", None) or error)).strip()
            raise LedgerError(
                f"the ledger's database could not be {what}",
                why=why[:500],
                advice=f"Is the server up, and are address and rights in {URL_VARIABLE} right? "
                "Nothing was written.",
            ) from None


def _is_whole(build: Build, data: bytes) -> bool:
    try:
        build(data, iter(()))
    except DamagedViewError:
        return False
    return True


def open_store(url: str) -> SqlStore:
    """Connect, and make the tables where there are none. LedgerError where it cannot be reached."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # their texts hold the address
        raise _bad_address("It is no URL.") from None
    if address.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
        raise _bad_address("Its scheme is not postgresql.")
    password = str(address.password or "")
    secrets = [each for each in (url, quote(password, safe=""), password) if each]
    pattern = re.compile("|".join(map(re.escape, secrets)))

    def redact(said: str) -> str:
        return pattern.sub("…", said)

    try:
        engine = create_engine(
            address.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_S, "client_encoding": "utf8"},
        )
    except (ImportError, SQLAlchemyError) as error:
        raise _bad_address(redact(str(error))) from None
    store = SqlStore(engine, redact)
    try:
        with store._said("opened"):
            _make_tables(engine)
    except BaseException:
        store.close()
        raise
    return store


def _bad_address(why: str) -> UserError:
    return UserError(
        "this is not a ledger's database",
        why=why,
        advice=f"Set {URL_VARIABLE} to postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    )


def _make_tables(engine: Engine) -> None:
    """A role that may only insert and read needs no right to make tables once they are there."""
    with engine.begin() as connection:
        known = connection.execute(text("SELECT to_regclass('ailab_tables')")).scalar_one()
        if known is None:
            _lock(connection, _APPENDING)  # two that come at once would both make them
            if connection.execute(text("SELECT to_regclass('ailab_tables')")).scalar_one() is None:
                _METADATA.create_all(connection)
                for statement in _ONLY_INSERTS:
                    connection.execute(text(statement))
                connection.execute(insert(_TABLES).values(version=TABLES))
        version = connection.execute(select(func.max(_TABLES.c.version))).scalar_one()
    if version != TABLES:
        raise UserError(
            f"the ledger's database has tables of version {version}",
            why=f"This ailab knows version {TABLES}.",
            advice="Use the ailab that made them, or a newer one.",
        )


def _lock(connection: Connection, key: int) -> None:
    """Until the transaction's end."""
    connection.execute(select(func.pg_advisory_xact_lock(key)))


def _row(record: Record) -> dict[str, object]:
    check_place(place_of(record))
    return {
        "kind": record.kind.value,
        "sha": record.sha,
        "scenario": record.scenario,
        "run": record.run,
        "attempt": record.attempt,
        "day": record.day,
        "origin": record.origin.value,
        "line": record_to_json(record),
    }


def _insert(connection: Connection, rows: list[dict[str, object]]) -> int:
    """How many are new. RecordConflictError where one is there with other content."""
    made = connection.execute(
        insert(_RECORDS).on_conflict_do_nothing().values(rows).returning(*_KEY)
    )
    new = {tuple(row) for row in made}
    known = {key: row for row in rows if (key := tuple(row[c.name] for c in _KEY)) not in new}
    if known:
        found = select(*_KEY, _RECORDS.c.line).where(tuple_(*_KEY).in_(list(known)))
        for row in connection.execute(found):
            if known[tuple(row[:-1])]["line"] != row.line:
                raise RecordConflictError(place_of(read_record(str(row.line).encode())))
    return len(new)


def _last(connection: Connection) -> int:
    return int(connection.execute(select(func.max(_RECORDS.c.number))).scalar_one() or 0)


def _between(
    connection: Connection, after: int, last: int, skipped: Counter[str]
) -> Iterator[Record]:
    chosen = select(_RECORDS.c.number, _RECORDS.c.line).order_by(_RECORDS.c.number).limit(1000)
    while after < last:
        asked = chosen.where(_RECORDS.c.number > after, _RECORDS.c.number <= last)
        rows = connection.execute(asked).all()
        if not rows:
            return
        yield from _records((str(row.line) for row in rows), skipped)
        after = rows[-1].number


def _records(lines: Iterable[str], skipped: Counter[str]) -> Iterator[Record]:
    for line in lines:
        try:
            yield read_record(line.encode())
        except NotARecordError as error:
            skipped[error.skip] += 1
