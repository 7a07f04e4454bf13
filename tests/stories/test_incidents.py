"""Stories of incidents: from a slower release to the measured fix, with people in between."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from guard import FIX, Guard, culprit_of
from hub.faults import answer, lost
from repositories import git
from standin import running

from ailab_bot.model.culprit import Ending
from ailab_bot.model.incident import State, What

SLOW = {"train.py": "import os, json\n"}
CALM = {"notes.txt": "nothing\n"}


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-03-01T12:00:00Z")  # the stand-in's yesterday
    with running() as github:
        made = Guard(tmp_path, github, scenarios=("train", "tokenize"))
        github.user("maintainer", "write")
        made.push_release({"README": "The first release\n"})
        git(made.origin, "tag", "v1.0", FIX)
        yield made


def slow_release(guard: Guard, effect: float = 0.3) -> str:
    guard.release(SLOW, {"train": effect})
    return git(guard.origin, "rev-parse", FIX)


def attributed(guard: Guard, author: str = "alice") -> str:
    """A release is slower, and the search names the commit that made it so."""
    sha = slow_release(guard)
    guard.github.authors[sha] = guard.github.user(author)
    incident = guard.incident()
    assert guard.search_ends(incident, culprit_of(guard, sha, incident)) == 0
    return sha


def labels(guard: Guard) -> set[str]:
    return set(guard.issue().labels)


# --- detection ---------------------------------------------------------------------------------


def test_a_slower_release_is_no_go_with_one_issue_and_a_search(guard: Guard) -> None:
    sha = slow_release(guard)
    issue, incident = guard.issue(), guard.incident()
    assert incident.state is State.DETECTED
    assert incident.issue == issue.number
    assert labels(guard) == {"ailab-incident", "ailab: detected"}
    assert issue.body.startswith(f"<!-- ailab-incident:{incident.id} -->")
    status = guard.standing(sha)
    assert status.state == "failure"
    assert status.description is not None
    assert status.description.startswith("No-go: 1 open incident: #1 train +")
    (inputs,) = guard.dispatched()
    assert inputs["scenario"] == "train"
    assert (inputs["good"], inputs["bad"]) == (incident.good, sha)
    assert incident.has(What.SEARCHING)


def test_the_next_release_that_is_slow_files_no_second_issue(guard: Guard) -> None:
    slow_release(guard)
    guard.release(CALM, {"train": 0.3})
    assert len(guard.github.issues) == 1
    assert guard.incident().steps[-1].what is What.SEEN
    assert len(guard.dispatched()) == 1


def test_a_release_of_which_nothing_is_known_is_still_no_go(guard: Guard) -> None:
    slow_release(guard)
    run = guard.release(CALM, lose=(0, 1, 2, 3))
    status = guard.standing(run.head_sha)
    assert status.state == "failure"
    assert "#1" in (status.description or "")


def test_a_calm_release_says_go_and_files_nothing(guard: Guard) -> None:
    run = guard.release(CALM)
    status = guard.standing(run.head_sha)
    assert (status.state, (status.description or "")[:3]) == ("success", "Go:")
    assert guard.github.issues == {}


def test_a_faster_release_is_thanked_for(guard: Guard) -> None:
    run = guard.release(CALM, {"train": -0.2})
    assert guard.standing(run.head_sha).state == "success"
    summary = Path(guard.reported["GITHUB_STEP_SUMMARY"]).read_text()
    assert "Thank you" in summary
    assert guard.github.issues == {}


# --- the culprit -------------------------------------------------------------------------------


def test_the_culprits_author_is_assigned_and_told_on_the_pull_request(guard: Guard) -> None:
    pull = guard.open_pull(SLOW, head="metadata")
    guard.github.merge(pull)
    git(guard.origin, "branch", "--force", FIX, pull.head_sha)
    guard.github.push_branch(FIX, pull.head_sha, guard.base)
    guard.measure_release(pull.head_sha, {"train": 0.3})
    alice = guard.github.user("alice", "write")
    guard.github.authors[pull.head_sha] = alice
    incident = guard.incident()
    assert guard.search_ends(incident, culprit_of(guard, pull.head_sha, incident)) == 0
    issue = guard.issue()
    assert [each.login for each in issue.assignees] == ["alice"]
    assert labels(guard) == {"ailab-incident", "ailab: attributed"}
    blame = guard.incident().blame
    assert blame is not None
    assert (blame.sha, blame.login, blame.pull) == (pull.head_sha, "alice", pull.number)
    assert pull.head_sha[:12] in issue.title
    assert "json" in issue.body
    assert f"#{issue.number}" in guard.github.bot_comment(pull).body


@pytest.mark.parametrize("author", ["nobody", "gone"])
def test_an_author_who_is_unknown_or_cannot_be_assigned_leaves_the_incident_whole(
    guard: Guard, author: str
) -> None:
    sha = slow_release(guard)
    if author == "gone":
        guard.github.authors[sha] = guard.github.user("gone", "none")
    incident = guard.incident()
    assert guard.search_ends(incident, culprit_of(guard, sha, incident)) == 0
    assert guard.incident().state is State.ATTRIBUTED
    assert guard.issue().assignees == []


def test_a_search_that_names_nobody_says_so_and_is_not_repeated(guard: Guard) -> None:
    sha = slow_release(guard)
    incident = guard.incident()
    found = culprit_of(guard, sha, incident, ending=Ending.NO_CULPRIT)
    assert guard.search_ends(incident, found) == 0
    assert guard.incident().has(What.UNATTRIBUTED)
    guard.github.wait(3 * 86_400)
    assert guard.sweep_now() == 0
    assert len(guard.dispatched()) == 1


def test_what_the_culprit_does_not_move_becomes_an_incident_of_its_own(guard: Guard) -> None:
    guard.release(SLOW, {"train": 0.3, "tokenize": 0.2})
    sha = git(guard.origin, "rev-parse", FIX)
    incident = guard.incident()
    assert set(incident.scenarios) == {"train", "tokenize"}
    found = culprit_of(guard, sha, incident, others={"tokenize": None})
    assert guard.search_ends(incident, found) == 0
    assert {each.scenarios for each in guard.incidents()} == {("train",), ("tokenize",)}
    assert len(guard.github.issues) == 2
    assert [each["scenario"] for each in guard.dispatched()] == ["train", "tokenize"]


def test_a_search_for_no_incident_changes_none(guard: Guard) -> None:
    sha = slow_release(guard)
    incident = guard.incident()
    other = type(incident)("0" * 12, incident.steps)
    assert guard.search_ends(other, culprit_of(guard, sha, incident)) == 0
    assert guard.incident().state is State.DETECTED


# --- people ------------------------------------------------------------------------------------


def reaction(guard: Guard) -> str:
    """The bot's on the last comment of a person."""
    comment = [each for each in guard.github.comments if each.author is not guard.github.bot][-1]
    return comment.reactions[-1][1] if comment.reactions else ""


