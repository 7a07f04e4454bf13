"""Shards: a plan's scenarios over the runners that may work at the same time.

Longest first, each to the runner that is done first (Graham, "Bounds on multiprocessing timing
anomalies", SIAM J. Appl. Math. 1969): at most 4/3 of the best possible time. Both arms of a
scenario stay together. Refuses to start more jobs than there is work for.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ailab_bot.model.github import MOST_SHARDS, Pool
from ailab_bot.model.scenario import Scenario

#: What a scenario takes when nothing is known of it: 20 blocks of two trials, 5 s each.
EXPECTED_S = 200.0
#: A job costs this much before its first trial (checkout, installation): a second one for less
#: work than this would only finish later.
SHORTEST_SHARD_S = 120.0


@dataclass(frozen=True)
class Load:
    """The scenarios of one shard on one pool, and how long they are expected to take."""

    pool: str
    scenarios: tuple[str, ...]
    expected_s: float


def share_out(
    scenarios: Sequence[Scenario],
    pools: Mapping[str, Pool],
    expected_s: Mapping[str, float] | None = None,
    most: int = MOST_SHARDS,
) -> tuple[Load, ...]:
    """Balanced shards, the longest first. Scenarios whose runner no pool has are left out.

    `expected_s`: runner-seconds by scenario, from the history; EXPECTED_S where it says nothing.
    """
    by_pool: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        if scenario.runner in pools:
            by_pool.setdefault(scenario.runner, []).append(scenario)
    loads: list[Load] = []
    for pool, own in by_pool.items():
        seconds = {s.id: (expected_s or {}).get(s.id, EXPECTED_S) for s in own}
        useful = max(1, int(sum(seconds.values()) // SHORTEST_SHARD_S))
        room = max(1, most // len(by_pool))
        loads += _balance(pool, seconds, min(pools[pool].count, len(own), useful, room))
    return tuple(sorted(loads, key=lambda load: (-load.expected_s, load.scenarios)))


def family_of(scenarios: Sequence[Scenario]) -> int:
    """How many verdicts a change with these scenarios has."""
    return sum(len(scenario.metrics) for scenario in scenarios)


def _balance(pool: str, seconds: Mapping[str, float], runners: int) -> list[Load]:
    free: list[tuple[float, int, list[str]]] = [(0.0, number, []) for number in range(runners)]
    for scenario in sorted(seconds, key=lambda name: (-seconds[name], name)):
        busy_s, number, names = heapq.heappop(free)
        heapq.heappush(free, (busy_s + seconds[scenario], number, [*names, scenario]))
    return [Load(pool, tuple(sorted(names)), busy_s) for busy_s, _, names in free if names]
