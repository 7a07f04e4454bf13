"""What will be measured for a change on GitHub: the same plan, whoever computes it.

The job that measures makes it from the event, the job that publishes makes it again from the API:
equal inputs give equal plans, so nothing of it has to be believed. Pure: no network, no git.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.selection import Evidence, Selected, check_smoke, select_scenarios
from ailab_bot.gh.client import CommitStatus
from ailab_bot.model.github import Profile, Queue
from ailab_bot.model.report import Choice, GateMode, Plan, Why
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.shard import Shard
from ailab_bot.plan.planlog import body_of
from ailab_bot.plan.select import select
from ailab_bot.plan.shards import family_of, share_out
from ailab_bot.report.status import plain

#: The required status, and the two that carry what people asked for.
GATE, REQUEST, ACCEPT = "ailab/gate", "ailab/request", "ailab/accept"

#: Of a job's time limit: the rest is for checkout, installation, set-up and upload. A shard that
#: would need more ends by itself, with what it has; one that GitHub ends would leave nothing.
MEASURING = 0.75

_NO_RUNNERS = "there are no runners of kind"

_REQUEST = re.compile(r"run (\d{1,18}) attempt (\d{1,6}) (only|also): ([a-z0-9_. -]{1,110})")
_EVERYTHING = "all"
_ACCEPTED = re.compile(r"accepted by user (\d{1,12}) \(([\w\[\]-]{1,50})\): (.+)")


@dataclass(frozen=True)
class Request:
    """What a slash command asked of one attempt: to measure these scenarios and no others.

    `widens`: they belong to the change from then on, also where the plan had left them out.
    """

    run_id: int
    attempt: int
    scenarios: tuple[str, ...]
    widens: bool

    @property
    def everything(self) -> bool:
        return self.scenarios == (_EVERYTHING,)


@dataclass(frozen=True)
class Acceptance:
    """Who let the commit's regression pass, and why."""

    user_id: int
    login: str
    reason: str


@dataclass(frozen=True)
class Target:
    """What is compared, `base` being the merge base, and the run that measures it.

    `seed` None: the one that follows from all of these, which nobody can choose. `base_name` and
    `base_why`: what people call base and why it is the one, where that is more than its SHA.
    """

    base: str
    head: str
    run_id: int
    attempt: int
    tier: str = "pull_request"
    seed: int | None = None
    base_name: str = ""
    base_why: str = ""


@dataclass(frozen=True)
class ChangePlan:
    """`expected` scenarios belong to the change, `now` are those that this attempt measures.

    `refusal`: why nothing may be measured here; `skip`: why nothing needs to be. `queue_passes`:
    the pull request's own measurement stands for the merge queue's. `selected`: what the choice
    rests on, where there was evidence.
    """

    target: Target
    plan: Plan
    expected: tuple[Scenario, ...]
    now: tuple[Scenario, ...]
    shards: tuple[Shard, ...]
    refusal: str = ""
    skip: str = ""
    queue_passes: bool = False
    selected: Selected | None = None

    def body(self) -> dict[str, object]:
        """What the ledger keeps of the plan, so that later ones can learn from it."""
        selected = self.selected or Selected(self.plan.choices)
        return body_of(self.plan, selected.rows, selected.findings)

    @property
    def minutes(self) -> float:
        """How long the longest shard is expected to take."""
        return max((shard.expected_s for shard in self.shards), default=0.0) / 60


def request_text(request: Request) -> str:
    """The description of the status that carries a request; at most 140 characters, else ""."""
    word = "also" if request.widens else "only"
    names = " ".join(request.scenarios)
    text = f"run {request.run_id} attempt {request.attempt} {word}: {names}"
    return text if _REQUEST.fullmatch(text) and len(text) <= 140 else ""


def requests_in(statuses: Iterable[CommitStatus], bot_id: int, run_id: int) -> tuple[Request, ...]:
    """Our own requests for a run, oldest first; anybody else's status is not one."""
    found = []
    for status in statuses:
        match = _REQUEST.fullmatch(status.description)
        if status.context == REQUEST and status.creator_id == bot_id and match:
            run, attempt, word, names = match.groups()
            if int(run) == run_id:
                found.append(Request(run_id, int(attempt), tuple(names.split()), word == "also"))
    return tuple(reversed(found))


