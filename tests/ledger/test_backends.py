"""What holds for the ledger whichever back end keeps it: one suite, met by both."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from conftest import Backend, git_store
from ledgers import NOW, counting, everything, key, other_kind, record

from ailab_bot.errors import UserError
from ailab_bot.ledger.places import DamagedViewError, RecordConflictError
from ailab_bot.ledger.records import Kind, Record
from ailab_bot.ledger.store import Copied, copy_records

WRITERS = 16


def test_an_empty_ledger_has_no_records_and_no_views(backend: Backend) -> None:
    store = backend.open()
    assert everything(store) == []
    assert store.view("plan") is None
    assert list(store.news("plan", Counter())) == []


def test_what_was_appended_is_read_back_as_it_was(backend: Backend) -> None:
    records = [record(1), record(2, scenario=""), record(3, scenario="训练")]
    records += [other_kind(kind, 4) for kind in Kind if kind is not Kind.VERDICT]
    records += [record(5, scenario="s" * 64, run=10**15, attempt=10**9)]
    records += [other_kind(Kind.FEEDBACK, 6, base="", body={"note": "\x00 \\ \" \u2028 'x'; --"})]
    assert backend.open().append(records)
    assert everything(backend.open()) == everything_of(records)


def everything_of(records: list[Record]) -> list[Record]:
    return sorted(records, key=key)


def test_the_same_record_again_is_nothing(backend: Backend) -> None:
    assert backend.open().append([record(1)])
    assert not backend.open().append([record(1)])
    assert backend.open().append([record(1), record(2)])
    assert everything(backend.open()) == [record(1), record(2)]


def test_another_record_under_a_name_is_an_error_and_nothing_is_written(backend: Backend) -> None:
    backend.open().append([record(1)])
    other = record(1, machine="Another")
    with pytest.raises(RecordConflictError, match="already holds another") as caught:
        backend.open().append([record(2), other, record(3)])
    assert caught.value.place[-1] == "eager.1-1.json"
    assert everything(backend.open()) == [record(1)]


@pytest.mark.parametrize("scenario", ["../x", "a/b", "a\n", "a\x00b", ".git"], ids=repr)
def test_a_hostile_name_is_refused(backend: Backend, scenario: str) -> None:
    with pytest.raises(UserError, match="not a record's name"):
        backend.open().append([record(1, scenario=scenario)])
    assert everything(backend.open()) == []


def test_records_are_chosen_by_kind_and_by_the_day_that_their_run_began(backend: Backend) -> None:
    old, new = record(1, days=200), record(2, days=3)
    plan = other_kind(Kind.PLAN, 3, days=3)
    backend.open().append([old, new, plan])
    store = backend.open()
    assert everything(store, kinds=(Kind.PLAN,)) == [plan]
    assert everything(store, kinds=(Kind.VERDICT, Kind.PLAN)) == [plan, old, new]
    assert everything(store, since=date(2026, 5, 29)) == [plan, new]
    assert everything(store, since=date(2026, 5, 30)) == []


def test_a_view_is_made_of_every_record_once_and_its_news_are_those_since(
    backend: Backend,
) -> None:
    backend.open().append([record(n, days=n) for n in range(1, 101)])
    done = backend.open().compact(NOW, {"count": counting})
    assert (done.views, done.skipped) == (("count",), {})
    assert backend.open().view("count") == b"100"
    assert list(backend.open().news("count", Counter())) == []
    late = [record(300, days=90), record(301, days=0)]
    backend.open().append(late)
    assert everything_of(list(backend.open().news("count", Counter()))) == late
    assert len(list(backend.open().news("no such view", Counter()))) == 102
    backend.open().compact(NOW, {"count": counting})
    assert backend.open().view("count") == b"102"
    assert backend.open().compact(NOW, {"count": counting}).views == (), "nothing came since"
    assert len(everything(backend.open())) == 102


def test_another_view_begins_with_every_record_there_is(backend: Backend) -> None:
    backend.open().append([record(n, days=n) for n in range(1, 101)])
    backend.open().compact(NOW, {"count": counting})
    backend.open().append([record(101)])
    backend.open().compact(NOW, {"count": counting, "other": counting})
    assert backend.open().view("other") == b"101"
    assert backend.open().view("count") == b"101"


def test_a_damaged_view_is_made_anew_of_every_record_though_nothing_came(backend: Backend) -> None:
    def damaged(previous: bytes | None, records: object) -> bytes:
        return b"nonsense"

    def strict(previous: bytes | None, records: Iterator[Record]) -> bytes:
        if previous is not None and not previous.isdigit():
            raise DamagedViewError
        return counting(previous, records)

    backend.open().append([record(n, days=100) for n in range(1, 6)])
    backend.open().compact(NOW, {"count": damaged})
    assert backend.open().compact(NOW, {"count": strict}).views == ("count",)
    assert backend.open().view("count") == b"5"
    backend.open().append([record(6)])
    backend.open().compact(NOW, {"count": damaged})
    backend.open().append([record(7)])
    backend.open().compact(NOW, {"count": strict})
    assert backend.open().view("count") == b"7"


def test_a_view_that_cannot_be_made_leaves_everything_as_it_was(backend: Backend) -> None:
    backend.open().append([record(1, days=100)])
    backend.open().compact(NOW, {"count": counting})

    def broken(previous: bytes | None, records: object) -> bytes:
        raise ZeroDivisionError

    backend.open().append([record(2, days=100)])
    with pytest.raises(ZeroDivisionError):
        backend.open().compact(NOW, {"count": counting, "broken": broken})
    assert backend.open().view("count") == b"1"
    assert len(everything(backend.open())) == 2


WRITER = """
import sys, time
sys.path[:0] = sys.argv[1:3]
from conftest import open_words
from ledgers import NOW, counting, record
number, start, name, where = int(sys.argv[3]), float(sys.argv[4]), sys.argv[5], sys.argv[6]
store = open_words(name, where)
time.sleep(max(0.0, start - time.time()))
if number == 0:
    for turn in range(4):
        store.compact(NOW, {"count": counting})
        time.sleep(0.3)
