"""What crosses a job's boundary: written and read back whole, or refused with one kind of error."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_bot.errors import UserError
from ailab_bot.model.exchange import (
    LARGEST_RESULT_BYTES,
    fingerprint,
    result_from_json,
    result_to_json,
    shard_from_json,
    shards_to_json,
)
from ailab_bot.model.report import Machine
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode, Scenario
from ailab_bot.model.shard import (
    LONGEST_NOTE,
    LONGEST_REASON,
    READERS_OWN,
    Loss,
    LossKind,
    Shard,
    ShardResult,
)
from ailab_bot.model.strictjson import BadJsonError
from ailab_bot.model.verdict import Explanation, ImportChange

A, B, C = "a" * 40, "b" * 40, "c" * 64
SHARD = Shard(3, ("self-hosted", "gpu"), 90, ("bert", "gpt"), 400.5, None, A, B, C, 2**31, 12)
RESULT = ShardResult(
    3,
    A,
    B,
    7,
    Machine("CPU ⚙", 2, 8 << 30, "Linux", "3.12.1"),
    12.5,
    {"bert": "0123456789abcdef"},
    (
        Explanation(
            "bert",
            imports_added=(ImportChange("torch", 0.25, 900, "train.py:2"),),
            imports_removed=(ImportChange("os", 0.0, 0, "a.py:1"),),
            note="traced once",
        ),
    ),
    {"gpt": Loss(LossKind.ERROR, "the disk is full")},
    ("a note",),
    True,
)

_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
_shas = st.from_regex(r"[0-9a-f]{40}", fullmatch=True)
_seconds = st.floats(0, 1e6)
_shards = st.builds(
    Shard,
    st.integers(0, 1000),
    st.lists(_texts, min_size=1, max_size=4, unique=True).map(tuple),
    st.integers(1, 360),
    st.lists(_texts, min_size=1, max_size=9, unique=True).map(tuple),
    _seconds,
    st.none() | _seconds,
    _shas,
    _shas,
    st.just("") | _shas,
    st.integers(0, 2**31),
    st.integers(0, 10**6),
)
_told = st.sampled_from(sorted(set(LossKind) - READERS_OWN))
_imports = st.lists(
    st.builds(ImportChange, _texts, _seconds, st.integers(0, 10**6), _texts), max_size=3
).map(tuple)
_results = st.builds(
    ShardResult,
    st.integers(0, 1000),
    _shas,
    _shas,
    st.integers(0, 2**31),
    st.builds(Machine, _texts, st.integers(0, 512), st.integers(0, 10**15), _texts, _texts),
    _seconds,
    st.dictionaries(_texts, _texts, max_size=4),
    st.lists(
        st.builds(
            lambda name, added, removed, note: Explanation(
                name, imports_added=added, imports_removed=removed, note=note
            ),
            _texts,
            _imports,
            _imports,
            st.just("") | _texts,
        ),
        max_size=2,
    ).map(tuple),
    st.dictionaries(_texts, st.builds(Loss, _told, _texts), max_size=3),
    st.lists(_texts, max_size=3).map(tuple),
    st.booleans(),
)


# A shard, as the matrix gives it to a job


@given(st.lists(_shards, max_size=3))
def test_shards_are_read_as_they_were_written(shards: list[Shard]) -> None:
    text = shards_to_json(shards)
    assert "\n" not in text
    assert [shard_from_json(json.dumps(row), "it") for row in json.loads(text)] == shards


BAD_SHARDS: dict[str, Any] = {
    "index": [-1, "0", 0.5, True, None, 10**9],
    "labels": [[], "ubuntu-latest", [1], ["a", "a"], [""], None],
    "timeout_minutes": [0, -5, "60", 1.5],
    "scenarios": [[], "a", [["a"]], ["a", "a"]],
    "expected_s": [-1, "1", None, True],
    "capacity_s": [-1, "1", False, [1]],
    "base": ["", "main", A.upper(), "a" * 39, "a" * 41, 1, None],
    "head": ["-x", "a" * 40 + "\n"],
    "definitions": [None, 7, "x" * 300],
    "seed": [-1, 2**31 + 1, 1.0, "7"],
    "family": [-1, None, 10**7],
    "footprints": [0, "yes", None],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, bad in BAD_SHARDS.items() for value in bad]
)
def test_a_shard_with_a_wrong_value_is_refused_and_the_key_named(key: str, value: Any) -> None:
    row = {**asdict(SHARD), key: value}
    with pytest.raises(UserError) as caught:
        shard_from_json(json.dumps(row), "the input `shard`")
    assert key in caught.value.why
    assert caught.value.what == "the input `shard` holds no shard"
    assert caught.value.advice


def test_every_key_of_a_shard_is_tried_with_wrong_values() -> None:
    assert set(BAD_SHARDS) == {field.name for field in fields(Shard)}


@pytest.mark.parametrize("key", sorted(BAD_SHARDS))
def test_a_shard_that_lacks_a_key_is_refused(key: str) -> None:
    row = {name: value for name, value in asdict(SHARD).items() if name != key}
    with pytest.raises(UserError, match="holds no shard") as caught:
        shard_from_json(json.dumps(row), "it")
    assert f"missing {key}" in caught.value.why


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"index": NaN}', "[" * 500, '{"a": 1, "a": 2}', '"shard"']
)
def test_what_is_no_shard_at_all_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="holds no shard"):
        shard_from_json(text, "it")


# A result, which a job wrote that ran the pull request's code


@given(_results)
def test_a_result_is_read_as_it_was_written(result: ShardResult) -> None:
    assert result_from_json(result_to_json(result).encode()) == result


def changed(path: str, value: Any) -> bytes:
    """RESULT's document with another value at a dotted path; `...` removes the key."""
    document = json.loads(result_to_json(RESULT))
    *above, last = path.split(".")
    place = document
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(document).encode()


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: dict[str, list[Any]] = {
    "schema": [2, "1", True, 1.0, None, ...],
    "index": [-1, 1e3, True, "3", None, ...],
    "base": ["", "HEAD", A.upper(), 7, ...],
    "head": ["b" * 41, None, ["b" * 40]],
    "seed": [-1, 2**31 + 1, "7", 0.5],
    "machine": [None, [], {}, "Linux", {"cpu": "x"}],
    "machine.cpu": ["", 1, "x" * 300, None, ...],
    "machine.cores": [-1, 1e9, "2", True],
    "machine.memory_bytes": [-1, 10**20, 0.5],
    "machine.gpu": ["a new key"],
    "spent_s": [-0.1, 1e9, "1", True, None],
    "definitions": [None, [], [["bert", "x"]], "bert", {"": "x"}, {"bert": 1}, {"bert": ""},
                    {str(n): "x" for n in range(1001)}],
    "explanations": [None, {}, "x", [None], [{}], deep(80), [{"scenario": "bert"}]],
    "explanations.0.scenario": ["", 1, "x" * 300],
    "explanations.0.imports_added": [None, {}, [1], [{}], [["torch"]]],
    "explanations.0.imports_added.0.module": ["", 1, None, ...],
    "explanations.0.imports_added.0.seconds": [-1, 1e9, "fast", True],
    "explanations.0.imports_added.0.submodules": [-1, 0.5, "9"],
    "explanations.0.imports_added.0.importer": ["", 2, "x" * 2000],
    "explanations.0.phases": [[]],
    "explanations.0.note": [None, 1, "\ud800"],
    "lost": [None, [], {"gpt": None}, {"gpt": "the disk is full"}, {"": {}}, {"x" * 201: {}},
             {str(n): {"kind": "error", "reason": "x"} for n in range(1001)}],
    "lost.gpt.kind": ["", "ERROR", "forgiven", 1, None, True, ["error"], ..., *READERS_OWN],
    "lost.gpt.reason": [None, 1, ["x"], "\ud800", ...],
    "lost.gpt.advice": ["a new key"],
    "notes": [None, "note", [1], ["\ud800"], ["x"] * 1001],
    "interrupted": [0, 1, "false", None, ...],
    "verdict": ["NO_CHANGE"],
    "conclusion": ["success"],
    "pull_request": [1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, bad in HOSTILE.items() for value in bad]
)
def test_a_hostile_result_is_refused_with_one_kind_of_error(path: str, value: Any) -> None:
    data = changed(path, value)
    with pytest.raises(BadJsonError) as caught:
        result_from_json(data)
    assert 0 < len(str(caught.value)) < 300


