"""What selection has learned: a small model as plain data, and the report of its training.

No numbers are computed here. Refuses a document that is not one: a model steers what is measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from ailab_bot.model import strictjson
from ailab_bot.model.strictjson import refuse

SCHEMA = 1
#: Bytes of the document; a model of 80 terms takes 8 KiB.
LARGEST_BYTES = 200 << 10
_MOST_TERMS = 500
_MOST_FEATURES = 500


@dataclass(frozen=True)
class Learned:
    """A correction of the hand-weighted log odds: `intercept` + the sum over `terms` of weight *
    (value - mean) / scale; then `slope` * that + `shift` (the calibration).

    `terms` name a feature ("share"), a product ("share*new_loop") or what lies above a value
    ("log_share>2"). `features` and `version` are those that it was trained with. `labels`,
    `moved`: pairs of a change and a scenario, and those of them with a relevant effect; `since`
    and `until` are days as 2026-01-31.
    """

    version: int
    features: tuple[str, ...]
    terms: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    slope: float
    shift: float
    labels: int
    moved: int
    since: str
    until: str
    brier: float
    brier_by_hand: float


@dataclass(frozen=True)
class RecallRow:
    """Of the relevant effects the part that is found at a part of the cost."""

    cost: float
    by_hand: float
    learned: float | None


@dataclass(frozen=True)
class CalibrationRow:
    """Pairs whose probability was in (low, high], what was said on average, what happened."""

    low: float
    high: float
    count: int
    said: float
    happened: float


@dataclass(frozen=True)
class TrainingReport:
    """`chosen`: whether the learned model is used; `why` says it in one sentence. Scores are those
    of the later part of the labels, which the model compared there never saw. Recall is counted
    over what the change was not proved apart from."""

    labels: int
    moved: int
    tested: int
    tested_moved: int
    chosen: bool
    why: str
    since: str = ""
    until: str = ""
    brier: float | None = None
    brier_by_hand: float | None = None
    calibration_error: float | None = None
    calibration_error_by_hand: float | None = None
    recall: tuple[RecallRow, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
    notes: tuple[str, ...] = ()


class Written(StrEnum):
    """What became of the model's file."""

    NEW = "new"
    UNCHANGED = "unchanged"
    REMOVED = "removed"  # no model is better than the weights set by hand any more
    NOTHING = "nothing"


def learned_to_json(model: Learned) -> str:
    """The same bytes for the same model."""
    return json.dumps({"schema": SCHEMA, **asdict(model)}, indent=1, sort_keys=True) + "\n"


def report_to_row(report: TrainingReport) -> dict[str, object]:
    """Plain JSON of `ailab train --json`."""
    return {"schema": SCHEMA, **asdict(report)}


def learned_from_json(document: str) -> Learned:
    """BadJsonError for anything that is no model of this schema."""
    if len(document) > LARGEST_BYTES:
        refuse(f"it has {len(document)} characters; at most {LARGEST_BYTES} are read")
    row = strictjson.load_object(document)
    strictjson.keys(row, {"schema", *Learned.__dataclass_fields__})
    strictjson.schema(row, SCHEMA)
    terms = strictjson.names(row["terms"], "terms", least=0, most=_MOST_TERMS)

    def numbers(name: str, least: float = -1e6) -> tuple[float, ...]:
        values = strictjson.items(row[name], name, most=_MOST_TERMS)
        if len(values) != len(terms):
            refuse(f"{name} must have one number for each term")
        return tuple(strictjson.number(each, name, least=least, most=1e6) for each in values)

    def number(name: str, least: float = -1e6, most: float = 1e6) -> float:
        return strictjson.number(row[name], name, least=least, most=most)

    return Learned(
        version=strictjson.whole(row["version"], "version"),
        features=strictjson.names(row["features"], "features", most=_MOST_FEATURES),
        terms=terms,
        means=numbers("means"),
        scales=numbers("scales", 1e-9),
        weights=numbers("weights"),
        intercept=number("intercept"),
        slope=number("slope", 0.0),
        shift=number("shift"),
        labels=strictjson.whole(row["labels"], "labels"),
        moved=strictjson.whole(row["moved"], "moved"),
        since=strictjson.text(row["since"], "since", least=0),
        until=strictjson.text(row["until"], "until", least=0),
        brier=number("brier", 0.0),
        brier_by_hand=number("brier_by_hand", 0.0),
    )
