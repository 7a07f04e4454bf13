"""Stories of selection: a night records what scenarios touch, and pull requests are measured with
those alone that they could move. The job that plans and the job that decides are two."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hub.state import Artifact, Run
from office import matrix
from repositories import git
from standin import RELEASE, running
from test_recording import Archive

from ailab_bot.errors import UserError
from ailab_bot.flows import jobs
from ailab_bot.flows.history import BRANCH
from ailab_bot.gh.actions import artifact_name
from ailab_bot.ledger.records import Kind, Origin, Record, record_from_json
from ailab_bot.model.footprint import Executed, Footprint, Use

NIGHT = datetime(2026, 3, 1, 9, tzinfo=UTC)
TRAIN = "import os\n\n\ndef unused():\n    return 1\n\n\nprint(os.name)\n"


def footprint(scenario: str, *paths: str) -> Footprint:
    return Footprint(
        scenario,
        "",
        "3.12.1",
        files={path: frozenset({Use.IMPORTED}) for path in paths},
        search=("",),
        modules=frozenset({"os", *(path.removesuffix(".py") for path in paths)}),
        functions={path: {"<module>": Executed(1, 0.9)} for path in paths},
    )


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Two scenarios, `train` runs train.py and `eager` eager.py; a night has recorded both."""

    def at(hour: int) -> None:
        for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            monkeypatch.setenv(name, f"2026-03-01T{hour:02}:00:00Z")

    with running() as github:
        at(7)
        made = Archive(tmp_path, github, scenarios=("eager", "train"))
        at(8)
        made.merge_to_main({"train.py": TRAIN, "eager.py": TRAIN, "README.md": "Read me\n"})
        made.touched = {
            "train": footprint("train", "train.py"),
            "eager": footprint("eager", "eager.py"),
        }
        at(9)
        night(made)
        github.wait(3600)
        yield made


def night(office: Archive) -> Run:
    """One run of the release workflow, recorded in the ledger."""
    office.github.open_pull("nobody", head="first", sha=office.base)  # GitHub has seen an event
    office.github.timer()
    run = office.github.start_run(None, workflow=RELEASE, branch="main")
    clone = office.folder / f"night-{run.id}"
    git(office.folder, "clone", "--quiet", office.origin.as_uri(), str(clone))
    planning = office.timer(run, clone)
    assert office.run(jobs.plan_job, planning) == 0
    for shard in matrix(planning):
        parcel = office.parcel(shard, {})
        name = artifact_name(run.attempt, shard.index)
        run.artifacts.append(Artifact(run.id + shard.index, name, parcel, run.attempt, NIGHT))
    assert office.run(jobs.report_job, office.timer(run, clone)) == 0
    office.github.finish_run(run)
    office.lose_reports()
    assert office.recorded == [0]
    return run


def kinds(office: Archive) -> dict[tuple[str, str], Origin]:
    found = {}
    for name in git(office.origin, "ls-tree", "-r", "--name-only", BRANCH).split():
        record = record_from_json(git(office.origin, "show", f"{BRANCH}:{name}"), name)
        found[record.kind.value, record.scenario] = record.origin
    return found


def kinds_of(office: Archive, sha: str) -> dict[tuple[Kind, str], Record]:
    """What is recorded of a commit, by kind and scenario."""
    own = {}
    for name in git(office.origin, "ls-tree", "-r", "--name-only", BRANCH).split():
        if sha in name:
            record = record_from_json(git(office.origin, "show", f"{BRANCH}:{name}"), name)
            own[record.kind, record.scenario] = record
    return own


def measured(office: Archive, run: Run) -> set[str]:
    return {name for shard in office.plan(run) for name in shard.scenarios}


def test_a_night_leaves_footprints_verdicts_and_its_plan(archive: Archive) -> None:
    assert kinds(archive) == dict.fromkeys(
        [
            ("footprint", "eager"),
            ("footprint", "train"),
            ("plan", ""),
            ("verdict", ""),
            ("verdict", "eager"),
            ("verdict", "train"),
        ],
        Origin.RELEASE,
    )


