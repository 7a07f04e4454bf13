"""Sets of scenarios as arrays: from "who is in each set" to "which sets hold each scenario"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ailab_bot.plan.index import Bits, FootprintIndex


def flags(who: Bits, size: int) -> NDArray[np.bool_]:
    data = np.frombuffer(who.to_bytes(size // 8 + 1, "little"), dtype=np.uint8)
    return np.unpackbits(data, bitorder="little")[:size].view(np.bool_)


def members(index: FootprintIndex, who: Bits) -> frozenset[str]:
    """The names of these scenarios."""
    if not who:
        return frozenset()
    return frozenset(index.scenarios[n] for n in np.flatnonzero(flags(who, len(index.scenarios))))


def first(sets: Sequence[Bits], size: int) -> list[int]:
    """For each scenario the first set that holds it, or -1."""
    found = np.full(size, -1, dtype=np.int64)
    seen = 0
    for number, who in enumerate(sets):
        if new := who & ~seen:
            found[flags(new, size)] = number
            seen |= new
    return [int(each) for each in found]


def by_scenario(sets: Sequence[Bits], size: int) -> dict[int, NDArray[np.int32]]:
    """For each scenario the numbers of the sets that hold it, where there are any."""
    if not sets:
        return {}
    members = [np.flatnonzero(flags(who, size)) for who in sets]
    rows = np.repeat(np.arange(len(sets), dtype=np.int32), [len(each) for each in members])
    everyone = np.concatenate(members)
    order = np.argsort(everyone, kind="stable")
    everyone, rows = everyone[order], rows[order]
    starts = np.flatnonzero(np.diff(everyone, prepend=-1))
    return {
        int(everyone[start]): part
        for start, part in zip(starts, np.split(rows, starts[1:]), strict=True)
    }


def by_share(cell: Bits, shares: Sequence[tuple[int, Bits]], size: int) -> list[tuple[float, Bits]]:
    """The cell by what its scenarios spend in all of the functions together."""
    shares = [(step, who & cell) for step, who in shares if who & cell]
    if not shares:
        return [(0.0, cell)]
    total = np.zeros(size, dtype=np.int64)
    for step, who in shares:
        total[flags(who, size)] += step
    inside = flags(cell, size)
    parts = []
    for value in np.unique(total[inside]):
        packed = np.packbits(inside & (total == value), bitorder="little")
        parts.append((min(int(value), 1000) / 1000, int.from_bytes(packed.tobytes(), "little")))
    return parts
