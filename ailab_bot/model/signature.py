"""What comparing two signatures gives: whether both arms did the same, and the counts that differ.

Plain data, no I/O. Counts see what a program does, not how long it waits or how much native code
works on: equal ones make an effect improbable, and never prove that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Likeness(StrEnum):
    """Whether both arms did the same by their counts. Not known: no likeness at all."""

    EQUAL = "equal"
    DIFFERENT = "different"


@dataclass(frozen=True)
class CountChange:
    """One count of a signature, by its field's name, in both arms."""

    name: str
    base: int
    head: int

    @property
    def grown(self) -> int:
        return self.head - self.base


@dataclass(frozen=True)
class SignatureDifference:
    """`changes`: the counts that differ by more than they do from run to run, in the fields' order.

    DIFFERENT without any change: as many calls in all, but of other functions of the repository.
    """

    likeness: Likeness
    changes: tuple[CountChange, ...] = ()
