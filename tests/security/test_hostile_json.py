"""Number 11 of the nineteen: hostile JSON meets one error type, soon, wherever it stands."""

from __future__ import annotations

import contextlib
import json
import time
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.model import strictjson
from ailab_bot.model.strictjson import BadJsonError

HOSTILE = {
    "NaN": ('{"a": NaN}', "NaN is not a number"),
    "Infinity": ('{"a": -Infinity}', "-Infinity is not a number"),
    "overflow": ('{"a": [1e999]}', "1e999 is too large"),
    "duplicate key": ('{"a": {"b": 1, "b": 2}}', "a key stands there twice"),
    "depth 65": ("[" * 65 + "]" * 65, "nested deeper than 64"),
    "depth 65 of objects": ('{"a":' * 65 + "1" + "}" * 65, "nested deeper than 64"),
    "depth 1,000": ("[" * 1000 + "]" * 1000, "nested deeper than 64"),
    "depth 100,000": ("[" * 100_000 + "]" * 100_000, "nested deeper than 64"),
    "depth without end": ('{"a":' * 100_000, "nested deeper than 64"),
    "5,000 digits": ('{"a": ' + "9" * 5000 + "}", "an integer of 5000 digits"),
    "a million digits": ("0." + "9" * 10**6, "a number of 1000002 characters"),
    "lone surrogate": (r'{"a": ["\ud800"]}', "lone surrogate"),
    "lone surrogate in a key": (r'{"\udfff": 1}', "lone surrogate"),
    "trailing data": ("{} {}", "Extra data"),
    "byte order mark": ("\ufeff{}", "not JSON"),
    "single quotes": ("{'a': 1}", "not JSON"),
    "nothing": ("", "not JSON"),
    "control character": ('"\n"', "not JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_refused_with_a_short_reason_and_soon(name: str) -> None:
    text, reason = HOSTILE[name]
    started = time.process_time()
    with pytest.raises(BadJsonError) as caught:
        strictjson.load(text)
    assert time.process_time() - started < 1
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_deep_but_allowed_is_read() -> None:
    text = "[" * 64 + "]" * 64
    assert json.dumps(strictjson.load(text)) == text
    wide = [[each] for each in range(100)]
    assert strictjson.load(json.dumps(wide)) == wide


def test_raw_output_may_hold_halves_of_characters_where_the_reader_asks_for_it() -> None:
    assert strictjson.load(r'["\ud800"]', raw_texts=True) == ["\ud800"]
    assert strictjson.load(r'["\ud83d\ude00", "训练"]') == ["😀", "训练"]


def test_bytes_are_bounded_and_utf_8() -> None:
    assert strictjson.load_bytes("[é]".replace("é", '"é"').encode(), most=10) == ["é"]
    for data, reason in ((b'"\xff"', "not UTF-8"), (b"[1,2,3,4,5]", "11 bytes; at most 10")):
        with pytest.raises(BadJsonError, match=reason):
            strictjson.load_bytes(data, most=10)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda below: st.lists(below) | st.dictionaries(st.text(st.characters(codec="utf-8")), below),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_what_is_sound_is_read_as_python_reads_it(value: object) -> None:
    assert strictjson.load(json.dumps(value)) == value


@given(st.text(max_size=200) | st.text(alphabet='[]{}",:0123456789.eE-\\ud8N', max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(BadJsonError):
        strictjson.load(text)


class Colour(StrEnum):
    RED = "red"


MISREAD = {
    "bool as whole": lambda: strictjson.whole(True, "n"),
    "bool as number": lambda: strictjson.number(False, "n"),
    "bool in numbers": lambda: strictjson.numbers({"a": True}, "n"),
    "float as whole": lambda: strictjson.whole(1.0, "n"),
    "text as whole": lambda: strictjson.whole("1", "n"),
    "text as number": lambda: strictjson.number("1", "n"),
    "whole out of range": lambda: strictjson.whole(11, "n", most=10),
    "negative whole": lambda: strictjson.whole(-1, "n"),
    "number out of range": lambda: strictjson.number(-0.5, "n"),
    "nothing as number": lambda: strictjson.number(None, "n"),
    "number as text": lambda: strictjson.text(1, "n"),
    "empty text": lambda: strictjson.text("", "n"),
    "long text": lambda: strictjson.text("x" * 201, "n"),
    "half a character": lambda: strictjson.text("\udc00", "n"),
    "text as list": lambda: strictjson.items("abc", "n"),
    "long list": lambda: strictjson.items([1] * 201, "n"),
    "short list": lambda: strictjson.items([], "n", least=1),
    "a name twice": lambda: strictjson.names(["a", "a"], "n"),
    "a number as name": lambda: strictjson.names([1], "n"),
    "number as flag": lambda: strictjson.flag(1, "n"),
    "short sha": lambda: strictjson.sha("abc123", "n"),
    "upper-case sha": lambda: strictjson.sha("A" * 40, "n"),
    "sha with an end of line": lambda: strictjson.sha("a" * 40 + "\n", "n"),
    "list as mapping": lambda: strictjson.mapping([], "n", ()),
    "missing key": lambda: strictjson.mapping({}, "n", {"a"}),
    "unknown key": lambda: strictjson.mapping({"a": 1, "b": 2}, "n", {"a"}),
    "many numbers": lambda: strictjson.numbers({str(i): 1 for i in range(201)}, "n"),
    "not one of": lambda: strictjson.one_of("blue", "n", Colour),
    "list as one of": lambda: strictjson.one_of(["red"], "n", Colour),
    "older schema": lambda: strictjson.schema({"schema": True}, 1),
}


@pytest.mark.parametrize("name", MISREAD)
def test_a_value_of_another_kind_is_refused_and_named(name: str) -> None:
    with pytest.raises(BadJsonError, match=r"^(n\b|a name in n\b|schema)"):
        MISREAD[name]()


def test_a_value_of_its_kind_is_read() -> None:
    assert strictjson.whole(10, "n", most=10) == 10
    assert strictjson.number(1, "n") == 1.0
    assert strictjson.text("", "n", least=0) == ""
    assert strictjson.names(["a", "b"], "n") == ("a", "b")
    assert strictjson.sha("0f" * 20, "n") == "0f" * 20
    assert strictjson.one_of("red", "n", Colour) is Colour.RED
    assert strictjson.mapping({"a": 1, "b": 2}, "n", {"a"}, {"b", "c"}) == {"a": 1, "b": 2}
