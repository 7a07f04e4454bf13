"""Number 17 of the nineteen: sixteen concurrent writers of history keep sixteen records.

Real git, real processes, a real bare repository. And what else holds for history: it never
touches the user's work and never forces.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.errors import UserError
from ailab_bot.ledger.git_branch import (
    MOST_FAULTS,
    MOST_TRIES,
    Ledger,
    LedgerError,
    RecordConflictError,
    append,
)
from ailab_bot.ledger.records import Record, place_of, record_from_json, record_to_json

WRITERS = 16


class Waits:
    """A sleep that takes no time and remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(folder))
    source = new_repository(tmp_path / "source")
    commit(source, {"a.txt": "one"}, "First")
    git(source, "push", "--quiet", str(folder), "main")
    return folder


@pytest.fixture
def clone(remote: Path) -> Path:
    return new_clone(remote, "clone")


def new_clone(remote: Path, name: str) -> Path:
    folder = remote.parent / name
    git(remote.parent, "clone", "--quiet", "--depth=1", f"file://{remote}", str(folder))
    return folder


def write(ledger: Ledger, records: dict[tuple[str, ...], str], waits: Waits | None = None) -> bool:
    return append(ledger, records, sleep=waits or Waits(), rng=random.Random(1))


def files(remote: Path, branch: str = "ailab-ledger") -> dict[str, str]:
    paths = git(remote, "ls-tree", "-r", "--name-only", branch).split()
    return {path: git(remote, "cat-file", "blob", f"{branch}:{path}") for path in paths}


def commits(remote: Path) -> int:
    return int(git(remote, "rev-list", "--count", "ailab-ledger"))


WRITER = """
import random, sys, time
from pathlib import Path
from ailab_bot.ledger.git_branch import Ledger, append
clone, number, start = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
time.sleep(max(0.0, start - time.time()))
place = ("ab", "scenario", number + "-1.json")
written = append(Ledger(clone), {place: number}, sleep=time.sleep, rng=random.Random())
sys.exit(0 if written else 9)
"""


