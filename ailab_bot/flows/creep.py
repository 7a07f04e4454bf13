"""How a scenario's level has moved from release measurement to release measurement, and by which
steps: slow creep that no single verdict announces.

Each measurement is an A/B of its own, so a point says how far head lies from its base. Points are
chained where a base was itself measured, and never compared where it was not. Refuses to block
anything: what is found is told, and makes the range shorter in which a culprit is searched.
"""

# ruff: noqa: PLC0415 - scipy and ruptures are loaded where steps are looked for, not by plans

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING

from ailab_bot.flows.releases import Release
from ailab_bot.model.verdict import VerdictKind

if TYPE_CHECKING:
    from ailab_bot.stats.steps import StepAt

#: An error is at least so large: two builds of the same code differ by more.
LEAST_SD = 0.001
#: By how many of its errors a commit has to lie below the one that a culprit is searched for, to
#: be called good by its own measurement alone.
_CLEARLY = 5.0


@dataclass(frozen=True)
class Point:
    """`level`: how far the commit lies above its chain's beginning (logarithm), `sd` the error of
    its own measurement. Points of one `chain` have a common beginning; those with the same `base`,
    too, are independent of each other."""

    sha: str
    base: str
    when: datetime
    level: float
    sd: float
    chain: int
    announced: VerdictKind | None = None


@dataclass(frozen=True)
class Move:
    """A step of the level between two measured commits: it came with one of (`good`, `bad`].
    `size` is a fraction, and `sd` its error."""

    good: str
    bad: str
    size: float
    sd: float
    when: datetime
    announced: bool

    @property
    def is_slower(self) -> bool:
        return self.size > 0


@dataclass(frozen=True)
class Creep:
    """`moves` are the steps of the newest chain that made it slower, oldest first; `total` how far
    the level of the newest lies above `since`, a fraction; `good` and `bad` of the latest step."""

    scenario: str
    metric: str
    moves: tuple[Move, ...]
    total: float
    since: str
    nights: int

    @property
    def good(self) -> str:
        return self.moves[-1].good

    @property
    def bad(self) -> str:
        return self.moves[-1].bad

    @property
    def announced(self) -> bool:
        return any(each.announced for each in self.moves)


def sd_of(low: float, high: float, level: float = 0.99) -> float | None:
    """The standard error of an effect's logarithm, of the ends of its interval; None where an end
    is open. The interval is a confidence sequence's, so it is rather too large than too small."""
    if low <= -1 or not math.isfinite(high) or high < low:
        return None
    width = math.log1p(high) - math.log1p(low)
    return max(width / 2 / NormalDist().inv_cdf((1 + level) / 2), LEAST_SD)


def series_of(releases: Sequence[Release], scenario: str, metric: str) -> tuple[Point, ...]:
    """The points of all chains, oldest first. `releases` of one line of history: `along`."""
    found: list[Point] = []
    measured: dict[str, list[Point]] = defaultdict(list)
    begins: dict[str, int] = {}
    for release in releases:
        result = release.result(scenario, metric)
        interval = result.interval if result is not None else None
        if result is None or result.effect is None or interval is None or result.effect <= -1:
            continue
        sd = sd_of(interval.low, interval.high, result.level)
        if sd is None:
            continue
        before = measured[release.base]
        chain = before[-1].chain if before else begins.setdefault(release.base, len(begins))
        level = _level(before) + math.log1p(result.effect)
        point = Point(release.sha, release.base, release.when, level, sd, chain, result.announced)
        found.append(point)
        measured[release.sha].append(point)
    return tuple(found)


def _level(points: Sequence[Point]) -> float:
    """Of a commit that was measured, by all measurements in its latest chain; else a beginning."""
    own = [each for each in points if each.chain == points[-1].chain]
    return _mean(own) if own else 0.0


def _mean(points: Sequence[Point]) -> float:
    weights = [1 / each.sd**2 for each in points]
    total = sum(weight * each.level for weight, each in zip(weights, points, strict=True))
    return total / sum(weights)


def moves_of(points: Sequence[Point]) -> tuple[Move, ...]:
    """The steps in the newest point's chain, oldest first. They are looked for among the points
    with one and the same base: a new base brings its own measurement's error into all that follow,
    which would look like a step."""
    by_base: dict[str, list[Point]] = defaultdict(list)
    for each in _newest_chain(points):
        by_base[each.base].append(each)
    found = [move for own in by_base.values() for move in _moves(_once_each(own))]
    return tuple(sorted(found, key=lambda each: each.when))


