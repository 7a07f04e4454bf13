"""What prediction sees of a change and a scenario: a fixed list of numbers, named and versioned.

A list is logged with every plan, so that a model is trained on what was seen then, without the code
of that day. Refuses to judge: what the numbers are worth is `predict`'s duty.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from ailab_bot.model.change import Change
from ailab_bot.model.signature import Likeness
from ailab_bot.plan.past import Count, Past, day_of
from ailab_bot.plan.relation import MOST_TOUCHES, Finding, How, Relation, Touch
from ailab_bot.plan.tokens import NOTHING, Budget, Calls, Token, Tokens, tokens_of

#: Grows when a number's meaning changes, or the list: models of another version are not used.
VERSION = 3
_HOWS = tuple(each.value for each in How)
_TOKENS = tuple(each.value for each in Token)
NAMES = (
    "proved", "unknown", "stale",
    *_HOWS,  # 1 where anything touches it in this way
    "share",  # of the traced time in changed executed functions whose calls do not tell all
    "log_share",  # decades above SMALLEST_SHARE; 0 where no time was seen there
    "counted_share",  # decades of the time in the others
    "module_body",  # a file's own body differs: its imports and constants
    "log_functions", "log_touching",  # of changed functions that ran, of files that touch it
    "config_file", "data_file",  # that were opened
    "expected",  # decades of calls that come or go above SMALLEST_PART of all; see growth.py
    "near",  # for what nothing is known to touch: 1 its folder or its script, 0 far from both
    "log_files", "log_lines",  # of the whole change
    "spread",  # part of all scenarios that the change touches
    "pair_history", "path_history", "scenario_history",  # log odds above the usual, smoothed
    "lately",  # relevant effects of these files on this scenario within weeks
    *(f"new_{each}" for each in _TOKENS),
    "new_unloaded",  # imports a distribution that the scenario does not load
    "signature",  # 1 counts differ between the arms, -1 they are equal, 0 not known
)  # fmt: skip
INDEX: Mapping[str, int] = {name: number for number, name in enumerate(NAMES)}
Features = tuple[float, ...]

#: Less of the traced time than this was never told from none: the index keeps thousandths.
SMALLEST_SHARE = 1e-4
#: Of fewer calls than this that come or go nobody would notice anything.
SMALLEST_PART = 1e-5
#: Changed Python files whose old and new contents are read for tokens, and their bytes: a stranger
#: can write them so that a megabyte takes the parser 4 seconds.
_MOST_READ_FILES, _MOST_READ_BYTES = 300, 3 << 20
#: Strength of the usual rate against what was seen, in outcomes: of a file with a scenario, of a
#: file, of a scenario.
_PAIR_STRENGTH, _PATH_STRENGTH, _SCENARIO_STRENGTH = 5.0, 40.0, 20.0
#: The usual rate where nothing was measured: 2 of 100 verdicts.
USUAL_RATE = 0.02
#: And how many outcomes of the repository's own it outweighs.
_USUAL_STRENGTH = 50.0
_MOST_LOG_ODDS, _MOST_LATELY = 4.0, 3.0
#: Files of a change whose history is looked up, those with the worst first.
_MOST_HISTORY_PATHS = 100
_CONFIG = frozenset({".yml", ".yaml", ".toml", ".ini", ".cfg", ".json", ".conf", ".env"})
_CODE = frozenset({".py", ".pyx", ".pyi", ".so", ".c", ".cpp", ".cu", ".h", ".sh"})


@dataclass(frozen=True)
class ChangeFacts:
    """What is asked of a change once. `lines`: added and removed, None where nobody counted.
    `calls`: by path of base, of the files that could be read."""

    paths: tuple[str, ...]
    tokens: Mapping[str, Tokens] = field(default_factory=dict)
    lines: int | None = None
    calls: Mapping[str, Calls] = field(default_factory=dict)

    @property
    def imports(self) -> frozenset[str]:
        """Top-level modules that any file newly imports."""
        return frozenset[str]().union(*(each.imports for each in self.tokens.values()))


@dataclass(frozen=True)
class Surroundings:
    """What is known beside change and findings, by scenario; all of it may be missing.

    `loads`: who loads a module at base, by its top-level name. `near`: 0 to 1. `likeness`: of the
    two arms' signatures, where both were recorded. `expected`: of its calls the part that the
    change adds or takes.
    """

    loads: Mapping[str, Collection[str]] = field(default_factory=dict)
    near: Mapping[str, float] = field(default_factory=dict)
    likeness: Mapping[str, Likeness] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)


def facts_of(
    change: Change, read: Callable[[str], bytes | None], lines: int | None = None
) -> ChangeFacts:
    """`read` gives a blob's bytes by its id, None where there is none or it is too large."""
    tokens: dict[str, Tokens] = {}
    calls: dict[str, Calls] = {}
    spent, budget = 0, Budget()
    for file in change.files:
        if not file.path.endswith(".py") or not file.is_plain or not file.new_blob:
            continue
        if len(tokens) == _MOST_READ_FILES or spent > _MOST_READ_BYTES:
            break
        old = read(file.old_blob) if file.old_blob else None
        new = read(file.new_blob)
        spent += len(old or b"") + len(new or b"")
        if new is not None:
            found = tokens[file.path] = tokens_of(old, new, budget)
            if found.calls is not None and (old is not None or not file.old_blob):
                calls[file.old_path or file.path] = found.calls
    paths = dict.fromkeys(path for file in change.files for path in file.paths)
    return ChangeFacts(tuple(paths), tokens, lines, calls)


