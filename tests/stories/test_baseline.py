"""Stories of a release branch: what it is compared with, and what is lost and measured again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from archive import Archive
from hub.state import Run, Status
from office import matrix
from repositories import git
from standin import RELEASE, running

from ailab_bot.flows import jobs
from ailab_bot.flows.history import BRANCH
from ailab_bot.flows.ledger import compact_job
from ailab_bot.flows.releases import Release, read_releases
from ailab_bot.gh.actions import artifact_name
from ailab_bot.model.shard import Shard
from ailab_bot.model.verdict import Conclusion

DAY_S = 24 * 3600.0
TWO_RUNNERS = "github: {runners: {cpu: {labels: [ubuntu-latest], count: 2}}}\n"
WITH_GPU = """\
github:
  runners:
    cpu: {labels: [ubuntu-latest], count: 1}
    gpu: {labels: [self-hosted, gpu], count: 1}
  hosted: [self-hosted, gpu]
"""


@dataclass
class Branch(Archive):
    """An office whose release branch is main. `clock`: sets what time git believes it is."""

    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)

    def set_clock(self) -> None:
        for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            self.patch.setenv(name, self.github.now.isoformat())

    def change(self, message: str = "On main") -> str:
        """A commit on main, an hour after whatever came before."""
        self.github.wait(3600)
        self.set_clock()
        self.github.base_sha = self.commit("main", {"train.py": f"import os  # {message}\n"})
        return self.github.base_sha

    def tag(self, name: str, sha: str, *more: str) -> None:
        self.set_clock()
        git(self.origin, "tag", *more, name, sha)

    def start(self) -> tuple[Run, Path, list[Shard]]:
        """A night an hour later, up to its plan."""
        self.github.wait(3600)
        self.set_clock()
        if not self.github.events:
            self.github.open_pull("nobody", head="first", sha=self.base)  # GitHub has seen one
        self.github.timer()
        run = self.github.start_run(None, workflow=RELEASE, branch="main")
        clone = self.folder / f"night-{run.id}"
        git(self.folder, "clone", "--quiet", self.origin.as_uri(), str(clone))
        return run, clone, self.planned(run, clone)

    def planned(self, run: Run, clone: Path) -> list[Shard]:
        planning = self.timer(run, clone)
        assert self.run(jobs.plan_job, planning) == 0
        return matrix(planning)

    def end(
        self,
        run: Run,
        clone: Path,
        shards: Collection[Shard],
        moved: Mapping[str, float] | None = None,
        lose: Collection[int] = (),
    ) -> Status:
        """The shards' artifacts, then the report, an hour later, in a clone of its own time."""
        self.github.wait(3600)
        self.set_clock()
        git(clone, "fetch", "--quiet", "--tags", "origin")
        parcels = {
            artifact_name(run.attempt, shard.index): self.parcel(shard, moved or {})
            for shard in shards
            if shard.index not in lose
        }
        self.github.finish_run(run, "failure" if lose else "success", artifacts=parcels)
        assert self.run(jobs.report_job, self.timer(run, clone)) == 0, self.said
        self.lose_reports()
        status = self.github.status(run.head_sha, "ailab/release")
        assert status is not None
        return status

    def night(self, moved: Mapping[str, float] | None = None) -> tuple[str, Status]:
        """A whole night: the commit that it compared with, and its status."""
        run, clone, shards = self.start()
        (base,) = {shard.base for shard in shards}
        return base, self.end(run, clone, shards, moved)

    def releases(self) -> tuple[Release, ...]:
        return read_releases(self.origin, git(self.origin, "rev-parse", BRANCH))


@pytest.fixture
def branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Branch]:
    yield from opened(tmp_path, monkeypatch)


def opened(folder: Path, patch: pytest.MonkeyPatch, **how: object) -> Iterator[Branch]:
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        patch.setenv(name, "2026-02-20T12:00:00Z")
    with running() as github:
        yield Branch(folder, github, patch=patch, **how)  # type: ignore[arg-type]


def test_without_a_release_each_night_is_compared_with_where_the_nights_began(
    branch: Branch,
) -> None:
    branch.change("first")
    begun, _ = branch.night()
    assert begun == branch.base, "what was there a day before"
    for number in range(3):
        branch.github.wait(DAY_S)
        branch.change(f"later {number}")
        assert branch.night()[0] == begun


def test_a_release_is_what_the_nights_after_it_are_compared_with(branch: Branch) -> None:
    released = branch.change("release")
    branch.tag("v1.0", released)
    branch.tag("nightly-1", branch.change("no release"))
    branch.change("later")
    base, status = branch.night()
    assert base == released
    assert "v1.0" in (status.description or "")


def test_a_release_that_failed_its_own_measurement_is_none(branch: Branch) -> None:
    good = branch.change("good")
    branch.tag("v1.0", good)
    bad = branch.change("bad")
    assert branch.night({"train": 0.3})[1].state == "failure"
    branch.tag("v1.1", bad)
    branch.change("later")
    assert branch.night()[0] == good


def test_an_improvement_becomes_what_is_compared_with(branch: Branch) -> None:
    branch.tag("v1.0", branch.base)
    faster = branch.change("faster")
    assert branch.night({"train": -0.25})[1].state == "success"
    assert branch.releases()[-1].improved
    branch.change("later")
    assert branch.night()[0] == faster


