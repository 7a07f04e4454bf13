"""What the API is asked in: one object, all pages of a list, a write. Readers give the types.

Refuses lists without a bound: how many requests a question may cost is known before it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from ailab_bot.gh.fields import Fields, StrangeError, fields_of
from ailab_bot.gh.transport import Transport

#: GitHub's own most.
PER_PAGE = 100
_T = TypeVar("_T")


class Questions:
    """About everything below `root`, the path of one repository."""

    def __init__(self, transport: Transport, root: str) -> None:
        self._transport = transport
        self._root = root

    def one(
        self,
        path: str,
        reader: Callable[[Fields], _T],
        *,
        needs: str,
        parameters: Mapping[str, str | int] | None = None,
    ) -> _T:
        answer = self._transport.ask("GET", self._root + path, needs=needs, parameters=parameters)
        return self.read(answer, reader, path)

    def many(
        self,
        path: str,
        reader: Callable[[Fields], _T],
        *,
        needs: str,
        parameters: Mapping[str, str | int] | None = None,
        below: str | None = None,
        most: int = PER_PAGE,
    ) -> tuple[_T, ...]:
        """All pages up to `most` items; `below`: the key that holds the list."""
        found: list[_T] = []
        for page in range(1, most // PER_PAGE + 1):
            numbered = {**(parameters or {}), "per_page": PER_PAGE, "page": page}
            answer = self._transport.ask("GET", self._root + path, needs=needs, parameters=numbered)
            try:
                items = (
                    fields_of(answer, path)
                    if below is None
                    else Fields(answer, path).objects(below)
                )
                found.extend(reader(item) for item in items)
            except StrangeError as error:
                raise self._transport.strange(path, str(error)) from None
            if len(items) < PER_PAGE:
                break
        return tuple(found)

    def read(self, answer: object, reader: Callable[[Fields], _T], path: str) -> _T:
        try:
            return reader(Fields(answer, path))
        except StrangeError as error:
            raise self._transport.strange(path, str(error)) from None

    def write(
        self, verb: str, path: str, body: Mapping[str, object], *, needs: str, repeat: bool = True
    ) -> object:
        return self._transport.ask(verb, self._root + path, needs=needs, body=body, repeat=repeat)

    def order(self, path: str, *, done_if_lost: Collection[int]) -> None:
        self._transport.ask(
            "POST", self._root + path, needs="actions: write", done_if_lost=done_if_lost
        )
