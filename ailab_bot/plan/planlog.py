"""What a plan's record says of its choices, so that later runs can be learned from it.

Written and read here, in one place. Logged are the scenarios taken, with the numbers that were seen
then, and those that had a chance; the others only as a count, by rule. Refuses to believe what it
reads: a row that is none is passed over, and counted by its reader.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ailab_bot.model.report import Choice, Plan, Why
from ailab_bot.plan.features import VERSION, Features, packed, unpacked
from ailab_bot.plan.relation import Finding

#: Choices of a record, 250 bytes each: a record has at most 1 MiB. Of more a fair part is kept.
MOST_CHOICES = 3000
#: Touching files of a choice; one that is touched by more says little about each of them.
MOST_PATHS = 10
_LONGEST_REASON, _LONGEST_PATH = 60, 200


@dataclass(frozen=True)
class LoggedChoice:
    """`features` is empty where none were logged, or of another version than today's; `paths` are
    the changed files that touched the scenario."""

    scenario: str
    taken: bool
    rule: str
    probability: float | None
    propensity: float | None
    cost_s: float | None
    features: Features = ()
    paths: tuple[str, ...] = ()


def body_of(
    plan: Plan,
    rows: Mapping[str, Features] | None = None,
    findings: Mapping[str, Finding] | None = None,
) -> dict[str, object]:
    """The body of the plan's record, plain JSON."""
    kept = [each for each in plan.choices if each.taken or (each.propensity or 0.0) > 0]
    if len(kept) > MOST_CHOICES:
        kept = sorted(kept, key=lambda each: _fair(each.scenario, plan.seed))[:MOST_CHOICES]
    names = {each.scenario for each in kept}
    left = Counter(each.rule.value for each in plan.choices if each.scenario not in names)
    return {
        "seed": plan.seed,
        "capacity_s": plan.capacity_s,
        "basis": plan.basis[:300],
        "features": VERSION,
        "choices": [_row(each, rows or {}, findings or {}) for each in kept],
        "left": dict(sorted(left.items())),
    }


def _row(
    choice: Choice, rows: Mapping[str, Features], findings: Mapping[str, Finding]
) -> dict[str, object]:
    row: dict[str, object] = {
        "scenario": choice.scenario,
        "taken": choice.taken,
        "rule": choice.rule.value,
        "reason": choice.reason[:_LONGEST_REASON],
        "probability": choice.probability,
        "propensity": choice.propensity,
        "cost_s": choice.cost_s,
    }
    if choice.taken and choice.scenario in rows:
        row["features"] = packed(rows[choice.scenario])
        finding = findings.get(choice.scenario)
        paths = sorted({each.path for each in finding.touches}) if finding else []
        if 0 < len(paths) <= MOST_PATHS and all(len(each) <= _LONGEST_PATH for each in paths):
            row["paths"] = paths
    return row


def _fair(name: str, seed: int) -> str:
    return hashlib.sha256(f"log {seed} {name}".encode("utf-8", "surrogatepass")).hexdigest()


def choices_of(body: Mapping[str, object]) -> Iterator[LoggedChoice]:
    """What can be read of a record's body; nothing is raised."""
    rows = body.get("choices")
    today = body.get("features") == VERSION
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            choice = _choice(row, today)
            if choice is not None:
                yield choice


def _choice(row: Mapping[str, object], today: bool) -> LoggedChoice | None:
    name, taken, rule = row.get("scenario"), row.get("taken"), row.get("rule", Why.TIER.value)
    if not isinstance(name, str) or not isinstance(taken, bool) or not isinstance(rule, str):
        return None
    numbers = row.get("features")
    features: Features = ()
    if today and isinstance(numbers, list) and all(_is_number(each) for each in numbers):
        try:
            features = unpacked(numbers)
        except ValueError:
            return None
    paths = row.get("paths")
    known = paths if isinstance(paths, list) and all(isinstance(p, str) for p in paths) else []
    return LoggedChoice(
        name, taken, rule,
        _part(row.get("probability")), _part(row.get("propensity")), _cost(row.get("cost_s")),
        features, tuple(known[:MOST_PATHS]),
    )  # fmt: skip


def _is_number(value: object) -> bool:
    """And finite: what is not is below no limit."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def _part(value: object) -> float | None:
    """A number from 0 to 1."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    return None


def _cost(value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if 0 < value < math.inf else None
    return None
