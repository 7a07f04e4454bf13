"""What prediction sees of a change and a scenario: a fixed list of numbers, named and versioned.

A list is logged with every plan, so that a model is trained on what was seen then, without the code
of that day. Refuses to judge: what the numbers are worth is `predict`'s duty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from ailab_bot.model.change import Change
from ailab_bot.model.signature import Likeness
from ailab_bot.plan.past import Count, Past, day_of
from ailab_bot.plan.relation import Finding, How, Relation, Touch
from ailab_bot.plan.tokens import NOTHING, Token, Tokens, tokens_of

#: Grows when a number's meaning changes, or the list: models of another version are not used.
VERSION = 1
_HOWS = tuple(each.value for each in How)
_TOKENS = tuple(each.value for each in Token)
NAMES = (
    "proved", "unknown",
    *_HOWS,  # 1 where anything touches it in this way
    "share",  # of the traced time in changed executed functions
    "log_share",  # decades above SMALLEST_SHARE; 0 where no time was seen there
    "module_body",  # a file's own body differs: its imports and constants
    "log_functions", "log_touching",  # of changed functions that ran, of files that touch it
    "config_file", "data_file",  # that were opened
    "near",  # for what nothing is known to touch: 1 the same folder, 0 elsewhere
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
#: Of a scenario that more touches, these; a change of so many files says little by any of them.
_MOST_TOUCHES = 200
#: Changed Python files whose old and new contents are read for tokens, and their bytes.
_MOST_READ_FILES, _MOST_READ_BYTES = 300, 8 << 20
#: Strength of the usual rate against what was seen, in outcomes: of a file with a scenario, of a
#: file, of a scenario.
_PAIR_STRENGTH, _PATH_STRENGTH, _SCENARIO_STRENGTH = 5.0, 40.0, 20.0
#: The usual rate where nothing was measured: 2 of 100 verdicts.
USUAL_RATE = 0.02
_MOST_LOG_ODDS = 4.0
_CONFIG = frozenset({".yml", ".yaml", ".toml", ".ini", ".cfg", ".json", ".conf", ".env"})
_CODE = frozenset({".py", ".pyx", ".pyi", ".so", ".c", ".cpp", ".cu", ".h", ".sh"})


@dataclass(frozen=True)
class ChangeFacts:
    """What is asked of a change once. `lines`: added and removed, None where nobody counted."""

    paths: tuple[str, ...]
    tokens: Mapping[str, Tokens] = field(default_factory=dict)
    lines: int | None = None

    @property
    def imports(self) -> frozenset[str]:
        """Top-level modules that any file newly imports."""
        return frozenset[str]().union(*(each.imports for each in self.tokens.values()))


@dataclass(frozen=True)
class Surroundings:
    """What is known beside change and findings, by scenario; all of it may be missing.

    `loads`: who loads a module at base, by its top-level name. `near`: 0 to 1. `likeness`: of the
    two arms' signatures, where both were recorded.
    """

    loads: Mapping[str, Collection[str]] = field(default_factory=dict)
    near: Mapping[str, float] = field(default_factory=dict)
    likeness: Mapping[str, Likeness] = field(default_factory=dict)


def facts_of(
    change: Change, read: Callable[[str], bytes | None], lines: int | None = None
) -> ChangeFacts:
    """`read` gives a blob's bytes by its id, None where there is none or it is too large."""
    tokens: dict[str, Tokens] = {}
    spent = 0
    for file in change.files:
        if not file.path.endswith(".py") or not file.is_plain or not file.new_blob:
            continue
        if len(tokens) == _MOST_READ_FILES or spent > _MOST_READ_BYTES:
            break
        old = read(file.old_blob) if file.old_blob else None
        new = read(file.new_blob)
        spent += len(old or b"") + len(new or b"")
        if new is not None:
            tokens[file.path] = tokens_of(old, new)
    paths = dict.fromkeys(path for file in change.files for path in file.paths)
    return ChangeFacts(tuple(paths), tokens, lines)


def near_of(paths: Sequence[str], homes: Mapping[str, str]) -> dict[str, float]:
    """By scenario, how near the nearest changed file lies to its folder: 1 in it, then half as
    much for each folder between, 0 where nothing but the root is common."""
    folders = {str(PurePosixPath(path).parent) for path in paths}
    return {name: max((_near(home, each) for each in folders), default=0.0)
            for name, home in homes.items()}  # fmt: skip


def _near(one: str, two: str) -> float:
    first, second = PurePosixPath(one).parts, PurePosixPath(two).parts
    common = sum(1 for _ in _common(first, second))
    return 0.5 ** (len(first) + len(second) - 2 * common) if common else 0.0


