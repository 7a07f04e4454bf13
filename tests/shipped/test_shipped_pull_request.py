"""A pull request goes through the shipped workflow files, from its opening to its status."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from action.runner import Fault, RunResult
from conftest import Founded
from repositories import git
from sources import BROKEN, PATIENT, script

MEASURE, REPORT = "AI Lab measure", "AI Lab report"
WAIT = "time.sleep(0.6)\n"
CLEAN = {"readme.txt": "More words\n"}
FAILING = {"eager.py": BROKEN}


def report_of(run: RunResult) -> dict[str, object]:
    """The machine-readable report that a run has uploaded."""
    with zipfile.ZipFile(io.BytesIO(run.artifacts["ailab-report"])) as archive:
        (name,) = archive.namelist()
        assert name == "ailab-report.json"
        read: dict[str, object] = json.loads(archive.read(name))
        return read


def test_a_regression_among_clean_scenarios_fails_the_gate_until_a_maintainer_accepts_it(
    found: Founded,
) -> None:
    works = found("eager", "quiet", "steady", config=PATIENT)
    # Slower by much more than what else a busy machine does to a trial.
    slower = {"eager.py": script(0.05, "import warehouse"), "warehouse.py": "import time\n" + WAIT}
    pull = works.open_pull(slower)

    assert works.gates(pull.head_sha) == ["pending", "failure"], works.log
    assert "eager" in (works.gate(pull).description or "")
    (measured,) = works.all_of(MEASURE)
    assert measured.group == f"ailab-measure-{pull.number}-code"
    assert measured.cancel_in_progress
    shards = measured.of("measure")
    assert [shard.conclusion for shard in shards] == ["success"] * 3
    assert {shard.runs_on for shard in shards} == {("ubuntu-latest",)}
    assert "eager" in measured.job("plan").summary
    trials = works.measurement().artifacts
    assert [artifact.name for artifact in trials] == [
        f"ailab-trials-1-{index}" for index in range(3)
    ]
    with zipfile.ZipFile(io.BytesIO(trials[0].data)) as archive:
        assert sorted(archive.namelist()) == ["shard.json", "trials.jsonl"]

    comment = works.github.bot_comment(pull)
    assert "### 🔴 Slower to first batch: `eager`" in comment.body
    assert "`quiet`" in comment.body
    assert "now imports **`warehouse`**" in comment.body
    publish = works.job(REPORT, "publish")
    outputs = publish.step("Decide from the raw trials and publish").outputs
    assert outputs["conclusion"] == "failure"
    assert outputs["comment-url"].endswith(f"/{pull.number}#issuecomment-{comment.id}")
    written = json.loads(Path(outputs["report-path"]).read_text(encoding="utf-8"))
    report = report_of(works.all_of(REPORT)[-1])
    assert report == written
    assert report["conclusion"] == "failure"
    assert "eager" in publish.summary

    (check,) = works.github.checks
    (remark,) = check.annotations
    assert (check.sha, remark["path"], remark["start_line"]) == (pull.head_sha, "eager.py", 2)

    assert works.job(REPORT, "history").conclusion == "success", works.log
    recorded = git(works.origin, "ls-tree", "-r", "--name-only", "ailab-ledger").splitlines()
    assert any(pull.head_sha in path and "eager" in path for path in recorded)

    works.github.user("mallory", "read")
    works.github.user("carol", "write")
    line = f"/ailab accept {pull.head_sha} the warehouse is needed from now on"
    refused = works.say(pull, "mallory", line)
    assert [what for _, what in refused.reactions] == ["confused"], works.log
    assert works.gate(pull).state == "failure"
    obeyed = works.say(pull, "carol", line)
    assert [what for _, what in obeyed.reactions] == ["rocket"], works.log
    assert works.gate(pull).state == "success"
    assert "carol" in comment.body, "the same comment, edited in place"


def test_an_edited_title_measures_nothing_and_leaves_what_was_found(found: Founded) -> None:
    works = found("eager")
    pull = works.open_pull(FAILING)
    said = works.github.bot_comment(pull).body
    assert works.gate(pull).state == "failure", works.log

    works.github.edit(pull, "A better title")
    works.deliver()
    first, second = works.all_of(MEASURE)
    assert second.conclusion == "skipped"
    assert second.group not in {"", first.group}, "it would end the measurement of the code"
    assert works.gate(pull).state == "failure", works.log
    assert works.github.bot_comment(pull).body == said


def test_a_lost_runner_costs_its_scenario_and_gets_one_more_try_by_itself(found: Founded) -> None:
    works = found("eager", "steady")
    works.faults = {1: [Fault("crash", "measure/0", "Keep the trials")]}
    pull = works.open_pull(CLEAN)

    first, second = works.all_of(MEASURE)
    assert [job.conclusion for job in first.of("measure")] == ["failure", "success"]
    assert (second.attempt, second.conclusion) == (2, "success"), works.log
    assert second.job("measure/1") is first.job("measure/1"), "it was fine and is not run again"
    names = [artifact.name for artifact in works.measurement().artifacts]
    assert names == ["ailab-trials-1-1", "ailab-trials-2-0"]
    gates = works.gates(pull.head_sha)
    assert set(gates[:-1]) == {"pending"}, "nothing final before the second try"
    assert gates[-1] == "success", works.log
    said = works.github.bot_comment(pull).body
    assert "`eager`" in said
    assert "`steady`" in said


def test_a_runner_lost_twice_is_an_error_that_says_how_to_go_on(found: Founded) -> None:
    works = found("eager")
    works.faults = {n: [Fault("crash", "measure/0", "Measure")] for n in (1, 2)}
    pull = works.open_pull(FAILING)
    assert [run.attempt for run in works.all_of(MEASURE)] == [1, 2], "and no third try"
    assert works.gate(pull).state == "error", works.log
    assert "success" not in works.gates(pull.head_sha)
    assert "/ailab rerun" in works.github.bot_comment(pull).body


def test_a_cancelled_measurement_keeps_what_it_has_and_ends_as_an_error(found: Founded) -> None:
    works = found("eager")
    # Longer than the bot needs to begin, and with enough trials to outlast it.
    works.faults = {1: [Fault("cancel", "measure/0", "Measure", after_s=8)]}
    pull = works.open_pull({"eager.py": script(2.5)})
    (run,) = works.all_of(MEASURE)
    measure = run.job("measure/0")
    assert run.conclusion == "cancelled", works.log
    assert measure.step("Keep the trials").outcome == "success"
    assert works.gate(pull).state == "error"
    assert "cancel" in (works.gate(pull).description or "").lower()
    with zipfile.ZipFile(io.BytesIO(run.artifacts["ailab-trials-1-0"])) as archive:
        assert json.loads(archive.read("shard.json"))["interrupted"] is True, measure.log
