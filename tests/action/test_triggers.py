"""When the shipped workflows do something and whom they end, asked of GitHub's own evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import shipped
from action.runner import Language

GOING_WELL = {"success": True, "failure": False, "cancelled": False, "always": True}


@pytest.fixture(scope="module")
def language() -> Iterator[Language]:
    with Language() as one:
        yield one


@pytest.fixture
def workflows(language: Language) -> dict[str, dict[str, Any]]:
    return {path.stem: language.workflow(path) for path in shipped.EXAMPLES}


def pull_request(action: str, *, run_id: int = 1, changes: dict[str, Any] | None = None) -> Any:
    event = {"action": action, "pull_request": {"number": 7}, "changes": changes or {}}
    return {"github": {"event": event, "run_id": run_id, "run_attempt": 1}}


RETARGET = {"base": {"ref": {"from": "old"}, "sha": {"from": "0" * 40}}}


@pytest.mark.parametrize(
    ("action", "changes", "plans"),
    [
        ("opened", None, True),
        ("synchronize", None, True),
        ("reopened", None, True),
        ("edited", {"title": {"from": "x"}}, False),
        ("edited", {"body": {"from": "x"}}, False),
        ("edited", RETARGET, True),
        ("edited", RETARGET | {"title": {"from": "x"}}, True),
    ],
)
def test_of_the_edits_of_a_pull_request_only_a_new_base_is_measured(
    language: Language,
    workflows: dict[str, dict[str, Any]],
    action: str,
    changes: dict[str, Any] | None,
    plans: bool,
) -> None:
    job = workflows["ailab-measure"]["jobs"]["plan"]
    assert language.holds(job["if"], pull_request(action, changes=changes), GOING_WELL) is plans


@pytest.mark.parametrize(
    ("name", "action", "changes", "guards"),
    [
        ("pull_request_target", "opened", None, True),
        ("pull_request_target", "reopened", None, True),
        ("pull_request_target", "synchronize", None, True),
        ("pull_request_target", "edited", {"title": {"from": "x"}}, False),
        ("pull_request_target", "edited", RETARGET, True),
        ("workflow_run", "completed", None, False),
        ("workflow_run", "in_progress", None, False),
    ],
)
def test_the_default_branchs_code_guards_what_comes_to_a_commit(
    language: Language,
    workflows: dict[str, dict[str, Any]],
    name: str,
    action: str,
    changes: dict[str, Any] | None,
    guards: bool,
) -> None:
    report = workflows["ailab-report"]
    about = pull_request(action, changes=changes)
    about["github"]["event_name"] = name
    assert language.holds(report["jobs"]["guard"]["if"], about, GOING_WELL) is guards
    heard = set(report["on"]["pull_request_target"]["types"])
    assert heard == {"opened", "synchronize", "reopened", "edited"}
    if name == "pull_request_target":
        others = (report["jobs"][job]["if"] for job in ("gate", "publish"))
        assert not any(language.holds(condition, about, GOING_WELL) for condition in others)


def test_a_newer_push_or_base_ends_the_older_measurement_and_an_edited_title_does_not(
    language: Language, workflows: dict[str, dict[str, Any]]
) -> None:
    concurrency = workflows["ailab-measure"]["concurrency"]
    assert concurrency["cancel-in-progress"] is True

    def group(*words: Any, **named: Any) -> str:
        return language.text(concurrency["group"], pull_request(*words, **named))

    measuring = group("opened", run_id=1)
    assert measuring == group("synchronize", run_id=2)
    assert measuring == group("edited", run_id=3, changes=RETARGET)
    title = {"title": {"from": "x"}}
    assert measuring != group("edited", run_id=4, changes=title)
    assert group("edited", run_id=4, changes=title) != group("edited", run_id=5, changes=title)


@pytest.mark.parametrize("name", ["ailab-measure", "ailab-merge-queue", "ailab-release"])
@pytest.mark.parametrize(
    ("matrix", "status", "measures"),
    [
        ('[{"index": 0}]', GOING_WELL, True),
        ("[]", GOING_WELL, False),
        ("", GOING_WELL | {"success": False, "failure": True}, False),
    ],
)
def test_nothing_is_measured_when_the_plan_is_empty_or_failed(
    language: Language,
    workflows: dict[str, dict[str, Any]],
    name: str,
    matrix: str,
    status: dict[str, bool],
    measures: bool,
) -> None:
    job = workflows[name]["jobs"]["measure"]
    contexts = {"needs": {"plan": {"outputs": {"matrix": matrix}, "result": "success"}}}
    assert language.holds(job["if"], contexts, status) is measures


@pytest.mark.parametrize(
    ("action", "conclusion", "starts"),
    [
        ("in_progress", None, {"gate"}),
        ("completed", "success", {"publish"}),
        ("completed", "failure", {"publish"}),
        ("completed", "cancelled", {"publish"}),
        ("completed", "timed_out", {"publish"}),
        ("completed", "skipped", {"publish"}),  # a pending status may be left of a run before
    ],
)
def test_whatever_way_a_measurement_ends_it_is_reported(
    language: Language,
    workflows: dict[str, dict[str, Any]],
    action: str,
    conclusion: str | None,
    starts: set[str],
) -> None:
    event = {"action": action, "workflow_run": {"conclusion": conclusion}}
    needs = {"publish": {"outputs": {"records": ""}}}
    contexts = {"github": {"event": event}, "needs": needs}
    jobs = workflows["ailab-report"]["jobs"]
    started = {
        name for name, job in jobs.items() if language.holds(job["if"], contexts, GOING_WELL)
    }
    assert started == starts


@pytest.mark.parametrize(
    ("name", "before"), [("ailab-report", "publish"), ("ailab-sweep", "sweep")]
)
@pytest.mark.parametrize(("records", "writes"), [("/tmp/ailab-records.json", True), ("", False)])
def test_history_is_written_where_the_job_before_has_made_records(
    language: Language,
    workflows: dict[str, dict[str, Any]],
    name: str,
    before: str,
    records: str,
    writes: bool,
) -> None:
    job = workflows[name]["jobs"]["history"]
    contexts = {"needs": {before: {"outputs": {"records": records}}}}
    assert language.holds(job["if"], contexts, GOING_WELL) is writes
    assert job["permissions"] == {"actions": "read", "contents": "write"}


def test_reports_listen_to_the_measuring_workflows_by_their_true_names(
    workflows: dict[str, dict[str, Any]],
) -> None:
    listened = workflows["ailab-report"]["on"]["workflow_run"]["workflows"]
    assert listened == [
        workflows["ailab-measure"]["name"],
        workflows["ailab-merge-queue"]["name"],
    ]


@pytest.mark.parametrize("name", ["ailab-report", "ailab-command", "ailab-sweep"])
def test_no_run_of_the_trusted_half_can_be_dropped_for_another(
    language: Language, workflows: dict[str, dict[str, Any]], name: str
) -> None:
    concurrency = workflows[name]["concurrency"]
    assert concurrency["cancel-in-progress"] is False
    groups = {
        language.text(
            concurrency["group"],
            {"github": {"run_id": run, "run_attempt": attempt, "event": {"action": "completed"}}},
        )
        for run in (1, 2)
        for attempt in (1, 2)
    }
    assert len(groups) == 4


@pytest.mark.parametrize(
    ("issue", "body", "obeys"),
    [
        ({"pull_request": {"url": "x"}}, "/ailab rerun", True),
        ({"pull_request": {"url": "x"}}, "Thank you!", False),
        ({}, "/ailab rerun", False),
    ],
)
def test_only_a_comment_on_a_pull_request_that_names_the_bot_starts_a_machine(
    language: Language,
    workflows: dict[str, dict[str, Any]],
    issue: dict[str, Any],
    body: str,
    obeys: bool,
) -> None:
    contexts = {"github": {"event": {"issue": issue, "comment": {"body": body}}}}
    job = workflows["ailab-command"]["jobs"]["command"]
    assert language.holds(job["if"], contexts, GOING_WELL) is obeys


@pytest.mark.parametrize(
    ("measured", "reports"), [("success", True), ("failure", True), ("cancelled", False)]
)
def test_a_release_is_reported_also_when_shards_failed(
    language: Language, workflows: dict[str, dict[str, Any]], measured: str, reports: bool
) -> None:
    status = {
        "success": measured == "success",
        "failure": measured == "failure",
        "cancelled": measured == "cancelled",
        "always": True,
    }
    contexts = {"needs": {"plan": {"outputs": {"matrix": '[{"index": 0}]'}}}}
    job = workflows["ailab-release"]["jobs"]["report"]
    assert language.holds(job["if"], contexts, status) is reports
