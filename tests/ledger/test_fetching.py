"""What a job brings in of a large ledger: the view and what came since, as of its run's time."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import fetched, git_store
from ledgers import NOW, counting, record
from repositories import git

from ailab_bot.flows.history import DURATIONS, build_durations, expected_s
from ailab_bot.ledger import fetching
from ailab_bot.ledger.fetching import fetch_ledger
from ailab_bot.ledger.places import LedgerError
from ailab_bot.ledger.reading import SETTLED, list_since, read_all, read_entries, read_view
from ailab_bot.ledger.records import Kind, Skip
from ailab_bot.ledger.scratch import Ledger
from ailab_bot.ledger.store import GitStore

VIEWS = {DURATIONS: build_durations, "count": counting}


def test_the_view_and_what_came_since_are_there_and_nothing_else(
    clone: Path, tmp_path: Path
) -> None:
    git_store(clone).append([record(n, days=n) for n in range(1, 100)])
    git_store(clone).compact(NOW, VIEWS)
    git_store(clone).append([record(200), record(201)])
    before = {p: p.read_bytes() for p in (clone / ".git").rglob("*") if p.is_file()}
    found = fetch_ledger(Ledger(clone), tmp_path / "own", [DURATIONS], (Kind.VERDICT,))
    assert {p: p.read_bytes() for p in (clone / ".git").rglob("*") if p.is_file()} == before
    assert found is not None
    folder, tip = found
    assert tip == fetched(clone)
    assert expected_s(folder, tip, ["eager"]) == expected_s(clone, tip, ["eager"])
    skipped: Counter[str] = Counter()
    since = list_since(folder, tip, DURATIONS)
    assert [each.run for _, each in read_entries(folder, since.entries, skipped)] == [200, 201]
    assert skipped == {}
    assert read_view(folder, tip, "count") is None, "nobody asked for it"
    list(read_all(folder, tip, skipped))
    assert set(skipped) == {Skip.MISSING}, "neither older records nor archives"


@pytest.mark.parametrize("filters", ["true", "false"])
def test_two_jobs_of_one_run_bring_in_the_same(
    clone: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: str
) -> None:
    git(remote, "config", "uploadpack.allowFilter", filters)
    monkeypatch.setattr(fetching, "_DEPTHS", (3, 6, 24))
    tips = []
    store = GitStore(Ledger(clone), None, lambda _: None, random.Random(1))
    for minute in range(14):
        monkeypatch.setenv("GIT_COMMITTER_DATE", (NOW + timedelta(minutes=minute)).isoformat())
        store.append([record(minute + 1)])
        tips.append(git(remote, "rev-parse", "ailab-ledger"))
    monkeypatch.undo()
    for minute in (0, 5, 12, 13):
        found = fetch_ledger(
            Ledger(clone), tmp_path / str(minute), [DURATIONS],
            when=NOW + timedelta(minutes=minute, seconds=30) + SETTLED,
        )  # fmt: skip
        assert found is not None
        assert found[1] == tips[minute]
        since = list_since(found[0], found[1], DURATIONS)
        assert len(list(read_entries(found[0], since.entries, Counter()))) == minute + 1
    early = fetch_ledger(Ledger(clone), tmp_path / "early", [DURATIONS], when=NOW)
    assert early is None


def test_where_there_is_no_ledger_there_is_nothing_and_no_remote_is_an_error(
    clone: Path, tmp_path: Path
) -> None:
    assert fetch_ledger(Ledger(clone), tmp_path / "own", [DURATIONS]) is None
    git(clone, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
    with pytest.raises(LedgerError):
        fetch_ledger(Ledger(clone), tmp_path / "other", [DURATIONS])
