"""Everything that a report shows about one comparison. Plain data; rendering is `report`'s duty."""

from __future__ import annotations

from dataclasses import dataclass, field

from ailab_bot.model.policy import Policy
from ailab_bot.model.verdict import Conclusion, Explanation, FailureSummary, Verdict


@dataclass(frozen=True)
class Commit:
    """`ref` as the user wrote it, `sha` of 40 hex digits, `subject` the message's first line."""

    ref: str
    sha: str
    subject: str = ""


@dataclass(frozen=True)
class Choice:
    """A scenario taken or left, and why."""

    scenario: str
    taken: bool
    reason: str


@dataclass(frozen=True)
class Plan:
    """What will be measured. `capacity_s` in runner-seconds, None: no limit."""

    choices: tuple[Choice, ...]
    seed: int
    capacity_s: float | None = None

    @property
    def taken(self) -> tuple[Choice, ...]:
        return tuple(choice for choice in self.choices if choice.taken)

    @property
    def left(self) -> tuple[Choice, ...]:
        return tuple(choice for choice in self.choices if not choice.taken)


@dataclass(frozen=True)
class Machine:
    """The machine that measured. `python` is the version of the arms' interpreter(s)."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str


@dataclass(frozen=True)
class Annotation:
    """A remark at a line of head: `path` from the repository's root, `line` from 1."""

    path: str
    line: int
    title: str
    message: str
    level: str = "warning"


@dataclass(frozen=True)
class Report:
    """One comparison of base and head over the plan's scenarios.

    `runner_seconds` is what measuring cost (trials, warm-ups and set-up). `reproduce` is the
    command line that repeats it. `notes` are remarks for the reader (a dirty work tree, trials
    cut short). `interrupted` says that the user stopped the run: results are partial.
    `shadow_reason`: why no verdict blocks anything yet; empty where they do.
    """

    base: Commit
    head: Commit
    plan: Plan
    verdicts: tuple[Verdict, ...]
    failures: tuple[FailureSummary, ...]
    explanations: tuple[Explanation, ...]
    machine: Machine
    conclusion: Conclusion
    runner_seconds: float
    reproduce: str
    policy: Policy = field(default_factory=Policy)
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    shadow_reason: str = ""
