"""What `ailab doctor` found. Plain data; looking is the duty of `measure` and `flows.doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # measuring works, at the cost that the finding names
    UNKNOWN = "unknown"  # it cannot be seen from here
    WRONG = "wrong"  # in the way of measuring: the user has to fix it


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    `cost`: what it costs where it cannot be had; `advice`: what to do then; `why`: evidence, in
    lines, where something is wrong.
    """

    name: str
    state: str
    level: Level = Level.OK
    cost: str = ""
    advice: str = ""
    why: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Diagnosis:
    sections: tuple[Section, ...]

    @property
    def fit(self) -> bool:
        """Whether nothing is in the way of measuring; warnings are not."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        return tuple(
            found
            for section in self.sections
            for found in section.findings
            if found.level is Level.WRONG
        )

    def count(self, level: Level) -> int:
        return sum(found.level is level for section in self.sections for found in section.findings)