@pytest.mark.parametrize("together", [False, True], ids=["own clones", "one clone"])
def test_sixteen_concurrent_writers_keep_sixteen_records(remote: Path, together: bool) -> None:
    clones = [new_clone(remote, f"clone-{n}") for n in range(1 if together else WRITERS)]
    start = time.time() + 3  # all have loaded Python by then
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, clones[number % len(clones)], str(number), str(start)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
        )
        for number in range(WRITERS)
    ]
    errors = [writer.communicate(timeout=300)[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, errors
    expected = {f"ab/scenario/{number}-1.json": str(number) for number in range(WRITERS)}
    assert files(remote) == expected
    assert commits(remote) == WRITERS, "one on top of the other, none rewritten"
    assert not git(remote, "rev-list", "--merges", "ailab-ledger")


def test_the_branch_is_made_where_it_is_missing_and_has_no_other_files(
    clone: Path, remote: Path
) -> None:
    assert write(Ledger(clone), {("ab", "x.json"): "one\n"})
    assert files(remote) == {"ab/x.json": "one"}
    assert commits(remote) == 1
    assert not git(remote, "log", "-1", "--format=%P", "ailab-ledger"), "an orphan"


def test_the_same_record_again_is_nothing_and_another_one_is_an_error(
    clone: Path, remote: Path
) -> None:
    ledger = Ledger(clone)
    assert write(ledger, {("ab", "x.json"): "one"})
    assert not write(ledger, {("ab", "x.json"): "one"})
    assert commits(remote) == 1
    with pytest.raises(RecordConflictError, match=r"another ab/x\.json") as caught:
        write(ledger, {("ab", "y.json"): "new", ("ab", "x.json"): "two"})
    assert caught.value.place == ("ab", "x.json")
    assert files(remote) == {"ab/x.json": "one"}, "nothing of it was pushed"
    assert write(ledger, {("ab", "x.json"): "one", ("ab", "y.json"): "new"})
    assert files(remote) == {"ab/x.json": "one", "ab/y.json": "new"}


def test_the_users_work_is_not_touched(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "a.txt").write_text("edited")
    (clone / "b.txt").write_text("staged")
    git(clone, "add", "b.txt")
    hook = clone / ".git" / "hooks" / "pre-push"
    hook.write_text(f"#!/bin/sh\ntouch {clone}/hook-ran\nexit 1\n")
    hook.chmod(0o755)
    index = clone / ".git" / "index"
    before = index.read_bytes()
    seen = (git(clone, "status", "--porcelain"), git(clone, "for-each-ref"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert write(Ledger(clone), {("ab", "x.json"): "one"})
    monkeypatch.undo()
    assert index.read_bytes() == before
    assert (git(clone, "status", "--porcelain"), git(clone, "for-each-ref")) == seen
    assert not (clone / "hook-ran").exists()
    assert not (clone / ".git" / "FETCH_HEAD").exists()


def lose_races(remote: Path, times: int) -> None:
    """The remote's next pushes find that another writer was faster."""
    hook = remote / "hooks" / "update"
    hook.write_text(
        f"#!/bin/sh\nn=$(cat {remote}/lost 2>/dev/null || echo 0)\n"
        f"[ $n -ge {times} ] && exit 0\necho $((n + 1)) > {remote}/lost\n"
        "echo 'cannot lock ref' >&2\nexit 1\n"
    )
    hook.chmod(0o755)


def test_a_lost_race_is_run_again_with_jitter(clone: Path, remote: Path) -> None:
    lose_races(remote, 3)
    waits = Waits()
    assert write(Ledger(clone), {("ab", "x.json"): "one"}, waits)
    assert len(waits.seconds) == 3
    assert len(set(waits.seconds)) == 3
    assert all(0 <= seconds <= 3 for seconds in waits.seconds)


def test_races_are_given_up_at_last(clone: Path, remote: Path) -> None:
    lose_races(remote, 1000)
    waits = Waits()
    with pytest.raises(LedgerError, match="could not be written") as caught:
        write(Ledger(clone), {("ab", "x.json"): "one"}, waits)
    assert len(waits.seconds) == MOST_TRIES - 1
    assert "faster 30 times" in caught.value.why


def test_a_remote_that_refuses_is_soon_given_up(clone: Path, remote: Path) -> None:
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'this branch is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    waits = Waits()
    with pytest.raises(LedgerError) as caught:
        write(Ledger(clone), {("ab", "x.json"): "one"}, waits)
    assert "this branch is protected" in caught.value.why
    assert len(waits.seconds) == MOST_FAULTS - 1


@pytest.mark.parametrize(
    "place",
    [(), ("",), ("..", "x"), (".git", "x"), ("a/b",), ("-x",), ("a\n",), ("a" * 101,), ("a.",)],
    ids=repr,
)
def test_a_record_lies_where_its_name_says_and_nowhere_else(
    place: tuple[str, ...], clone: Path
) -> None:
    with pytest.raises(UserError, match="not a record's name"):
        write(Ledger(clone), {place: "x"})


RECORD = Record(
    sha="0f" * 20,
    base="1e" * 20,
    scenario="训练",
    run=123456789012,
    attempt=2,
    when=datetime(2026, 1, 31, 12, 0, tzinfo=UTC),
    machine="runner-1",
    verdicts=({"metric": "ttfb_s", "verdict": "REGRESSION", "interval": [0.1, 0.2]},),
    runner_seconds=12.5,
)


def test_a_record_is_written_and_read_back() -> None:
    text = record_to_json(RECORD)
    assert record_from_json(text, "x") == RECORD
    assert record_to_json(record_from_json(text, "x")) == text
    assert place_of(RECORD) == (
        *("records", "verdict", "2026", "01-31", "0f" * 20, "训练.123456789012-2.json"),
    )
    torn = replace(RECORD, verdicts=({"reason": "\ud800"},))
    assert record_from_json(record_to_json(torn), "x").verdicts == ({"reason": "?"},)


def test_a_record_of_the_change_has_a_place_that_no_scenario_can_take(
    clone: Path, remote: Path
) -> None:
    change = replace(RECORD, scenario="")
    assert place_of(change)[-1] == "_change.123456789012-2.json"
    assert write(Ledger(clone), {place_of(each): record_to_json(each) for each in (RECORD, change)})
    assert commits(remote) == 1


BAD = {
    "sha": "abc",
    "base": None,
    "scenario": 3,
    "run": -1,
    "attempt": True,
    "when": "2026-01-31T12:00:00",
    "verdicts": [1],
    "runner_seconds": "1",
    "schema": 2,
    "origin": "baseline",
    "extra": 1,
}


@pytest.mark.parametrize("key", BAD)
def test_a_record_that_is_none_is_refused_with_its_reason(key: str) -> None:
    row = {**json.loads(record_to_json(RECORD)), key: BAD[key]}
    with pytest.raises(UserError, match="ab/x: not a record of history") as caught:
        record_from_json(json.dumps(row), "ab/x")
    assert key in caught.value.why
