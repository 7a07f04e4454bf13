"""What earlier measurements teach: rates, costs, and which scenarios move together. Plain data.

Truth about effects comes from releases and nightly runs alone; what a pull request measured teaches
what measuring costs, and nothing else, because the plan itself chose what it measured. Everything
is bounded and fades with age. Refuses to read anything: outcomes come in, a document goes out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple, TypeVar

from ailab_bot.model import strictjson
from ailab_bot.model.strictjson import refuse

SCHEMA = 1
#: After so many days an outcome counts half: code and teams change within a few months.
HALF_LIFE_DAYS = 90.0
#: The same for "has it moved lately": a rework lasts one to three weeks.
RECENT_HALF_LIFE_DAYS = 10.0
#: Expected costs are the median of so many runs, which lets one bad runner pass.
COSTS_KEPT = 10
LEAST_COST_S, MOST_COST_S = 1.0, 6 * 3600.0
#: Pairs of a path and a scenario that are kept: 15 MB in memory, and a quarter of a second to read.
MOST_PAIRS = 50_000
MOST_PATHS = 50_000
MOST_SCENARIOS = 1_000_000
#: A change that touches a scenario by more files than this says nothing about any one of them.
MOST_PATHS_OF_OUTCOME = 100
#: For each scenario, others that moved with it.
MOST_ALIKE = 12
#: Where more scenarios than this move in one commit the cause is none that pairs them.
MOST_TOGETHER = 60
#: Commits whose moved scenarios are remembered, as outcomes of one commit come one by one.
_MOST_COMMITS = 32
#: Origins whose outcomes are truth, and those that teach costs, too.
TRUTH = frozenset({"release"})
_TEACH_COSTS = TRUTH | {"merge_group", "pull_request"}
#: Characters of a path.
_LONGEST = 4096
_K = TypeVar("_K", str, tuple[str, str])


@dataclass(frozen=True)
class Outcome:
    """What a measurement found. `paths`: the changed files that touched the scenario. `moved`: the
    effect was relevant, in either direction. `effect`: log(head/base) where known. `origin` as in
    the ledger."""

    sha: str
    when: datetime
    paths: tuple[str, ...]
    scenario: str
    moved: bool
    cost_s: float | None = None
    effect: float | None = None
    origin: str = "release"


class Count(NamedTuple):
    """`times` and, of them, `moved`, faded with age up to `day` (days since 1970); `lately` is
    `moved` with the shorter half-life."""

    times: float = 0.0
    moved: float = 0.0
    lately: float = 0.0
    day: float = 0.0

    def at(self, day: float) -> Count:
        """Faded up to that day; never grows again."""
        age = max(0.0, day - self.day)
        fade, fast = 0.5 ** (age / HALF_LIFE_DAYS), 0.5 ** (age / RECENT_HALF_LIFE_DAYS)
        return Count(self.times * fade, self.moved * fade, self.lately * fast, max(day, self.day))

    def plus(self, moved: bool, weight: float, day: float) -> Count:
        now = self.at(day)
        gain = weight if moved else 0.0
        return Count(now.times + weight, now.moved + gain, now.lately + gain, now.day)


_NOTHING = Count()


@dataclass(frozen=True)
class Past:
    """`pairs`: by path, by scenario. `paths`: over all scenarios. `alike`: by scenario, how often
    another one moved in the same commit. `commits`: the last ones, with what moved in them."""

    overall: Count = _NOTHING
    scenarios: Mapping[str, Count] = field(default_factory=dict)
    costs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    paths: Mapping[str, Count] = field(default_factory=dict)
    pairs: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    alike: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    commits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def expected_s(self, scenario: str) -> float | None:
        """Runner-seconds of one measurement; None where it never ran."""
        known = self.costs.get(scenario)
        return round(min(max(median(known), LEAST_COST_S), MOST_COST_S), 3) if known else None

    def last_day(self, scenario: str) -> float | None:
        """Days since 1970 when its effect was measured last."""
        count = self.scenarios.get(scenario)
        return count.day if count else None

    def moves_with(self, scenario: str) -> dict[str, float]:
        """Of others, how probably they move where this one does; smoothed, by name."""
        count = self.scenarios.get(scenario)
        own = max(self._moves(scenario), count.moved if count else 0.0)
        found = sorted(self.alike.get(scenario, {}).items())
        return {name: min(1.0, number / (own + 1.0)) for name, number in found}

    def _moves(self, scenario: str) -> float:
        """At least as often as with the other that it moved with most."""
        return float(max(self.alike.get(scenario, {}).values(), default=0))

    def with_outcome(self, outcome: Outcome) -> Past:
        return self.with_outcomes((outcome,))

    def with_outcomes(self, outcomes: Iterable[Outcome]) -> Past:
        """In the order given; in any other order counts of the same day come out the same."""
        made = _Making(self)
        for outcome in outcomes:
            made.add(outcome)
        return made.done()

    def to_json(self) -> str:
        """Compact and the same for the same past: names are stored once, everything else is whole
        numbers in flat lists, counts in thousandths."""
        texts: dict[str, int] = {}

        def number(text: str) -> int:
            return texts.setdefault(text, len(texts))

        def counts(rows: Mapping[str, Count]) -> list[int]:
            return [n for name, c in sorted(rows.items()) for n in (number(name), *_written(c))]

        document: dict[str, object] = {
            "schema": SCHEMA,
            "overall": _written(self.overall),
            "scenarios": counts(self.scenarios),
            "costs": [
                [number(name), *(round(each * 1000) for each in costs)]
                for name, costs in sorted(self.costs.items())
            ],
            "paths": counts(self.paths),
            "pairs": [[number(path), *counts(row)] for path, row in sorted(self.pairs.items())],
            "alike": [
                [number(name), *(n for other, times in sorted(row.items())
                                 for n in (number(other), times))]
                for name, row in sorted(self.alike.items())
            ],
            "commits": [[sha, *map(number, names)] for sha, names in self.commits.items()],
        }  # fmt: skip
        document["texts"] = list(texts)
        return json.dumps(document, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, document: str) -> Past:
        """BadJsonError for anything that `to_json` would not write."""
        return _read(document)


def day_of(when: datetime) -> float:
    """Days since 1970, with the part of the day."""
    return when.astimezone(UTC).timestamp() / 86400


class _Making:
    """A past that grows; copies what it changes once."""

    def __init__(self, past: Past) -> None:
        self.overall = past.overall
        self.scenarios = dict(past.scenarios)
        self.costs = dict(past.costs)
        self.paths = dict(past.paths)
        self.pairs = {path: dict(row) for path, row in past.pairs.items()}
        self.alike = {name: dict(row) for name, row in past.alike.items()}
        self.commits = dict(past.commits)

    def add(self, outcome: Outcome) -> None:
        if outcome.origin in _TEACH_COSTS and outcome.cost_s is not None:
            cost_s = outcome.cost_s
            if math.isfinite(cost_s) and cost_s > 0:
                cost_s = min(max(cost_s, LEAST_COST_S), MOST_COST_S)
                known = (*self.costs.get(outcome.scenario, ()), cost_s)
                self.costs[outcome.scenario] = known[-COSTS_KEPT:]
        if outcome.origin not in TRUTH:
            return
        day, moved, name = day_of(outcome.when), outcome.moved, outcome.scenario
        self.overall = self.overall.plus(moved, 1.0, day)
        self.scenarios[name] = self.scenarios.get(name, Count()).plus(moved, 1.0, day)
        if moved:
            self._together(outcome.sha, name)
        paths = sorted(set(outcome.paths))
        if not 0 < len(paths) <= MOST_PATHS_OF_OUTCOME:
            return
        weight = 1.0 / len(paths)  # which of them it was nobody knows
        for path in paths:
            self.paths[path] = self.paths.get(path, Count()).plus(moved, weight, day)
            row = self.pairs.setdefault(path, {})
            row[name] = row.get(name, Count()).plus(moved, weight, day)

    def _together(self, sha: str, name: str) -> None:
        others = self.commits.pop(sha, ())
        if name in others:
            self.commits[sha] = others
            return
        self.commits[sha] = (*others, name) if len(others) < MOST_TOGETHER else others
        while len(self.commits) > _MOST_COMMITS:
            self.commits.pop(next(iter(self.commits)))
        if len(others) >= MOST_TOGETHER:
            return
        for other in others:
            for one, two in ((name, other), (other, name)):
                row = self.alike.setdefault(one, {})
                row[two] = row.get(two, 0) + 1
                if len(row) > MOST_ALIKE:
                    row.pop(min(row, key=lambda each: (row[each], each == two, each)))

    def done(self) -> Past:
        if len(self.paths) > MOST_PATHS:
            self.paths = dict(_newest(self.paths.items(), MOST_PATHS))
        pairs = [((path, name), c) for path, row in self.pairs.items() for name, c in row.items()]
        if len(pairs) > MOST_PAIRS:
            self.pairs = {}
            for (path, name), count in _newest(pairs, MOST_PAIRS):
                self.pairs.setdefault(path, {})[name] = count
        return Past(
            self.overall, self.scenarios, self.costs, self.paths, self.pairs, self.alike,
            self.commits,
        )  # fmt: skip


def _newest(items: Iterable[tuple[_K, Count]], most: int) -> list[tuple[_K, Count]]:
    return sorted(items, key=lambda item: (-item[1].day, item[0]))[:most]


def _written(count: Count) -> list[int]:
    return [round(each * 1000) for each in count]


# --- reading -----------------------------------------------------------------------------------

_LISTS = ("scenarios", "costs", "paths", "pairs", "alike", "commits")
_LARGEST_NUMBER = 10**12


def _read(document: str) -> Past:
    row = strictjson.load_object(document, raw_texts=True)
    strictjson.keys(row, ("schema", "overall", "texts", *_LISTS))
    strictjson.schema(row, SCHEMA)
    texts = strictjson.items(row["texts"], "texts", most=2 * MOST_SCENARIOS)
    if any(not isinstance(each, str) or len(each) > _LONGEST for each in texts):
        refuse("texts must be a list of texts")
    names: list[str] = texts  # type: ignore[assignment]
    try:
        return Past(
            overall=_counts([0, *_whole(row["overall"])], ["overall"])["overall"],
            scenarios=_counts(_whole(row["scenarios"]), names),
            costs={names[number]: _costs(costs) for number, *costs in _rows(row["costs"], "costs")},
            paths=_counts(_whole(row["paths"]), names),
            pairs={
                names[number]: _counts(counts, names)
                for number, *counts in _rows(row["pairs"], "pairs")
            },
            alike={
                names[number]: {
                    names[other]: times
                    for other, times in zip(others[::2], others[1::2], strict=True)
                }
                for number, *others in _rows(row["alike"], "alike")
            },
            commits=_commits(row["commits"], names),
        )
    except (IndexError, ValueError):
        refuse("a number names no text, or a row is cut off")


def _counts(numbers: list[int], names: list[str]) -> dict[str, Count]:
    """Rows of a name and a count's four numbers. ValueError or IndexError where they are none."""
    of = iter(numbers)
    found = {
        names[name]: Count(times / 1000, moved / 1000, lately / 1000, day / 1000)
        for name, times, moved, lately, day in zip(of, of, of, of, of, strict=True)
    }
    if len(found) * 5 != len(numbers):
        refuse("a name stands there twice")
    return found


