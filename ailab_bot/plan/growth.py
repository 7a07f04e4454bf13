"""How many calls a change adds where a scenario runs: what the text says, times how often it ran.

The share of time tells how hot changed code is, not how much of it differs. Here a changed function
counts by the calls that its body makes more or fewer, times how often the footprint saw it run. A
hint and never a proof: a name may mean anything. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from ailab_bot.plan.index import Bits, FootprintIndex, rate_of
from ailab_bot.plan.pythons import with_short_names
from ailab_bot.plan.sets import flags
from ailab_bot.plan.tokens import HIDDEN, IMPORT, Called, Calls

#: By path of base and by function: calls more and calls fewer each time that it runs.
Growth: TypeAlias = Mapping[str, Mapping[str, tuple[float, float]]]

#: Calls that stand behind one name, where that is far from one: orders of magnitude, not tuned.
_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        HIDDEN: 0.2, IMPORT: 30.0, "deepcopy": 30.0, "signature": 30.0, "dataclass": 50.0,
        "namedtuple": 50.0, "compile": 20.0, "getsource": 100.0, "warn": 10.0, "sub": 5.0,
    }
)  # fmt: skip
#: Of more changed functions, those that grow most: the others of so many would say the same.
_MOST_FUNCTIONS = 500


def growth_of(calls: Mapping[str, Calls]) -> Growth:
    """`calls`: by path of base, of the files that changed.

    What a function that appears does belongs to those that call it, by its last name. Calls more
    and fewer are kept apart: within a function they replace each other more often than not.
    """
    appeared: dict[str, float] = {}
    for each in calls.values():
        for name, body in each.bodies.items():
            last = name.rpartition(".")[2]
            appeared[last] = appeared.get(last, 0.0) + _weighed(body)
    return {
        path: {name: _more_and_fewer(moved, appeared) for name, moved in each.moved.items()}
        for path, each in calls.items()
    }


def _weighed(body: Called) -> float:
    return sum(times * _WEIGHTS.get(name, 1.0) for name, times in body.items())


def _more_and_fewer(moved: Called, appeared: Mapping[str, float]) -> tuple[float, float]:
    more = fewer = 0.0
    for name, times in moved.items():
        calls = times * (_WEIGHTS.get(name, 1.0) + appeared.get(name, 0.0))
        more, fewer = more + max(calls, 0.0), fewer + max(-calls, 0.0)
    return more, fewer


def expected_parts(growth: Growth, index: FootprintIndex) -> dict[str, float]:
    """By scenario, of all its calls the part that comes or goes; only those with any.

    Calls more and fewer are summed apart, and the larger sum counts.
    """
    size, short = len(index.scenarios), with_short_names(index)
    everyone: Bits = (1 << size) - 1
    more, fewer = np.zeros(size), np.zeros(size)
    rows = []
    for path, functions in growth.items():
        ran = index.rates.get(path, {})
        for name, (up, down) in functions.items():
            last = name.rpartition(".")[2]
            if name in ran:
                rows.append((up, down, ran[name], everyone))
            if last != name and last in ran and short:
                rows.append((up, down, ran[last], short))
    rows.sort(key=lambda each: -max(each[:2]))
    # Functions that the same scenarios ran as often are taken together.
    sums: dict[tuple[int, Bits], list[float]] = {}
    for up, down, steps, among in rows[:_MOST_FUNCTIONS]:
        for step, who in steps.items():
            both = sums.setdefault((step, who & among), [0.0, 0.0])
            both[0] += up
            both[1] += down
    for (step, who), (up, down) in sums.items():
        inside = flags(who, size)
        more += inside * (up * rate_of(step))
        fewer += inside * (down * rate_of(step))
    larger = np.maximum(more, fewer)
    return {index.scenarios[number]: float(larger[number]) for number in np.flatnonzero(larger)}
