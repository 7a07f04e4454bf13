"""Which scenarios are measured for the runner-seconds that there are, and with what propensity.

Most expected regressions per second first, with a part of the capacity drawn by chance, so that
what is left can be judged, too. The same candidates and seed give the same choices on any machine.
Refuses to predict and to decide on tier, runner or names: candidates are what those left over.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ailab_bot.model.report import Choice, Why
from ailab_bot.model.selection import EXPLORE
from ailab_bot.plan.relation import Relation
from ailab_bot.plan.shards import EXPECTED_S

#: Of the draws by chance the part that checks proofs instead of predictions. None: releases and
#: nights measure every scenario, proved apart or not, so a proof that fails is found there.
AUDIT = 0.0
#: What a second scenario is worth that always moves with one taken: the regression is found without
#: it, and who else is affected is still news.
_TOGETHER_WORTH = 0.5
#: A draw by chance takes no more than this part of what is left beside smoke: costlier scenarios
#: are never drawn, as they would push out all that is promising; releases measure them.
_MOST_DRAWN = 0.5
#: Among scenarios that use at least this part of the most files the cheapest is the smoke test.
_WIDE = 0.5
#: Ratios are compared in units of 1e-9 per second.
_UNIT = 1e9


@dataclass(frozen=True)
class Candidate:
    """A scenario that tier and runner allow. `reason`: the finding's sentence. `probability` of a
    relevant effect, 0 with a proof. `cost_s` None: never measured. `width`: files it uses."""

    scenario: str
    relation: Relation
    reason: str
    probability: float
    cost_s: float | None = None
    width: int = 0

    @property
    def expected_s(self) -> float:
        return EXPECTED_S if self.cost_s is None else max(self.cost_s, 1.0)


#: By scenario, of others, how probably they move where it moves: `Past.moves_with`.
Together = Mapping[str, Mapping[str, float]]


def choose(
    candidates: Sequence[Candidate],
    capacity_s: float | None,
    seed: int,
    *,
    day_left_s: float | None = None,
    smoke: Collection[str] = (),
    together: Together | None = None,
    explore: float = EXPLORE,
    audit: float = AUDIT,
    audit_whole: float = 0.0,
    least_worth: float = 0.0,
) -> tuple[Choice, ...]:
    """One choice per candidate, in their order.

    `capacity_s` and `day_left_s` in runner-seconds, None: no limit; only smoke may exceed them.
    `smoke`: scenarios that always run; empty: one is chosen where capacity is limited. A change
    that is proved apart from every candidate is not measured at all, smoke included, but with
    probability `audit_whole`: such changes are most of all, and to cost nothing is their point.
    `least_worth`: gain per second below which capacity is kept for other changes.
    """
    limits = [each for each in (capacity_s, day_left_s) if each is not None]
    limit_s = max(0.0, min(limits)) if limits else None
    open_ = [each for each in candidates if not each.relation.is_proof]
    dice = random.Random(seed)  # noqa: S311 (no secret; has to be repeated)
    if not open_:
        return _all_proved(candidates, limit_s, seed, audit_whole, dice)
    always = _smoke(open_, candidates, smoke, limit_s)
    if limit_s is None:
        every = frozenset(each.scenario for each in open_) | always
        return _told(candidates, open_, always, every, frozenset(), dict.fromkeys(every, 1.0))
    room_s = limit_s - sum(each.expected_s for each in candidates if each.scenario in always)
    rest = [each for each in open_ if each.scenario not in always]
    normal = _greedy(rest, room_s, always, together or {}, least_worth)
    drawable_s = [
        each.expected_s
        for each in rest
        if each.scenario not in normal and each.expected_s <= room_s * _MOST_DRAWN
    ]
    share_s = explore * limit_s
    reserve_s = min(max(room_s, 0.0), max([share_s, *drawable_s]))
    draws = min(1.0, share_s / reserve_s) if reserve_s > 0 else 0.0
    if drawable_s:
        reduced = _greedy(rest, room_s - reserve_s, always, together or {}, least_worth)
    else:  # nothing to draw but proofs, for which nothing gives way
        reduced = normal
        spent_s = sum(each.expected_s for each in rest if each.scenario in normal)
        reserve_s = min(reserve_s, room_s - spent_s)
    left = [each for each in rest if each.scenario not in reduced]
    proved = [c for c in candidates if c.relation.is_proof and c.scenario not in always]
    packs, checks = _packs(left, reserve_s, seed), _packs(proved, reserve_s, seed)
    # Each dice is thrown whether or not it is needed, so that they never shift.
    thrown, second, place = dice.random(), dice.random(), dice.random()
    checking = audit if checks else 0.0
    drawn: frozenset[str] = frozenset()
    if thrown < draws:
        chosen = checks if second < checking else packs
        drawn = chosen[int(place * len(chosen))] if chosen else frozenset()
    odds = dict.fromkeys(always, 1.0)
    for each in rest:
        odds[each.scenario] = (1 - draws) * (each.scenario in normal) + draws * (
            each.scenario in reduced
        )
    for pack in packs:
        for name in pack:
            odds[name] += draws * (1 - checking) / len(packs)
    for pack in checks:
        for name in pack:
            odds[name] = draws * checking / len(checks)
    kept = (reduced if thrown < draws else normal) | always
    return _told(candidates, open_, always, kept, drawn, odds, limit_s if room_s < 0 else None)


def least_worth_of(rows: Iterable[tuple[float, float]], capacity_s: float) -> float:
    """`least_worth` with which all the candidates of a past period, as (probability, cost), would
    have cost at most `capacity_s` together: cheap changes save for those that need more."""
    worth = sorted(((p / max(cost, 1.0), cost) for p, cost in rows if p > 0), reverse=True)
    spent_s = 0.0
    for number, (ratio, cost) in enumerate(worth):
        spent_s += cost
        if spent_s > capacity_s:
            return worth[number - 1][0] if number else ratio * 2
    return 0.0


# --- smoke, the greedy choice, and what is drawn -----------------------------------------------


def _smoke(
    open_: Sequence[Candidate],
    candidates: Sequence[Candidate],
    named: Collection[str],
    limit_s: float | None,
) -> frozenset[str]:
    if named:
        return frozenset(each.scenario for each in candidates if each.scenario in set(named))
    if limit_s is None:
        return frozenset()
    widest = max(each.width for each in open_)
    wide = [each for each in open_ if each.width >= widest * _WIDE]
    return frozenset({min(wide, key=lambda each: (each.expected_s, each.scenario)).scenario})


def _greedy(
    rest: Sequence[Candidate],
    room_s: float,
    taken: Collection[str],
    together: Together,
    least_worth: float,
) -> frozenset[str]:
    """By gain per second, down to the last one that fits. The gain falls with what was taken, so a
    candidate is weighed again when its turn comes and goes back if others are now better."""
    by_name = {each.scenario: each for each in rest}
    alone = {each.scenario: 1.0 for each in rest}
    affects: dict[str, list[tuple[str, float]]] = {}
    for name in by_name:
        for other, likely in together.get(name, {}).items():
            affects.setdefault(other, []).append((name, likely))

    def found_by(name: str) -> None:
        for other, likely in affects.get(name, ()):
            if other in alone:
                alone[other] *= 1.0 - likely

    def worth(each: Candidate) -> int:
        news = _TOGETHER_WORTH + (1 - _TOGETHER_WORTH) * alone[each.scenario]
        return round(each.probability * news / each.expected_s * _UNIT)

    for name in sorted(taken):
        found_by(name)
    heap = [(-worth(each), each.scenario) for each in rest]
    heapq.heapify(heap)
    kept = set()
    while heap:
        was, name = heapq.heappop(heap)
        each = by_name[name]
        if each.expected_s > room_s + 1e-9:
            continue
        now = -worth(each)
        if now > was:
            heapq.heappush(heap, (now, name))
            continue
        if -now < least_worth * _UNIT:
            break
        kept.add(name)
        room_s -= each.expected_s
        found_by(name)
    return frozenset(kept)


def _packs(left: Sequence[Candidate], reserve_s: float, seed: int) -> list[frozenset[str]]:
    """Every candidate that fits into the reserve, in one of several packs that each fit: one pack
    is drawn, all alike. The order follows from seed and name alone."""
    packs: list[frozenset[str]] = []
    names: list[str] = []
    free_s = reserve_s
    for each in sorted(left, key=lambda each: _shuffled(each.scenario, seed)):
        if each.expected_s > reserve_s + 1e-9:
            continue
        if names and each.expected_s > free_s + 1e-9:
            packs.append(frozenset(names))
            names, free_s = [], reserve_s
        names.append(each.scenario)
        free_s -= each.expected_s
    return [*packs, frozenset(names)] if names else packs


def _shuffled(name: str, seed: int) -> tuple[str, str]:
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).hexdigest(), name


def _all_proved(
    candidates: Sequence[Candidate],
    limit_s: float | None,
    seed: int,
    audit_whole: float,
    dice: random.Random,
) -> tuple[Choice, ...]:
    fitting = [c for c in candidates if limit_s is None or c.expected_s <= limit_s]
    packs = [frozenset({each.scenario}) for each in fitting] if audit_whole > 0 else []
    packs.sort(key=lambda pack: _shuffled(min(pack), seed))
    odds = {name: audit_whole / len(packs) for pack in packs for name in pack}
    drawn: frozenset[str] = frozenset()
    thrown, place = dice.random(), dice.random()
    if packs and thrown < audit_whole:
        drawn = packs[int(place * len(packs))]
    return _told(candidates, (), frozenset(), frozenset(), drawn, odds)


# --- in words ----------------------------------------------------------------------------------


def _told(
    candidates: Sequence[Candidate],
    open_: Sequence[Candidate],
    always: frozenset[str],
    kept: frozenset[str],
    drawn: frozenset[str],
    odds: Mapping[str, float],
    exceeded_s: float | None = None,
) -> tuple[Choice, ...]:
    """`exceeded_s`: the limit that smoke alone takes more than."""
    over = "" if exceeded_s is None else f", over the limit of {exceeded_s:.0f} s"
    order = sorted(open_, key=lambda each: (-each.probability, each.scenario))
    places = {each.scenario: place for place, each in enumerate(order, 1)}
    found = []
    for each in candidates:
        name, proved = each.scenario, each.relation.is_proof
        likely = f"{_short(each.probability)} likely to move"
        cost = f"{each.expected_s:.0f} s" + (" (never measured)" if each.cost_s is None else "")
        chance = odds.get(name, 0.0)
        if name in always:
            rule, reason = Why.SMOKE, f"always runs{over}; {likely}, {cost}"
        elif name in kept:
            place = f"number {places[name]} of {len(order)}"
            rule, reason = Why.PREDICTED, f"{likely}, {cost}, {place}: {each.reason}"
        elif name in drawn:
            dice = f"drawn by chance ({_one_in(chance)})"
            what = f"to check a proof: {each.reason}" if proved else f"{likely}, {cost}"
            rule, reason = Why.EXPLORED, f"{dice}; {what}"
        elif proved:
            rule, reason = Why.PROVED, each.reason
        else:
            rule, reason = Why.CAPACITY, f"left for capacity: {likely}, {cost}"
        taken = name in kept or name in drawn
        found.append(
            Choice(
                name, taken, reason, rule,
                probability=each.probability,
                propensity=round(chance, 9),
                cost_s=each.expected_s,
            )
        )  # fmt: skip
    return tuple(found)


def _short(probability: float) -> str:
    return f"{probability:.2g}"


def _one_in(chance: float) -> str:
    return f"1 in {round(1 / chance)}" if chance > 0 else "1 in many"