def _once_each(points: Sequence[Point]) -> list[Point]:
    """Measurements of one and the same commit as one: between them no code can have moved."""
    by_sha: dict[str, list[Point]] = defaultdict(list)
    for each in points:
        by_sha[each.sha].append(each)
    return [
        replace(
            own[0],
            level=_mean(own),
            sd=max(sum(1 / each.sd**2 for each in own) ** -0.5, LEAST_SD),
            announced=next((each.announced for each in own if each.announced), None),
        )
        for own in by_sha.values()
    ]


def _moves(points: Sequence[Point]) -> list[Move]:
    steps = _steps(points)
    ends = [*(step.index for step in steps), len(points)][1:]
    return [
        Move(
            good=points[step.index - 1].sha,
            bad=points[step.index].sha,
            size=math.expm1(step.size),
            sd=step.sd,
            when=points[step.index].when,
            announced=any(p.announced for p in points[step.index : end]),
        )
        for step, end in zip(steps, ends, strict=True)
    ]


def _steps(points: Sequence[Point]) -> tuple[StepAt, ...]:
    from ailab_bot.stats.steps import find_steps

    return find_steps([each.level for each in points], [each.sd for each in points])


def _newest_chain(points: Sequence[Point]) -> list[Point]:
    return [each for each in points if each.chain == points[-1].chain]


def creep_of(releases: Sequence[Release], scenario: str, metric: str) -> Creep | None:
    """What has crept in since the newest chain began; None where no step made it slower, or it is
    no slower in all. `releases` of one line of history: `along`."""
    points = series_of(releases, scenario, metric)
    moves = tuple(move for move in moves_of(points) if move.is_slower)
    if not moves:
        return None
    chain = _newest_chain(points)
    tail = _once_each([each for each in chain if each.base == chain[-1].base])
    last = _steps(tail)
    total = math.expm1(_mean(tail[last[-1].index if last else 0 :]))
    if total <= 0:
        return None
    nights = (chain[-1].when.date() - chain[0].when.date()).days + 1
    return Creep(scenario, metric, moves, total, chain[0].base, nights)


def creeps(releases: Sequence[Release]) -> tuple[Creep, ...]:
    """Of all that the newest measurement has a result of, the largest first."""
    if not releases:
        return ()
    asked = [(each.scenario, each.metric) for each in releases[-1].results]
    found = (creep_of(releases, scenario, metric) for scenario, metric in asked)
    return tuple(sorted((each for each in found if each), key=lambda each: -each.total))


def narrowed(
    releases: Sequence[Release], scenario: str, metric: str, baseline: str, head: str
) -> str:
    """The latest commit that can be called good when a culprit is searched that `head` has and
    `baseline` has not: the last one before the newest step upwards, or the last that was measured
    to be clearly faster than head, whichever is later; else the baseline.

    `releases` of head's line of history, head's own measurement among them where it is known.
    """
    points = series_of(releases, scenario, metric)
    if not points or points[-1].sha != head:
        return baseline
    if points[-1].base != baseline:
        return baseline
    chain = _once_each([each for each in _newest_chain(points) if each.base == baseline])
    good = -1
    for step in _steps(chain):
        if step.size > 0:
            good = step.index - 1
    last = next(each for each in chain if each.sha == head)
    for index, each in enumerate(chain):
        if last.level - each.level > _CLEARLY * math.hypot(last.sd, each.sd):
            good = max(good, index)
    return chain[good].sha if good >= 0 and chain[good].sha != head else baseline


def sentence_of(creep: Creep) -> str:
    """One line for people."""
    from ailab_bot.report.words import percent

    what = creep.scenario if creep.metric == "ttfb_s" else f"{creep.scenario} ({creep.metric})"
    count = len(creep.moves)
    steps = "1 step" if count == 1 else f"{count} steps"
    told = sum(each.announced for each in creep.moves)
    if not told:
        said = "which was not announced" if count == 1 else "none of them announced"
    else:
        said = "which was announced" if count == 1 else f"{told} of them announced"
    nights = "1 night" if creep.nights == 1 else f"{creep.nights} nights"
    where = ", ".join(
        f"{each.good[:12]}..{each.bad[:12]} {percent(each.size)}" for each in creep.moves
    )
    return f"{what} has crept {percent(creep.total)} over {nights} in {steps}, {said}: {where}"