def test_the_author_takes_it_on_and_a_stranger_cannot(guard: Guard) -> None:
    attributed(guard)
    guard.comment_on(guard.issue(), "stranger", "/ailab ack")
    assert reaction(guard) == "confused"
    assert guard.incident().state is State.ATTRIBUTED
    guard.comment_on(guard.issue(), "alice", "/ailab ack")
    assert reaction(guard) == "rocket"
    incident = guard.incident()
    assert (incident.state, incident.acknowledged_by) == (State.ACKNOWLEDGED, "alice")
    assert "ailab: acknowledged" in labels(guard)
    steps = len(incident.steps)
    guard.comment_on(guard.issue(), "alice", "/ailab ack")
    assert len(guard.incident().steps) == steps


def test_commands_of_pull_requests_are_refused_in_an_incident_and_the_other_way(
    guard: Guard,
) -> None:
    attributed(guard)
    guard.comment_on(guard.issue(), "maintainer", "/ailab rerun")
    assert reaction(guard) == "confused"
    pull = guard.open_pull()
    guard.say(pull, "maintainer", "/ailab ack")
    assert reaction(guard) == "confused"


def test_an_issue_of_somebody_elses_is_left_alone_whatever_it_says(guard: Guard) -> None:
    attributed(guard)
    body = guard.issue().body
    forged = guard.github.open_issue("stranger")
    forged.body = body
    before = len(guard.github.comments)
    guard.comment_on(forged, "maintainer", "/ailab ack")
    assert len(guard.github.comments) == before + 1
    assert reaction(guard) == ""
    assert guard.incident().state is State.ATTRIBUTED