def test_a_newer_release_wins_over_an_older_improvement(branch: Branch) -> None:
    branch.tag("v1.0", branch.base)
    branch.change("faster")
    branch.night({"train": -0.25})
    newer = branch.change("newer")
    branch.tag("v1.1", newer, "--annotate", "--message=v1.1")
    branch.change("later")
    assert branch.night()[0] == newer


def test_what_is_tagged_while_a_night_goes_on_changes_nothing_of_it(branch: Branch) -> None:
    released = branch.change("release")
    branch.tag("v1.0", released)
    middle = branch.change("middle")
    branch.change("head")
    run, clone, shards = branch.start()
    assert {shard.base for shard in shards} == {released}
    branch.github.wait(600)
    branch.tag("v1.1", middle, "--annotate", "--message=v1.1")
    status = branch.end(run, clone, shards)
    assert "v1.1" in git(clone, "tag"), "the report's checkout has it"
    assert status.state == "success"
    branch.github.wait(DAY_S)
    branch.change("later")
    assert branch.night()[0] == middle


def test_a_push_is_compared_with_the_last_release_too(branch: Branch) -> None:
    branch.tag("v1.0", branch.base)
    before = branch.change("one")
    head = branch.change("two")
    branch.github.push_branch("release/1", head, before)
    event = branch.github.events[-1]
    run = branch.github.start_run(None, workflow=RELEASE, branch="release/1")
    clone = branch.folder / "pushed"
    git(branch.folder, "clone", "--quiet", branch.origin.as_uri(), str(clone))
    planning = branch._environment(event, "push", clone, run)
    assert branch.run(jobs.plan_job, planning) == 0
    assert {shard.base for shard in matrix(planning)} == {branch.base}


def test_the_view_of_releases_says_what_the_loose_records_say(branch: Branch) -> None:
    branch.tag("v1.0", branch.base)
    branch.change("one")
    branch.night()
    loose = branch.releases()
    clone = branch.folder / "compacting"
    git(branch.folder, "clone", "--quiet", branch.origin.as_uri(), str(clone))
    assert branch.run(compact_job, branch.timer(workspace=clone)) == 0
    assert "view/releases-1/data" in git(branch.origin, "ls-tree", "-r", "--name-only", BRANCH)
    assert branch.releases() == loose
    assert loose[-1].conclusion is Conclusion.SUCCESS
    branch.change("two")
    base, _ = branch.night()
    assert base == branch.base
    assert len(branch.releases()) == 2


# --- what is lost ------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Branch]:
    """Two scenarios, each with a runner of its own."""
    yield from opened(tmp_path, monkeypatch, scenarios=("eager", "train"), config=TWO_RUNNERS)


def test_a_lost_shard_is_measured_again_and_the_other_is_not(two: Branch) -> None:
    two.tag("v1.0", two.base)
    two.change("one")
    run, clone, shards = two.start()
    assert [shard.scenarios for shard in shards] == [("eager",), ("train",)]
    assert two.end(run, clone, shards, lose=[1]).state == "error"
    assert two.sweep() == 0
    assert (run.status, run.attempt, run.failed_only) == ("queued", 2, True)
    two.github.begin(run)
    assert two.planned(run, clone) == shards, "though GitHub does not even ask"
    assert two.end(run, clone, [shards[1]]).state == "success"
    assert {each.attempt for each in two.releases()} == {2}
    assert {each.scenario for each in two.releases()[-1].results} == {"eager", "train"}


def test_what_is_lost_twice_stays_lost_and_is_said(two: Branch) -> None:
    two.tag("v1.0", two.base)
    two.change("one")
    run, clone, shards = two.start()
    two.end(run, clone, shards, lose=[1])
    two.sweep()
    two.github.begin(run)
    assert two.end(run, clone, [shards[1]], lose=[1]).state == "error"
    two.sweep()
    assert (run.status, run.attempt) == ("completed", 2)


def test_only_the_newest_run_of_a_branch_is_started_again(two: Branch) -> None:
    two.tag("v1.0", two.base)
    two.change("one")
    old, clone, shards = two.start()
    two.end(old, clone, shards, lose=[0])
    two.change("two")
    new, clone, shards = two.start()
    two.sweep()
    assert old.attempt == 1, "the newer one measures all that the old one would"
    two.end(new, clone, shards)
    two.sweep()
    assert (old.attempt, new.attempt) == (1, 1)


def test_what_was_lost_yesterday_is_left_to_the_next_night(two: Branch) -> None:
    two.tag("v1.0", two.base)
    two.change("one")
    run, clone, shards = two.start()
    two.end(run, clone, shards, lose=[0])
    two.github.wait(DAY_S)
    two.sweep()
    assert run.attempt == 1


# --- which scenarios ---------------------------------------------------------------------------


def test_a_gpu_scenario_is_measured_for_a_release_and_not_for_a_pull_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for branch in opened(tmp_path, monkeypatch, config=WITH_GPU):
        gpu = "id: big\ncommand: [python, train.py]\nrunner: gpu\n"
        branch.github.base_sha = branch.commit("main", {".ailab/scenarios/big.yml": gpu})
        branch.tag("v1.0", branch.github.base_sha)
        branch.change("one")
        _, _, shards = branch.start()
        assert {shard.labels: shard.scenarios for shard in shards} == {
            ("ubuntu-latest",): ("train",),
            ("self-hosted", "gpu"): ("big",),
        }
        run = branch.begin(branch.open_pull())
        assert {name for shard in branch.plan(run) for name in shard.scenarios} == {"train"}
        summary = json.dumps((branch.folder / f"plan-{branch.plans}" / "summary.md").read_text())
        assert "big" in summary