else:
    for turn in range(2):
        own = [record(100 * number + turn, days=days, scenario=f"s{days}") for days in (1, 90)]
        assert store.append(own)
"""


def test_sixteen_writers_and_a_compaction_at_once_lose_nothing_and_double_nothing(
    backend: Backend,
) -> None:
    before = [record(n, days=n) for n in range(1, 61)]
    backend.open().append(before)
    start = str(time.time() + 4)  # all have loaded Python by then
    here = Path(__file__).parent
    paths = (str(here), str(here.parent))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *paths, str(number), start, *backend.words],
            env={**os.environ, "PYTHONPATH": str(here.parents[1])},
            stderr=subprocess.PIPE,
        )
        for number in range(WRITERS + 1)
    ]
    errors = [process.communicate(timeout=300)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * (WRITERS + 1), errors
    assert len(everything(backend.open())) == 60 + WRITERS * 4
    assert len({each.run for each in everything(backend.open())}) == 60 + WRITERS * 2
    backend.open().compact(NOW, {"count": counting})
    assert len(everything(backend.open())) == 60 + WRITERS * 4
    assert backend.open().view("count") == str(60 + WRITERS * 4).encode()


@pytest.fixture
def other(backend: Backend, request: pytest.FixtureRequest) -> Callable[[], object]:
    """The other back end."""
    if backend.name == "git":
        store = request.getfixturevalue("sql_store")
        return lambda: store
    clone = request.getfixturevalue("clone")
    return lambda: git_store(clone)


def test_a_ledger_is_copied_to_the_other_back_end_each_record_once_and_resumed(
    backend: Backend, other: Callable[[], object]
) -> None:
    records = [record(n, days=n) for n in range(1, 101)]
    records += [other_kind(Kind.FOOTPRINT, n) for n in range(1, 5)]
    backend.open().append(records)
    backend.open().compact(NOW, {})
    target = other()
    target.append(records[:30])  # as an attempt that was interrupted has left it
    assert copy_records(backend.open(), other(), Counter()) == Copied(74, 30)
    other().compact(NOW, {})
    assert copy_records(backend.open(), other(), Counter()) == Copied(0, 104)
    assert everything(other()) == everything_of(records)
    backend.open().append([record(300, days=100)])
    other().append([record(300, days=100, machine="Another")])
    other().compact(NOW, {})
    with pytest.raises(RecordConflictError):
        copy_records(backend.open(), other(), Counter())


def test_what_differs_stops_a_copy_before_anything_more_is_written(
    backend: Backend, other: Callable[[], object]
) -> None:
    records = [record(n) for n in range(1, 5)]
    backend.open().append(records)
    changed = replace(records[2], machine="Another")
    other().append([changed])
    with pytest.raises(RecordConflictError):
        copy_records(backend.open(), other(), Counter())
    assert everything(other()) == [changed]


def test_randomly_mixed_appends_and_compactions_keep_every_record(backend: Backend) -> None:
    rng = random.Random(7)
    kept: list[Record] = []
    for number in range(1, 13):
        if rng.random() < 0.3:
            backend.open().compact(NOW, {"count": counting})
        else:
            new = [
                record(number, days=rng.choice([1, 50, 400]), scenario=f"s{n}") for n in range(5)
            ]
            backend.open().append(new)
            kept += new
        assert everything(backend.open()) == everything_of(kept)
    backend.open().compact(NOW, {"count": counting})
    assert backend.open().view("count") == str(len(kept)).encode()
