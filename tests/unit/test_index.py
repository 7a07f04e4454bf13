"""Footprints turned around: what is kept, what is replaced, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ailab_bot.model.footprint import Executed, Footprint, Use
from ailab_bot.model.strictjson import BadJsonError
from ailab_bot.plan.index import FootprintIndex

IMPORTED, OPENED = frozenset({Use.IMPORTED}), frozenset({Use.OPENED})


def footprint(scenario: str, **given: Any) -> Footprint:
    return Footprint(scenario, given.pop("sha", "a" * 40), given.pop("python", "3.11.7"), **given)


FIRST = footprint(
    "first",
    files={"a.py": IMPORTED, "b.py": IMPORTED | OPENED, "c.csv": OPENED},
    folders=frozenset({"", "data"}),
    missing=frozenset({"x.yaml"}),
    present=frozenset({"y.yaml"}),
    search=("", "src"),
    modules=frozenset({"torch", "a"}),
    functions={"a.py": {"<module>": Executed(1, 0.25), "f": Executed(3, 0.0)}},
    distributions={"torch": "2.1"},
    unseen=("a program",),
)
SECOND = footprint("second", files={"a.py": IMPORTED}, sha="b" * 40, python="3.12.1")


def test_everything_that_rules_ask_for_is_found_by_its_text() -> None:
    index = FootprintIndex.of([FIRST, SECOND])
    assert index.scenarios == ("first", "second")
    assert index.counts == (3, 1)
    assert index.imported == {"a.py": 0b11}
    assert index.opened == {"b.py": 0b01, "c.csv": 0b01}
    assert index.folders == {"": 0b01, "data": 0b01}
    assert index.missing == {"x.yaml": 0b01}
    assert index.present == {"y.yaml": 0b01}
    assert index.search == {"": 0b01, "src": 0b01}
    assert index.modules == {"torch": 0b01, "a": 0b01}
    assert index.distributions == {"torch": 0b01}
    assert index.functions == {"a.py": {"<module>": 0b01, "f": 0b01}}
    assert index.shares == {"a.py": {"<module>": {250: 0b01}}}
    assert index.unseen == {"a program": 0b01}
    assert index.shas == {"a" * 40: 0b01, "b" * 40: 0b10}
    assert index.pythons == {"3.11.7": 0b01, "3.12.1": 0b10}


def test_what_is_written_is_read_again() -> None:
    many = [footprint(f"s{n}", files={f"{n % 7}.py": IMPORTED, f"{n}": OPENED}) for n in range(300)]
    for index in (FootprintIndex(), FootprintIndex.of([FIRST, SECOND]), FootprintIndex.of(many)):
        assert FootprintIndex.from_json(index.to_json()) == index


def test_names_in_any_script_survive() -> None:
    index = FootprintIndex.of([footprint("s", files={"caf\ufffd": OPENED, "数据.csv": OPENED})])
    assert FootprintIndex.from_json(index.to_json()) == index


def test_equal_sets_are_written_once() -> None:
    files = {f"{number}.py": IMPORTED for number in range(500)}
    index = FootprintIndex.of(footprint(f"s{n}", files=files) for n in range(200))
    assert len(json.loads(index.to_json())["sets"]) == 1


def test_a_new_footprint_replaces_all_that_was_known_of_its_scenario() -> None:
    new = footprint("first", files={"d.py": IMPORTED}, sha="c" * 40)
    updated = FootprintIndex.of([FIRST, SECOND]).updated([new])
    assert updated == FootprintIndex.of([new, SECOND])
    assert "torch" not in updated.modules


def test_a_new_scenario_is_added_and_the_old_index_stays_as_it_was() -> None:
    index = FootprintIndex.of([FIRST])
    assert index.updated([SECOND]) == FootprintIndex.of([FIRST, SECOND])
    assert index == FootprintIndex.of([FIRST])
    assert index.updated([]) == index


def test_small_shares_are_kept_finely_and_none_beyond_noise() -> None:
    functions = {"a.py": {n: Executed(1, s) for n, s in
                          (("a", 0.0004), ("b", 0.0026), ("c", 0.1234), ("d", 1.0))}}  # fmt: skip
    index = FootprintIndex.of([footprint("s", functions=functions)])
    assert index.shares["a.py"] == {"b": {3: 1}, "c": {120: 1}, "d": {1000: 1}}
    assert set(index.functions["a.py"]) == {"a", "b", "c", "d"}


def broken(**changes: Any) -> str:
    row = json.loads(FootprintIndex.of([FIRST, SECOND]).to_json())
    for key, value in changes.items():
        row[key] = value
    return json.dumps(row)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": 2}, "schema"),
        ({"more": 1}, "unknown key"),
        ({"counts": [1]}, "counts"),
        ({"counts": [1, -1]}, "below 0"),
        ({"counts": [1, True]}, "whole numbers"),
        ({"imported": [0]}, "2 in a row"),
        ({"imported": [0, 99]}, "names no text or set"),
        ({"functions": [0, 0, 99]}, "names no text or set"),
        ({"shares": [0, 0, 1001, 0]}, "shares must be"),
        ({"rates": [0, 0, 36, 0]}, "rates must be"),
        ({"scenarios": ["a", "a"]}, "twice"),
        ({"texts": [1]}, "texts"),
        ({"texts": ["\ud800"]}, "half a character"),
        ({"sets": ["h4"]}, "names no scenario"),
        ({"sets": ["h0"]}, "names no scenario"),
        ({"sets": ["h-1"]}, "hex digits"),
        ({"sets": ["n2"]}, "names no scenario"),
        ({"sets": ["n99999999999999"]}, "names no scenario"),
        ({"sets": ["n"]}, "hex digits or numbers"),
        ({"sets": ["z1"]}, "hex digits or numbers"),
        ({"sets": ["h" + "1" * 5000]}, "hex digits or numbers"),
    ],
)  # fmt: skip
def test_what_it_would_not_write_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(BadJsonError, match=why):
        FootprintIndex.from_json(broken(**changes))