def test_what_is_only_shown_is_cut_where_it_is_too_long() -> None:
    """A set-up that says much costs nobody anything."""
    long = "x" * 100_000
    assert result_from_json(changed("notes", [long, "short"])).notes == (
        "x" * (LONGEST_NOTE - 1) + "…",
        "short",
    )
    (loss,) = result_from_json(changed("lost.gpt.reason", long)).lost.values()
    assert loss == Loss(LossKind.ERROR, "x" * (LONGEST_REASON - 1) + "…")
    (item,) = result_from_json(changed("explanations.0.note", long)).explanations
    assert item.note == "x" * (LONGEST_NOTE - 1) + "…"
    exact = "y" * LONGEST_NOTE
    assert result_from_json(changed("notes", [exact])).notes == (exact,)


def test_every_key_of_a_result_is_tried_with_hostile_values() -> None:
    assert {field.name for field in fields(ShardResult)} < {path.split(".")[0] for path in HOSTILE}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        result_to_json(RESULT).encode("utf-16"),
        result_to_json(RESULT).encode()[:-20],
        result_to_json(RESULT).encode() * 2,
        b'{"schema": 1, ' + result_to_json(RESULT).encode().lstrip()[1:],  # schema twice
        b" " * (LARGEST_RESULT_BYTES + 1),
    ],
    ids=range(10),
)
def test_what_is_no_result_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(BadJsonError):
        result_from_json(data)


