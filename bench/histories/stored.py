"""Reads what was recorded of a repository's history: what each scenario did at each commit.

Refuses to guess: where a scenario failed there is neither a footprint nor a signature.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from footprints import apply, from_row, signature_of

from ailab_bot.model.footprint import Footprint, Signature

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recorded:
    """One scenario at one commit. `again`: the signature of a second recording, where there was
    one. `ran`: False where nothing that it could use differs from the commit before."""

    footprint: Footprint | None
    again: Signature | None
    ttfb_s: float | None
    ran: bool


@dataclass(frozen=True)
class History:
    """`commits`: oldest first. `rows`: by commit, by scenario."""

    repo: str
    commits: tuple[str, ...]
    scenarios: tuple[str, ...]
    rows: dict[str, dict[str, Recorded]]

    def footprint(self, sha: str, scenario: str) -> Footprint | None:
        found = self.rows[sha].get(scenario)
        return found.footprint if found else None

    def signature(self, sha: str, scenario: str) -> Signature | None:
        found = self.footprint(sha, scenario)
        return found.signature if found else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def history_of(repo: str, lines: Iterable[dict[str, Any]]) -> History:
    """Of a packed recording."""
    tables: dict[str, dict[str, Any]] = {}
    last: dict[str, Recorded] = {}
    rows: dict[str, dict[str, Recorded]] = {}
    for line in lines:
        sha, scenario = line["sha"], line["scenario"]
        if line.get("same"):
            # A failure stays one, too: nothing that it could use was changed.
            before = last[scenario]
            footprint = before.footprint and replace(before.footprint, sha=sha)
            now = Recorded(footprint, None, None, ran=False)
        elif "moved" in line:
            tables[scenario] = apply(tables.get(scenario, {}), line["moved"])
            signature = signature_of(line["signature"])
            footprint = from_row(tables[scenario], scenario, sha, signature)
            now = Recorded(footprint, signature_of(line.get("again")), line.get("ttfb_s"), ran=True)
        else:
            now = Recorded(None, None, None, ran=True)
        last[scenario] = now
        rows.setdefault(sha, {})[scenario] = now
    scenarios = sorted({name for each in rows.values() for name in each})
    return History(repo, tuple(rows), tuple(scenarios), rows)


def read_history(repo: str) -> History:
    return history_of(repo, read_lines(HERE / repo / "footprints.jsonl.gz"))


def moved_by(base: Signature, head: Signature, *, calls_alone: bool = False) -> float:
    """The largest relative change of calls, modules, files and bytes read. Of calls the sum, as
    those into C and those into Python replace each other."""
    width = 1 if calls_alone else 4
    counts = [
        (each.calls + each.builtin_calls, each.modules, each.files, each.bytes_read)[:width]
        for each in (base, head)
    ]
    return max(abs(new - old) / max(old, 1) for old, new in zip(*counts, strict=True))


def names() -> list[str]:
    """Repositories of which there is a recording."""
    return sorted(path.parent.name for path in HERE.glob("*/footprints.jsonl.gz"))