def near_of(
    paths: Sequence[str], homes: Mapping[str, str], imported: Mapping[str, float] | None = None
) -> dict[str, float]:
    """By scenario, how near the nearest changed file lies to its folder: 1 in it, then half as
    much for each folder between, 0 where nothing but the root is common. Or how near it lies in
    the graph of imports, `imported` by scenario, where that is nearer."""
    below: dict[str, int] = {}  # by folder, how many folders further down the nearest file lies
    for path in paths:
        steps, folder = 0, posixpath.dirname(path)
        while folder and below.get(folder, steps + 1) > steps:
            below[folder] = steps
            steps, folder = steps + 1, posixpath.dirname(folder)
    imported = imported or {}
    return {name: max(_near(home, below), imported.get(name, 0.0)) for name, home in homes.items()}


def _near(home: str, below: Mapping[str, int]) -> float:
    best, steps, folder = math.inf, 0, home
    while folder:
        if folder in below:
            best = min(best, steps + below[folder])
        steps, folder = steps + 1, posixpath.dirname(folder)
    return 0.5**best if best < math.inf else 0.0


def rows_of(
    facts: ChangeFacts,
    findings: Mapping[str, Finding],
    past: Past,
    when: datetime,
    around: Surroundings | None = None,
) -> dict[str, Features]:
    """The numbers of each scenario of `findings`. `when` is what the past is faded up to: the
    run's beginning, never the clock, so that another job finds the same."""
    around = around or Surroundings()
    touched = sum(1 for each in findings.values() if each.relation is Relation.TOUCHED)
    whole = (
        math.log2(1 + len(facts.paths)),
        0.0 if facts.lines is None else math.log2(1 + facts.lines),
        touched / max(1, len(findings)),
    )
    history = _History(past, facts.paths, day_of(when))
    loaded = [frozenset(around.loads.get(name, ())) for name in facts.imports]
    #: Findings of many scenarios are often one and the same object, and so are touches.
    made: dict[int, tuple[tuple[float, ...], tuple[float, ...], bool]] = {}
    seen: dict[int, _Seen] = {}
    rows = {}
    for scenario, finding in findings.items():
        own = made.get(id(finding))
        if own is None:
            own = made[id(finding)] = _of_finding(finding, facts, seen)
        first, tokens, imports = own
        unknown = finding.relation is Relation.UNKNOWN
        likeness = around.likeness.get(scenario)
        rows[scenario] = (
            *first,
            math.log10(max(around.expected.get(scenario, 0.0), SMALLEST_PART) / SMALLEST_PART),
            around.near.get(scenario, 0.0) if unknown else 0.0,
            *whole,
            *history.of(scenario),
            *tokens,
            float(imports and any(scenario not in who for who in loaded)),
            0.0 if likeness is None else 1.0 if likeness is Likeness.DIFFERENT else -1.0,
        )
    return rows


#: What one touch shows, whichever scenario it touches: bits of _FLAGS, share where calls do not
#: tell all and where they do, functions.
_Seen = tuple[int, float, float, int]
_FLAGS = (*(how.value for how in How), "module_body", "config_file", "data_file", *_TOKENS)
_BIT = {name: 1 << place for place, name in enumerate(_FLAGS)}
_NUMBER = _BIT[Token.NUMBER]
_IMPORTS = _BIT[Token.IMPORT] | _BIT[Token.HEAVY_IMPORT]


