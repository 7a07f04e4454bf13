"""Records of the ledger: every kind in one envelope, read strictly, placed by their run's day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.errors import UserError
from ailab_bot.ledger.places import day_of, is_place
from ailab_bot.ledger.records import (
    LARGEST_BYTES,
    Kind,
    NotARecordError,
    Origin,
    Record,
    Skip,
    baseline_records,
    place_of,
    read_record,
    record_to_json,
    records_from_json,
    records_to_json,
    split_name,
)

VERDICT = Record(
    sha="0f" * 20,
    base="1e" * 20,
    scenario="train",
    run=123456789012,
    attempt=2,
    begun=datetime(2026, 1, 31, 12, 0, tzinfo=UTC),
    when=datetime(2026, 2, 20, 12, 0, tzinfo=UTC),
    machine="Testing CPU",
    verdicts=({"metric": "ttfb_s"},),
    runner_seconds=12.5,
)
BODY = replace(VERDICT, kind=Kind.PLAN, verdicts=(), runner_seconds=0.0, body={"choices": []})


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_written_as_one_line_and_read_back(kind: Kind) -> None:
    record = VERDICT if kind is Kind.VERDICT else replace(BODY, kind=kind, base="")
    text = record_to_json(record)
    assert text.count("\n") == 1
    assert read_record(text.encode()) == record
    assert records_from_json(records_to_json([record]).encode(), "x") == (record,)
    assert place_of(record)[:4] == ("records", kind.value, "2026", "01-31")


def test_only_a_releases_records_become_a_baseline() -> None:
    records = [replace(VERDICT, origin=origin) for origin in Origin]
    assert [each.origin for each in baseline_records(records)] == [Origin.RELEASE]


def test_the_day_is_utcs_and_no_later_attempt_changes_it() -> None:
    east = timezone(timedelta(hours=9))
    record = replace(VERDICT, begun=datetime(2026, 1, 1, 3, 0, tzinfo=east))
    assert place_of(record)[2:4] == ("2025", "12-31")
    later = replace(record, attempt=7, when=record.when + timedelta(days=30))
    assert place_of(later)[:5] == place_of(record)[:5]
    assert replace(VERDICT, begun=None).day == date(2026, 2, 20)


@given(
    scenario=st.from_regex(r"[^\W_][\w.-]{0,63}", fullmatch=True),
    run=st.integers(0, 10**15),
    attempt=st.integers(1, 10**9),
)
def test_every_scenarios_name_makes_a_place_that_can_be_read_back(
    scenario: str, run: int, attempt: int
) -> None:
    place = place_of(replace(VERDICT, scenario=scenario, run=run, attempt=attempt))
    assert is_place(place)
    assert split_name(place[-1]) == (scenario, run, attempt)
    assert day_of(place) == VERDICT.day


@pytest.mark.parametrize(
    "name",
    ["eager.1-1", "eager.json", "eager.1.json", "eager.-1.json", "e.²-1.json", "e.1e3-1.json"],
)  # fmt: skip
def test_another_files_name_is_none_of_a_record(name: str) -> None:
    assert split_name(name) is None


def skip_of(row: object) -> Skip:
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    with pytest.raises(NotARecordError) as caught:
        read_record(data)
    return caught.value.skip


def test_why_something_is_no_record_is_told_apart() -> None:
    row = json.loads(record_to_json(VERDICT))
    assert skip_of({**row, "schema": 2}) is Skip.NEWER
    assert skip_of({"schema": 99, "anything": 1}) is Skip.NEWER
    assert skip_of({**row, "schema": True}) is Skip.DAMAGED
    assert skip_of({**row, "schema": 0}) is Skip.DAMAGED
    assert skip_of([row]) is Skip.DAMAGED
    assert skip_of(b"\xff") is Skip.DAMAGED
    assert skip_of(b"[" * 10_000) is Skip.DAMAGED
    assert skip_of(b" " * (LARGEST_BYTES + 1)) is Skip.LARGE


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("kind", "rumour", "kind"),
        ("body", {"a": 1}, "a verdict has no body"),
        ("body", [], "body must be an object"),
        ("base", "", "base"),
        ("begun", "yesterday", "begun"),
        ("begun", "2026-01-31T12:00:00", "time zone"),
    ],
)
def test_a_field_that_is_wrong_is_named(key: str, value: object, word: str) -> None:
    row = {**json.loads(record_to_json(VERDICT)), key: value}
    with pytest.raises(NotARecordError, match=word):
        read_record(json.dumps(row).encode())


def test_only_verdicts_have_verdicts() -> None:
    row = {**json.loads(record_to_json(BODY)), "verdicts": [{}]}
    with pytest.raises(NotARecordError, match="a plan has no verdicts"):
        read_record(json.dumps(row).encode())


def test_a_record_that_no_reader_would_take_is_not_written() -> None:
    with pytest.raises(UserError, match="too large to record"):
        record_to_json(replace(BODY, body={"text": "x" * LARGEST_BYTES}))
    fits = replace(BODY, body={"text": "ä" * (LARGEST_BYTES // 2 - 300)})
    assert read_record(record_to_json(fits).encode()) == fits
