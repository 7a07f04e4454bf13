"""Stories of history: it comes after the verdict, never before it, and misses nothing for long."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from archive import Archive
from office import Office
from standin import running

from ailab_bot.errors import AilabError
from ailab_bot.flows import jobs
from ailab_bot.flows.history import (
    BRANCH,
    FILE,
    LONGEST_S,
    SHORTEST_S,
    expected_s,
)
from ailab_bot.ledger.git_branch import Ledger, append
from ailab_bot.ledger.records import (
    Origin,
    Record,
    place_of,
    record_to_json,
)
from ailab_bot.plan.shards import EXPECTED_S

ROOT = Path(__file__).parents[2]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-03-01T12:00:00Z")
    with running() as github:
        yield Archive(tmp_path, github, scenarios=("eager", "train"))


def past(number: int, scenario: str, seconds: float, **other: object) -> Record:
    """What an earlier measurement found; a greater `number` is a later one."""
    record = Record(
        sha=f"{number:040x}",
        base="b" * 40,
        scenario=scenario,
        run=number,
        attempt=1,
        when=datetime(2026, 2, 1, tzinfo=UTC),
        machine="Testing CPU",
        verdicts=(),
        runner_seconds=seconds,
    )
    return replace(record, **other)  # type: ignore[arg-type]


def test_a_published_change_is_recorded_after_its_status_and_comment(archive: Archive) -> None:
    pull = archive.open_pull()
    run = archive.begin(pull)
    archive.hold = True
    archive.finish(run, slower={"train": 0.2})
    assert archive.gate(pull).state == "failure"
    assert "train" in archive.comment_of(pull)
    assert archive.records() == {}
    posted = archive.github.writes
    (env,) = archive.held
    assert Office.run(archive, jobs.history_job, env) == 0
    assert archive.github.writes == posted, "it only reads from GitHub's API"
    records = archive.records()
    assert set(records) == {(pull.head_sha, name) for name in ("", "eager", "train")}
    change, train = records[pull.head_sha, ""], records[pull.head_sha, "train"]
    assert change.verdicts == ({"conclusion": "failure"},)
    assert [verdict["verdict"] for verdict in train.verdicts] == ["REGRESSION"]
    assert (train.run, train.attempt, train.base) == (run.id, 1, archive.base)
    assert train.origin is Origin.PULL_REQUEST
    assert train.machine == "Testing CPU"
    assert 48 < train.runner_seconds < 60, "24 blocks, a second and 1.2 seconds each"
    both_s = train.runner_seconds + records[pull.head_sha, "eager"].runner_seconds
    assert change.runner_seconds == pytest.approx(both_s, abs=0.01)


def test_the_same_report_delivered_twice_is_one_record(archive: Archive) -> None:
    pull = archive.open_pull()
    archive.measure(pull)
    before = archive.records()
    archive.run_job(archive.github.event("workflow_run", "completed"))
    assert archive.recorded == [0, 0]
    assert archive.records() == before
    assert archive.commits() == 1


def test_a_second_report_that_judges_otherwise_does_not_replace_the_first(
    archive: Archive,
) -> None:
    pull = archive.open_pull()
    archive.measure(pull, slower={"train": 0.2})
    before = archive.records()
    archive.merge_to_main({".ailab/config.yml": "threshold: 0.5\n"})
    archive.run_job(archive.github.event("workflow_run", "completed"))
    assert archive.gate(pull).state == "success"
    assert archive.recorded == [0, 0]
    assert archive.records() == before


def test_two_reports_at_once_are_both_recorded(archive: Archive) -> None:
    archive.hold = True
    pulls = [archive.open_pull(head=name) for name in ("one", "two", "three")]
    for pull in pulls:
        archive.measure(pull)
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "ailab_bot", "history", "--github"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdout=subprocess.DEVNULL,
        )
        for env in archive.held
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert {sha for sha, _ in archive.records()} == {pull.head_sha for pull in pulls}
    assert archive.commits() == 3


def test_history_that_cannot_be_written_blocks_nothing_and_is_made_again(archive: Archive) -> None:
    hook = archive.refuse_pushes()
    pull = archive.open_pull()
    archive.measure(pull)
    assert archive.gate(pull).state == "success"
    assert "No change" in archive.comment_of(pull)
    assert archive.statuses == [0, 0]
    assert (archive.recorded, archive.records()) == ([3], {})
    hook.unlink()
    assert archive.sweep() == 0
    assert archive.recorded == [3], "its own job may still be at work"
    archive.github.wait(21 * 60)
    posted = archive.github.writes
    assert archive.sweep() == 0
    assert archive.recorded == [3, 0]
    assert {scenario for _, scenario in archive.records()} == {"", "eager", "train"}
    assert archive.github.writes == posted, "the verdict is not touched"
    archive.github.wait(30 * 60)
    assert archive.sweep() == 0
    assert archive.recorded == [3, 0], "nothing is missing any more"


def test_what_the_sweeper_makes_again_is_what_the_report_made(archive: Archive) -> None:
    archive.hold = True
    pull = archive.open_pull()
    archive.measure(pull, slower={"eager": 0.1})
    archive.github.wait(21 * 60)
    archive.sweep()
    first, second = ((Path(env["RUNNER_TEMP"]) / "ailab-out" / FILE) for env in archive.held)
    assert json.loads(first.read_text()) == json.loads(second.read_text())


def test_the_job_that_may_write_takes_records_and_nothing_else(archive: Archive) -> None:
    archive.hold = True
    archive.measure(archive.open_pull())
    (env,) = archive.held
    archive.hold = False
    record = json.loads(record_to_json(past(1, "train", 9.0)))
    for members in (
        {FILE: "[1]"},
        {FILE: json.dumps([{**record, "sha": "../../main"}])},
        {FILE: json.dumps([{**record, "scenario": "../x"}])},
        {FILE: json.dumps([record]), ".git/hooks/pre-push": "#!/bin/sh"},
    ):
        with pytest.raises(AilabError):
            archive.follow(env, members)
    assert archive.records() == {}
    archive.follow(env, {FILE: json.dumps([record])})
    assert len(archive.records()) == 1


def test_what_measured_nothing_leaves_no_record(archive: Archive) -> None:
    pull = archive.open_pull()
    run = archive.begin(pull)
    archive.finish(run, "cancelled")
    assert (archive.recorded, archive.records()) == ([], {})


def test_a_repository_may_do_without_history(tmp_path: Path) -> None:
    with running() as github:
        archive = Archive(tmp_path, github, config="github: {history: false}\n")
        archive.remember(past(1, "train", 5000.0))
        pull = archive.open_pull()
        run = archive.begin(pull)
        assert [shard.expected_s for shard in archive.plan(run)] == [EXPECTED_S]
        archive.finish(run)
        github.wait(21 * 60)
        asked = len(github.requests)
        archive.sweep()
        operations = {request.operation for request in github.requests[asked:]}
        assert "actions/list-workflow-run-artifacts" not in operations
        assert archive.gate(pull).state == "success"
        assert archive.recorded == []


def test_shards_are_balanced_by_what_was_measured_and_the_status_says_how_long(
    tmp_path: Path,
) -> None:
    names = ("brief", "quick", "short", "vast")
    config = "github: {runners: {cpu: {labels: [ubuntu-latest], count: 2}}}\n"
    with running() as github:
        archive = Archive(tmp_path, github, scenarios=names, config=config)
        run = archive.begin(archive.open_pull())
        before = [shard.scenarios for shard in archive.plan(run)]
        assert sorted(map(len, before)) == [2, 2]
        archive.finish(run)
        archive.remember(*(past(run.id + n, "vast", 1800.0) for n in range(1, 4)))
        pull = archive.open_pull(head="later")
        run = archive.begin(pull)
        long, rest = archive.plan(run)
        assert (long.scenarios, long.expected_s) == (("vast",), 1800.0)
        assert rest.scenarios == ("brief", "quick", "short")
        assert 3 * 47 < rest.expected_s < 3 * 49, "as their trials in the first run took"
        assert archive.gate(pull).state == "pending"
        assert "on 2 runners, about 30 min" in archive.gate(pull).description.replace("\xa0", " ")


def test_a_hostile_duration_is_clipped_and_one_is_outvoted(archive: Archive) -> None:
    archive.remember(past(1, "eager", 1e18), past(2, "train", 0.0))
    assert archive.expectations("eager", "train") == {"eager": LONGEST_S, "train": SHORTEST_S}
    archive.remember(*(past(number, "eager", 60.0) for number in (3, 4)))
    assert archive.expectations("eager") == {"eager": 60.0}
    run = archive.begin(archive.open_pull())
    assert sum(shard.expected_s for shard in archive.plan(run)) == 60.0 + SHORTEST_S


def test_the_last_ten_runs_count_each_once(archive: Archive) -> None:
    archive.remember(*(past(number, "eager", 1000.0) for number in range(1, 9)))
    archive.remember(*(past(number, "eager", 10.0) for number in range(9, 19)))
    assert archive.expectations("eager") == {"eager": 10.0}, "18 runs, numbers of 1 and 2 digits"
    again = [past(18, "eager", 9000.0, attempt=attempt) for attempt in range(2, 11)]
    archive.remember(*again)
    assert archive.expectations("eager") == {"eager": 10.0}, "one run of ten"


def test_what_is_no_record_is_passed_over_and_never_an_error(archive: Archive) -> None:
    texts = {
        place_of(past(1, "eager", 1.0)): "{}",
        place_of(past(2, "eager", 1.0)): record_to_json(past(2, "eager", 7.0))[:-20],
        ("00", "x", "eager", "nine-1.json"): "{}",
        ("README.md",): "people may write here too",
        place_of(past(3, "eager", 7.0)): record_to_json(past(3, "eager", 7.0)),
    }
    append(Ledger(archive.clone), texts, sleep=lambda _: None, rng=random.Random(1))
    assert archive.expectations("eager", "train") == {"eager": 7.0}
    assert expected_s(archive.origin, "refs/heads/no-such-branch", ["eager"]) == {}
    assert expected_s(archive.origin, None, ["eager"]) == {}
    assert expected_s(archive.folder, f"refs/heads/{BRANCH}", ["eager"]) == {}


def test_sixty_four_scenarios_are_recorded_within_the_budget_of_requests(tmp_path: Path) -> None:
    names = [f"scenario-{number:02}" for number in range(64)]
    pools = "github: {runners: {cpu: {labels: [ubuntu-latest], count: 16}}}\n"
    with running() as github:
        archive = Archive(tmp_path, github, scenarios=names, config=pools)
        archive.measure(archive.open_pull())
        assert archive.recorded == [0]
        assert len(archive.records()) == 65
        assert archive.commits() == 1
        assert len(github.requests) <= 40
