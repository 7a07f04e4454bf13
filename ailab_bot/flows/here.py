"""What is known on one's own machine: the ledger as the clone has fetched it, and footprints that
`ailab footprint` recorded here.

Those lie in the cache, a file for each scenario, and win over the ledger's: who records one wants
it to count. Refuses to fetch, and to fail: what cannot be read is as if it were not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.history import BRANCH, expected_s
from ailab_bot.flows.knowledge import Source, footprint_body, known_at
from ailab_bot.flows.selection import Evidence, gather_if_known
from ailab_bot.ledger.reading import tip_at
from ailab_bot.measure.git import Repository
from ailab_bot.measure.worktree import cache_folder
from ailab_bot.model import strictjson
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.footprintwire import footprint_from_json
from ailab_bot.model.scenario import Scenario

_LARGEST_BYTES = 16 << 20


@dataclass(frozen=True)
class Here:
    """`evidence` of two commits; None where nothing is known that tells scenarios apart."""

    expected_s: Mapping[str, float]
    evidence: Callable[[str, str], Evidence | None]


def known_here(
    repository: Repository, definitions: Definitions, now: datetime, *, settled: bool = False
) -> Here:
    """The ledger's and the cache's knowledge. `settled`: the ledger's alone, as everybody has it
    who asks for that time."""
    if not definitions.config.selection.footprints:
        return Here({}, lambda _base, _head: None)
    tip = repository.remote_tip(BRANCH)
    names = [scenario.id for scenario in definitions.scenarios]
    recorded, damaged = ([], 0) if settled else _recorded_here(repository)
    if settled and tip is not None:
        tip = tip_at(repository.root, tip, now)
    known = known_at(repository.root, tip, now).with_footprints(recorded)
    if damaged:
        known = replace(known, skipped={**known.skipped, "damaged here": damaged})

    def evidence(base: str, head: str) -> Evidence | None:
        try:
            return gather_if_known(repository, base, head, known, now)
        except RunnerError:  # here nothing but the choice rests on it, so all are taken
            return None

    return Here(expected_s(repository.root, tip, names), evidence)


def keep_footprints(
    repository: Repository, footprints: Iterable[Footprint], scenarios: Iterable[Scenario]
) -> Path:
    """Write them to the cache, whole files each; returns the folder."""
    folder = _folder(repository)
    definitions = {scenario.id: fingerprint(scenario) for scenario in scenarios}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in footprints:
            row = footprint_body(each, definitions[each.scenario])
            unfinished = folder / f".{each.scenario}.part"
            unfinished.write_text(json.dumps(row), encoding="utf-8")  # in ASCII
            unfinished.replace(folder / f"{each.scenario}.json")
    except OSError as error:
        raise UserError(
            f"cannot keep footprints in {folder}",
            why=str(error),
            advice="Free or mend that folder, or name another cache with AILAB_CACHE_DIR.",
        ) from error
    return folder


def _recorded_here(repository: Repository) -> tuple[list[tuple[Footprint, Source]], int]:
    """And how many files are none."""
    found, damaged = [], 0
    for path in sorted(_folder(repository).glob("*.json")):
        try:
            row = strictjson.mapping(
                strictjson.load_bytes(path.read_bytes(), most=_LARGEST_BYTES),
                path.name,
                {"definition", "footprint"},
            )
            footprint = footprint_from_json(row["footprint"])
            when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            definition = strictjson.text(row["definition"], "definition")
        except (OSError, strictjson.BadJsonError):
            damaged += 1
            continue
        found.append((footprint, Source(when, definition)))
    return found, damaged


def _folder(repository: Repository) -> Path:
    """One for each clone: two of one project may differ in what they hold."""
    name = hashlib.sha256(os.fsencode(repository.root)).hexdigest()[:16]
    return cache_folder() / "footprints" / name
