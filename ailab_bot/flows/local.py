"""`ailab plan`, `measure` and `report` on one's own machine: the three parts that CI runs apart.

The plan is a document that people can read and keep; the others take it. Definitions come from the
work tree, as in every local command.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from ailab_bot.config import load_config, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.flows.ab import AbRequest, dirty_note, two_commits
from ailab_bot.flows.assemble import assemble
from ailab_bot.flows.change import ChangePlan, Target, plan_change
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.here import known_here
from ailab_bot.flows.ingest import MEMBERS, Parcel, ingest
from ailab_bot.flows.policy import policy_notes, policy_of
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.model import strictjson as read
from ailab_bot.model.exchange import shard_from_json
from ailab_bot.model.report import Report
from ailab_bot.model.shard import Shard

SCHEMA = 1
_LARGEST_PLAN_BYTES = 4 << 20


def plan_commits(request: AbRequest) -> ChangePlan:
    """The plan of two commits, with shards for the pools that the configuration has."""
    repository = open_repository(request.repo)
    base, head = two_commits(repository, request.base, request.head)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    definitions = work_tree_definitions(repository, request.config)
    known = known_here(repository, definitions, datetime.now(UTC))
    return plan_change(
        definitions,
        Target(base.sha, head.sha, 0, 1, seed=seed),
        only=request.scenarios,
        public=False,
        capacity_s=request.capacity_s,
        expected_s=known.expected_s,
        evidence=known.evidence(base.sha, head.sha),
        root=repository.root,
    )


def work_tree_definitions(repository: Repository, config: Path | None) -> Definitions:
    loaded = load_config(config, repository.root)
    return Definitions("", (), loaded, load_scenarios(loaded), policy_of(loaded))


def plan_to_json(change: ChangePlan) -> dict[str, object]:
    """The document of `ailab plan --json`."""
    return {
        "schema": SCHEMA,
        "base": change.target.base,
        "head": change.target.head,
        "scenarios": [asdict(choice) for choice in change.plan.choices],
        "basis": change.plan.basis,
        "seed": change.plan.seed,
        "capacity_s": change.plan.capacity_s,
        "expected_s": round(sum(shard.expected_s for shard in change.shards), 1),
        "shards": [asdict(shard) for shard in change.shards],
        "refusal": change.refusal,
        "skip": change.skip,
    }


def read_plan(path: Path) -> tuple[Shard, ...]:
    """The shards of a plan's document; UserError where it is none."""
    try:
        data = path.read_bytes()
        document = read.load_bytes(data, most=_LARGEST_PLAN_BYTES)
        if not isinstance(document, dict) or "shards" not in document:
            read.refuse("it has no `shards`")
        rows = read.items(document["shards"], "shards", most=1000)
    except (OSError, read.BadJsonError) as error:
        raise UserError(
            f"{path} holds no plan",
            why=str(error),
            advice="Make one: ailab plan BASE HEAD --json F",
        ) from error
    return tuple(shard_from_json(json.dumps(row), str(path)) for row in rows)


def report_folders(
    shards: Sequence[Shard], folders: Sequence[Path], repo: Path, config: Path | None
) -> Report:
    """The report of a plan whose shards left their results in these folders, in any order."""
    if not shards:
        raise UserError(
            "the plan has no shard", why="Nothing was to be measured.", advice="See its `skip`."
        )
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"no folder at {folder}",
                why="A shard leaves its trials in the folder that `ailab measure --out` named.",
                advice="Check the path; a shard that left nothing is simply not named.",
            )
    repository = open_repository(repo)
    definitions = work_tree_definitions(repository, config)
    first = shards[0]
    names = tuple(name for shard in shards for name in shard.scenarios)
    change = plan_change(
        definitions,
        Target(first.base, first.head, 0, 1, seed=first.seed),
        only=names,
        public=False,
        capacity_s=sum(s.capacity_s for s in shards if s.capacity_s is not None) or None,
    )
    parcels = [Parcel(1, number, _opener(folder)) for number, folder in enumerate(folders)]
    findings, lost = ingest(parcels, change)
    reproduce = ["ailab", "ab", first.base[:12], first.head[:12], "--seed", str(first.seed)]
    if len(names) < len(definitions.scenarios):
        reproduce += ["--scenario", *names]
    notes = dirty_note(repository) + policy_notes(definitions.policy, names)
    notes += [*findings.notes, *(f"{name}: {loss.reason}" for name, loss in lost.items())]
    return assemble(
        repository.resolve(first.base),
        repository.resolve(first.head),
        change.plan,
        change.expected,
        definitions.policy,
        replace(findings, notes=notes),
        shlex.join(reproduce),
    )


def _opener(folder: Path) -> Callable[[], Mapping[str, bytes]]:
    def open_folder() -> dict[str, bytes]:
        try:
            return {name: (folder / name).read_bytes() for name in MEMBERS}
        except OSError as error:
            raise UserError(
                f"{folder} is no shard's folder", why=str(error), advice="Name what --out named."
            ) from error

    return open_folder