def test_only_the_scenario_that_the_change_touches_is_measured(archive: Archive) -> None:
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    run = archive.begin(pull)
    assert measured(archive, run) == {"train"}
    archive.finish(run)
    assert archive.gate(pull).state == "success"
    comment = archive.comment_of(pull)
    assert "1 of 2 scenarios measured; 1 cannot be moved by this change." in comment
    assert "touches nothing it used" in comment


def test_a_regression_there_still_fails(archive: Archive) -> None:
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    archive.measure(pull, slower={"train": 0.2})
    assert archive.gate(pull).state == "failure"


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "Read it\n"},
        {"train.py": "# What it does\n" + TRAIN},
        {"train.py": TRAIN.replace("return 1", "return 2")},
    ],
    ids=["documentation", "a comment", "a function that never ran"],
)
def test_a_change_that_moves_nothing_measures_nothing_and_passes(
    archive: Archive, files: dict[str, str]
) -> None:
    pull = archive.open_pull(files)
    run = archive.begin(pull)
    assert measured(archive, run) == set()
    archive.finish(run)
    assert archive.gate(pull).state == "success"
    said = "No scenario can be moved by this change: nothing to measure"
    assert archive.gate(pull).description == said


def test_the_plan_of_a_change_that_moves_nothing_is_recorded_and_nothing_else(
    archive: Archive,
) -> None:
    pull = archive.open_pull({"README.md": "Read it\n"})
    run = archive.measure(pull)
    ((kind, plan),) = kinds_of(archive, pull.head_sha).items()
    assert kind == (Kind.PLAN, "")
    assert (plan.run, plan.attempt, plan.origin) == (run.id, 1, Origin.PULL_REQUEST)
    assert (plan.body["choices"], plan.body["left"]) == ([], {"proved": 2})


@pytest.mark.parametrize("path", ["setup.py", "os.py", "Dockerfile"])
def test_what_could_move_both_measures_both(archive: Archive, path: str) -> None:
    pull = archive.open_pull({path: "x = 1\n"})
    run = archive.begin(pull)
    assert measured(archive, run) == {"eager", "train"}
    archive.finish(run)
    assert archive.gate(pull).state == "success"


def test_a_scenario_without_a_footprint_is_measured(archive: Archive) -> None:
    scenario = "id: fresh\ncommand: [python, fresh.py]\n"
    archive.merge_to_main({".ailab/scenarios/fresh.yml": scenario, "fresh.py": "x = 1\n"})
    pull = archive.open_pull({"README.md": "Read it\n"})
    run = archive.begin(pull)
    assert measured(archive, run) == {"fresh"}
    archive.finish(run)
    assert archive.gate(pull).state == "success"


def test_a_scenario_that_was_defined_anew_is_measured_until_the_next_night(
    archive: Archive,
) -> None:
    other = "id: train\ncommand: [python, train.py, --fast]\n"
    archive.merge_to_main({".ailab/scenarios/train.yml": other})
    pull = archive.open_pull({"README.md": "Read it\n"})
    assert measured(archive, archive.begin(pull)) == {"train"}


def test_what_main_did_since_the_night_makes_a_proof_too_old(archive: Archive) -> None:
    archive.merge_to_main({"train.py": TRAIN + "import json\n"})
    pull = archive.open_pull({"README.md": "Read it\n"})
    assert measured(archive, archive.begin(pull)) == {"train"}