def _common(first: Sequence[str], second: Sequence[str]) -> list[str]:
    found = []
    for one, two in zip(first, second, strict=False):
        if one != two:
            break
        found.append(one)
    return found


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
    news = {name: frozenset(around.loads.get(name, ())) for name in facts.imports}
    #: Findings of many scenarios are often one and the same object.
    made: dict[int, tuple[float, ...]] = {}
    seen: dict[int, _Seen] = {}
    rows = {}
    for scenario, finding in findings.items():
        key = id(finding)
        if key not in made:
            made[key] = _of_finding(finding, facts, seen)
        own = made[key]
        unloaded = 0.0
        if news and own[_IMPORTS]:
            unloaded = float(any(scenario not in who for who in news.values()))
        likeness = around.likeness.get(scenario)
        rows[scenario] = (
            *own[:_NEAR],
            around.near.get(scenario, 0.0) if finding.relation is Relation.UNKNOWN else 0.0,
            *whole,
            *history.of(scenario),
            *own[_NEAR:-1],
            unloaded,
            0.0 if likeness is None else 1.0 if likeness is Likeness.DIFFERENT else -1.0,
        )
    return rows


_NEAR, _IMPORTS = INDEX["near"], -1


@dataclass(frozen=True)
class _Seen:
    """What one touch shows, whichever scenario it touches."""

    body: bool
    config: bool
    data: bool
    tokens: frozenset[Token]
    imports: bool


def _of_finding(finding: Finding, facts: ChangeFacts, seen: dict[int, _Seen]) -> tuple[float, ...]:
    """Up to `near`, then the tokens, and at last whether anything is newly imported."""
    touches = finding.touches[:_MOST_TOUCHES]
    hows = {touch.how for touch in touches}
    share = min(1.0, math.fsum(touch.share for touch in touches))
    tokens: set[Token] = set()
    body = config = data = imports = False
    for touch in touches:
        if id(touch) not in seen:
            seen[id(touch)] = _of_touch(touch, facts.tokens.get(touch.path, NOTHING))
        own = seen[id(touch)]
        body, config, data = body or own.body, config or own.config, data or own.data
        imports = imports or own.imports
        tokens |= own.tokens
    return (
        float(finding.relation.is_proof),
        float(finding.relation is Relation.UNKNOWN),
        *(float(how in hows) for how in How),
        share,
        math.log10(max(share, SMALLEST_SHARE) / SMALLEST_SHARE),
        float(body),
        math.log2(1 + sum(len(touch.functions) for touch in touches)),
        math.log2(1 + len(finding.touches)),
        float(config),
        float(data),
        *(float(token in tokens) for token in Token),
        float(imports),
    )


def _of_touch(touch: Touch, tokens: Tokens) -> _Seen:
    suffix = PurePosixPath(touch.path).suffix.lower()
    opened = touch.how is How.CONTENT
    found = frozenset() if touch.how is How.VANISHES else tokens.within(touch.functions)
    return _Seen(
        body="<module>" in touch.functions,
        config=opened and suffix in _CONFIG,
        data=opened and suffix not in _CONFIG | _CODE,
        tokens=found,
        imports=bool(found & {Token.IMPORT, Token.HEAVY_IMPORT}),
    )


class _History:
    """What the past says about the files of one change."""

    def __init__(self, past: Past, paths: Sequence[str], day: float) -> None:
        self._past, self._day = past, day
        overall = past.overall.at(day)
        self._usual = (overall.moved + 50 * USUAL_RATE) / (overall.times + 50)
        self._pairs: dict[str, tuple[float, float]] = {}
        rates = []
        for path in paths:
            count = past.paths.get(path)
            if count is not None:
                rates.append(self._log_odds(count.at(day), _PATH_STRENGTH))
            for scenario, pair in past.pairs.get(path, {}).items():
                now = pair.at(day)
                odds = self._log_odds(now, _PAIR_STRENGTH)
                most, lately = self._pairs.get(scenario, (odds, 0.0))
                self._pairs[scenario] = (max(most, odds), lately + now.lately)
        self._path = max(rates, default=0.0)

    def of(self, scenario: str) -> tuple[float, float, float, float]:
        most, lately = self._pairs.get(scenario, (0.0, 0.0))
        count = self._past.scenarios.get(scenario)
        own = self._log_odds(count.at(self._day), _SCENARIO_STRENGTH) if count else 0.0
        return most, self._path, own, min(lately, 3.0)

    def _log_odds(self, count: Count, strength: float) -> float:
        usual = self._usual
        rate = (count.moved + strength * usual) / (count.times + strength)
        odds = math.log(rate / (1 - rate)) - math.log(usual / (1 - usual))
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
