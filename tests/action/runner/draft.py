"""A step while it runs, and where it stands: in a job, or in an action that a job uses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .results import Annotation, Outcome, StepResult


@dataclass
class Scope:
    """Where steps are: at a job (`action` empty) or inside an action, whose status is its own."""

    contexts: Mapping[str, Any] = field(default_factory=dict)
    github: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    action: bool = False
    depth: int = 0
    status: Outcome = "success"
    steps: dict[str, Any] = field(default_factory=dict)


@dataclass
class Draft:
    """What a step has brought so far. `env`: its own and those of the actions around it."""

    outcome: Outcome = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    inner: list[StepResult] = field(default_factory=list)

    def add(self, result: StepResult) -> None:
        """A step of the action that this step uses."""
        self.inner.append(result)
        self.log += result.log
        self.summary += result.summary
        self.annotations += result.annotations

    def fail(self, message: str) -> None:
        self.outcome = "failure"
        self.log += f"##[error]{message}\n"
        self.annotations.append(Annotation("error", message))

    def result(self, step_id: str, name: str, started: float, *, going_on: bool) -> StepResult:
        """The step as it stands. `started`: monotonic seconds; `going_on`: continue-on-error."""
        return StepResult(
            id=step_id,
            name=name,
            outcome=self.outcome,
            conclusion="success" if going_on and self.outcome == "failure" else self.outcome,
            outputs=self.outputs,
            log=self.log,
            summary=self.summary,
            seconds=time.monotonic() - started,
            annotations=tuple(self.annotations),
            environment=self.environment,
            steps=tuple(self.inner),
        )
