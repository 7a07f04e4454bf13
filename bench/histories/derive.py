"""What each commit of a recorded history touches: findings and facts, without anybody's code.

    python bench/histories/derive.py REPO --clone DIR

Needs the repository's objects once; what it writes (`changes.jsonl.gz`) is enough for
`bench/selection_real.py` afterwards. Run it again when `relate`, `compare_code` or `tokens_of`
changed. Each change is related twice: to footprints of the commit before, and to footprints that
are refreshed every NIGHTLY commits, as a nightly run would.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stored import HERE, History, read_history, read_lines

from ailab_bot.measure.changes import read_blobs, read_change, read_folders
from ailab_bot.measure.git import Repository
from ailab_bot.model.change import Change
from ailab_bot.model.footprint import Footprint
from ailab_bot.plan.features import ChangeFacts, facts_of
from ailab_bot.plan.growth import expected_parts, growth_of
from ailab_bot.plan.index import FootprintIndex
from ailab_bot.plan.relate import Folders, relate
from ailab_bot.plan.relation import Finding, How, Relation, Touch
from ailab_bot.plan.tokens import Calls, Token, Tokens

#: Commits between two refreshes of the footprints that the second relation uses.
NIGHTLY = 20


@dataclass(frozen=True)
class Told:
    """By scenario the finding, and of its calls the part that comes or goes."""

    findings: Mapping[str, Finding]
    expected: Mapping[str, float]


@dataclass(frozen=True)
class Commit:
    """A commit against the one before. `fresh`, `nightly`: what these footprints tell."""

    sha: str
    parent: str
    when: datetime
    facts: ChangeFacts
    fresh: Told
    nightly: Told


def derive(history: History, clone: Path) -> Iterator[Commit]:
    repository = Repository(clone.resolve())
    night: dict[str, Footprint] = {}
    for number, sha in enumerate(history.commits):
        parent = history.commits[number - 1] if number else ""
        if (number - 1) % NIGHTLY == 0:
            night = footprints_at(history, parent)
        if number:
            yield of_commit(repository, history, parent, sha, night)


def footprints_at(history: History, sha: str) -> dict[str, Footprint]:
    found = {name: history.footprint(sha, name) for name in history.scenarios}
    return {name: each for name, each in found.items() if each is not None}


def of_commit(
    repository: Repository,
    history: History,
    parent: str,
    sha: str,
    night: Mapping[str, Footprint],
) -> Commit:
    change = read_change(repository, parent, sha)
    folders = Folders(read_folders(repository, parent), read_folders(repository, sha))
    since = {
        old: read_change(repository, old, parent)
        for old in {each.sha for each in night.values()}
        if old != parent
    }
    every = (change, *since.values())
    sources = read_blobs(repository, _blobs(every))
    seconds = int(repository.git("log", "-1", "--format=%ct", sha))
    facts = facts_of(change, sources.get, _lines(repository, parent, sha))
    growth = growth_of(facts.calls)
    told = []
    for known in (footprints_at(history, parent), night):
        index = FootprintIndex.of(known.values())
        findings = relate(change, sources, index, history.scenarios, {}, since, folders)
        told.append(Told(findings, expected_parts(growth, index)))
    return Commit(sha, parent, datetime.fromtimestamp(seconds, UTC), facts, *told)


def _blobs(changes: tuple[Change, ...]) -> set[str]:
    files = [each for change in changes for each in change.files if each.is_plain]
    return {blob for each in files for blob in (each.old_blob, each.new_blob)} - {""}


def _lines(repository: Repository, parent: str, sha: str) -> int:
    rows = repository.git("diff-tree", "-r", "--numstat", parent, sha).splitlines()
    return sum(int(n) for row in rows for n in row.split("\t")[:2] if n.isdecimal())


# --- as JSON -----------------------------------------------------------------------------------


_SOME = {"some": 1.0}


def to_row(commit: Commit) -> dict[str, Any]:
    facts = commit.facts
    return {
        "sha": commit.sha, "parent": commit.parent, "when": int(commit.when.timestamp()),
        "paths": list(facts.paths), "lines": facts.lines,
        "tokens": {path: _of_tokens(each) for path, each in facts.tokens.items()},
        "counted": {path: sorted(each.moved) for path, each in sorted(facts.calls.items())},
        "fresh": _of_told(commit.fresh), "nightly": _of_told(commit.nightly),
    }  # fmt: skip


def of_row(row: Mapping[str, Any]) -> Commit:
    tokens = {
        path: Tokens(
            {name: frozenset(map(Token, words)) for name, words in by_function.items()},
            frozenset(appeared), frozenset(imports),
        )
        for path, (by_function, appeared, imports) in row["tokens"].items()
    }  # fmt: skip
    when = datetime.fromtimestamp(row["when"], UTC)
    # Of the calls the sum that was expected is kept, and which functions have more or fewer.
    calls = {path: Calls(dict.fromkeys(names, _SOME)) for path, names in row["counted"].items()}
    facts = ChangeFacts(tuple(row["paths"]), tokens, row["lines"], calls)
    return Commit(
        row["sha"], row["parent"], when, facts, _told(row["fresh"]), _told(row["nightly"])
    )


def _of_told(told: Told) -> list[Any]:
    expected = {name: float(f"{part:.3g}") for name, part in sorted(told.expected.items())}
    return [{name: _of_finding(each) for name, each in told.findings.items()}, expected]


def _told(row: list[Any]) -> Told:
    findings, expected = row
    return Told({name: _finding(each) for name, each in findings.items()}, expected)


def _of_tokens(tokens: Tokens) -> list[Any]:
    words = {name: sorted(each) for name, each in sorted(tokens.by_function.items())}
    return [words, sorted(tokens.appeared), sorted(tokens.imports)]


def _of_finding(finding: Finding) -> list[Any]:
    touches = [
        [each.path, each.how.value, list(each.functions), round(each.share, 4), each.detail]
        for each in finding.touches
    ]
    return [finding.relation.value, finding.reason, touches]


def _finding(row: list[Any]) -> Finding:
    relation, reason, touches = row
    return Finding(
        Relation(relation), reason,
        tuple(
            Touch(path, How(how), tuple(ran), share, said)
            for path, how, ran, share, said in touches
        ),
    )  # fmt: skip


def read_commits(repo: str) -> list[Commit]:
    return [of_row(row) for row in read_lines(HERE / repo / "changes.jsonl.gz")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("repo")
    parser.add_argument("--clone", type=Path, required=True)
    options = parser.parse_args()
    target = HERE / options.repo / "changes.jsonl.gz"
    with target.open("wb") as plain, gzip.GzipFile("", "wb", 9, plain, mtime=0) as file:
        for commit in derive(read_history(options.repo), options.clone):
            text = json.dumps(to_row(commit), separators=(",", ":"), ensure_ascii=True)
            file.write(text.encode() + b"\n")
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
