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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.history import BRANCH, expected_s
from ailab_bot.flows.knowledge import Source, footprint_body, known_at
from ailab_bot.flows.selection import Evidence, gather_if_known
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


def known_here(repository: Repository, definitions: Definitions, now: datetime) -> Here:
    """The ledger's and the cache's knowledge."""
    if not definitions.config.selection.footprints:
        return Here({}, lambda _base, _head: None)
    tip = repository.remote_tip(BRANCH)
    names = [scenario.id for scenario in definitions.scenarios]
    known = known_at(repository.root, tip, now).with_footprints(_recorded_here(repository))

    def evidence(base: str, head: str) -> Evidence | None:
        return gather_if_known(repository, base, head, known, now)

    return Here(expected_s(repository.root, tip, names), evidence)


def keep_footprints(
    repository: Repository, footprints: Iterable[Footprint], scenarios: Iterable[Scenario]
) -> Path:
    """Write them to the cache, whole files each; returns the folder."""
    folder = _folder(repository)
    folder.mkdir(parents=True, exist_ok=True)
    definitions = {scenario.id: fingerprint(scenario) for scenario in scenarios}
    for each in footprints:
        row = footprint_body(each, definitions[each.scenario])
        path = folder / f"{each.scenario}.json"
        unfinished = folder / f".{each.scenario}.part"
        unfinished.write_text(json.dumps(row), encoding="utf-8")  # in ASCII
        unfinished.replace(path)
    return folder


def _recorded_here(repository: Repository) -> list[tuple[Footprint, Source]]:
    found = []
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
            continue
        found.append((footprint, Source(when, definition)))
    return found


def _folder(repository: Repository) -> Path:
    """One for each clone: two of one project may differ in what they hold."""
    name = hashlib.sha256(os.fsencode(repository.root)).hexdigest()[:16]
    return cache_folder() / "footprints" / name