def test_a_pull_request_that_names_the_issue_is_the_proposed_fix(guard: Guard) -> None:
    attributed(guard)
    number = guard.issue().number
    pull = guard.open_pull({"train.py": "import os  # fast\n"}, head="fix")
    pull.body = f"Loads json when it is needed.\n\nFixes #{number}"
    assert guard.sweep_now() == 0
    assert guard.incident().fix == pull.number
    assert "ailab: fix proposed" in labels(guard)
    guard.github.close(pull)
    assert guard.sweep_now() == 0
    assert guard.incident().state is State.ATTRIBUTED
    assert "ailab: attributed" in labels(guard)


def test_it_closes_when_a_measurement_shows_that_it_is_gone(guard: Guard) -> None:
    attributed(guard)
    run = guard.release({"train.py": "import os\n"})
    incident = guard.incident()
    assert incident.state is State.CLOSED
    assert {State.DETECTED, State.ATTRIBUTED, State.FIX_MEASURED, State.CLOSED} <= set(
        incident.times
    )
    issue = guard.issue()
    assert (issue.state, issue.state_reason) == ("closed", "completed")
    assert guard.standing(run.head_sha).state == "success"
    guard.release(CALM, {"train": 0.0})
    assert len(guard.github.issues) == 1


def test_a_release_that_was_shipped_with_it_is_no_baseline_until_it_is_fixed(
    guard: Guard,
) -> None:
    attributed(guard)
    shipped = guard.push_release({"notes.txt": "shipped all the same\n"})
    git(guard.origin, "tag", "v1.1", shipped)
    guard.github.wait(3600)  # plans read what the ledger was a little before their run
    guard.release(CALM, {"train": 0.3})
    baseline = git(guard.origin, "rev-parse", "v1.0")
    assert guard.incident().steps[-1].baseline == baseline
    assert guard.incident().is_open
    guard.release({"train.py": "import os\n"})
    assert guard.incident().state is State.CLOSED
    guard.github.wait(3600)
    run = guard.release({"notes.txt": "again\n"})
    said = guard.standing(run.head_sha).description or ""
    assert "v1.1" not in said, "it has the culprit, and not the fix: who undoes that must be seen"


def test_closed_by_hand_it_is_opened_again_only_by_a_measurement(guard: Guard) -> None:
    attributed(guard)
    issue = guard.issue()
    guard.github.close_issue(issue, "alice", "completed")
    assert guard.sweep_now() == 0
    assert issue.state == "closed"
    assert guard.incident().is_open
    guard.release(CALM, {"train": 0.3})
    assert issue.state == "open"


def test_a_maintainer_lets_it_stay_by_closing_it_as_not_planned(guard: Guard) -> None:
    sha = attributed(guard)
    issue = guard.issue()
    guard.github.close_issue(issue, "maintainer", "not_planned")
    assert guard.sweep_now() == 0
    incident = guard.incident()
    assert incident.has(What.ACCEPTED)
    assert guard.standing(sha).description == "Go: maintainer accepts train"
    assert incident.state is State.CLOSED
    run = guard.release(CALM, {"train": 0.3})
    assert guard.standing(run.head_sha).state == "success"
    assert len(guard.github.issues) == 1


def test_who_caused_it_does_not_let_it_stay(guard: Guard) -> None:
    attributed(guard)
    guard.github.user("alice", "write")
    guard.github.close_issue(guard.issue(), "alice", "not_planned")
    assert guard.sweep_now() == 0
    assert guard.incident().is_open


def test_what_was_accepted_is_part_of_the_next_release_that_is_compared_with(
    guard: Guard,
) -> None:
    attributed(guard)
    guard.github.close_issue(guard.issue(), "maintainer", "not_planned")
    assert guard.sweep_now() == 0
    run = guard.release(CALM, {"train": 0.3})
    assert "only by what was accepted (#1)" in (guard.standing(run.head_sha).description or "")
    git(guard.origin, "tag", "v1.1", run.head_sha)
    guard.github.wait(3600)
    run = guard.release({"notes.txt": "later\n"})
    assert "v1.1" in (guard.standing(run.head_sha).description or "")


def test_a_branch_that_mends_it_for_itself_does_not_close_it_for_another(guard: Guard) -> None:
    attributed(guard)
    git(guard.origin, "branch", "release/2", FIX)
    run = guard.release({"train.py": "import os\n"}, branch="release/2")
    assert guard.standing(run.head_sha).state == "success"
    assert guard.incident().is_open
    assert guard.issue().state == "open"
    guard.release({"train.py": "import os\n"})
    assert guard.incident().state is State.CLOSED


