"""Everything that a report shows about one comparison. Plain data; rendering is `report`'s duty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ailab_bot.model.policy import Policy
from ailab_bot.model.verdict import Conclusion, Explanation, FailureSummary, Verdict


@dataclass(frozen=True)
class Commit:
    """`ref` as the user wrote it, `sha` of 40 hex digits, `subject` the message's first line."""

    ref: str
    sha: str
    subject: str = ""


class Why(StrEnum):
    """By what rule a scenario was taken or left."""

    ASKED = "asked"  # named by a person, or not among those named
    TIER = "tier"  # tier or runner alone decided
    SMOKE = "smoke"  # always runs
    PREDICTED = "predicted"  # worth its cost
    EXPLORED = "explored"  # drawn by chance, so that the prediction can be checked
    PROVED = "proved"  # the change cannot move it
    CAPACITY = "capacity"  # others promised more for the capacity there is


@dataclass(frozen=True)
class Choice:
    """A scenario taken or left, and why.

    `probability`: predicted, of a relevant effect; None where nothing was predicted. `propensity`:
    the probability with which it was to be taken, before the dice fell; what was certain has 1
    or 0. `cost_s`: expected runner-seconds.
    """

    scenario: str
    taken: bool
    reason: str
    rule: Why = Why.TIER
    probability: float | None = None
    propensity: float | None = None
    cost_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """What will be measured. `capacity_s` in runner-seconds, None: no limit. `basis`: a sentence
    about what the choice rests on, such as how old the footprints are; empty where nothing does.
    """

    choices: tuple[Choice, ...]
    seed: int
    capacity_s: float | None = None
    basis: str = ""

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


class GateMode(StrEnum):
    """What a regression does to the gate: it blocks, is only shown, or is not asked."""

    ENFORCE = "enforce"
    ADVISORY = "advisory"
    OFF = "off"


@dataclass(frozen=True)
class PullContext:
    """The pull request that a report belongs to, and what its gate says.

    SHAs have 40 hex digits. `gate_state` is what was posted, after mode and acceptance: it may be
    success where the report's conclusion is failure. `accepted_by` is a login, empty where nobody
    accepted. `pull_edits_definitions` are the scenario and policy files that the change itself
    edits; the base's judged it. `infra` pairs a scenario with why its shard gave nothing.
    `repository` is "owner/name"; `run_url` the workflow run that measured, `attempt` from 1 on.
    """

    number: int
    head_sha: str
    base_ref: str
    run_url: str
    attempt: int
    mode: GateMode
    gate_state: Conclusion
    server_url: str
    repository: str
    accepted_by: str = ""
    accepted_reason: str = ""
    pull_edits_definitions: tuple[str, ...] = ()
    infra: tuple[tuple[str, str], ...] = ()
    shards: int = 1


@dataclass(frozen=True)
class Annotation:
    """A remark on one line that a change added. `level` is one of GitHub's annotation levels."""

    path: str
    line: int
    level: str
    title: str
    message: str


@dataclass(frozen=True)
class Report:
    """One comparison of base and head over the plan's scenarios.

    `runner_seconds` is what measuring cost (trials, warm-ups and set-up). `reproduce` is the
    command line that repeats it. `notes` are remarks for the reader (a dirty work tree, trials
    cut short). `interrupted` says that the user stopped the run: results are partial.
    `shadow_reason`: why no verdict blocks anything yet; empty where they do. `pull` is None away
    from GitHub. `machines` are those of all shards, with `machine` the first; empty: only that one.
    `blocks` are each scenario's effects on TTFB (head/base - 1), block by block, in order;
    `trial_seconds` the sum of TTFB over each scenario's trials, of both arms.
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
    pull: PullContext | None = None
    machines: tuple[Machine, ...] = ()
    blocks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    trial_seconds: Mapping[str, float] = field(default_factory=dict)
