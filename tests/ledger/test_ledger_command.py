"""`ailab ledger` and the scheduled job: what they do, and what they tell."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from conftest import fetched, git_store, new_clone
from ledgers import NOW, everything, other_kind, record
from repositories import commit, git, new_repository

from ailab_bot.cli import main
from ailab_bot.errors import UserError
from ailab_bot.flows.hosted import Clock
from ailab_bot.flows.ledger import VIEWS, LedgerRequest, Told, compact_job, run_ledger
from ailab_bot.ledger.git_branch import append
from ailab_bot.ledger.records import Kind, place_of

CLOCK = Clock(now=lambda: NOW, sleep=lambda _: None)


def run(clone: Path, action: str, environ: dict[str, str] | None = None, **other: object) -> Told:
    request = replace(LedgerRequest(action, clone), **other)  # type: ignore[arg-type]
    told = run_ledger(request, environ or {}, NOW)
    json.dumps(told.document)
    return told


def filled(clone: Path) -> None:
    git_store(clone).append([record(1, days=100), record(2), other_kind(Kind.PLAN, 3)])
    fetched(clone)


def test_show_counts_and_says_what_is_not_there_yet(clone: Path) -> None:
    filled(clone)
    told = run(clone, "show")
    assert told.lines[0].split() == ["2", "verdict"]
    assert told.lines[6] == "3 loose, the others in 0 archives"
    assert "view durations-1: not made yet: `ailab ledger compact`" in told.lines
    run(clone, "compact")
    fetched(clone)
    told = run(clone, "show")
    assert told.lines[6] == "2 loose, the others in 1 archives"
    assert "view durations-1: made 2026-06-01 12:00 UTC" in told.lines
    assert run(clone, "show").document["counts"] == {
        "verdict": 2, "plan": 1, "footprint": 0, "feedback": 0, "incident": 0, "model": 0
    }  # fmt: skip


def test_what_is_passed_over_is_said(clone: Path) -> None:
    filled(clone)
    append(git_store(clone).ledger, {place_of(record(9)): "{}"}, sleep=print, rng=random.Random())
    fetched(clone)
    assert run(clone, "show").warning == "1 records were passed over: 1 damaged"


def test_compact_says_what_it_did_and_that_there_was_nothing_to_do(clone: Path) -> None:
    filled(clone)
    assert run(clone, "compact").lines == (
        "1 records moved into 1 archives; views made anew: " + ", ".join(VIEWS),
    )
    assert run(clone, "compact").lines == ("There was nothing to compact.",)


def test_export_says_how_many_rows_are_where(clone: Path, tmp_path: Path) -> None:
    filled(clone)
    out = tmp_path / "v.parquet"
    told = run(clone, "export", target=out, kinds=(Kind.VERDICT,), since=date(2026, 5, 1))
    assert told.document == {"files": {str(out): 1}, "skipped": {}}
    assert told.lines == (f"        1 rows  {out}",)


def test_a_ledger_goes_to_a_database_and_back(
    clone: Path, database_url: str, tmp_path: Path
) -> None:
    filled(clone)
    environ = {"HERE": database_url}
    assert run(clone, "copy", environ, to="HERE").lines == (
        "3 records copied; 0 were there already",
    )
    assert run(clone, "copy", environ, to="HERE").document["known"] == 3
    assert run(clone, "show", environ, database="HERE").document["where"] == "HERE"
    assert run(clone, "compact", environ, database="HERE").document["views"] == [*VIEWS]
    empty = tmp_path / "empty.git"
    git(tmp_path, "init", "--quiet", "--bare", str(empty))
    git(clone, "remote", "set-url", "origin", str(empty))
    git(clone, "update-ref", "-d", "refs/remotes/origin/ailab-ledger")
    assert run(clone, "copy", environ, database="HERE").document["written"] == 3
    git(clone, "fetch", "--quiet", "origin", "+ailab-ledger:refs/remotes/origin/ailab-ledger")
    assert run(clone, "copy", environ, database="HERE").document["known"] == 3


@pytest.mark.parametrize(
    ("action", "other", "word"),
    [
        ("show", {"target": Path("tables")}, "`tables`"),
        ("show", {"form": "csv"}, "--format"),
        ("show", {"kinds": (Kind.PLAN,)}, "--kind"),
        ("compact", {"since": date(2026, 1, 1)}, "--since"),
        ("copy", {"target": Path("tables")}, "`tables`"),
        ("export", {"to": "URL"}, "--to"),
        ("show", {"hosted": True}, "--github"),
        ("compact", {"hosted": True, "database": "URL"}, "--database"),
    ],
)
def test_what_an_action_would_not_heed_is_refused(
    clone: Path, action: str, other: dict[str, object], word: str
) -> None:
    filled(clone)
    with pytest.raises(UserError, match="does not take") as caught:
        run(clone, action, **other)
    assert word in caught.value.what


def test_a_workflow_that_asks_for_another_action_than_compact_does_not_compact(
    clone: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(clone)
    before = git(remote, "rev-parse", "ailab-ledger")
    monkeypatch.setattr("sys.stderr", None)
    assert main(["ledger", "show", "--github", "--repo", str(clone)]) == 2
    assert git(remote, "rev-parse", "ailab-ledger") == before


@pytest.mark.parametrize("action", ["show", "compact"])
def test_a_repository_without_an_origin_is_the_users_to_mend(tmp_path: Path, action: str) -> None:
    alone = new_repository(tmp_path / "alone")
    commit(alone, {"a.txt": "one"}, "First")
    with pytest.raises(UserError, match="has no remote `origin`") as caught:
        run(alone, action)
    assert "git remote add origin" in caught.value.advice
    assert "sweeper" not in caught.value.advice


def test_a_branch_of_that_name_that_is_no_ledger_is_not_shown_as_an_empty_one(
    clone: Path,
) -> None:
    git(clone, "update-ref", "refs/remotes/origin/ailab-ledger", "HEAD")
    for action in ("show", "export"):
        with pytest.raises(UserError, match="origin/ailab-ledger is no ledger"):
            run(clone, action)


@pytest.mark.parametrize("other", [{}, {"database": "A", "to": "B"}])
def test_copy_needs_to_know_where(clone: Path, other: dict[str, str]) -> None:
    with pytest.raises(UserError, match="copy needs one database"):
        run(clone, "copy", **other)


def test_the_scheduled_job_compacts_with_the_clone_and_rights_that_it_has(
    clone: Path, remote: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(clone)
    environ = {
        "GITHUB_EVENT_NAME": "schedule", "GITHUB_EVENT_PATH": str(tmp_path / "event"),
        "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_WORKSPACE": str(new_clone(remote, "workspace")), "RUNNER_TEMP": str(tmp_path),
        "AILAB_TOKEN": "t0ken",
    }  # fmt: skip
    assert compact_job(environ, CLOCK) == 0
    assert "1 records moved into 1 archives" in capsys.readouterr().out
    assert git_store(clone).view("durations-1")
    assert compact_job(environ, CLOCK) == 0
    assert "nothing to compact" in capsys.readouterr().out
    assert len(everything(git_store(clone))) == 3
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    later = Clock(now=lambda: NOW + timedelta(days=90), sleep=lambda _: None)
    assert compact_job(environ, later) == 3
    said = capsys.readouterr().out
    assert "::warning title=Ledger::" in said
    assert "protected" in said
    assert "t0ken" not in said
    assert len(list(git_store(clone).read(Counter()))) == 3