def test_a_second_fix_takes_the_place_of_one_that_was_merged_and_did_not_help(
    guard: Guard,
) -> None:
    attributed(guard)
    number = guard.issue().number
    first = guard.open_pull({"train.py": "import os  # 1\n"}, head="first")
    first.body = f"Fixes #{number}"
    assert guard.sweep_now() == 0
    guard.github.merge(first)
    guard.release(CALM, {"train": 0.3})
    second = guard.open_pull({"train.py": "import os  # 2\n"}, head="second")
    second.body = f"Fixes #{number}"
    assert guard.sweep_now() == 0
    assert guard.incident().fix == second.number


def test_a_scenario_that_was_removed_holds_nothing_up(guard: Guard) -> None:
    slow_release(guard)
    git(guard.origin, "checkout", "--quiet", FIX)
    git(guard.origin, "rm", "--quiet", ".ailab/scenarios/train.yml")
    git(guard.origin, "commit", "--quiet", "--message", "No more train")
    git(guard.origin, "checkout", "--quiet", "main")
    run = guard.release(CALM)
    assert guard.standing(run.head_sha).state == "success"
    assert guard.incident().is_open


def test_who_may_not_write_does_not_let_it_stay(guard: Guard) -> None:
    attributed(guard)
    guard.github.close_issue(guard.issue(), "alice", "not_planned")
    assert guard.sweep_now() == 0
    assert guard.incident().is_open


# --- the revert --------------------------------------------------------------------------------


def test_a_maintainer_gets_a_branch_that_takes_the_culprit_back(guard: Guard) -> None:
    sha = attributed(guard)
    guard.comment_on(guard.issue(), "stranger", "/ailab revert")
    assert reaction(guard) == "confused"
    guard.comment_on(guard.issue(), "maintainer", "/ailab revert")
    assert reaction(guard) == "rocket"
    branch = f"ailab/revert-{sha[:12]}"
    assert git(guard.origin, "show", f"{branch}:train.py") == "import os"
    assert git(guard.origin, "rev-parse", f"{branch}^") == git(guard.origin, "rev-parse", FIX)
    assert sha in git(guard.origin, "log", "-1", "--format=%B", branch)
    assert guard.incident().has(What.REVERT_PREPARED)
    assert any(branch in each.body for each in guard.github.comments)
    guard.comment_on(guard.issue(), "maintainer", "/ailab revert")
    assert reaction(guard) == "rocket", "the branch that is there is told again"


def test_a_revert_that_does_not_apply_says_which_files_are_in_the_way(guard: Guard) -> None:
    sha = attributed(guard)
    guard.push_release({"train.py": "import os, json, csv\n"})
    guard.comment_on(guard.issue(), "maintainer", "/ailab revert")
    assert reaction(guard) == "confused"
    assert "train.py" in guard.github.comments[-1].body
    assert not git(guard.origin, "branch", "--list", f"ailab/revert-{sha[:12]}")


def test_before_anybody_is_blamed_nothing_can_be_reverted(guard: Guard) -> None:
    slow_release(guard)
    guard.comment_on(guard.issue(), "maintainer", "/ailab revert")
    assert reaction(guard) == "confused"


# --- faults ------------------------------------------------------------------------------------


def test_without_issues_the_incident_lives_in_the_ledger_and_still_says_no_go(
    guard: Guard,
) -> None:
    guard.github.has_issues = False
    sha = slow_release(guard)
    assert guard.github.issues == {}
    assert guard.incident().state is State.DETECTED
    assert guard.standing(sha).state == "failure"
    guard.github.has_issues = True
    guard.release(CALM, {"train": 0.3})
    assert guard.incident().issue == guard.issue().number, "filed once there are issues"


def test_a_history_that_cannot_be_read_opens_nothing_and_loses_nothing(guard: Guard) -> None:
    slow_release(guard)
    sha = guard.push_release(CALM)
    guard.measure_release(sha, {"train": 0.3}, offline=True)
    assert len(guard.github.issues) == 1
    assert guard.standing(sha).state == "failure"
    assert "History" in Path(guard.reported["GITHUB_STEP_SUMMARY"]).read_text()


def test_an_issue_whose_answer_is_lost_is_found_again_and_not_filed_twice(guard: Guard) -> None:
    guard.github.will("issues/create", lost())
    sha = slow_release(guard)
    assert len(guard.github.issues) == 1
    assert guard.standing(sha).state == "failure"
    guard.release(CALM, {"train": 0.3})
    assert len(guard.github.issues) == 1
    assert guard.incident().issue == guard.issue().number


