"""A pair of a change and a scenario, as every history that selection is measured on is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ailab_bot.plan.relation import Relation


@dataclass(frozen=True)
class Row:
    """`time` orders changes. `affected` is the truth, `seen` what the judge said about it (None:
    not measured; models learn from this alone). `features` were taken when the change came, with
    the past of that moment. `paths`: the changed files that the scenario's footprint holds,
    whatever differs in them."""

    time: int
    when: datetime
    change: str
    scenario: str
    cost_s: float
    affected: bool
    seen: bool | None
    features: tuple[float, ...]
    relation: Relation
    paths: tuple[str, ...] = ()
