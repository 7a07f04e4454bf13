"""What a run leaves behind, as frozen values. No behaviour beyond finding things in them.

Logs are as they were written: GitHub would mask a token, and here a test has to be able to see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["success", "failure", "cancelled", "skipped"]


@dataclass(frozen=True)
class Annotation:
    """What `::error::`, `::warning::`, `::notice::` or the runner itself puts on the run's page."""

    level: Literal["error", "warning", "notice"]
    message: str
    title: str = ""
    file: str = ""
    line: str = ""


@dataclass(frozen=True)
class StepResult:
    """`outcome` is before `continue-on-error`, `conclusion` after it. `environment`: all that the
    step's process was given (empty for a step without a process). `steps`: of a composite action.
    """

    id: str
    name: str
    outcome: Outcome
    conclusion: Outcome
    outputs: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    seconds: float = 0.0
    annotations: tuple[Annotation, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepResult, ...] = ()

    def walk(self) -> Iterator[StepResult]:
        """This step and those inside it, outer first."""
        yield self
        for step in self.steps:
            yield from step.walk()


@dataclass(frozen=True)
class JobResult:
    """`key`: the id, with `/<index>` in a matrix. `error`: why it did not start or was lost."""

    key: str
    id: str
    conclusion: Outcome
    name: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepResult, ...] = ()
    permissions: Mapping[str, str] = field(default_factory=dict)
    runs_on: tuple[str, ...] = ()
    timeout_minutes: float = 0.0
    group: str = ""
    cancel_in_progress: bool = False
    matrix: Mapping[str, Any] | None = None
    seconds: float = 0.0
    error: str = ""
    annotations: tuple[Annotation, ...] = ()

    def walk(self) -> Iterator[StepResult]:
        for step in self.steps:
            yield from step.walk()

    def step(self, name: str) -> StepResult:
        """The step with this id or name, also inside an action. KeyError with those there."""
        for step in self.walk():
            if name in (step.id, step.name):
                return step
        raise KeyError(f"{name}: not among {[step.name for step in self.walk()]}")

    @property
    def log(self) -> str:
        """All that the job printed. A composite step's own log already holds its inner steps'."""
        return "".join(step.log for step in self.steps)

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)


@dataclass(frozen=True)
class RunResult:
    """`artifacts`: name -> zip, of this attempt and of the one that it goes on from."""

    workflow: str
    path: str
    event: str
    run_id: int
    attempt: int
    conclusion: Outcome
    jobs: tuple[JobResult, ...]
    group: str = ""
    cancel_in_progress: bool = False
    artifacts: Mapping[str, bytes] = field(default_factory=dict)

    def job(self, key: str) -> JobResult:
        """The job with this key. KeyError with those there."""
        for job in self.jobs:
            if job.key == key:
                return job
        raise KeyError(f"{key}: not among {[job.key for job in self.jobs]}")

    def of(self, job_id: str) -> tuple[JobResult, ...]:
        """All jobs of one id: the entries of a matrix in its order."""
        return tuple(job for job in self.jobs if job.id == job_id)

    @property
    def log(self) -> str:
        return "".join(
            f"== {job.key}: {job.conclusion} {job.error}\n{job.log}" for job in self.jobs
        )