def test_whom_github_did_not_let_us_tell_is_told_by_the_next_run(guard: Guard) -> None:
    sha = slow_release(guard)
    guard.github.authors[sha] = guard.github.user("alice", "write")
    incident = guard.incident()
    guard.github.will("issues/update", answer(403, "Not now"))
    assert guard.search_ends(incident, culprit_of(guard, sha, incident)) == 0
    assert guard.incident().state is State.ATTRIBUTED
    assert guard.issue().assignees == []
    assert guard.sweep_now() == 0
    assert [each.login for each in guard.issue().assignees] == ["alice"]
    told = [each.body for each in guard.github.comments if each.number == guard.issue().number]
    assert sum(sha[:12] in body for body in told) == 1
    assert guard.sweep_now() == 0
    assert len(guard.github.comments) == len(told), "and is told once"


def test_a_search_that_is_lost_again_and_again_asks_people_to_look(guard: Guard) -> None:
    slow_release(guard)
    for _ in range(3):
        for run in guard.github.runs.values():
            run.status, run.conclusion = "completed", "failure"
        guard.github.wait(27 * 3600)
        assert guard.sweep_now() == 0
    assert len(guard.dispatched()) == 3
    assert guard.incident().has(What.UNATTRIBUTED)
    assert "Somebody has to look" in guard.issue().body


def test_a_search_that_is_still_at_work_is_not_started_again(guard: Guard) -> None:
    slow_release(guard)
    guard.github.wait(27 * 3600)
    assert guard.sweep_now() == 0
    assert len(guard.dispatched()) == 1


def test_a_search_that_failed_is_started_again(guard: Guard) -> None:
    sha = slow_release(guard)
    incident = guard.incident()
    for run in guard.github.runs.values():
        run.status, run.conclusion = "completed", "failure"
    found = culprit_of(guard, sha, incident, ending=Ending.FAILED)
    assert guard.search_ends(incident, found) == 0
    assert len(guard.dispatched()) == 2
    assert guard.incident().blame is None
    assert not guard.incident().has(What.UNATTRIBUTED)


def test_a_push_that_is_refused_is_answered_with_what_to_do(guard: Guard) -> None:
    attributed(guard)
    hook = guard.refuse_pushes()
    guard.comment_on(guard.issue(), "maintainer", "/ailab revert")
    hook.unlink()
    assert reaction(guard) == "confused"
    assert "by hand" in guard.github.comments[-1].body


def test_where_the_search_cannot_be_started_the_incident_is_there_and_the_sweep_tries_again(
    guard: Guard,
) -> None:
    guard.github.workflows.discard("ailab-bisect.yml")
    slow_release(guard)
    assert not guard.incident().has(What.SEARCHING)
    guard.github.workflows.add("ailab-bisect.yml")
    assert guard.sweep_now() == 0
    assert guard.incident().has(What.SEARCHING)


# --- the hook ----------------------------------------------------------------------------------


@contextmanager
def listener() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A chat tool's end of the hook."""
    heard: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/chat", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_chat_tools_are_told_of_each_step_with_a_signature(guard: Guard) -> None:
    with listener() as (url, heard):
        guard.variables = {"AILAB_HOOK_URL": url, "AILAB_HOOK_SECRET": "between us"}
        attributed(guard)
        guard.release({"train.py": "import os\n"})
    events = [json.loads(body)["event"] for _, body in heard]
    assert events == ["incident.detected", "incident.attributed", "incident.fix_measured"]
    for headers, body in heard:
        signature = hmac.new(b"between us", body, hashlib.sha256).hexdigest()
        assert headers["x-ailab-signature-256"] == f"sha256={signature}"
        document = json.loads(body)
        assert document["incident"]["id"] == guard.incident().id
        assert document["text"]
    assert len({headers["x-ailab-delivery"] for headers, _ in heard}) == 3


def test_a_hook_that_does_not_answer_holds_nothing_up(guard: Guard) -> None:
    guard.variables = {
        "AILAB_HOOK_URL": "http://127.0.0.1:9/closed",
        "AILAB_HOOK_SECRET": "between us",
    }
    sha = slow_release(guard)
    assert guard.standing(sha).state == "failure"
    assert guard.incident().issue
    assert "closed" not in guard.said