def acceptance_text(acceptance: Acceptance) -> str:
    """The description of the status that records an acceptance, at most 140 characters."""
    who = f"{acceptance.user_id} ({acceptance.login})"
    return plain(f"accepted by user {who}: {' '.join(acceptance.reason.split())}")


def acceptance_in(statuses: Iterable[CommitStatus], bot_id: int) -> Acceptance | None:
    """The latest acceptance that we recorded for the commit."""
    for status in statuses:
        match = _ACCEPTED.fullmatch(status.description)
        if status.context == ACCEPT and status.creator_id == bot_id and match:
            return Acceptance(int(match[1]), match[2], match[3])
    return None


def plan_change(
    definitions: Definitions,
    target: Target,
    requests: Sequence[Request] = (),
    *,
    public: bool,
    in_queue: bool = False,
    only: Sequence[str] = (),
    capacity_s: float | None = None,
    expected_s: Mapping[str, float] | None = None,
    evidence: Evidence | None = None,
    root: Path | None = None,
) -> ChangePlan:
    """The plan of one attempt. `public`: strangers may open pull requests in this repository.

    `in_queue`: head is a merge queue's, whose pull requests were measured before they entered it.
    `only`: ids that a local user asked for, and no others. `evidence`: what tells scenarios apart;
    None: all of the tier are taken. `root`: the work tree that the definitions lie in, if any.
    """
    settings = definitions.config.github
    if capacity_s is None:
        capacity_s = definitions.config.capacity_s
    seed = _seed(target)
    choices = candidates = _in_pools(definitions, target, only)
    selected = None
    if evidence is not None and not only and definitions.config.selection.footprints:
        selected = select_scenarios(
            choices,
            definitions,
            evidence,
            capacity_s=capacity_s,
            seed=seed,
            expected_s=expected_s or {},
            root=root,
            narrow=target.tier == "pull_request",
        )
        choices = selected.choices
    else:
        check_smoke(definitions)
    choices = _widened(choices, definitions, target, requests)
    plan = Plan(choices, seed, capacity_s, selected.basis if selected else "")
    expected = definitions.chosen([choice.scenario for choice in plan.taken])
    refusal = _refusal(definitions, target, candidates, public)
    if refusal:
        return ChangePlan(target, plan, expected, (), (), refusal=refusal)
    if settings.mode is GateMode.OFF and definitions.sha:  # on one's own machine nothing is off
        why = "the bot is off in this repository's configuration"
        return _nothing(target, plan, why, "Off: nothing is measured")
    if in_queue and settings.merge_queue is Queue.PASS:
        why = "measured on the pull request; the queue measures nothing again"
        passing = _nothing(target, plan, why, "Measured on the pull request before the queue")
        return replace(passing, queue_passes=True)
    if not expected:
        why = "No scenario applies" if definitions.scenarios else "The base has no scenario yet"
        if any(choice.rule is Why.PROVED for choice in choices):
            why = "No scenario can be moved by this change"
        skip = f"{why}: nothing to measure"
        return ChangePlan(target, plan, (), (), (), skip=skip, selected=selected)
    now = _now(expected, target, requests)
    shards = _shards(definitions, target, plan, expected, now, expected_s)
    return ChangePlan(target, plan, expected, now, shards, selected=selected)


def _refusal(
    definitions: Definitions, target: Target, choices: Sequence[Choice], public: bool
) -> str:
    """Why this repository's workflows must not measure this; the first sentence is the status."""
    settings = definitions.config.github
    if not definitions.sha or target.tier != "pull_request":
        return ""
    if settings.profile is Profile.CONTROL:
        return (
            "A control repository measures here, not this workflow. Set `profile: simple`, or "
            "remove ailab-measure.yml (docs/github-control-repository.md)."
        )
    kept = ", ".join(sorted(settings.kept_pools()))
    if public and kept:
        return (
            f"A public repository must not use machines that outlive a job ({kept}). What a "
            "stranger's pull request leaves there stays. Use GitHub's own machines, name labels of "
            "machines that are thrown away under `github: hosted`, or measure in a control "
            "repository (docs/github-control-repository.md)."
        )
    homeless = [c.scenario for c in choices if not c.taken and c.reason.startswith(_NO_RUNNERS)]
    if homeless and not any(choice.taken for choice in choices):
        return (
            f"No scenario has runners ({homeless[0]}). Its `runner:` must be one of those that "
            "`github: runners` names in .ailab/config.yml."
        )
    return ""


