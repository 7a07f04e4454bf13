"""Which of a tier's scenarios a change is measured with: what footprints prove, what is likely,
what fits.

Everything follows from the two commits, the ledger at one moment and the seed: the job that
measures and the job that decides find the same. Refuses to overrule people, tiers and runners.
"""

# Footprints and predictions need numpy, which takes a tenth of a second: only where anything is
# known they are loaded.
# ruff: noqa: PLC0415
from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from ailab_bot.config import Config
from ailab_bot.errors import UserError
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.knowledge import Knowledge
from ailab_bot.flows.train import NAME as MODEL
from ailab_bot.measure.changes import read_blobs, read_change, read_folders
from ailab_bot.measure.git import Repository
from ailab_bot.model.change import LINK, Change, ChangedFile
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.learned import LARGEST_BYTES, Learned, learned_from_json
from ailab_bot.model.report import Choice, Why
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.strictjson import BadJsonError
from ailab_bot.plan.capacity import Candidate, choose
from ailab_bot.plan.features import Features, Surroundings, facts_of, near_of, rows_of
from ailab_bot.plan.imports import Tree, imported_near
from ailab_bot.plan.past import Past
from ailab_bot.plan.relation import Finding, Relation
from ailab_bot.plan.setups import is_plain_setup
from ailab_bot.plan.shadowing import Folders
from ailab_bot.plan.shards import EXPECTED_S

#: Commits that footprints are from, the most used first: nights follow each other, so two or three
#: are usual, and each further one costs a comparison of trees.
MOST_ORIGINS = 8
#: Sources of a change that are parsed, one and all: a stranger may have written them, and the job
#: that decides reads them too. What is beyond counts as touched.
LARGEST_SOURCE_BYTES, MOST_SOURCE_BYTES = 192 << 10, 4 << 20
#: Characters of the path that a link leads to.
_LONGEST_LINK = 4096
#: Without a release's measurement a scenario is expected to take no longer than this many seconds:
#: the other figures are pull requests' own.
_MOST_UNPROVED_S = 10 * EXPECTED_S
_NEVER = Finding(Relation.UNKNOWN, "it has no footprint yet")
_REDEFINED = Finding(
    Relation.UNKNOWN, "its definition is another one than when its footprint was recorded"
)
_ODD_SETUP = Finding(
    Relation.UNKNOWN, "its set-up does more than install packages, and may read what is changed"
)


@dataclass(frozen=True)
class Evidence:
    """What a choice rests on. `since`: by a footprint's commit, what happened from there to base.
    `sources`: blobs by their ids. `when`: the moment of the ledger, and of the plan.
    `repository`: where base's other sources are read if they are asked for; None: nowhere."""

    knowledge: Knowledge
    change: Change
    sources: Mapping[str, bytes]
    since: Mapping[str, Change]
    folders: Folders
    when: datetime
    repository: Repository | None = None


@dataclass(frozen=True)
class Selected:
    """`rows` and `findings` by scenario, for the ledger. `basis`: one sentence for people."""

    choices: tuple[Choice, ...]
    basis: str = ""
    rows: Mapping[str, Features] = field(default_factory=dict)
    findings: Mapping[str, Finding] = field(default_factory=dict)


def origins_of(knowledge: Knowledge, base: str) -> list[str]:
    """Commits of the footprints, without base itself: the most used ones first."""
    counts = {sha: who.bit_count() for sha, who in knowledge.index.shas.items() if sha != base}
    return sorted(counts, key=lambda sha: (-counts[sha], sha))[:MOST_ORIGINS]


def gather(
    repository: Repository, base: str, head: str, knowledge: Knowledge, when: datetime
) -> Evidence:
    """Read the change and what has to be compared. Both commits are in the repository.

    A footprint's commit that is not here proves nothing.
    """
    from ailab_bot.plan.relate import blobs_wanted

    change = read_change(repository, base, head)
    since = {
        sha: read_change(repository, sha, base)
        for sha in origins_of(knowledge, base)
        if repository.has(sha)
    }
    compared = blobs_wanted(change, knowledge.index)
    for each in since.values():
        compared |= blobs_wanted(each, knowledge.index)
    change = replace(change, files=tuple(sorted(change.files, key=_used_first(knowledge))))
    python = [file for file in change.files if file.path.endswith(".py") and file.is_plain]
    looked_at = [blob for file in python for blob in (file.old_blob, file.new_blob) if blob]
    sources = _read(repository, sorted(compared))
    sources |= _read(repository, [blob for blob in looked_at if blob not in compared])
    return Evidence(
        knowledge,
        change,
        sources,
        since,
        Folders(read_folders(repository, base), read_folders(repository, head)),
        when,
        repository,
    )


