"""What is no pull request goes through the shipped workflow files: queue, schedules, releases."""

from __future__ import annotations

from conftest import Founded
from promised import PROMISED
from repositories import git
from sources import CONFIG
from test_shipped_pull_request import CLEAN, FAILING, MEASURE, REPORT, report_of

from ailab_bot.flows.history import BRANCH
from ailab_bot.flows.ledger import VIEWS
from ailab_bot.ledger.records import record_from_json
from ailab_bot.model.footprintwire import footprint_from_json

QUEUE, RELEASE, SWEEP = "AI Lab merge queue", "AI Lab release", "AI Lab sweep"


def test_the_merge_queue_is_let_through_on_what_the_pull_request_was_measured_by(
    found: Founded,
) -> None:
    works = found("eager")
    pull = works.open_pull(CLEAN)
    assert works.gate(pull).state == "success", works.log
    group = works.queue(pull)
    (run,) = works.all_of(QUEUE)
    assert run.job("plan").outputs["matrix"] == "[]"
    assert run.job("measure").conclusion == "skipped"
    assert group.head_sha != pull.head_sha
    assert works.gates(group.head_sha) == ["success"], works.log


def test_a_queue_that_measures_anew_finds_what_merging_broke(found: Founded) -> None:
    works = found("eager", config=CONFIG + "github: {merge_queue: measure}\n")
    works.lose.add(("pull_request", "opened"))
    pull = works.open_pull(FAILING)
    group = works.queue(pull)
    (run,) = works.all_of(QUEUE)
    assert run.job("measure/0").conclusion == "success", works.log
    assert works.gates(group.head_sha) == ["pending", "failure"], works.log
    assert works.github.bot_comments(pull) == [], "the queue's head is no pull request"


def test_the_sweep_ends_what_is_stale_and_leaves_what_is_alive(found: Founded) -> None:
    works = found("eager")
    works.lose.add(("workflow_run", "completed"))
    lost_report = works.open_pull(FAILING)
    run = works.measurement()
    works.lose = {("pull_request", "opened")}
    dead, alive = (works.open_pull({"readme.txt": f"{n}\n"}) for n in range(2))
    runs = [works.github.start_run(pull) for pull in (dead, alive)]
    works.deliver()
    for pull in (lost_report, dead, alive):
        assert works.gates(pull.head_sha) == ["pending"], works.log

    works.later(run, hours=1)
    works.later(runs[0], hours=27)
    works.timer("ailab-sweep.yml")
    (swept,) = works.all_of(SWEEP)
    assert swept.conclusion == "success", works.log
    assert works.gate(lost_report).state == "failure", "the report that was lost, from its trials"
    as_publish = {**PROMISED[REPORT, "publish"], "issues": "write"}
    assert swept.job("sweep").permissions == as_publish, "it takes its place, and sees to incidents"
    assert works.gate(dead).state == "error"
    assert works.gate(alive).state == "pending"


def test_a_push_to_a_release_branch_is_measured_against_the_commit_before(found: Founded) -> None:
    works = found("eager")
    git(works.origin, "branch", "release/1.0")
    works.push("main", CLEAN)
    assert works.ran == [], "pushes to other branches are no release"

    (sha,) = works.push("release/1.0", FAILING)
    (run,) = works.all_of(RELEASE)
    assert run.conclusion == "success", works.log
    status = works.github.status(sha, "ailab/release")
    assert status is not None, works.log
    assert status.state == "failure"
    assert works.gates(sha) == [], "the gate is the pull requests'"
    report = run.job("report")
    outputs = report.step("Decide from the raw trials and report").outputs
    assert outputs["conclusion"] == "failure"
    assert report_of(run)["conclusion"] == "failure"
    assert "eager" in report.summary
    assert works.all_of(REPORT) == works.all_of(MEASURE) == []


def test_a_release_records_what_its_scenarios_touch_and_keeps_history_quick_to_read(
    found: Founded,
) -> None:
    works = found("eager")
    git(works.origin, "branch", "release/1.0")
    (sha,) = works.push("release/1.0", CLEAN)
    (run,) = works.all_of(RELEASE)
    assert run.job("measure/0").conclusion == "success", works.log
    assert run.job("history").conclusion == "success", works.log
    assert run.job("history").permissions == PROMISED[RELEASE, "history"]
    assert run.job("report").permissions == PROMISED[RELEASE, "report"]
    names = git(works.origin, "ls-tree", "-r", "--name-only", BRANCH).split()
    kinds = sorted(name.split("/")[1] for name in names if name.startswith("records/"))
    assert kinds == ["footprint", "plan", "verdict", "verdict"]
    assert {name.split("/")[1] for name in names if name.startswith("view/")} == set(VIEWS)
    (place,) = (name for name in names if name.startswith("records/footprint/"))
    record = record_from_json(git(works.origin, "show", f"{BRANCH}:{place}"), place)
    footprint = footprint_from_json(record.body["footprint"])
    assert (footprint.scenario, footprint.sha) == ("eager", sha)
    assert footprint.files
    assert footprint.unseen == ()


def test_a_night_without_an_older_commit_measures_nothing(found: Founded) -> None:
    works = found("eager")
    works.timer("ailab-release.yml")
    (run,) = works.all_of(RELEASE)
    assert run.job("plan").conclusion == "success", works.log
    assert run.job("measure").conclusion == run.job("report").conclusion == "skipped"
    assert works.all_of(SWEEP) == [], "each schedule starts its own workflow"
    assert works.github.all_statuses == []
