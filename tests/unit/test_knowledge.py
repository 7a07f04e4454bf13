"""What plans know from the ledger: the latest footprints, outcomes, and what a day has spent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ailab_bot.flows.knowledge import (
    Knowledge,
    build_selection,
    footprint_body,
    knowledge_from_view,
    knowledge_to_view,
)
from ailab_bot.ledger.places import DamagedViewError
from ailab_bot.ledger.records import Kind, Origin, Record
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.model.footprintwire import footprint_from_json, footprint_to_json
from ailab_bot.model.github import MOST_SHARDS
from ailab_bot.model.strictjson import BadJsonError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FOOTPRINT = Footprint(
    "bert",
    "a" * 40,
    "3.12.1",
    files={"train.py": frozenset({Use.IMPORTED}), "data.txt": frozenset({Use.OPENED})},
    folders=frozenset({"shards"}),
    missing=frozenset({"conf/local.yml"}),
    search=("", "src"),
    modules=frozenset({"os", "train"}),
    functions={"train.py": {"<module>": Executed(1, 0.25), "fit": Executed(3, 0.5)}},
    distributions={"torch": "2.4"},
    variables=frozenset({"SIZE"}),
    signature=Signature(3, 100, 200, 2, 4096, 0, "abc"),
    unseen=("a reason",),
    present=frozenset({"conf"}),
)


def record(
    scenario: str, when: datetime = NOON, origin: Origin = Origin.RELEASE, **files: str
) -> Record:
    paths = {f"{name}.py": frozenset({Use.IMPORTED}) for name in files or {"train": ""}}
    footprint = replace(FOOTPRINT, scenario=scenario, files=paths)
    return Record(
        sha="a" * 40, base="b" * 40, scenario=scenario, run=1, attempt=1, when=when, origin=origin,
        kind=Kind.FOOTPRINT, body=footprint_body(footprint, "a definition"),
    )  # fmt: skip


def verdict(scenario: str, seconds: float, when: datetime, origin: Origin) -> Record:
    return Record(
        sha="c" * 40, base="b" * 40, scenario=scenario, run=2, attempt=1, when=when,
        begun=when - timedelta(minutes=30),
        origin=origin, runner_seconds=seconds,
        verdicts=({"metric": "ttfb_s", "verdict": "NO_CHANGE"},) if scenario else (),
    )  # fmt: skip


def users(known: Knowledge, path: str) -> list[str]:
    who = known.index.imported.get(path, 0)
    return [name for number, name in enumerate(known.index.scenarios) if who >> number & 1]


def test_a_footprint_is_read_as_it_was_written() -> None:
    assert footprint_from_json(footprint_to_json(FOOTPRINT)) == FOOTPRINT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("sha", "main"),
        ("files", {"a.py": "x"}),
        ("files", {"a.py": ""}),
        ("files", ["a.py"]),
        ("functions", {"a.py": {"f": [1]}}),
        ("functions", {"a.py": {"f": [1, 1.5]}}),
        ("functions", {"a.py": {"f": [-1, 0.5]}}),
        ("signature", [1, 2, 3]),
        ("unseen", "no"),
        ("modules", [1]),
        ("search", None),
    ],
)
def test_a_document_that_is_no_footprint_is_refused(key: str, value: object) -> None:
    with pytest.raises(BadJsonError):
        footprint_from_json({**footprint_to_json(FOOTPRINT), key: value})


def test_a_document_that_lacks_a_key_is_refused() -> None:
    row = footprint_to_json(FOOTPRINT)
    for key in row:
        with pytest.raises(BadJsonError):
            footprint_from_json({name: each for name, each in row.items() if name != key})


def test_of_several_footprints_the_latest_counts_in_whatever_order_they_come() -> None:
    old, new = record("bert", NOON, old=""), record("bert", NOON + timedelta(days=1), new="")
    for order in ([old, new], [new, old]):
        known = Knowledge().with_records(order)
        assert users(known, "new.py") == ["bert"]
        assert users(known, "old.py") == []
    later = Knowledge().with_records([new]).with_records([old])
    assert users(later, "new.py") == ["bert"]


@pytest.mark.parametrize("origin", [Origin.PULL_REQUEST, Origin.MERGE_GROUP, Origin.LOCAL])
def test_only_a_releases_footprint_counts(origin: Origin) -> None:
    assert Knowledge().with_records([record("bert", origin=origin)]).is_empty


def test_a_damaged_footprint_is_counted_and_passed_over() -> None:
    bad = replace(record("gpt"), body={"definition": "x", "footprint": {"schema": 1}})
    known = Knowledge().with_records([bad, record("bert")])
    assert known.index.scenarios == ("bert",)
    assert known.skipped == {"damaged": 1}


def test_what_a_view_holds_is_what_its_records_say() -> None:
    records = [
        record("bert"),
        record("gpt", other=""),
        verdict("", 120.0, NOON, Origin.PULL_REQUEST),
        verdict("bert", 60.0, NOON, Origin.RELEASE),
    ]
    known = Knowledge().with_records(records)
    again = knowledge_from_view(knowledge_to_view(known))
    assert knowledge_to_view(again) == knowledge_to_view(known)
    assert users(again, "train.py") == ["bert"]
    assert again.sources == known.sources
    assert again.past.expected_s("bert") == 60.0
    assert again.spent_before(NOON + timedelta(hours=1)) == 120.0


def test_a_view_made_in_two_steps_knows_what_one_step_knows() -> None:
    first, second = [record("bert")], [record("gpt", other="")]
    stepwise = build_selection(build_selection(None, iter(first)), iter(second))
    at_once = build_selection(None, iter([*first, *second]))
    assert stepwise == at_once


def test_a_day_spends_what_pull_requests_of_its_24_hours_took() -> None:
    known = Knowledge().with_records(
        [
            verdict("", 100.0, NOON - timedelta(hours=25), Origin.PULL_REQUEST),
            verdict("", 20.0, NOON - timedelta(hours=23), Origin.PULL_REQUEST),
            verdict("", 3.0, NOON - timedelta(hours=1), Origin.MERGE_GROUP),
            verdict("", 5000.0, NOON - timedelta(hours=1), Origin.RELEASE),
            verdict("", 7.0, NOON, Origin.PULL_REQUEST),
        ]
    )
    assert known.spent_before(NOON) == 23.0


def test_a_change_cannot_say_that_it_spent_more_than_its_time_on_all_runners() -> None:
    """The figure comes from a job that ran the change's own code."""
    known = Knowledge().with_records([verdict("", 1e7, NOON, Origin.PULL_REQUEST)])
    assert known.spent_before(NOON + timedelta(hours=1)) == 30 * 60 * MOST_SHARDS


def test_what_a_pull_request_says_that_a_scenario_costs_decides_nothing_for_others() -> None:
    known = Knowledge().with_records([verdict("bert", 21_600.0, NOON, Origin.PULL_REQUEST)])
    assert known.past.expected_s("bert") is None


@pytest.mark.parametrize(
    "data", [b"", b"{}\n{}\n{}\n", b"\xff\n\n\n", b'{"schema": 2, "sources": {}, "spent": []}\n']
)
def test_a_view_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadJsonError):
        knowledge_from_view(data)
    with pytest.raises(DamagedViewError):
        build_selection(data, iter([record("bert")]))
