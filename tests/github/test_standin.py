"""The stand-in itself: it notices what GitHub's description does not know, and what breaks it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub import published
from hub.state import sha_of
from standin import StandIn, running

from ailab_bot.gh.actions import read_surroundings
from ailab_bot.gh.event import TimerEvent, parse_event

ROOT = "/repos/acme/models"
SHA = sha_of("any")
GOOD = {"Accept": "application/vnd.github+json"}


def send(
    github: StandIn, verb: str, path: str, body: object = None, **headers: str
) -> httpx.Response:
    usual = {"Authorization": f"Bearer {github.token}", **GOOD}
    return httpx.request(verb, github.server.url + path, json=body, headers={**usual, **headers})


@pytest.mark.parametrize(
    ("verb", "path", "body", "named"),
    [
        ("GET", f"{ROOT}/labels", None, "not in GitHub's description"),
        ("DELETE", f"{ROOT}/pulls/1", None, "not in GitHub's description"),
        ("GET", f"{ROOT}/pulls/one", None, "path parameter pull_number"),
        ("GET", f"{ROOT}/pulls?heads=x", None, "query parameter heads"),
        ("GET", f"{ROOT}/pulls?state=opened", None, "query parameter state"),
        ("GET", f"{ROOT}/pulls?per_page=101", None, "per_page"),
        ("GET", f"{ROOT}/pulls?page=x", None, "query parameter page"),
        ("POST", f"{ROOT}/statuses/{SHA}", {"state": "success", "url": "x"}, "body.url"),
        ("POST", f"{ROOT}/actions/runs/1/cancel", {}, "the description knows none"),
    ],
)
def test_a_request_that_github_does_not_describe_is_a_violation(
    verb: str, path: str, body: object, named: str
) -> None:
    with pytest.raises(AssertionError, match=named), running() as github:
        send(github, verb, path, body)


def test_a_request_for_another_media_type_is_a_violation(github: StandIn) -> None:
    send(github, "GET", f"{ROOT}/pulls", Accept="application/vnd.github.v3.diff")
    (violation,) = github.violations
    assert "accept" in violation
    github.violations.clear()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/statuses/{SHA}", {"state": "success", "description": "x" * 141, "context": "c"}),
        (f"/statuses/{SHA}", {"state": "success", "description": "🚀", "context": "c"}),
        (f"/statuses/{SHA}", {"state": "fine", "context": "c"}),
        (f"/statuses/{SHA}", {"state": "success", "context": ""}),
        (f"/statuses/{SHA}", {"context": "c"}),
        ("/issues/1/comments", {"body": "x" * 65_537}),
        ("/issues/1/comments", {"body": ""}),
        ("/issues/1/comments", {}),
        ("/issues/comments/9007/reactions", {"content": "thumbs"}),
        ("/issues", {"body": "b"}),
        ("/issues", {"title": " "}),
        ("/issues", {"title": "x" * 257}),
        ("/issues", {"title": "t", "body": "x" * 65_537}),
        ("/issues", {"title": "t", "labels": ["x" * 51]}),
        ("/issues", {"title": "t", "assignees": ["nobody"]}),
        ("/actions/workflows/ailab-bisect.yml/dispatches", {"inputs": {}}),
        ("/check-runs", {"head_sha": SHA, "name": "n", "status": "completed"}),
        (
            "/check-runs",
            {
                "head_sha": SHA,
                "name": "n",
                "output": {
                    "title": "t",
                    "summary": "s",
                    "annotations": [
                        {
                            "path": "a",
                            "start_line": 1,
                            "end_line": 1,
                            "annotation_level": "notice",
                            "message": "m",
                        }
                    ]
                    * 51,
                },
            },
        ),
    ],
)
def test_a_body_beyond_githubs_limits_is_refused(
    github: StandIn, path: str, body: dict[str, Any]
) -> None:
    pull = github.open_pull()
    assert github.comment(pull, "bob", "hello").id == 9007
    answer = send(github, "POST", ROOT + path, body)
    assert answer.status_code == 422, answer.text
    assert github.checks == github.all_statuses == github.bot_comments(pull) == []
    assert (github.issues, github.dispatches) == ({}, [])


def test_bodies_at_the_limits_are_accepted(github: StandIn) -> None:
    github.open_pull()
    status = {"state": "success", "context": "c", "target_url": None}
    for description in ("x" * 140, "\uffff" * 140, "", None):
        body = {**status, "description": description}
        assert send(github, "POST", f"{ROOT}/statuses/{SHA}", body).status_code == 201
    comment = {"body": "x" * 65_536}
    assert send(github, "POST", f"{ROOT}/issues/1/comments", comment).status_code == 201


def test_an_answer_of_ours_that_github_would_not_give_is_a_violation() -> None:
    """Each required key of each published answer, left out once."""
    tried = 0
    for operation in published.operations().values():
        example = operation.example()
        item = example[0] if isinstance(example, list) else example
        schema = operation.answer_schema(200) or operation.answer_schema(201)
        if not item or not schema:
            continue
        schema = schema.get("allOf", [schema])[0]
        named = published.resolve(published.resolve(schema.get("items", schema)))
        for key in named["required"]:
            less = copy.deepcopy(item)
            del less[key]
            answer = [less] if isinstance(example, list) else less
            status = 200 if operation.answer_schema(200) else 201
            assert published.answer_faults(operation, status, answer), (operation.id, key)
            tried += 1
    assert tried > 150


def test_only_a_known_token_may_ask_and_only_some_may_write(github: StandIn) -> None:
    pull = github.open_pull()
    path = f"{ROOT}/pulls/{pull.number}"
    assert send(github, "GET", path, Authorization="").status_code == 401
    assert send(github, "GET", path, Authorization="Bearer nonsense").status_code == 401
    reader = f"Bearer {github.read_token}"
    assert send(github, "GET", path, Authorization=reader).status_code == 200
    body = {"state": "success", "context": "c"}
    refused = send(github, "POST", f"{ROOT}/statuses/{SHA}", body, Authorization=reader)
    assert (refused.status_code, github.all_statuses) == (403, [])
    assert refused.json()["message"] == "Resource not accessible by integration"


def test_a_store_reports_a_token_that_reaches_it(github: StandIn) -> None:
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"a": b"zip"})
    place = f"{github.server.blob_url}/{run.artifacts[0].id}?sig=signed"
    assert httpx.get(place).content == b"zip"
    assert httpx.get(place.replace("signed", "forged")).status_code == 404
    assert github.violations == []
    assert httpx.get(place, headers={"Authorization": "Bearer x"}).status_code == 403
    assert len(github.violations) == 1
    github.violations.clear()


def test_what_the_bot_writes_starts_no_workflow(github: StandIn) -> None:
    """GitHub sends no events for what GITHUB_TOKEN does, but for reruns and dispatches."""
    github.open_pull()
    before = len(github.events)
    send(github, "POST", f"{ROOT}/issues/1/comments", {"body": "/ailab rerun"})
    send(github, "POST", f"{ROOT}/statuses/{SHA}", {"state": "success", "context": "c"})
    send(github, "POST", f"{ROOT}/issues", {"title": "Slower"})
    send(github, "PATCH", f"{ROOT}/issues/2", {"state": "closed"})
    assert (len(github.events), github.writes) == (before, 4)


def test_what_the_bot_starts_by_the_api_is_a_run_of_its_own(github: StandIn) -> None:
    """GitHub's other exception, besides reruns."""
    github.push_branch("release/1", SHA)
    path = f"{ROOT}/actions/workflows/ailab-bisect.yml/dispatches"
    body = {"ref": "release/1", "inputs": {"incident": "0123456789ab"}}
    assert send(github, "POST", path, body).status_code == 204
    event = github.events[-1]
    assert (event.name, github.payload_of(event)["inputs"]) == ("workflow_dispatch", body["inputs"])
    (started,) = github.dispatches
    assert (started.run.head_sha, started.run.status, started.run.actor) == (
        SHA,
        "queued",
        github.bot,
    )
    assert isinstance(parse_event(event.name, github.payload_of(event)), TimerEvent)


def test_events_are_as_they_were_and_carry_what_we_do_not_read(github: StandIn) -> None:
    pull = github.open_pull("alice")
    opened = github.events[-1]
    first = pull.head_sha
    github.push(pull)
    payload = github.payload_of(opened)
    assert payload["pull_request"]["head"]["sha"] == first
    assert payload["repository"]["full_name"] == "acme/models"
    assert {"_links", "merge_commit_sha", "author_association"} <= payload["pull_request"].keys()


def test_a_jobs_environment_is_all_that_a_command_reads(github: StandIn, tmp_path: Path) -> None:
    run = github.start_run(github.open_pull())
    github.finish_run(run)
    github.press_rerun(run)
    around = read_surroundings(github.environment(github.events[-1], tmp_path, run=run))
    assert (around.run_id, around.attempt) == (run.id, 2)
    assert around.event() == parse_event("workflow_run", github.payload_of(github.events[-1]))
    assert around.temp.is_dir()


def test_the_published_data_say_where_they_come_from() -> None:
    for name in ("openapi.json.gz", "events.json.gz"):
        source = published.load(Path(published.DATA / name))["source"]
        assert source["package"].startswith("@octokit/")
        assert source["version"].count(".") == 2
        assert source["license"] == "MIT"
