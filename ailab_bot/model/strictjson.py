"""JSON as hostile input: one strict loader, and small readers that give a value its type.

Every refusal, from a broken brace to a number out of range, is one `BadJsonError` whose text is a
reason; who reads a document adds where it came from and what to do. Refuses what Python's own
loader lets pass: NaN, infinities, numbers that overflow, a key that stands there twice, endless
integers, deep nesting and halves of characters. Nothing is converted: true is no number here, and
"1" is none either.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from enum import StrEnum
from typing import NoReturn, TypeVar

Json = dict[str, object]
_E = TypeVar("_E", bound=StrEnum)

#: Nesting of any document of ours is below 10.
DEEPEST = 64
#: Digits of an integer; Python's own limit is far above any measurement.
MOST_DIGITS = 25
#: Characters of another number: Python itself writes at most 24.
_LONGEST_NUMBER = 100
#: Entries of a list or a mapping of names, unless its reader says otherwise.
MOST_ENTRIES = 200
#: Characters of a name or another short text.
MOST_CHARACTERS = 200
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class BadJsonError(Exception):
    """Why a document is refused; the text is one sentence without the name of its file."""


def refuse(reason: str) -> NoReturn:
    raise BadJsonError(reason)


def load(text: str, *, raw_texts: bool = False) -> object:
    """Any JSON value. With `raw_texts` lone surrogates pass, for a reader that mends them itself.

    The caller bounds the length of `text`: time and memory are proportional to it.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=lambda name: refuse(f"{name} is not a number"),
            parse_float=_finite,
            parse_int=_short_int,
        )
    except RecursionError:
        refuse(f"not JSON: nested deeper than {DEEPEST}")
    except ValueError as error:
        refuse(f"not JSON: {error}")
    # Both walks cost as much as the loading, and nearly no document gives a reason for one.
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        refuse(f"not JSON: nested deeper than {DEEPEST}")
    may_hold_halves = "\\u" in text or not text.isascii()
    if may_hold_halves and not raw_texts and any(_has_half(each) for each in _texts(value)):
        refuse("a text holds half a character (a lone surrogate)")
    return value


def load_object(text: str, *, raw_texts: bool = False) -> Json:
    """A JSON object, see `load`."""
    value = load(text, raw_texts=raw_texts)
    if not isinstance(value, dict):
        refuse("not a JSON object")
    return value


def load_bytes(data: bytes, *, most: int) -> object:
    """Any JSON value in UTF-8 of at most `most` bytes."""
    if len(data) > most:
        refuse(f"it has {len(data)} bytes; at most {most} are read")
    try:
        return load(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        refuse(f"not UTF-8: {error.reason} at byte {error.start}")


# --- readers: a loaded value in, a typed one out; `name` is what a refusal calls it ------------


def keys(row: Json, required: Collection[str], optional: Collection[str] = ()) -> None:
    """Refuse a missing and an unknown key."""
    missing = sorted(set(required) - set(row))
    if missing:
        refuse(f"missing {', '.join(missing)}")
    unknown = sorted(set(row) - set(required) - set(optional))
    if unknown:
        refuse(f"unknown key {unknown[0]!r:.60}")


def mapping(
    value: object, name: str, required: Collection[str], optional: Collection[str] = ()
) -> Json:
    """An object with exactly the required keys, and of others only optional ones."""
    if not isinstance(value, dict):
        refuse(f"{name} must be an object")
    try:
        keys(value, required, optional)
    except BadJsonError as error:
        refuse(f"{name}: {error}")
    return value


def schema(row: Json, number: int) -> None:
    """Refuse another version of a document than the one that its reader knows."""
    if row["schema"] != number or type(row["schema"]) is not int:
        refuse(f"schema {row['schema']!r:.20} is not {number}; a newer ailab may read it")


def text(value: object, name: str, *, least: int = 1, most: int = MOST_CHARACTERS) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most:
        refuse(f"{name} must be a text of {least} to {most} characters")
    if _has_half(value):
        refuse(f"{name} holds half a character (a lone surrogate)")
    return value


def sha(value: object, name: str) -> str:
    """A full commit id in lower case."""
    if not isinstance(value, str) or not _SHA.fullmatch(value):
        refuse(f"{name} must be a commit's full id of 40 or 64 hex digits")
    return value


def flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        refuse(f"{name} must be true or false")
    return value


def whole(value: object, name: str, *, least: int = 0, most: int = 10**9) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        refuse(f"{name} must be a whole number from {least} to {most}")
    return value


def number(value: object, name: str, *, least: float = 0.0, most: float = 1e18) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        refuse(f"{name} must be a number from {least:g} to {most:g}")
    return float(value)


def numbers(value: object, name: str, *, most: int = MOST_ENTRIES) -> dict[str, float]:
    """Finite numbers by name, of any size."""
    if not isinstance(value, dict) or len(value) > most:
        refuse(f"{name} must be an object of at most {most} numbers")
    for key, each in value.items():
        text(key, f"a name in {name}")
        if isinstance(each, bool) or not isinstance(each, (int, float)):
            refuse(f"{name}.{key:.40} must be a number")
    return {key: float(each) for key, each in value.items()}


def items(value: object, name: str, *, least: int = 0, most: int = MOST_ENTRIES) -> list[object]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        refuse(f"{name} must be a list of {least} to {most} entries")
    return value


def names(value: object, name: str, *, least: int = 1, most: int = MOST_ENTRIES) -> tuple[str, ...]:
    """Short texts, each once."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        refuse(f"{name} must be a list of {least} to {most} names")
    found = tuple(text(each, f"a name in {name}") for each in value)
    if len(set(found)) != len(found):
        refuse(f"{name} holds a name twice")
    return found


def one_of(value: object, name: str, kind: type[_E]) -> _E:
    try:
        return kind(str(value))
    except ValueError:
        refuse(f"{name} must be one of {', '.join(kind)}, not {value!r:.40}")


# --- what the loader asks ----------------------------------------------------------------------


def _no_duplicates(pairs: list[tuple[str, object]]) -> Json:
    row = dict(pairs)
    if len(row) != len(pairs):
        refuse("a key stands there twice")
    return row


def _finite(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        refuse(f"a number of {len(text)} characters")
    value = float(text)
    if not math.isfinite(value):
        refuse(f"{text:.20} is too large")
    return value


def _short_int(text: str) -> int:
    if len(text) > MOST_DIGITS:
        refuse(f"an integer of {len(text)} digits")
    return int(text)


def _depth(value: object) -> int:
    """How deep lists and objects lie in each other; looks one level below what is allowed."""
    depth, values = 0, [value]
    while depth <= DEEPEST:
        level = [each for each in values if isinstance(each, (dict, list))]
        if not level:
            break
        depth += 1
        values = [
            below for each in level for below in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _texts(value: object) -> list[str]:
    found: list[str] = []
    heap = [value]
    while heap:
        each = heap.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, list):
            heap.extend(each)
        elif isinstance(each, dict):
            heap.extend(each)
            heap.extend(each.values())
    return found


def _has_half(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)
