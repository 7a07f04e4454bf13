"""`ailab incident` in a clone: what is open, and one incident with its times."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.cli import main
from ailab_bot.flows.history import BRANCH, write_history
from ailab_bot.ledger.git_branch import Ledger
from ailab_bot.ledger.records import Kind, Origin, Record
from ailab_bot.model.incident import Blame, Moved, Step, What
from ailab_bot.model.incidentwire import steps_to_body

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPEN, CLOSED = "0123456789ab", "ba9876543210"
BAD = "b" * 40


def steps_of(name: str) -> list[Step]:
    moved = (Moved("train", "ttfb_s", 0.182),)
    found = [Step(name, What.DETECTED, NOON, sha=BAD, branch="release/1", baseline="a" * 40,
                  good="a" * 40, moved=moved)]  # fmt: skip
    blame = Blame(BAD, "Record \x1b[31m metadata", "Somebody", probability=0.994)
    later = NOON + timedelta(hours=3)
    found.append(Step(name, What.ATTRIBUTED, later, sha=BAD, moved=moved, blame=blame))
    if name == CLOSED:
        found.append(Step(name, What.ACCEPTED, NOON + timedelta(days=1), by="bob"))
    return found


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    origin = new_repository(tmp_path / "origin")
    commit(origin, {"a.txt": "a\n"})
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", origin.as_uri(), str(folder))
    records = [
        Record(
            BAD,
            "",
            f"_{name}",
            number,
            1,
            NOON,
            origin=Origin.RELEASE,
            kind=Kind.INCIDENT,
            body=steps_to_body(name, steps_of(name)),
        )
        for number, name in enumerate((OPEN, CLOSED))
    ]
    write_history(Ledger(folder), records, sleep=lambda _: None, rng=random.Random(1))
    git(folder, "fetch", "--quiet", "origin", f"{BRANCH}:refs/remotes/origin/{BRANCH}")
    return folder


def test_the_open_ones_are_listed_and_the_closed_counted(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["incident", "--repo", str(clone)]) == 0
    said = capsys.readouterr().out
    assert OPEN in said
    assert "+18.2\N{NO-BREAK SPACE}%" in said
    assert CLOSED not in said
    assert "1 closed" in said


def test_one_is_shown_with_its_times_by_the_beginning_of_its_id(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["incident", CLOSED[:4], "--repo", str(clone)]) == 0
    said = capsys.readouterr().out
    assert "closed" in said
    assert "2026-03-02 15:00 UTC  attributed" in said
    assert "\x1b[31m metadata" not in said, "a subject colours nobody's terminal"


def test_other_programs_get_the_same_as_json(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["incident", "--all", "--repo", str(clone), "--json", "-", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    states = {each["id"]: each["state"] for each in document["incidents"]}
    assert states == {OPEN: "attributed", CLOSED: "closed"}
    assert document["incidents"][0]["times"]["detected"] == NOON.isoformat()


def test_an_unknown_one_says_how_to_look(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incident", "ffff", "--repo", str(clone)]) == 2
    assert "ailab incident --all" in capsys.readouterr().err


def test_a_clone_without_a_ledger_says_how_to_fetch_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = new_repository(tmp_path / "bare")
    commit(origin, {"a.txt": "a\n"})
    git(tmp_path, "clone", "--quiet", origin.as_uri(), str(tmp_path / "other"))
    assert main(["incident", "--repo", str(tmp_path / "other")]) == 2
    assert f"git fetch origin {BRANCH}" in capsys.readouterr().err