def _used_first(knowledge: Knowledge) -> Callable[[ChangedFile], tuple[bool, str]]:
    """What somebody uses is looked at before what only takes its place in the bounds."""
    index = knowledge.index
    return lambda file: (
        not any(path in index.imported or path in index.opened for path in file.paths),
        file.path,
    )


def _read(repository: Repository, ids: Sequence[str]) -> dict[str, bytes]:
    return _read_up_to(repository, ids, MOST_SOURCE_BYTES)


def _read_up_to(repository: Repository, ids: Sequence[str], budget_bytes: int) -> dict[str, bytes]:
    return read_blobs(
        repository, ids, largest_bytes=LARGEST_SOURCE_BYTES, budget_bytes=budget_bytes
    )


def select_scenarios(
    choices: Sequence[Choice],
    definitions: Definitions,
    evidence: Evidence,
    *,
    capacity_s: float | None,
    seed: int,
    expected_s: Mapping[str, float],
    root: Path | None = None,
    narrow: bool = True,
) -> Selected:
    """The choices again, those that tier and runner allow now chosen by relevance and capacity.

    `root`: the work tree that the definitions lie in; None: they were laid out from a commit. Not
    `narrow`: all are taken all the same, and only what is known of them is told. UserError where
    the configuration names a smoke scenario that there is none.
    """
    from ailab_bot.plan.growth import expected_parts, growth_of
    from ailab_bot.plan.predict import predict
    from ailab_bot.plan.sets import members

    settings = definitions.config.selection
    check_smoke(definitions)
    open_ = [choice.scenario for choice in choices if choice.taken and choice.rule is Why.TIER]
    scenarios = {scenario.id: scenario for scenario in definitions.scenarios}
    homes = {name: _home(definitions, scenarios[name], root) for name in open_}
    findings = _findings(evidence, [scenarios[name] for name in open_], homes)
    past = evidence.knowledge.past
    facts = facts_of(evidence.change, evidence.sources.get)
    index = evidence.knowledge.index
    unknown = {
        name: (scenarios[name], _directory(definitions, scenarios[name], homes[name]))
        for name in open_
        if findings[name].relation is Relation.UNKNOWN
    }
    around = Surroundings(
        loads={name: members(index, index.modules.get(name, 0)) for name in facts.imports},
        near=near_of(facts.paths, homes, _imported_near(evidence, facts.paths, unknown)),
        expected=expected_parts(growth_of(facts.calls), index),
    )
    rows = rows_of(facts, findings, past, evidence.when, around)
    model, remark = _model(definitions.config)
    basis = _basis(evidence, open_, model) + remark
    if not narrow:
        return Selected(tuple(choices), basis, rows, findings)
    widths = dict(zip(index.scenarios, index.counts, strict=True))
    chances = predict([rows[name] for name in open_], model)
    candidates = [
        Candidate(
            name,
            findings[name].relation,
            findings[name].reason,
            chance,
            _cost_s(name, past, expected_s),
            widths.get(name, 0),
        )
        for name, chance in zip(open_, chances, strict=True)
    ]
    left_s = None
    if settings.capacity_day_s is not None:
        spent_s = evidence.knowledge.spent_before(evidence.when)
        left_s = max(settings.capacity_day_s - spent_s, 0.0)
        if left_s == 0.0:
            basis += " The day's capacity is spent."
    chosen = choose(
        candidates,
        capacity_s,
        seed,
        day_left_s=left_s,
        smoke=settings.smoke,
        together={name: past.moves_with(name) for name in open_},
        explore=settings.explore,
    )
    made = {choice.scenario: choice for choice in chosen}
    return Selected(
        tuple(made.get(choice.scenario, choice) for choice in choices), basis, rows, findings
    )


def _cost_s(name: str, past: Past, expected_s: Mapping[str, float]) -> float | None:
    """A release's cost, else what pull requests said, within bounds; None: never measured."""
    known = past.expected_s(name)
    if known is None and name in expected_s:
        return min(expected_s[name], _MOST_UNPROVED_S)
    return known


def check_smoke(definitions: Definitions) -> None:
    """UserError where `selection: smoke` names what is no scenario."""
    known = {scenario.id for scenario in definitions.scenarios}
    for name in definitions.config.selection.smoke:
        if name not in known:
            raise UserError(
                f"`selection: smoke` names no scenario: `{name:.80}`",
                why=f"The scenarios: {', '.join(sorted(known)[:10]) or 'none'}.",
                advice="Correct the name in the configuration.",
            )


