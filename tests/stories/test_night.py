"""Stories of a protected branch: measured at night against the day before; no pull request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hub.state import Artifact, Run, Status
from office import Office, matrix
from repositories import git
from standin import RELEASE, running

from ailab_bot.flows import jobs
from ailab_bot.gh.actions import artifact_name

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """It is 9 o'clock in the stand-in: one commit is older than a day, and three are not.

    One of those is older than a day three hours later, and all are two days later.
    """

    def at(hour: int) -> None:
        for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            monkeypatch.setenv(name, f"2026-03-01T{hour:02}:00:00Z")

    with running() as github:
        at(8)
        made = Office(tmp_path, github)
        for hour in (10, 15, 20):
            at(hour)
            made.merge_to_main({"train.py": f"import os  # {hour}\n"})
        yield made


def night(office: Office, run: Run, slower: float = 0.0) -> Status:
    """Plan, measure, and three hours later the report: one run of the release workflow."""
    clone = office.folder / f"night-{run.attempt}"
    git(office.folder, "clone", "--quiet", office.origin.as_uri(), str(clone))
    planning = office.timer(run, clone)
    assert office.run(jobs.plan_job, planning) == 0
    (shard,) = matrix(planning)
    head = office.github.base_sha
    assert (shard.base, shard.head) == (office.base, head)
    office.github.wait(3 * 3600)
    parcel = office.parcel(shard, {"train": slower})
    run.artifacts.append(
        Artifact(run.id + run.attempt, artifact_name(run.attempt, 0), parcel, run.attempt, NOON)
    )
    assert office.run(jobs.report_job, office.timer(run, clone)) == 0
    office.github.finish_run(run)
    office.lose_reports()
    status = office.github.status(head, "ailab/release")
    assert status is not None
    return status


def test_plan_and_report_agree_on_what_was_there_a_day_before(office: Office) -> None:
    office.github.timer()
    run = office.github.start_run(None, workflow=RELEASE, branch="main")
    assert night(office, run, slower=0.3).state == "failure"
    office.github.wait(2 * 86_400)
    office.github.press_rerun(run)
    office.github.begin(run)
    assert night(office, run).state == "success"
    assert office.github.status(office.github.base_sha, "ailab/gate") is None, "a pull request's"
