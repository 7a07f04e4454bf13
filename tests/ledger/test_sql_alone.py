"""What only the database can promise: it refuses to change a record, whoever asks."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from ledgers import NOW, counting, everything, record
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from ailab_bot.errors import UserError
from ailab_bot.ledger import sql
from ailab_bot.ledger.places import LedgerError
from ailab_bot.ledger.sql import SqlStore, open_store


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ailab_records SET line = ''",
        "DELETE FROM ailab_records",
        "TRUNCATE ailab_records",
        (
            "INSERT INTO ailab_records (kind, sha, scenario, run, attempt, day, origin, line) "
            "SELECT kind, sha, scenario, run, attempt, day, origin, '' FROM ailab_records "
            "ON CONFLICT (kind, sha, scenario, run, attempt) DO UPDATE SET line = ''"
        ),
    ],
)
def test_the_database_refuses_to_change_or_remove_a_record(
    sql_store: SqlStore, statement: str
) -> None:
    sql_store.append([record(1)])
    with pytest.raises(DBAPIError, match="append-only"), sql_store.engine.begin() as connection:
        connection.execute(text(statement))
    assert everything(sql_store) == [record(1)]


def test_a_view_does_not_step_over_a_record_that_is_not_committed_yet(
    sql_store: SqlStore,
) -> None:
    """Numbers are given out before records can be seen."""
    other = Thread(target=sql_store.append, args=([record(2)],))
    with sql_store.engine.connect() as first:
        sql._lock(first, sql._APPENDING)
        sql._insert(first, [sql._row(record(1))])
        other.start()
        until = time.monotonic() + 30
        while other.is_alive() and not waiting(sql_store) and time.monotonic() < until:
            time.sleep(0.02)
        sql_store.compact(NOW, {"count": counting})
        first.commit()
    other.join(30)
    sql_store.compact(NOW, {"count": counting})
    assert sql_store.view("count") == b"2"


def waiting(store: SqlStore) -> bool:
    asked = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with store.engine.connect() as connection:
        return bool(connection.execute(asked).scalar_one())


def test_the_code_asks_for_no_such_thing() -> None:
    code = Path(sql.__file__).read_text(encoding="utf-8")
    assert not re.search(r"\b(update|delete|drop|truncate)\(", code)
    assert code.count("on_conflict_do_update(") == 1, "a view, which follows from the records"


def test_a_role_that_may_read_and_insert_is_enough(sql_store: SqlStore, database_url: str) -> None:
    with sql_store.engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS writer"))
        connection.execute(text("CREATE ROLE writer LOGIN PASSWORD 'w'"))
        connection.execute(text("GRANT SELECT, INSERT ON ailab_records TO writer"))
        connection.execute(text("GRANT SELECT ON ailab_tables, ailab_views TO writer"))
    url = make_url(database_url).set(username="writer", password="w")
    store = open_store(url.render_as_string(hide_password=False))
    assert store.append([record(1)])
    assert everything(store) == [record(1)]
    with pytest.raises(LedgerError, match="could not be written") as caught:
        store.compact(NOW, {"count": counting})
    assert "permission denied" in caught.value.why
    store.close()
    with sql_store.engine.begin() as connection:
        connection.execute(text("DROP OWNED BY writer"))
        connection.execute(text("DROP ROLE writer"))


def test_tables_of_a_newer_ailab_are_left_alone(sql_store: SqlStore, database_url: str) -> None:
    with sql_store.engine.begin() as connection:
        connection.execute(text("INSERT INTO ailab_tables VALUES (2)"))
    with pytest.raises(UserError, match="tables of version 2"):
        open_store(database_url)


def test_a_damaged_line_is_passed_over_and_counted(sql_store: SqlStore) -> None:
    sql_store.append([record(1), record(2)])
    insert = text(
        "INSERT INTO ailab_records (kind, sha, scenario, run, attempt, day, origin, line) VALUES "
        "('verdict', '', '', 1, 1, '2026-01-01', 'release', :line)"
    )
    with sql_store.engine.begin() as connection:
        connection.execute(insert, {"line": '{"schema": 9}'})
    skipped: Counter[str] = Counter()
    assert len(list(sql_store.read(skipped))) == 2
    assert skipped == {"of a newer ailab": 1}
    done = sql_store.compact(datetime.now(UTC), {"count": counting})
    assert done.skipped == {"of a newer ailab": 1}
    assert sql_store.view("count") == b"2"


def test_a_server_that_goes_away_is_an_error_that_may_pass(
    sql_store: SqlStore, postgres: Path
) -> None:
    sql_store.append([record(1)])
    url = sql_store.engine.url
    with psycopg.connect(
        host=str(postgres), user="postgres", password=url.password, autocommit=True
    ) as connection:
        connection.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (url.database,),
        )
    with pytest.raises(LedgerError, match="database could not be") as caught:
        sql_store.append([record(2)])
    assert "Nothing was written" in caught.value.advice
