"""`ailab plan`, `measure` and `report` on one's own machine: the three parts that CI runs apart.

The plan is a document that people can read and keep; the others take it. Definitions come from the
work tree, as in every local command.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
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
from ailab_bot.model.report import Choice, Report, Why
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
    with _holds_a_plan(path):
        rows = read.items(_document(path)["shards"], "shards", most=1000)
    return tuple(shard_from_json(json.dumps(row), str(path)) for row in rows)


def _read_reasons(path: Path) -> tuple[tuple[Choice, ...], str]:
    """What a plan's document says of every scenario, and the sentence about what that rests on;
    UserError where it is none."""
    with _holds_a_plan(path):
        document = _document(path)
        rows = read.items(document.get("scenarios"), "scenarios", most=10_000)
        return tuple(map(_choice, rows)), read.text(document.get("basis"), "basis", least=0)


@contextmanager
def _holds_a_plan(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, read.BadJsonError) as error:
        raise UserError(
            f"{path} holds no plan",
            why=str(error),
            advice="Make one: ailab plan BASE HEAD --json F",
        ) from error


def _document(path: Path) -> read.Json:
    document = read.load_bytes(path.read_bytes(), most=_LARGEST_PLAN_BYTES)
    if not isinstance(document, dict) or "shards" not in document:
        read.refuse("it has no `shards`")
    return document


def _choice(value: object) -> Choice:
    row = read.mapping(value, "a scenario's entry", {each.name for each in fields(Choice)})

    def number(name: str, most: float) -> float | None:
        return None if row[name] is None else read.number(row[name], name, most=most)

    return Choice(
        scenario=read.text(row["scenario"], "scenario"),
        taken=read.flag(row["taken"], "taken"),
        reason=read.text(row["reason"], "reason"),
        rule=read.one_of(row["rule"], "rule", Why),
        probability=number("probability", 1.0),
        propensity=number("propensity", 1.0),
        cost_s=number("cost_s", 1e18),
    )


def report_folders(path: Path, folders: Sequence[Path], repo: Path, config: Path | None) -> Report:
    """The report of a plan's document, whose shards left their results in these folders, in any
    order."""
    shards = read_plan(path)
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
    choices, basis = _read_reasons(path)
    if sorted(choice.scenario for choice in choices if choice.taken) != sorted(names):
        raise UserError(
            f"{path} contradicts itself",
            why="Its `scenarios` that are taken are not those of its `shards`.",
            advice="Make it anew: ailab plan BASE HEAD --json F",
        )
    plan = replace(change.plan, choices=choices, basis=basis)
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
        plan,
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
