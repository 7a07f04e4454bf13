"""Inside a GitHub workflow that measures: which change this job is about, and its plan.

They follow from the event and the clone. Imports nothing that judges or publishes: planning is
quick, and what runs a pull request's code does not hold a token.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.flows.baseline import Baseline, baseline_of, spoiled_by, tags
from ailab_bot.flows.change import ChangePlan, Target, plan_change, requests_in
from ailab_bot.flows.definitions import Definitions, read_definitions
from ailab_bot.flows.history import BRANCH, expected_s
from ailab_bot.flows.incidents import read_steps
from ailab_bot.flows.knowledge import Knowledge, read_knowledge
from ailab_bot.flows.releases import read_releases
from ailab_bot.flows.selection import gather_if_known, origins_of
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.client import CommitStatus
from ailab_bot.gh.event import (
    CommentEvent,
    Event,
    MergeGroupEvent,
    PullRequestEvent,
    PushEvent,
    TimerEvent,
    WorkflowRunEvent,
)
from ailab_bot.ledger.reading import tip_at
from ailab_bot.measure.git import Repository as Clone
from ailab_bot.measure.git import ensure_commits, open_repository
from ailab_bot.model.incident import incidents_of

#: What a nightly measurement compares with where no release is known.
NIGHT = timedelta(hours=24)
_PUSHED = "No release is known yet: it is what the branch was before this push."
_A_DAY_BEFORE = "No release is known yet: it is what the branch was a day before."


@dataclass(frozen=True)
class Clock:
    """The time of day, and how to wait: both are arguments, so that a story needs no time."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Change:
    """What the event says is to be compared; `why` with `base`. None: it names nothing."""

    base: str | None
    head: str
    definitions: str
    tier: str
    in_queue: bool = False
    why: str = ""


def plan_here(
    around: Surroundings,
    statuses_of: Callable[[str], tuple[CommitStatus, ...]],
    begun: Callable[[], datetime],
    bring: Callable[[str], None],
) -> tuple[ChangePlan, Definitions] | None:
    """The plan of this run's event; None where there is nothing to compare with.

    `statuses_of` a commit tells what slash commands asked for. The first attempt does not ask:
    nobody can have wanted anything of it yet. `begun` tells when the run was made: what a night is
    compared with, and what the ledger is read as, must be the same for every job and attempt.
    `bring` fetches a commit by its id, if there is one.
    """
    event = around.event()
    clone = open_repository(around.workspace)
    if around.event_name == "pull_request_target":
        raise _no_measurement()
    begun = functools.cache(begun)
    change = _change(event, clone, begun)
    definitions = read_definitions(
        clone, change.definitions, fresh_folder(around, "definitions"), around.config
    )
    # A checkout of the whole history has fetched its branch too; without it nothing is known.
    fetched = clone.remote_tip(BRANCH) if definitions.config.github.history else None
    tip = tip_at(clone.root, fetched, begun()) if fetched is not None else None
    settings = definitions.config.github
    good = _baseline(clone, change, tip, settings.releases, begun)
    if good is None:
        return None
    target = Target(
        good.sha,
        change.head,
        around.run_id,
        around.attempt,
        change.tier,
        base_name=good.name,
        base_why=good.why,
    )
    asked = around.attempt > 1 and change.tier == "pull_request"
    statuses = statuses_of(change.head) if asked else ()
    names = [scenario.id for scenario in definitions.scenarios]
    expected, evidence = {}, None
    if fetched is not None:
        when = begun()
        expected = expected_s(clone.root, tip, names)
        if definitions.config.selection.footprints:
            known = read_knowledge(clone.root, tip, when) if tip else Knowledge()
            for sha in origins_of(known, good.sha):
                if not clone.has(sha):  # of a branch that is gone
                    bring(sha)
            evidence = gather_if_known(clone, good.sha, change.head, known, when)
    return plan_change(
        definitions,
        target,
        requests_in(statuses, settings.bot_id, around.run_id),
        public=event.repository.public,
        in_queue=change.in_queue,
        capacity_s=around.capacity_s,
        expected_s=expected,
        evidence=evidence,
    ), definitions


def _baseline(
    clone: Clone,
    change: Change,
    tip: str | None,
    patterns: Sequence[str],
    begun: Callable[[], datetime],
) -> Baseline | None:
    """What the change is compared with: a release branch with its last good release, where a tag or
    the ledger names one."""
    releases = read_releases(clone.root, tip) if change.tier == "release" else ()
    if change.tier == "release" and (releases or tags(clone, change.head)):
        incidents = incidents_of(read_steps(clone.root, tip))
        spoiled = spoiled_by(incidents)
        good = baseline_of(clone, change.head, releases, patterns, begun(), spoiled)
        if good is not None:
            return good
    return None if change.base is None else Baseline(change.base, "", change.why)


def fresh_folder(around: Surroundings, name: str) -> Path:
    """A folder's name below the job's temporary one at which nothing lies."""
    folder = around.temp / f"ailab-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _change(event: Event, clone: Clone, begun: Callable[[], datetime]) -> Change:
    match event:
        case PullRequestEvent(pull=pull):
            tip = _tip(clone, pull.base_ref, pull.base_sha)
            return _from_base(clone, tip, pull.head_sha)
        case MergeGroupEvent(base_ref=ref, base_sha=base, head_sha=head):
            # The queue says what it merges onto; the branch's tip may be another group's by now.
            tip = _tip(clone, ref.removeprefix("refs/heads/"), base)
            own = _from_base(clone, base, head)
            return replace(own, definitions=tip, in_queue=True)
        case PushEvent(before=before, after=after):
            ensure_commits(clone, [after])
            known = before if before and clone.has(before) else clone.before(after)
            return Change(known, after, after, "release", why=_PUSHED)
        case TimerEvent():
            head = clone.resolve("HEAD").sha
            then = clone.before(head, begun() - NIGHT)
            return Change(then, head, head, "release", why=_A_DAY_BEFORE)
        case WorkflowRunEvent() | CommentEvent():
            raise _no_measurement()


def _no_measurement() -> UserError:
    return UserError(
        "this event measures nothing",
        why="`plan` and `report` belong to workflows that measure: pull_request, merge_group, "
        "push, schedule and workflow_dispatch.",
        advice="Use the workflows in examples/.",
    )


def _tip(clone: Clone, branch: str, event_sha: str) -> str:
    """The base branch as it is now: a job that is run again has the event of its first time."""
    return clone.remote_tip(branch) or event_sha


def _from_base(clone: Clone, tip: str, head: str) -> Change:
    ensure_commits(clone, [tip, head], merge_base_of=(tip, head))
    return Change(clone.merge_base(tip, head), head, tip, "pull_request")


def check_disk(folder: Path, least_bytes: int = 1 << 30) -> None:
    """RunnerError before anything is measured on a disk that will not hold it."""
    free = shutil.disk_usage(folder).free
    if free < least_bytes:
        raise RunnerError(
            "the disk is nearly full",
            why=f"{folder} has {free >> 20} MiB left; {least_bytes >> 20} MiB are needed.",
            advice="Free some space on the runner, then run the job again.",
        )
