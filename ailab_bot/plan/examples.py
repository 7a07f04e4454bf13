"""What is learned from: a change and a scenario, what was seen of them, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ailab_bot.plan.features import Features


@dataclass(frozen=True)
class Example:
    """A labelled pair of a change and a scenario. `weight`: how many pairs it stands for."""

    when: datetime
    change: str
    scenario: str
    features: Features
    moved: bool
    cost_s: float = 1.0
    weight: float = 1.0