@given(st.binary(max_size=60), st.integers(0, 2000), st.integers(0, 60))
@settings(max_examples=200)
def test_a_damaged_result_is_refused_or_read_and_never_raises_anything_else(
    patch: bytes, at: int, cut: int
) -> None:
    data = result_to_json(RESULT).encode()
    damaged = data[:at] + patch + data[at + cut :]
    try:
        found = result_from_json(damaged)
    except BadJsonError:
        return
    assert isinstance(found, ShardResult)


# Fingerprints

SCENARIO = Scenario("bert", ("python", "train.py"), Path("/one"))
OTHER: dict[str, Any] = {
    "id": "gpt",
    "command": ("python", "train.py", "--fast"),
    "env": {"A": "1"},
    "setup": (("pip", "install", "x"),),
    "metrics": ("ttfb_s", "peak_rss_bytes"),
    "first_batch": FirstBatch(FirstBatchMode.MARKER, "step 1"),
    "runner": "gpu",
    "tiers": ("release",),
    "timeout_s": 10.0,
    "steps": 3,
    "shrink": {"rows": [10, 20]},
}
SAME: dict[str, Any] = {"directory": Path("/two"), "description": "Other words"}


@pytest.mark.parametrize("key", OTHER)
def test_a_definition_that_measures_something_else_has_another_fingerprint(key: str) -> None:
    assert fingerprint(replace(SCENARIO, **{key: OTHER[key]})) != fingerprint(SCENARIO)


@pytest.mark.parametrize("key", SAME)
def test_where_a_file_lies_and_what_it_says_about_itself_changes_nothing(key: str) -> None:
    assert fingerprint(replace(SCENARIO, **{key: SAME[key]})) == fingerprint(SCENARIO)


def test_every_field_of_a_scenario_is_known_to_matter_or_not() -> None:
    assert OTHER.keys() | SAME.keys() == {field.name for field in fields(Scenario)}


def test_a_first_batch_differs_by_its_marker_too() -> None:
    one, two = (
        replace(SCENARIO, first_batch=FirstBatch(FirstBatchMode.MARKER, marker))
        for marker in ("step 1", "step 2")
    )
    assert fingerprint(one) != fingerprint(two)


def test_the_order_of_variables_does_not_matter_that_of_words_does() -> None:
    ab, ba = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    assert fingerprint(replace(SCENARIO, env=ab)) == fingerprint(replace(SCENARIO, env=ba))
    assert fingerprint(replace(SCENARIO, command=("train.py", "python"))) != fingerprint(SCENARIO)


def test_a_fingerprint_is_the_same_in_another_process_and_on_another_day() -> None:
    """Both halves of the bot compute it. Another one makes every open measurement out of date."""
    assert fingerprint(SCENARIO) == "cddb4b0160f64bef"
