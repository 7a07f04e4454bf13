"""Many footprints turned around: by path, folder, module and function, who uses it. No I/O.

A set of scenarios is one integer, whose bit N stands for scenario N: joining and cutting ten
thousand of them costs a microsecond, and equal sets are stored once. Refuses to keep what no rule
asks for: versions and environment variables stay in the footprints.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from ailab_bot.model import strictjson
from ailab_bot.model.footprint import Footprint, Use
from ailab_bot.model.strictjson import refuse

#: A set of scenarios: bit N is scenario N.
Bits: TypeAlias = int
Table: TypeAlias = dict[str, Bits]
#: By path, by qualified name, by step of a scale.
Steps: TypeAlias = Mapping[str, Mapping[str, Mapping[int, Bits]]]
#: Table, text, and for functions their name, for shares and rates their step.
_Key: TypeAlias = tuple[str, str, str, int]
_Users: TypeAlias = defaultdict[_Key, list[int]]

SCHEMA = 1
#: The tables that map one text to scenarios, in the order in which they are written.
_TABLES = (
    "imported", "opened", "folders", "missing", "present", "search", "modules",
    "distributions",
    "unseen", "shas", "pythons",
)  # fmt: skip
#: What is told by steps, and the highest one.
_STEPPED: Mapping[str, int] = MappingProxyType({"shares": 1000, "rates": 18})
#: One call in a million: whatever changes in what runs more seldom, no one could measure.
_LEAST_RATE, _STEPS_PER_DECADE = 1e-6, 3
#: Entries of any list of a stored index: 100,000 files with 20 functions each.
_MOST = 20_000_000
_MOST_SCENARIOS = 1_000_000
#: A set is written as numbers where that is shorter than its hex digits.
_DIGITS_PER_NUMBER = 6


@dataclass(frozen=True)
class FootprintIndex:
    """`imported`: who imported a path and never opened it; `opened`: who opened it.

    `functions`: by path, by qualified name, who ran it. `shares`: by path and qualified name, by
    share of the traced time in thousandths, who spent that much there; shares that round to none
    are left out. `rates`: the same by how often it ran, against all calls of the scenario's
    signature; see `rate_of`. `counts`: files that each scenario used.
    """

    scenarios: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    imported: Table = field(default_factory=dict)
    opened: Table = field(default_factory=dict)
    folders: Table = field(default_factory=dict)
    missing: Table = field(default_factory=dict)
    present: Table = field(default_factory=dict)
    search: Table = field(default_factory=dict)
    modules: Table = field(default_factory=dict)
    distributions: Table = field(default_factory=dict)
    unseen: Table = field(default_factory=dict)
    shas: Table = field(default_factory=dict)
    pythons: Table = field(default_factory=dict)
    functions: Mapping[str, Table] = field(default_factory=dict)
    shares: Steps = field(default_factory=dict)
    rates: Steps = field(default_factory=dict)

    @classmethod
    def of(cls, footprints: Iterable[Footprint]) -> FootprintIndex:
        """One scenario has one footprint; of several the last one counts."""
        return cls().updated(footprints)

    def updated(self, footprints: Iterable[Footprint]) -> FootprintIndex:
        """With these footprints in the place of what was known of their scenarios."""
        new = {each.scenario: each for each in footprints}
        numbers = {name: number for number, name in enumerate(self.scenarios)}
        gone = _joined([numbers[name] for name in new if name in numbers])
        for name in new:
            numbers.setdefault(name, len(numbers))
        counts = [*self.counts, *([0] * (len(numbers) - len(self.counts)))]
        users: _Users = defaultdict(list)
        for scenario, footprint in new.items():
            counts[numbers[scenario]] = len(footprint.files)
            _note(users, footprint, numbers[scenario])
        tables: dict[str, Table] = {name: {} for name in _TABLES}
        functions: dict[str, Table] = {}
        stepped: dict[str, dict[str, dict[str, dict[int, Bits]]]] = {each: {} for each in _STEPPED}
        for key in {**dict.fromkeys(self._keys()), **users}:
            who = self._who(key) & ~gone | _joined(users.get(key, ()))
            if not who:
                continue
            table, path, name, step = key
            if table == "functions":
                functions.setdefault(path, {})[name] = who
            elif table in stepped:
                stepped[table].setdefault(path, {}).setdefault(name, {})[step] = who
            else:
                tables[table][path] = who
        return FootprintIndex(
            tuple(numbers),
            tuple(counts),
            **tables,
            functions=functions,
            shares=stepped["shares"],
            rates=stepped["rates"],
        )

    def _keys(self) -> Iterator[_Key]:
        for table in _TABLES:
            yield from ((table, path, "", 0) for path in getattr(self, table))
        for path, names in self.functions.items():
            yield from (("functions", path, name, 0) for name in names)
        for table in _STEPPED:
            found: Steps = getattr(self, table)
            for path, by_name in found.items():
                for name, steps in by_name.items():
                    yield from ((table, path, name, step) for step in steps)

    def _who(self, key: _Key) -> Bits:
        table, path, name, step = key
        if table == "functions":
            return self.functions.get(path, {}).get(name, 0)
        if table in _STEPPED:
            stepped: Steps = getattr(self, table)
            return stepped.get(path, {}).get(name, {}).get(step, 0)
        found: Bits = getattr(self, table).get(path, 0)
        return found

    def to_json(self) -> str:
        """Compact: texts and sets are stored once, everything else is numbers into these lists."""
        texts: dict[str, int] = {}
        sets: dict[Bits, int] = {}

        def text(value: str) -> int:
            return texts.setdefault(value, len(texts))

        def bits(value: Bits) -> int:
            return sets.setdefault(value, len(sets))

        def flat(table: Table) -> list[int]:
            return [each for name, who in table.items() for each in (text(name), bits(who))]

        document: dict[str, object] = {
            "schema": SCHEMA, "scenarios": list(self.scenarios), "counts": list(self.counts),
        }  # fmt: skip
        document.update((name, flat(getattr(self, name))) for name in _TABLES)
        document["functions"] = [
            each
            for path, table in self.functions.items()
            for name, who in table.items()
            for each in (text(path), text(name), bits(who))
        ]
        for stepped in _STEPPED:
            document[stepped] = [
                each
                for path, by_name in getattr(self, stepped).items()
                for name, steps in by_name.items()
                for step, who in steps.items()
                for each in (text(path), text(name), step, bits(who))
            ]
        document["texts"] = list(texts)
        document["sets"] = [_written(each) for each in sets]
        return json.dumps(document, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, document: str) -> FootprintIndex:
        """BadJsonError for anything that `to_json` would not write."""
        # Halves of characters are looked for below, in one go: `load` would take a second.
        row = strictjson.load_object(document, raw_texts=True)
        lists = (*_TABLES, "functions", *_STEPPED, "texts", "sets", "scenarios", "counts")
        strictjson.keys(row, ("schema", *lists))
        strictjson.schema(row, SCHEMA)
        scenarios = _texts(row["scenarios"], "scenarios", most=_MOST_SCENARIOS)
        counts = _numbers(row["counts"], "counts", 1)
        if len(counts) != len(scenarios):
            refuse("counts must have one entry for each scenario")
        texts = _texts(row["texts"], "texts", most=_MOST)
        sets = _sets(row["sets"], len(scenarios))
        tables = {name: _table(row[name], name, texts, sets) for name in _TABLES}
        functions: dict[str, Table] = {}
        stepped: dict[str, dict[str, dict[str, dict[int, Bits]]]] = {each: {} for each in _STEPPED}
        try:
            numbers = iter(_numbers(row["functions"], "functions", 3))
            for path, name, who in zip(numbers, numbers, numbers, strict=True):
                functions.setdefault(texts[path], {})[texts[name]] = sets[who]
            for table, by_path in stepped.items():
                numbers = iter(_numbers(row[table], table, 4))
                for path, name, step, who in zip(numbers, numbers, numbers, numbers, strict=True):
                    steps = by_path.setdefault(texts[path], {}).setdefault(texts[name], {})
                    steps[strictjson.whole(step, table, least=1, most=_STEPPED[table])] = sets[who]
        except IndexError:
            refuse("a number names no text or set")
        return cls(
            scenarios,
            counts,
            **tables,
            functions=functions,
            shares=stepped["shares"],
            rates=stepped["rates"],
        )


def _note(users: _Users, footprint: Footprint, number: int) -> None:
    for path, uses in footprint.files.items():
        users["imported" if uses == {Use.IMPORTED} else "opened", path, "", 0].append(number)
    for table in ("folders", "missing", "present", "search", "modules", "distributions", "unseen"):
        for text in set(getattr(footprint, table)):
            users[table, text, "", 0].append(number)
    users["shas", footprint.sha, "", 0].append(number)
    users["pythons", footprint.python, "", 0].append(number)
    seen = footprint.signature
    total = max(seen.calls + seen.builtin_calls, 1) if seen else 0
    for path, executed in footprint.functions.items():
        for name, each in executed.items():
            users["functions", path, name, 0].append(number)
            if step := _step(each.share):
                users["shares", path, name, step].append(number)
            if step := _rate_step(each.calls, total):
                users["rates", path, name, step].append(number)


def _joined(numbers: Sequence[int]) -> Bits:
    """The set of these scenarios. One by one each would copy the whole set."""
    if not numbers:
        return 0
    flags = bytearray(max(numbers) // 8 + 1)
    for number in numbers:
        flags[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(flags, "little")


def _step(share: float) -> int:
    """Thousandths up to a hundredth, hundredths above: finer than any decision that asks, and
    coarse enough that scenarios fall into the same sets."""
    step = round(share * 1000)
    return min(step if step < 10 else round(step, -1), 1000)


def _rate_step(calls: int, total: int) -> int:
    """Thirds of a decade above `_LEAST_RATE`; 0 below it, and where nothing was counted."""
    if not calls or not total:
        return 0
    step = round(_STEPS_PER_DECADE * math.log10(calls / total / _LEAST_RATE))
    return max(0, min(step, _STEPPED["rates"]))


def rate_of(step: int) -> float:
    """How often a function of this step of `rates` ran, for each call of the scenario: within a
    half."""
    return float(_LEAST_RATE * 10 ** (step / _STEPS_PER_DECADE))


def _written(who: Bits) -> str:
    """`h` and hex digits, or `n` and the numbers of the scenarios."""
    if who.bit_count() * _DIGITS_PER_NUMBER * 4 > who.bit_length():
        return f"h{who:x}"
    numbers = []
    while who:
        low = who & -who
        numbers.append(str(low.bit_length() - 1))
        who ^= low
    return "n" + ",".join(numbers)


def _sets(value: object, scenarios: int) -> tuple[Bits, ...]:
    found = []
    for each in _texts(value, "sets", most=_MOST):
        kind, digits = each[:1], each[1:]
        try:
            if kind == "h" and len(digits) <= scenarios // 4 + 1:
                who = int(digits, 16)
            elif kind == "n" and len(digits) <= scenarios * 8:
                numbers = [*map(int, digits.split(","))]
                if not 0 <= min(numbers) <= max(numbers) < scenarios:
                    refuse("a set names no scenario")
                who = _joined(numbers)
            else:
                refuse(f"a set must be hex digits or numbers, not {each:.20}")
        except ValueError:
            refuse(f"a set must be hex digits or numbers, not {each:.20}")
        if who <= 0 or who.bit_length() > scenarios:
            refuse("a set names no scenario")
        found.append(who)
    return tuple(found)


def _table(
    value: object, name: str, texts: tuple[str, ...], sets: tuple[Bits, ...]
) -> dict[str, Bits]:
    numbers = iter(_numbers(value, name, 2))
    try:
        return {texts[key]: sets[who] for key, who in zip(numbers, numbers, strict=True)}
    except IndexError:
        refuse(f"{name}: a number names no text or set")


def _numbers(value: object, name: str, width: int) -> tuple[int, ...]:
    """A flat list of rows of `width` numbers, none below zero."""
    found = strictjson.items(value, name, most=_MOST)
    if set(map(type, found)) - {int} or len(found) % width:
        refuse(f"{name} must be a list of whole numbers, {width} in a row")
    numbers: list[int] = found  # type: ignore[assignment]
    if numbers and min(numbers) < 0:
        refuse(f"{name} holds a number below 0")
    return tuple(numbers)


def _texts(value: object, name: str, *, most: int) -> tuple[str, ...]:
    found = strictjson.items(value, name, most=most)
    if set(map(type, found)) - {str}:
        refuse(f"{name} must be a list of texts")
    texts: list[str] = found  # type: ignore[assignment]
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        refuse(f"{name} holds half a character (a lone surrogate)")
    if len(set(texts)) != len(texts):
        refuse(f"{name} holds a text twice")
    return tuple(texts)