def test_a_ledger_that_grows_meanwhile_changes_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reporting job plans again an hour later, when another night says something else."""
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    run = archive.begin(pull)
    shards = archive.plan(run)
    archive.touched = {name: footprint(name, "README.md") for name in ("eager", "train")}
    archive.recorded.clear()
    archive.github.wait(1800)
    later = archive.github.now.isoformat()
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, later)
    night(archive)
    archive.github.finish_run(
        run,
        artifacts={artifact_name(1, shard.index): archive.parcel(shard, {}) for shard in shards},
    )
    archive.deliver()
    assert archive.gate(pull).state == "success"
    assert "1 of 2 scenarios measured" in archive.comment_of(pull)


def test_what_was_left_out_is_measured_when_somebody_asks(archive: Archive) -> None:
    archive.github.user("maria", "write")
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    run = archive.measure(pull)
    archive.say(pull, "maria", "/ailab run eager")
    archive.again(run)
    assert archive.gate(pull).state == "success"
    assert "2 of 2 scenarios measured" in archive.comment_of(pull)


def test_a_pull_request_leaves_a_plan_and_verdicts_and_no_footprint(archive: Archive) -> None:
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    archive.measure(pull)
    own = kinds_of(archive, pull.head_sha)
    assert set(own) == {(Kind.PLAN, ""), (Kind.VERDICT, ""), (Kind.VERDICT, "train")}
    assert {record.origin for record in own.values()} == {Origin.PULL_REQUEST}
    (choice,) = own[Kind.PLAN, ""].body["choices"]
    assert (choice["scenario"], choice["taken"], choice["propensity"]) == ("train", True, 1.0)
    assert choice["paths"] == ["train.py"]


def test_switched_off_everything_is_measured(archive: Archive) -> None:
    archive.merge_to_main({".ailab/config.yml": "selection: {footprints: false}\n"})
    pull = archive.open_pull({"README.md": "Read it\n"})
    run = archive.begin(pull)
    assert measured(archive, run) == {"eager", "train"}
    archive.finish(run)
    assert archive.gate(pull).state == "success"


def test_under_a_capacity_the_likeliest_are_measured_and_the_reason_is_told(
    archive: Archive,
) -> None:
    archive.merge_to_main(
        {".ailab/config.yml": "capacity_s: 60\nselection: {smoke: [train], explore: 0}\n"}
    )
    pull = archive.open_pull({"Dockerfile": "FROM python\n"})
    run = archive.begin(pull)
    assert measured(archive, run) == {"train"}
    archive.finish(run)
    assert archive.gate(pull).state == "success"
    assert "1 was left for capacity" in archive.comment_of(pull)


def test_a_scenario_without_runners_does_not_refuse_a_change_that_moves_nothing(
    archive: Archive,
) -> None:
    gpu = "id: big\ncommand: [python, big.py]\nrunner: gpu\n"
    archive.merge_to_main({".ailab/scenarios/big.yml": gpu})
    pull = archive.open_pull({"README.md": "Read it\n"})
    archive.measure(pull)
    assert archive.gate(pull).state == "success"


def test_a_footprint_of_a_commit_that_is_on_no_branch_any_more_counts_in_both_jobs(
    archive: Archive,
) -> None:
    """A release's branch is deleted after it; the server still has its commit."""
    before = git(archive.origin, "rev-parse", "main~1")
    archive.github.base_sha = before
    git(archive.origin, "update-ref", "refs/heads/main", before)
    git(archive.origin, "reset", "--quiet", "--hard")
    archive.merge_to_main({"train.py": TRAIN, "eager.py": TRAIN, "README.md": "Read me\n"})
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    run = archive.begin(pull)
    assert measured(archive, run) == {"train"}
    archive.finish(run)
    assert archive.gate(pull).state == "success"
    assert "1 of 2 scenarios measured" in archive.comment_of(pull)


def test_a_smoke_scenario_that_there_is_none_is_an_error_of_the_base(archive: Archive) -> None:
    archive.merge_to_main({".ailab/config.yml": "selection: {smoke: [trian]}\n"})
    pull = archive.open_pull({"train.py": TRAIN + "print(2)\n"})
    run = archive.github.start_run(pull)
    archive.github.finish_run(run, "failure")
    with pytest.raises(UserError, match="trian"):
        archive.deliver()
    assert archive.gate(pull).state == "error"
    assert "trian" in archive.gate(pull).description