def _findings(
    evidence: Evidence, scenarios: Sequence[Scenario], homes: Mapping[str, str]
) -> dict[str, Finding]:
    from ailab_bot.plan.relate import relate

    sources = evidence.knowledge.sources
    current = {
        each.id
        for each in scenarios
        if each.id in sources and sources[each.id].definition == fingerprint(each)
    }
    found = relate(
        evidence.change,
        evidence.sources,
        evidence.knowledge.index,
        [each.id for each in scenarios if each.id in current],
        homes,
        evidence.since,
        evidence.folders,
    )
    odd = {each.id for each in scenarios if not is_plain_setup(each.setup)}
    for name in odd & set(found):
        if found[name].relation.is_proof:
            found[name] = _ODD_SETUP
    missing = {
        each.id: _REDEFINED if each.id in sources else _NEVER
        for each in scenarios
        if each.id not in current
    }
    return {each.id: found.get(each.id) or missing[each.id] for each in scenarios}


def _home(definitions: Definitions, scenario: Scenario, root: Path | None) -> str:
    """The folder or file of the repository that defines the scenario."""
    folder = definitions.config.scenarios_dir
    if root is None:
        home = definitions.paths[0] if definitions.paths else ".ailab"
    else:
        home = os.path.relpath(folder.parent, root).replace(os.sep, "/")
    inside = scenario.directory != folder
    place = f"{scenario.directory.name}" if inside else f"{scenario.id}.yml"
    return f"{home}/{folder.name}/{place}".removeprefix("./")


def _directory(definitions: Definitions, scenario: Scenario, home: str) -> str:
    """What `{scenario_dir}` stands for, in the repository."""
    inside = scenario.directory != definitions.config.scenarios_dir
    return home if inside else posixpath.dirname(home)


def _imported_near(
    evidence: Evidence, paths: Sequence[str], unknown: Mapping[str, tuple[Scenario, str]]
) -> dict[str, float]:
    """How near these scenarios lie to the changed sources in base's graph of imports."""
    repository = evidence.repository
    changed = {path for path in paths if path.endswith(".py")}
    if repository is None or not changed or not unknown:
        return {}
    tree = _sources_of(repository, evidence.change)
    return imported_near(unknown, tree, changed, partial(_read_up_to, repository))


def _sources_of(repository: Repository, change: Change) -> Tree:
    """Base's Python sources and links. What appears is there, too, and is not read: an import that
    fails at base may find it."""
    files = {file.path: "" for file in change.files if file.appears and file.path.endswith(".py")}
    links = {}
    answer = repository.git_bytes("ls-tree", "-r", "-z", "--full-tree", change.base)
    for row in filter(None, answer.split(b"\0")):
        meta, _, name = row.partition(b"\t")
        mode, kind, blob = meta.decode("ascii").split()
        path = name.decode("utf-8", "replace")  # as changes are read
        if mode == LINK:
            links[path] = blob
        elif kind == "blob" and path.endswith(".py"):
            files[path] = blob
    targets = read_blobs(repository, links.values(), largest_bytes=_LONGEST_LINK)
    return Tree(
        files,
        {
            path: targets[blob].decode("utf-8", "replace")
            for path, blob in links.items()
            if blob in targets
        },
    )


def _model(config: Config) -> tuple[Learned | None, str]:
    """What was learned, beside the configuration; and a remark where it cannot be used."""
    path = config.folder / MODEL
    try:
        if not path.exists():
            return None, ""
        if path.stat().st_size > LARGEST_BYTES:
            return None, f" {MODEL} is too large to be a model."
        return learned_from_json(path.read_text(encoding="utf-8")), ""
    except OSError as error:
        return None, f" {MODEL} is not used: {error.strerror}."
    except (UnicodeDecodeError, BadJsonError) as error:
        return None, f" {MODEL} is not used: {error}."


def _basis(evidence: Evidence, names: Sequence[str], model: Learned | None) -> str:
    from ailab_bot.plan.predict import basis_of

    known = evidence.knowledge
    own = [known.sources[name] for name in names if name in known.sources]
    text = f"Of {len(names)} scenarios {len(own)} have a footprint"
    if own:
        hours = (evidence.when - min(each.when for each in own)).total_seconds() / 3600
        age = f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
        text += f", the oldest {age} old"
    skipped = sum(known.skipped.values())
    more = f" {skipped} records of the ledger could not be read." if skipped else ""
    note = f" {known.note}" if known.note else ""
    return f"{text}. {basis_of(model)}{more}{note}"


def gather_if_known(
    repository: Repository, base: str, head: str, knowledge: Knowledge, when: datetime
) -> Evidence | None:
    """None where nothing is known that could tell scenarios apart."""
    return None if knowledge.is_empty else gather(repository, base, head, knowledge, when)
