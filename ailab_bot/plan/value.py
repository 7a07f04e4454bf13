"""What a selector finds, estimated from what was measured alone, through propensities.

Every measured pair stands for 1/propensity pairs (Horvitz and Thompson, JASA 1952), so that what
was left is counted without having been measured. Refuses to count pairs that had no chance at all:
they are reported as blind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Logged:
    """A pair of a change and a scenario as planned, with its outcome. `moved` is None where it was
    not measured, or nothing was found out."""

    change: str
    scenario: str
    propensity: float
    moved: bool | None = None


@dataclass(frozen=True)
class Value:
    """`recall`: the part of all relevant effects that the selector finds, with its standard error;
    None where no effect was seen. `effects`: how many there were, estimated. `blind`: pairs that
    had no chance to be measured, about which nothing is known."""

    recall: float | None
    error: float | None
    effects: float
    measured: int
    blind: int


def value_of(log: Iterable[Logged], takes: Callable[[Logged], float] | None = None) -> Value:
    """`takes`: with what probability the selector to be valued takes a pair; None: the one that
    made the plans, with its own dice.

    Sum of takes * moved / propensity over the measured, divided by the same without takes: each sum
    is unbiased, their ratio is up to a term of 1/effects. The error is the linearised ratio's, over
    changes.
    """
    found: dict[str, float] = {}
    there: dict[str, float] = {}
    measured = blind = 0
    for each in log:
        if each.propensity <= 0:
            blind += 1
            continue
        if each.moved is None:
            continue
        measured += 1
        if each.moved:
            worth = 1 / each.propensity
            part = each.propensity if takes is None else takes(each)
            found[each.change] = found.get(each.change, 0.0) + part * worth
            there[each.change] = there.get(each.change, 0.0) + worth
    effects = math.fsum(there.values())
    if not effects:
        return Value(None, None, 0.0, measured, blind)
    recall = math.fsum(found.values()) / effects
    squares = math.fsum((found[name] - recall * there[name]) ** 2 for name in there)
    return Value(recall, math.sqrt(squares) / effects, effects, measured, blind)