def _of_finding(
    finding: Finding, facts: ChangeFacts, seen: dict[int, _Seen]
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """What stands before `near`, the tokens, and whether anything is newly imported."""
    flags, functions, share, counted = 0, 0, 0.0, 0.0
    for touch in finding.touches[:MOST_TOUCHES]:
        own = seen.get(id(touch))
        if own is None:
            own = seen[id(touch)] = _of_touch(touch, facts)
        flags |= own[0]
        share += own[1]
        counted += own[2]
        functions += own[3]
    share, counted = min(1.0, share), min(1.0, counted)
    on = [float(flags >> place & 1) for place in range(len(_FLAGS))]
    hows = len(_HOWS)
    first = (
        float(finding.relation.is_proof),
        float(finding.relation is Relation.UNKNOWN),
        float(finding.relation is Relation.STALE),
        *on[:hows],
        share,
        math.log10(max(share, SMALLEST_SHARE) / SMALLEST_SHARE),
        math.log10(max(counted, SMALLEST_SHARE) / SMALLEST_SHARE),
        on[hows],
        math.log2(1 + functions),
        math.log2(1 + len(finding.touches)),
        *on[hows + 1 : hows + 3],
    )
    return first, tuple(on[hows + 3 :]), bool(flags & _IMPORTS)


def _of_touch(touch: Touch, facts: ChangeFacts) -> _Seen:
    tokens, flags = facts.tokens.get(touch.path, NOTHING), _BIT[touch.how]
    if "<module>" in touch.functions:
        flags |= _BIT["module_body"]
    if touch.how is How.CONTENT:
        suffix = PurePosixPath(touch.path).suffix.lower()
        if suffix not in _CODE:
            flags |= _BIT["config_file" if suffix in _CONFIG else "data_file"]
    if touch.how is not How.VANISHES:
        for token in tokens.within(touch.functions):
            flags |= _BIT[token]
    # Another number may mean another length of a loop, which no count of calls tells.
    counted = touch.path in facts.calls and not flags & _NUMBER
    shares = (0.0, touch.share) if counted else (touch.share, 0.0)
    return flags, *shares, len(touch.functions)


class _History:
    """What the past says about the files of one change."""

    def __init__(self, past: Past, paths: Sequence[str], day: float) -> None:
        self._scenarios, self._day = past.scenarios, day
        overall = past.overall.at(day)
        usual = (overall.moved + _USUAL_STRENGTH * USUAL_RATE) / (overall.times + _USUAL_STRENGTH)
        self._usual, self._base = usual, math.log(usual / (1 - usual))
        known = [(self._log_odds(past.paths[path].at(day), _PATH_STRENGTH), path)
                 for path in paths if path in past.paths]  # fmt: skip
        known.sort(key=lambda each: (-each[0], each[1]))
        self._path = known[0][0] if known else 0.0
        self._most: dict[str, float] = {}
        self._lately: dict[str, float] = {}
        for _, path in known[:_MOST_HISTORY_PATHS]:
            for scenario, pair in past.pairs.get(path, {}).items():
                now = pair.at(day)
                odds = self._log_odds(now, _PAIR_STRENGTH)
                if odds > self._most.get(scenario, -math.inf):
                    self._most[scenario] = odds
                if now.lately:
                    self._lately[scenario] = self._lately.get(scenario, 0.0) + now.lately

    def of(self, scenario: str) -> tuple[float, float, float, float]:
        count = self._scenarios.get(scenario)
        own = self._log_odds(count.at(self._day), _SCENARIO_STRENGTH) if count else 0.0
        lately = min(self._lately.get(scenario, 0.0), _MOST_LATELY)
        return self._most.get(scenario, 0.0), self._path, own, lately

    def _log_odds(self, count: Count, strength: float) -> float:
        moved = count.moved + strength * self._usual
        odds = math.log(moved / (count.times + strength - moved)) - self._base
        return max(-_MOST_LOG_ODDS, min(_MOST_LOG_ODDS, odds))


# --- what a plan logs --------------------------------------------------------------------------


def packed(features: Features) -> list[float]:
    """Places and numbers that are not 0, flat, with 4 digits: a third of a full list."""
    return [
        each
        for place, value in enumerate(features)
        if round(value, 4)
        for each in (place, round(value, 4))
    ]


def unpacked(row: Sequence[float], width: int = len(NAMES)) -> Features:
    """ValueError for anything that `packed` would not write."""
    values = [0.0] * width
    for place, value in zip(row[::2], row[1::2], strict=True):
        number = int(place)
        if number != place or not 0 <= number < width or not math.isfinite(value):
            raise ValueError("no features")
        values[number] = float(value)
    return tuple(values)
