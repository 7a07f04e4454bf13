"""Typed access to what GitHub sends, in payloads and answers: a wrong type names its field.

Refuses to convert and to fill in: what is missing or strange ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

_SHA = re.compile(r"[0-9a-f]{40}")
_T = TypeVar("_T")


class StrangeError(Exception):
    """Which field is strange, in one clause."""


class Fields:
    """One JSON object; `where` is its place, for texts."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise StrangeError(f"{where} is not an object")
        self.value: Mapping[str, object] = value
        self.where = where

    def _typed(self, key: str, kind: type[_T]) -> _T:
        value = self.value.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise StrangeError(f"{self.where}.{key} is not {kind.__name__}")
        return value

    def below(self, key: str) -> Fields:
        return Fields(self.value.get(key), f"{self.where}.{key}")

    def maybe(self, key: str) -> Fields | None:
        return None if self.value.get(key) is None else self.below(key)

    def objects(self, key: str) -> list[Fields]:
        return fields_of(self.value.get(key), f"{self.where}.{key}")

    def text(self, key: str) -> str:
        return self._typed(key, str)

    def text_or_none(self, key: str) -> str | None:
        return None if self.value.get(key) is None else self.text(key)

    def number(self, key: str) -> int:
        return self._typed(key, int)

    def flag(self, key: str) -> bool:
        return self._typed(key, bool)

    def sha(self, key: str) -> str:
        value = self.text(key)
        if not _SHA.fullmatch(value):
            raise StrangeError(f"{self.where}.{key} is not a commit's SHA")
        return value

    def time(self, key: str) -> datetime:
        """With its offset from UTC, so that times can be compared."""
        try:
            time = datetime.fromisoformat(self.text(key))
        except ValueError:
            raise StrangeError(f"{self.where}.{key} is not a time") from None
        if time.tzinfo is None:
            raise StrangeError(f"{self.where}.{key} is a time without its zone")
        return time


def fields_of(value: object, where: str) -> list[Fields]:
    """The objects of a list."""
    if not isinstance(value, list):
        raise StrangeError(f"{where} is not a list")
    return [Fields(item, f"{where}[{index}]") for index, item in enumerate(value)]