def _nothing(target: Target, plan: Plan, why: str, skip: str) -> ChangePlan:
    left = tuple(replace(choice, taken=False, reason=why) for choice in plan.choices)
    return ChangePlan(target, replace(plan, choices=left), (), (), (), skip=skip)


def _seed(target: Target) -> int:
    if target.seed is not None:
        return target.seed
    digest = hashlib.sha256(f"{target.base} {target.head} {target.run_id}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def _in_pools(definitions: Definitions, target: Target, only: Sequence[str]) -> tuple[Choice, ...]:
    """By tier, runner and names alone."""
    pools = definitions.config.github.runners
    choices = select(definitions.scenarios, only=only, tier=target.tier, pools=pools)
    if not definitions.sha or only:
        return choices
    scenarios = {scenario.id: scenario for scenario in definitions.scenarios}

    def told(choice: Choice) -> Choice:
        own = scenarios[choice.scenario]
        homeless = own.runner not in pools and not choice.taken and target.tier in own.tiers
        return replace(choice, reason=f"{_NO_RUNNERS} {own.runner}") if homeless else choice

    return tuple(told(choice) for choice in choices)


def _widened(
    choices: Sequence[Choice],
    definitions: Definitions,
    target: Target,
    requests: Sequence[Request],
) -> tuple[Choice, ...]:
    """With what slash commands asked for up to this attempt, as far as it has runners."""
    widening = [r for r in requests if r.widens and r.attempt <= target.attempt]
    asked = {name for request in widening for name in request.scenarios}
    everything = any(request.everything for request in widening)
    pools = definitions.config.github.runners
    runners = {scenario.id: scenario.runner for scenario in definitions.scenarios}

    def wanted(choice: Choice) -> bool:
        named = everything or choice.scenario.lower() in asked
        return named and not choice.taken and runners[choice.scenario] in pools

    return tuple(
        replace(c, taken=True, reason="asked for", rule=Why.ASKED, propensity=None)
        if wanted(c)
        else c
        for c in choices
    )


def _now(
    expected: Sequence[Scenario], target: Target, requests: Sequence[Request]
) -> tuple[Scenario, ...]:
    own = [request for request in requests if request.attempt == target.attempt]
    if not own or any(request.everything for request in own):
        return tuple(expected)
    names = {name for request in own for name in request.scenarios}
    return tuple(scenario for scenario in expected if scenario.id.lower() in names)


def _shards(
    definitions: Definitions,
    target: Target,
    plan: Plan,
    expected: Sequence[Scenario],
    now: Sequence[Scenario],
    expected_s: Mapping[str, float] | None,
) -> tuple[Shard, ...]:
    settings = definitions.config.github
    loads = share_out(now, settings.runners, expected_s)
    whole_s = sum(load.expected_s for load in loads)
    hosted = bool(definitions.sha)
    limit_s = MEASURING * settings.shard_minutes * 60 if hosted else math.inf
    capacity_s = math.inf if plan.capacity_s is None else plan.capacity_s
    return tuple(
        Shard(
            index=index,
            labels=settings.runners[load.pool].labels,
            timeout_minutes=settings.shard_minutes,
            scenarios=load.scenarios,
            expected_s=round(load.expected_s, 1),
            capacity_s=_finite(min(limit_s, capacity_s * load.expected_s / whole_s)),
            base=target.base,
            head=target.head,
            definitions=definitions.sha,
            seed=plan.seed,
            family=family_of(expected),
            footprints=hosted and target.tier == "release" and settings.history,
        )
        for index, load in enumerate(loads)
    )


def _finite(seconds: float) -> float | None:
    return round(seconds, 1) if math.isfinite(seconds) else None