def _costs(costs: list[int]) -> tuple[float, ...]:
    found = tuple(each / 1000 for each in costs)
    if not 0 < len(found) <= COSTS_KEPT or min(found) < LEAST_COST_S or max(found) > MOST_COST_S:
        refuse("costs of a scenario must be a few numbers within bounds")
    return found


def _commits(value: object, names: list[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for each in strictjson.items(value, "commits", most=_MOST_COMMITS):
        sha, *rest = strictjson.items(each, "a commit", least=1, most=1 + MOST_TOGETHER)
        found[strictjson.sha(sha, "a commit")] = tuple(names[number] for number in _whole(rest))
    return found


def _rows(value: object, name: str) -> list[list[int]]:
    found = [_whole(each) for each in strictjson.items(value, name, most=MOST_SCENARIOS)]
    if not all(found):
        refuse(f"an entry of {name} is empty")
    return found


def _whole(value: object) -> list[int]:
    """Whole numbers, none below 0."""
    found = strictjson.items(value, "numbers", most=10 * MOST_SCENARIOS)
    if set(map(type, found)) - {int}:
        refuse("numbers must be whole")
    numbers: list[int] = found  # type: ignore[assignment]
    if numbers and (min(numbers) < 0 or max(numbers) > _LARGEST_NUMBER):
        refuse("a number is out of range")
    return numbers
