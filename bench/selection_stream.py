"""A simulated stream of changes to a Python ML repository, with footprints and true effects.

A repository of about 15 packages with hubs that nearly everything imports; 40 scenarios whose
footprints overlap, with heavy-tailed shares of time; files that are changed with heavy-tailed
frequency and in neighbourhoods; 6 of 10 changes touch no code that runs. Effects come from the
change, never from the predictor: a changed function gets slower by a heavy-tailed factor of what it
costs (its own time and what it calls, which footprints do not show); imports, calls and
dependencies add time of their own; some effects have causes far from the change; for weeks some
packages are reworked and break more often. What is learned from are verdicts of the judge, with its
misses and false alarms, and of nights whose machine was not itself.

What it cannot show: whether elimination is sound. It is by construction here; real histories test
it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from selection_rows import Row

from ailab_bot.plan.features import ChangeFacts, Surroundings, rows_of
from ailab_bot.plan.past import Outcome, Past
from ailab_bot.plan.relation import Finding, How, Relation, Touch
from ailab_bot.plan.tokens import MODULE, Token, Tokens

SCENARIOS, CHANGES, CHANGES_A_DAY = 40, 4000, 15
#: An effect below this is not relevant (the default threshold of a verdict).
THRESHOLD = 0.02
START = datetime(2026, 1, 5, tzinfo=UTC)
HUBS = ("config", "io", "log", "registry", "utils", "distributed", "caching", "metrics")
DISTRIBUTIONS = tuple(f"dist{number}" for number in range(30))
#: How much a newly called thing costs beside a start-up, by kind: median and spread of its log.
#: `loop` multiplies what the function costs instead.
NEW_CALLS = {
    Token.SLEEP: (0.02, 1.2),
    Token.NETWORK: (0.03, 1.3),
    Token.SUBPROCESS: (0.02, 1.0),
    Token.FILES: (0.003, 1.5),
    Token.LOGGING: (0.0002, 1.0),
    Token.DEVICE: (0.02, 1.3),
    Token.WORKERS: (0.03, 1.0),
}


@dataclass
class Module:
    path: str
    package: str
    functions: list[str]
    imports: set[int] = field(default_factory=set)
    #: By function: how likely it runs at all, its time, and how much more it costs with what it
    #: calls than footprints show.
    lively: dict[str, float] = field(default_factory=dict)
    time: dict[str, float] = field(default_factory=dict)
    hidden: dict[str, float] = field(default_factory=dict)


@dataclass
class Scene:
    """A scenario. `shares`: by module and function."""

    name: str
    home: str
    cost_s: float
    shares: dict[int, dict[str, float]]
    opened: set[str]
    listed: set[str]
    loads: set[str]


@dataclass
class Edit:
    """What a change does. `functions`: by module; `effects` by scenario, as a fraction."""

    kind: str
    functions: dict[int, set[str]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    tokens: dict[str, Tokens] = field(default_factory=dict)
    touches: dict[int, list[Touch]] = field(default_factory=lambda: defaultdict(list))
    same: set[int] = field(default_factory=set)
    dormant: set[int] = field(default_factory=set)
    effects: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    imported: str = ""


class World:
    """The repository, its scenarios, and what happens to it."""

    def __init__(self, seed: int, tangled: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.tangled = tangled
        self.modules: list[Module] = []
        self._repository()
        self.scenes = [self._scene(number) for number in range(SCENARIOS)]
        random = self.random
        ranks = random.permutation(len(self.modules)) + 1.0
        self.weights = ranks**-1.1
        self.weights[: len(HUBS)] *= 16.0 if tangled else 4.0
        self.weights /= self.weights.sum()
        self.recent: list[int] = []
        self.hot_package, self.hot_until = "", -1
        self.used = [
            {self.modules[index].path for index in scene.shares}
            | scene.opened
            | {"requirements.lock", f"{scene.home}/scenario.yml", "Dockerfile"}
            for scene in self.scenes
        ]

    # --- the repository ------------------------------------------------------------------------

    def _repository(self) -> None:
        random = self.random
        for name in HUBS:
            self._module(f"common/{name}.py", "common", 0.5)
        for package in range(14):
            first = len(self.modules)
            for number in range(int(random.integers(6, 23))):
                self._module(f"pkg{package}/mod{number}.py", f"pkg{package}", 0.3)
            for number in range(first, len(self.modules)):
                imports = self.modules[number].imports
                imports.update(h for h in range(len(HUBS)) if random.random() < 0.35)
                if number > first:  # early modules of a package are imported more
                    for _ in range(int(random.integers(0, 4))):
                        imports.add(first + int((number - first) * random.random() ** 2))
                if first > len(HUBS) and random.random() < 0.15:
                    imports.add(int(random.integers(len(HUBS), first)))

    def _module(self, path: str, package: str, alive: float) -> None:
        random = self.random
        names = [f"f{n}" for n in range(2 + int(random.lognormal(1.7, 0.8)))]
        made = Module(path, package, [MODULE, *names])
        for name in made.functions:
            body = name == MODULE
            made.lively[name] = 1.0 if body else float(random.beta(0.7, 0.7 * (1 - alive) / alive))
            made.time[name] = float(random.lognormal(0.5 if body else 0.0, 1.5 if body else 2.2))
            made.hidden[name] = float(random.lognormal(0.0, 0.9))
        self.modules.append(made)

    def _scene(self, number: int) -> Scene:
        random = self.random
        packages = sorted({each.package for each in self.modules} - {"common"})
        liked = random.choice(
            packages, 10 if self.tangled else int(random.integers(3, 8)), replace=False
        )
        roots = [
            index
            for index, each in enumerate(self.modules)
            if (each.package in liked and random.random() < 0.35)
            or (each.package == "common" and random.random() < 0.6)
        ]
        reached: set[int] = set()
        while roots:
            index = roots.pop()
            if index not in reached:
                reached.add(index)
                roots += self.modules[index].imports
        times = {
            index: {
                name: self.modules[index].time[name] * float(random.lognormal(0, 0.7))
                for name in self.modules[index].functions
                if random.random() < self.modules[index].lively[name]
            }
            for index in sorted(reached)
        }
        total = sum(sum(each.values()) for each in times.values())
        part = float(random.uniform(0.15, 0.6))  # the rest is the interpreter and others' code
        shares = {
            index: {name: value / total * part for name, value in own.items()}
            for index, own in times.items()
        }
        home = f"scenarios/s{number:02d}"
        return Scene(
            name=f"s{number:02d}",
            home=home,
            cost_s=float(np.clip(random.lognormal(np.log(200), 0.6), 40, 900)),
            shares=shares,
            opened={f"conf/c{n}.yml" for n in random.choice(25, 4, replace=False)}
            | {f"data/d{n}.csv" for n in random.choice(15, 2, replace=False)},
            listed={each for each in ("conf", "data", "plugins") if random.random() < 0.2},
            loads={each for each in DISTRIBUTIONS if random.random() < 0.3},
        )

    # --- one change ----------------------------------------------------------------------------

    def change(self, time: int) -> Edit:
        random = self.random
        if time > self.hot_until and random.random() < 1 / 80:
            self.hot_package = self.modules[int(random.integers(0, len(self.modules)))].package
            self.hot_until = time + 40
        kind = str(
            random.choice(
                ["docs", "tests", "comments", "unused", "lock", "config", "data", "definition",
                 "build", "new", "code"],
                p=[0.25, 0.17, 0.10, 0.08, 0.025, 0.03, 0.01, 0.01, 0.005, 0.03, 0.29],
            )
        )  # fmt: skip
        edit = Edit(kind)
        getattr(self, f"_{kind}", self._code)(edit, time)
        return edit

    def _docs(self, edit: Edit, _: int) -> None:
        edit.paths = [f"docs/page{self.random.integers(0, 40)}.md"]

    def _tests(self, edit: Edit, _: int) -> None:
        edit.paths = [f"tests/test_{self.random.integers(0, 90)}.py"]

    def _comments(self, edit: Edit, time: int) -> None:
        for index in self._files(time, 3):
            edit.paths.append(self.modules[index].path)
            edit.same.update(n for n, s in enumerate(self.scenes) if index in s.shares)

    def _unused(self, edit: Edit, time: int) -> None:
        """Code that no scenario runs."""
        for index in self._files(time, 3):
            module = self.modules[index]
            edit.paths.append(module.path)
            edit.dormant.update(n for n, s in enumerate(self.scenes) if index in s.shares)

    def _lock(self, edit: Edit, _: int) -> None:
        random = self.random
        edit.paths = ["requirements.lock"]
        for name in random.choice(DISTRIBUTIONS, int(random.integers(1, 4)), replace=False):
            cost = float(random.lognormal(np.log(0.03), 1)) * (random.random() < 0.12)
            for number, scene in enumerate(self.scenes):
                if name in scene.loads:
                    self._touch(edit, number, "requirements.lock", How.DEPENDENCY, str(name))
                    edit.effects[number] += cost * float(random.lognormal(0, 0.5))

    def _opened(self, edit: Edit, path: str, chance: float) -> None:
        random = self.random
        edit.paths.append(path)
        cost = float(random.lognormal(np.log(0.05), 1)) * (random.random() < chance)
        for number, scene in enumerate(self.scenes):
            if path in scene.opened:
                self._touch(edit, number, path, How.CONTENT)
                edit.effects[number] += cost * float(random.lognormal(0, 0.5))

    def _config(self, edit: Edit, _: int) -> None:
        self._opened(edit, f"conf/c{self.random.integers(0, 25)}.yml", 0.08)

    def _data(self, edit: Edit, _: int) -> None:
        self._opened(edit, f"data/d{self.random.integers(0, 15)}.csv", 0.15)

    def _definition(self, edit: Edit, _: int) -> None:
        number = int(self.random.integers(0, SCENARIOS))
        path = f"{self.scenes[number].home}/scenario.yml"
        edit.paths = [path]
        self._touch(edit, number, path, How.SCENARIO)
        edit.effects[number] += self._sized(0.05, 1.0) * (self.random.random() < 0.25)

    def _new(self, edit: Edit, time: int) -> None:
        folder = str(self.random.choice(["conf", "data", "plugins", "pkg3", "tools"]))
        edit.paths = [f"{folder}/new{time}.yml"]
        for number, scene in enumerate(self.scenes):
            if folder in scene.listed:
                self._touch(edit, number, edit.paths[0], How.APPEARS)
                edit.effects[number] += self._sized(0.03, 1.0) * (self.random.random() < 0.03)

    def _code(self, edit: Edit, time: int) -> None:
        random = self.random
        if edit.kind == "build":
            edit.paths = ["Dockerfile"]
            cost = float(random.lognormal(np.log(0.04), 1)) * (random.random() < 0.2)
            for number in range(SCENARIOS):
                self._touch(edit, number, "Dockerfile", How.BUILD)
                edit.effects[number] += cost * float(random.lognormal(0, 0.5))
            return
        sweep = random.random() < 0.02
        files = self._files(time, 60 if sweep else 12, at_least=20 if sweep else 1)
        self.recent = [*self.recent, *files][-20:]
        hot = self.hot_package if time <= self.hot_until else ""
        for index in files:
            module = self.modules[index]
            count = min(1 + int(random.geometric(0.5)), len(module.functions))
            names = set(random.choice(module.functions[1:], min(count, 3)))
            if random.random() < 0.2:
                names.add(MODULE)
            edit.paths.append(module.path)
            edit.functions[index] = {str(name) for name in names}
            harm = 0.02 if sweep else 0.45 if module.package == hot else 0.15
            tokens = {
                str(name): self._edited(edit, index, str(name), harm) for name in sorted(names)
            }
            if random.random() < 0.06 and not sweep:
                self._imports(edit, index, tokens)
            found = {name: frozenset(each) for name, each in tokens.items() if each}
            edit.tokens[module.path] = Tokens(found, imports=frozenset({edit.imported} - {""}))
        self._touches(edit)
        if random.random() < 0.015 and edit.touches:  # a default elsewhere that all of it reads
            cost = self._sized(0.03, 0.7)
            for number in sorted(edit.touches):
                if random.random() < 0.5:
                    edit.effects[number] += cost * float(random.lognormal(0, 0.5))

    def _edited(self, edit: Edit, index: int, name: str, harm: float) -> set[Token]:
        """Effects of one changed function; what of it can be read off its text."""
        random, module = self.random, self.modules[index]
        slower = float(random.normal(0, 0.015))
        if random.random() < harm:
            slower = float(random.lognormal(np.log(0.25), 1.1)) * (_sign(random))
        tokens = {t for t, p in ((Token.LOGGING, 0.1), (Token.FILES, 0.04), (Token.LOOP, 0.08))
                  if random.random() < p}  # fmt: skip
        if random.random() < 0.03:
            slower += float(random.lognormal(np.log(0.5), 1))
            tokens.add(Token.LOOP)
        added = 0.0
        if random.random() < 0.035:
            kind = list(NEW_CALLS)[int(random.integers(0, len(NEW_CALLS)))]
            added = self._sized(*NEW_CALLS[kind])
            if random.random() < 0.85:  # else it hides behind a function of the repository
                tokens.add(kind)
        for number, scene in enumerate(self.scenes):
            share = scene.shares.get(index, {}).get(name)
            if share is not None:
                whole = min(0.9, share * module.hidden[name])
                own = whole * max(slower, -0.9) * float(random.lognormal(0, 0.5))
                edit.effects[number] += own + added * float(random.lognormal(0, 0.4))
        return tokens

    def _imports(self, edit: Edit, index: int, tokens: dict[str, set[Token]]) -> None:
        random = self.random
        cost = self._sized(0.006, 1.4)
        heavy = random.random() < (0.8 if cost > 0.02 else 0.1)
        tokens.setdefault(MODULE, set()).add(Token.HEAVY_IMPORT if heavy else Token.IMPORT)
        edit.functions[index].add(MODULE)
        edit.imported = str(random.choice(DISTRIBUTIONS))
        for number, scene in enumerate(self.scenes):
            if index in scene.shares and edit.imported not in scene.loads:
                edit.effects[number] += cost * float(random.lognormal(0, 0.3))

    def _touches(self, edit: Edit) -> None:
        for number, scene in enumerate(self.scenes):
            for index, names in edit.functions.items():
                if index not in scene.shares:
                    continue
                ran = scene.shares[index]
                found = tuple(sorted(names & ran.keys()))
                if found:
                    # The index keeps thousandths.
                    share = round(sum(round(ran[name], 3) for name in found), 3)
                    path = self.modules[index].path
                    edit.touches[number].append(Touch(path, How.CODE, found, share))
                else:
                    edit.dormant.add(number)

    def _touch(self, edit: Edit, number: int, path: str, how: How, detail: str = "") -> None:
        edit.touches[number].append(Touch(path, how, detail=detail))

    def _files(self, time: int, most: int, at_least: int = 1) -> list[int]:
        random = self.random
        count = min(most, max(at_least, int(random.geometric(0.45))))
        first = self._file(time)
        near = [n for n, m in enumerate(self.modules) if m.package == self.modules[first].package]
        found = {first}
        for _ in range(4 * count):
            if len(found) == count:
                break
            local = random.random() < 0.6
            found.add(int(random.choice(near)) if local else self._file(time))
        return sorted(found)

    def _file(self, time: int) -> int:
        random = self.random
        if time <= self.hot_until and random.random() < 0.5:
            own = [n for n, m in enumerate(self.modules) if m.package == self.hot_package]
            return int(random.choice(own))
        if self.recent and random.random() < 0.4:
            return int(random.choice(self.recent))
        return int(random.choice(len(self.modules), p=self.weights))

    def _sized(self, median: float, spread: float) -> float:
        return float(self.random.lognormal(np.log(median), spread))

    # --- what is known of it -------------------------------------------------------------------

    def findings(self, edit: Edit, unknown: set[int]) -> dict[str, Finding]:
        found = {}
        for number, scene in enumerate(self.scenes):
            if number in unknown:
                finding = _UNKNOWN
            elif number in edit.touches:
                finding = Finding(Relation.TOUCHED, "touched", tuple(edit.touches[number]))
            elif number in edit.dormant:
                finding = _DORMANT
            elif number in edit.same:
                finding = _SAME
            else:
                finding = _APART
            found[scene.name] = finding
        return found

    def overlap(self, edit: Edit, number: int) -> tuple[str, ...]:
        """Changed files that the scenario used, whatever differs in them."""
        return tuple(path for path in edit.paths if path in self.used[number])


_APART = Finding(Relation.APART, "apart")
_SAME = Finding(Relation.SAME_CODE, "same code")
_DORMANT = Finding(Relation.DORMANT, "dormant")
_UNKNOWN = Finding(Relation.UNKNOWN, "unknown")


def stream(seed: int, changes: int = CHANGES, tangled: bool = False) -> list[Row]:
    """Rows in time's order, 40 for each change. Every night the labels of the day come in.

    `tangled`: most scenarios import most packages, and hubs are changed often.
    """
    world = World(seed, tangled)
    random = np.random.default_rng([seed, 1])
    past = Past()
    rows: list[Row] = []
    waiting: list[Outcome] = []
    blind_until = np.zeros(SCENARIOS, dtype=int)
    for time in range(changes):
        when = START + timedelta(days=time / CHANGES_A_DAY)
        if time % CHANGES_A_DAY == 0:
            past, waiting = past.with_outcomes(waiting), []
        # A footprint is lost or too old for a day, now and then.
        lost = random.random(SCENARIOS) < 0.0003
        blind_until[lost] = time + CHANGES_A_DAY
        unknown = {n for n in range(SCENARIOS) if blind_until[n] > time}
        edit = world.change(time)
        findings = world.findings(edit, unknown)
        loads = {edit.imported: {s.name for s in world.scenes if edit.imported in s.loads}}
        facts = ChangeFacts(tuple(edit.paths), edit.tokens, None)
        known = rows_of(
            facts, findings, past, when, Surroundings(loads=loads if edit.imported else {})
        )
        # One night in a while a machine is not itself, and the judge believes it.
        strange = int(random.integers(0, SCENARIOS)) if random.random() < 0.005 else -1
        for number, scene in enumerate(world.scenes):
            finding = findings[scene.name]
            effect = edit.effects.get(number, 0.0)
            affected = abs(effect) >= THRESHOLD
            seen = None
            if not finding.relation.is_proof:
                seen = bool(random.random() < _found(abs(effect))) or number == strange
                paths = tuple(each.path for each in finding.touches)
                waiting.append(Outcome(
                    f"{time:040x}", when, paths, scene.name, seen, scene.cost_s, effect,
                ))  # fmt: skip
            rows.append(Row(
                time, when, f"{time:040x}", scene.name, scene.cost_s, affected, seen,
                known[scene.name], finding.relation, world.overlap(edit, number),
            ))  # fmt: skip
    return rows


def _found(size: float) -> float:
    """How often the judge calls an effect relevant: 1 in 1,800 verdicts wrongly, half of those of
    exactly the threshold, nearly all from twice of it (docs/statistics.md)."""
    return max(1 / 1800, 1 / (1 + float(np.exp(-(size - THRESHOLD) / 0.003))))


def faulty_changes(rows: Sequence[Row]) -> int:
    return len({row.change for row in rows if row.affected})


def _sign(random: np.random.Generator) -> float:
    """One of four is an improvement, and smaller."""
    return 1.0 if random.random() < 0.75 else -0.4
