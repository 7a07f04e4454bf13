"""The client against the stand-in: each question of the Protocol, and each fault.

No test waits: sleeping moves a clock of our own. Only a hung request costs its one second.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hub import faults
from hub.state import BOT_ID, Comment, Compared, ComparedFile, Status, sha_of
from repositories import commit, git, new_repository
from standin import MEASURE, MERGE_QUEUE, StandIn

from ailab_bot.errors import UserError
from ailab_bot.gh.api import GitHubApi, client_from
from ailab_bot.gh.client import (
    Artifact,
    ChangedFile,
    GitHub,
    GitHubError,
    NotFoundError,
    OutOfTimeError,
)
from ailab_bot.model.report import Annotation

SHA = sha_of("any")


@dataclass
class Clock:
    """Sleeping takes no time of ours, and moves the stand-in's clock too."""

    github: StandIn
    seconds: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        self.github.wait(seconds)

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(github: StandIn) -> Clock:
    return Clock(github)


@pytest.fixture
def connect(github: StandIn, clock: Clock) -> Iterator[Callable[..., GitHubApi]]:
    """Clients of the stand-in with a job that has an hour left."""
    opened: list[GitHubApi] = []

    def connected(**changes: object) -> GitHubApi:
        settings = {
            "deadline_s": clock.seconds + 3600.0,
            "api_url": github.server.url,
            "timeout_s": 1,
            "sleep": clock.sleep,
            "clock": clock,
            "now": github.now_s,
            "rng": random.Random(1),
            **changes,
        }
        token = str(settings.pop("token", github.token))
        opened.append(GitHubApi("acme/models", token, **settings))  # type: ignore[arg-type]
        return opened[-1]

    yield connected
    for api in opened:
        api.close()


@pytest.fixture
def api(connect: Callable[..., GitHubApi]) -> GitHub:
    client: GitHub = connect()
    return client


def test_a_pull_request_is_read_as_it_is_now(github: StandIn, api: GitHub) -> None:
    pull = github.open_pull("alice", head="speed-up")
    github.push(pull, SHA)
    found = api.pull(pull.number)
    assert (found.number, found.open, found.head_sha) == (pull.number, True, SHA)
    assert (found.author.id, found.author.login) == (pull.author.id, "alice")
    assert (found.head_ref, found.base_ref, found.base_sha) == (
        "speed-up",
        "main",
        github.base_sha,
    )
    assert found.url == f"https://github.com/acme/models/pull/{pull.number}"
    assert not found.from_fork
    github.close(pull)
    assert not api.pull(pull.number).open


def test_pull_requests_are_found_by_the_branch_they_come_from(github: StandIn, api: GitHub) -> None:
    own = github.open_pull("alice", head="speed-up")
    forked = github.open_pull("mallory", head="speed-up", fork=True)
    closed = github.open_pull("alice", head="old")
    github.close(closed)
    everyone = {pull.number: pull for pull in api.open_pulls()}
    assert own.number in everyone
    (found,) = [p for p in everyone.values() if p.from_fork and p.head_ref == "speed-up"]
    assert (found.number, found.from_fork) == (forked.number, True)
    assert "old" not in {pull.head_ref for pull in everyone.values()}


def test_pull_requests_are_found_by_a_commit_but_not_always_by_a_forks(
    github: StandIn, api: GitHub
) -> None:
    own, forked = github.open_pull("alice"), github.open_pull("mallory", fork=True)
    assert [pull.number for pull in api.pulls_with_commit(own.head_sha)] == [own.number]
    assert api.pulls_with_commit(forked.head_sha) == ()


def test_of_a_commits_pull_requests_the_open_and_the_merged_are_found(
    github: StandIn, api: GitHub
) -> None:
    first, second, closed = (
        github.open_pull(login, head=login, sha=SHA) for login in ("alice", "bob", "carol")
    )
    github.close(closed)
    assert [pull.number for pull in api.pulls_with_commit(SHA)] == [first.number, second.number]
    github.retarget(second, "release")
    github.merge(second)
    assert [pull.number for pull in api.pulls_with_commit(SHA)] == [first.number, second.number]
    github.merge(first)
    (found,) = api.pulls_with_commit(SHA)
    assert (found.number, found.open) == (first.number, False)


def test_a_pull_request_is_found_by_a_commit_that_is_no_longer_its_head(
    github: StandIn, api: GitHub
) -> None:
    pull = github.open_pull("alice", sha=SHA)
    github.push(pull)
    (found,) = api.pulls_with_commit(SHA)
    assert found.head_sha == pull.head_sha != SHA
    github.push(pull, force=True)
    assert api.pulls_with_commit(SHA) == ()


def test_a_deleted_fork_is_no_repository_of_ours(github: StandIn, api: GitHub) -> None:
    pull = github.open_pull("mallory", fork=True)
    run = github.start_run(pull)
    github.delete_fork(pull)
    assert api.pull(pull.number).head_repository_id is None
    assert api.pull(pull.number).from_fork
    assert api.run(run.id).head_owner is None
    assert api.run(run.id).head_repository_id is None


def test_a_run_is_read_with_its_latest_attempt(github: StandIn, api: GitHub) -> None:
    pull = github.open_pull("mallory", head="speed-up", fork=True)
    run = github.start_run(pull)
    found = api.run(run.id)
    assert (found.attempt, found.status, found.conclusion) == (1, "in_progress", None)
    assert found.path == f".github/workflows/{MEASURE}"
    assert (found.event, found.head_sha) == ("pull_request", pull.head_sha)
    assert (found.head_branch, found.head_owner) == ("speed-up", "mallory")
    assert found.repository_id == github.repository.id
    assert pull.head_repository is not None
    assert found.head_repository_id == pull.head_repository.id != found.repository_id
    github.finish_run(run, "failure")
    github.press_rerun(run)
    assert (api.run(run.id).attempt, api.run(run.id).status) == (2, "queued")
    with pytest.raises(NotFoundError):
        api.run(4)


def test_each_attempt_of_a_run_began_at_its_own_time(github: StandIn, api: GitHub) -> None:
    run = github.start_run(github.open_pull())
    created = run.created_at
    assert api.run(run.id).created_at == api.run(run.id).started_at == created
    github.finish_run(run, "failure")
    github.wait(4 * 86_400)
    api.rerun(run.id)
    found, asked_at = api.run(run.id), github.now
    assert (found.created_at, found.started_at) == (created, asked_at)
    github.wait(600)
    github.begin(run)
    assert api.run(run.id).started_at == asked_at


@pytest.mark.parametrize(("there", "asked"), [(0, 1), (99, 1), (100, 2), (250, 3), (1100, 10)])
def test_runs_come_from_all_pages_up_to_a_thousand(
    github: StandIn, api: GitHub, there: int, asked: int
) -> None:
    first = github.start_run(github.open_pull())
    ids = range(first.id, first.id + there)
    github.runs = {number: replace(first, id=number) for number in ids}
    assert [run.id for run in api.runs(MEASURE)] == list(reversed(ids))[:1000]
    assert len(github.requests) == asked


def test_a_workflow_that_is_not_installed_is_not_found_rather_than_never_run(
    github: StandIn, api: GitHub
) -> None:
    assert api.runs(MERGE_QUEUE) == ()
    github.workflows.remove(MERGE_QUEUE)
    with pytest.raises(NotFoundError):
        api.runs(MERGE_QUEUE)
    assert api.runs(MEASURE) == ()


def test_runs_of_a_workflow_come_newest_first_and_can_be_narrowed(
    github: StandIn, api: GitHub
) -> None:
    pull, other = github.open_pull("alice", head="a"), github.open_pull("alice", head="b")
    first = github.start_run(pull)
    github.wait(3600)
    second, third = github.start_run(pull), github.start_run(other)
    github.start_run(pull, workflow="lint.yml")
    assert [run.id for run in api.runs(MEASURE)] == [third.id, second.id, first.id]
    of_pull = api.runs(MEASURE, head_sha=pull.head_sha)
    assert [run.id for run in of_pull] == [second.id, first.id]
    late = api.runs(MEASURE, since=first.created_at + timedelta(seconds=1))
    assert [run.id for run in late] == [third.id, second.id]


def test_a_finished_run_is_run_again_wholly_or_where_it_failed(
    github: StandIn, api: GitHub
) -> None:
    run = github.start_run(github.open_pull())
    with pytest.raises(GitHubError, match="403") as refused:
        api.rerun(run.id)
    assert "already running" in refused.value.why
    github.finish_run(run, "failure")
    api.rerun(run.id)
    assert (run.attempt, run.status, run.failed_only) == (2, "queued", False)
    github.finish_run(run, "failure")
    api.rerun(run.id, failed_only=True)
    assert (run.attempt, run.failed_only) == (3, True)


def test_a_run_is_cancelled_unless_it_has_ended(github: StandIn, api: GitHub) -> None:
    run = github.start_run(github.open_pull())
    api.cancel(run.id)
    assert (run.status, run.conclusion) == ("completed", "cancelled")
    assert github.events[-1].action == "completed"
    with pytest.raises(GitHubError, match="409"):
        api.cancel(run.id)


@pytest.mark.parametrize(("there", "shown", "asked"), [(3, 3, 1), (250, 250, 3), (500, 300, 3)])
def test_artifacts_of_all_attempts_are_listed_page_by_page(
    github: StandIn, api: GitHub, there: int, shown: int, asked: int
) -> None:
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"ailab-trials-1-0": b"first"})
    github.press_rerun(run)
    names = [f"ailab-trials-2-{index}" for index in range(there - 1)]
    github.finish_run(run, artifacts=dict.fromkeys(names, b"second"))
    found = api.artifacts(run.id)
    assert len(found) == len({artifact.id for artifact in found}) == shown
    assert len(github.requests) == asked
    assert Artifact(found[0].id, names[-1], 6, expired=False) == found[0]


def test_an_artifact_comes_from_another_host_which_never_sees_the_token(
    github: StandIn, api: GitHub
) -> None:
    """The stand-in's store refuses, and reports, a request with an Authorization header."""
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"ailab-trials-1-0": b"PK" * 500_000})
    (artifact,) = api.artifacts(run.id)
    assert api.download(artifact, 1_000_000) == b"PK" * 500_000
    assert (github.server.blob_requests, len(github.requests)) == (1, 2)


def test_an_artifact_that_is_too_large_or_gone_gives_no_bytes(github: StandIn, api: GitHub) -> None:
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"a": b"x" * 1001})
    (artifact,) = api.artifacts(run.id)
    with pytest.raises(GitHubError, match="larger than 1000 bytes"):
        api.download(artifact, 1000)
    run.artifacts[0].expired = True
    with pytest.raises(NotFoundError) as gone:
        api.download(artifact, 1000)
    assert gone.value.status == 410


@pytest.mark.parametrize("place", ["http://example.invalid/a", "file:///etc/passwd", "ftp://x/"])
def test_an_artifact_is_fetched_over_nothing_but_https(
    github: StandIn, api: GitHub, place: str
) -> None:
    """Except on this machine, where the stand-in is."""
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"a": b"x"})
    github.server.blob_url = place
    with pytest.raises(GitHubError, match="not as it documents") as refused:
        api.download(api.artifacts(run.id)[0], 1000)
    assert place.partition(":")[0] in refused.value.why


@pytest.mark.parametrize("fault", [faults.answer(503), faults.drop(), faults.hang()])
def test_a_failing_store_is_asked_again_with_a_new_address(
    github: StandIn, api: GitHub, fault: faults.Fault
) -> None:
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"a": b"zip"})
    github.will("blob", fault)
    assert api.download(api.artifacts(run.id)[0], 1000) == b"zip"
    assert len(github.requests) == 3


def test_a_store_that_drips_does_not_hold_the_job(
    github: StandIn, clock: Clock, connect: Callable[..., GitHubApi]
) -> None:
    """Each look at the clock finds another minute gone, so the second piece comes too late."""
    run = github.start_run(github.open_pull())
    github.finish_run(run, artifacts={"a": b"x" * 1_000_000})

    def impatient() -> float:
        clock.seconds += 60.0
        return clock.seconds

    api = connect(clock=impatient)
    with pytest.raises(GitHubError, match="no answer from GitHub: the artifact") as late:
        api.download(api.artifacts(run.id)[0], 2_000_000)
    assert late.value.why == "TimeoutError"


def test_a_comparison_is_that_of_git(github: StandIn, api: GitHub, tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "platform")
    old = "".join(f"line {number}\n" for number in range(20))
    root = commit(folder, {"train.py": "import json\n", "old.py": old, "gone.py": "x\n"})
    base = commit(folder, {"README.md": "later\n"})
    git(folder, "checkout", "--quiet", "-b", "change", root)
    git(folder, "mv", "old.py", "new.py")
    (folder / "gone.py").unlink()
    head = commit(folder, {"train.py": "import json\nimport torch\n", "added.py": "y\n"})
    github.git = folder
    found = api.compare(base, head)
    assert (found.merge_base_sha, found.ahead, found.behind) == (root, 1, 1)
    assert found.complete
    files = {file.path: file for file in found.files}
    assert {path: file.status for path, file in files.items()} == {
        "added.py": "added",
        "gone.py": "removed",
        "new.py": "renamed",
        "train.py": "modified",
    }
    assert files["new.py"].previous_path == "old.py"
    assert "+import torch" in (files["train.py"].patch or "")
    with pytest.raises(NotFoundError):
        api.compare(base, sha_of("unknown"))


@pytest.mark.parametrize(("count", "complete"), [(299, True), (300, False), (1000, False)])
def test_a_comparison_knows_when_files_are_left_out(
    github: StandIn, api: GitHub, count: int, complete: bool
) -> None:
    many = tuple(ComparedFile(f"file-{number}.bin") for number in range(count))
    github.compared[("main", SHA)] = Compared(sha_of("root"), 3, 0, many)
    found = api.compare("main", SHA)
    assert (len(found.files), found.complete) == (min(count, 300), complete)
    assert found.files[0] == ChangedFile("file-0.bin", "modified")
    assert len(github.requests) == 1


def test_statuses_come_newest_first_with_who_set_them(github: StandIn, api: GitHub) -> None:
    api.create_status(
        SHA, context="ailab/gate", state="pending", description="planning", url="https://x.invalid"
    )
    api.create_status(SHA, context="ailab/gate", state="success", description="fine", url="")
    new, old = api.statuses(SHA)
    assert (new.state, new.description, new.creator_id) == ("success", "fine", BOT_ID)
    assert (old.state, old.url, old.context) == ("pending", "https://x.invalid", "ailab/gate")
    assert new.created_at > old.created_at
    assert api.statuses(sha_of("other")) == ()


def test_a_status_that_is_set_tells_whom_the_token_acts_as(
    github: StandIn, connect: Callable[..., GitHubApi]
) -> None:
    app = github.user("our-app[bot]")
    api = connect(token=github.add_token("ghs_app-0123456789", app))
    made = api.create_status(
        SHA, context="ailab/gate", state="pending", description="planning", url="https://x.invalid"
    )
    assert made.creator_id == app.id != BOT_ID
    assert (made,) == api.statuses(SHA)


@pytest.mark.parametrize(("there", "asked"), [(99, 1), (100, 2), (250, 3), (1100, 10)])
def test_statuses_come_from_all_pages_up_to_a_thousand(
    github: StandIn, api: GitHub, there: int, asked: int
) -> None:
    """Others' statuses do not hide ours: those of all contexts are in one list."""
    jenkins, now = github.user("jenkins"), github.now
    github.all_statuses = [
        Status(number, SHA, f"ci/{number}", "success", None, None, jenkins, now)
        for number in range(there)
    ]
    found = [status.context for status in api.statuses(SHA)]
    assert found == [f"ci/{number}" for number in reversed(range(there))][:1000]
    assert len(github.requests) == asked


@pytest.mark.parametrize(
    "wrong",
    [
        {"description": "x" * 141},
        {"description": "we ship it 🚀"},
        {"state": "fine"},
        {"context": ""},
        {"url": "ftp://x"},
    ],
)
def test_a_status_that_github_would_refuse_is_an_error_with_githubs_words(
    github: StandIn, api: GitHub, wrong: dict[str, str]
) -> None:
    good = {"context": "ailab/gate", "state": "success", "description": "", "url": ""}
    with pytest.raises(GitHubError, match="422") as refused:
        api.create_status(SHA, **(good | wrong))
    assert "Validation Failed" in refused.value.why
    assert len(github.requests) == 1


@pytest.mark.parametrize(("there", "asked"), [(0, 1), (99, 1), (100, 2), (250, 3), (1100, 10)])
def test_comments_come_oldest_first_from_all_pages_up_to_a_thousand(
    github: StandIn, api: GitHub, there: int, asked: int
) -> None:
    pull, other = github.open_pull(), github.open_pull(head="other")
    github.comment(other, "bob", "elsewhere")
    bob, now = github.user("bob"), github.now
    github.comments += [
        Comment(number, pull.number, bob, f"comment {number}", now, now) for number in range(there)
    ]
    found = api.comments(pull.number)
    assert [comment.body for comment in found] == [
        f"comment {number}" for number in range(min(there, 1000))
    ]
    assert len(github.requests) == asked


def test_a_comment_is_written_changed_and_gone(github: StandIn, api: GitHub) -> None:
    pull = github.open_pull()
    comment = api.create_comment(pull.number, "measuring …")
    assert (comment.author.id, comment.author.login) == (BOT_ID, "github-actions[bot]")
    assert comment.url.startswith("https://github.com/acme/models/issues/")
    changed = api.update_comment(comment.id, "done")
    assert (changed.id, github.bot_comment(pull).body) == (comment.id, "done")
    github.delete_comment(github.bot_comment(pull))
    with pytest.raises(NotFoundError):
        api.update_comment(comment.id, "again")
    with pytest.raises(GitHubError, match="422"):
        api.create_comment(pull.number, "x" * 65_537)


def test_a_reaction_given_twice_is_given_once(github: StandIn, api: GitHub) -> None:
    comment = github.comment(github.open_pull(), "bob", "/ailab rerun")
    for content in ("+1", "+1", "eyes"):
        api.react(comment.id, content)
    assert [content for _, content in comment.reactions] == ["+1", "eyes"]
    with pytest.raises(GitHubError, match="422"):
        api.react(comment.id, "thumbs")


@pytest.mark.parametrize("level", ["admin", "write", "read", "none"])
def test_a_permission_is_told_with_the_id_that_stays(
    github: StandIn, api: GitHub, level: str
) -> None:
    account = github.user("o'neil/../x?[bot]", level)
    found = api.permission(account.login)
    assert (found.user.id, found.level) == (account.id, level)
    assert found.may_write == (level in {"admin", "write"})


@pytest.mark.parametrize("login", ["nobody", "", ".", ".."])
def test_an_unknown_user_has_no_permission_but_an_error(
    github: StandIn, api: GitHub, login: str
) -> None:
    with pytest.raises(NotFoundError):
        api.permission(login)


def test_a_check_run_carries_at_most_fifty_annotations(github: StandIn, api: GitHub) -> None:
    lines = [
        Annotation("train.py", line, "warning", "New import", "torch") for line in range(1, 61)
    ]
    api.create_check(SHA, name="ailab", title="60 imports", summary="…", annotations=lines)
    (check,) = github.checks
    assert (check.sha, check.conclusion, check.title) == (SHA, "neutral", "60 imports")
    assert len(check.annotations) == 50
    assert check.annotations[0]["annotation_level"] == "warning"
    assert (check.annotations[-1]["start_line"], check.annotations[-1]["end_line"]) == (50, 50)


# Faults


def say(api: GitHub, state: str = "success") -> None:
    api.create_status(SHA, context="ailab/gate", state=state, description="fine", url="")


def test_two_bad_gateways_delay_a_status_and_leave_one(
    github: StandIn, clock: Clock, connect: Callable[..., GitHubApi]
) -> None:
    api = connect()
    github.will("repos/create-commit-status", faults.answer(502), faults.answer(502))
    say(api)
    assert [status.state for status in github.statuses(SHA)] == ["success"]
    assert [request.status for request in github.requests] == [502, 502, 201]
    assert len(clock.slept) == 2
    assert (api.requests, api.writes) == (3, 3)
    api.statuses(SHA)
    assert (api.requests, api.writes) == (4, 3)


def test_a_github_that_stays_down_ends_in_an_error_within_ten_minutes(
    github: StandIn, clock: Clock, api: GitHub
) -> None:
    github.will("repos/create-commit-status", *[faults.answer(500)] * 20)
    with pytest.raises(GitHubError, match="GitHub failed") as failed:
        say(api)
    assert failed.value.status == 500
    assert len(github.requests) == 8
    assert sum(clock.slept) < 600
    assert github.all_statuses == []


def test_slow_failures_end_after_ten_minutes_too(
    github: StandIn, clock: Clock, connect: Callable[..., GitHubApi]
) -> None:
    """Each try takes four minutes of the clock; the third would begin after eight."""

    def slow() -> float:
        return clock.seconds + 240.0 * len(github.requests)

    github.will("pulls/get", *[faults.answer(504)] * 20)
    with pytest.raises(GitHubError, match="504"):
        connect(clock=slow).pull(1)
    assert len(github.requests) == 3


def test_pauses_are_drawn_anew_and_grow(github: StandIn, connect: Callable[..., GitHubApi]) -> None:
    """Full jitter: anything from 0 to 1, 2, 4, … 60 s."""
    drawn: list[list[float]] = []
    for seed in range(50):
        clock = Clock(github)
        github.will("pulls/get", *[faults.answer(503)] * 8)
        with pytest.raises(GitHubError):
            connect(sleep=clock.sleep, clock=clock, rng=random.Random(seed)).pull(1)
        drawn.append(clock.slept)
    caps = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    for index, cap in enumerate(caps):
        nth = [pauses[index] for pauses in drawn]
        assert 0.0 <= min(nth) < 0.2 * cap
        assert 0.8 * cap < max(nth) <= cap


@pytest.mark.parametrize("fault", [faults.hang(), faults.drop(), faults.cut()])
def test_a_question_without_a_whole_answer_is_asked_again(
    github: StandIn, api: GitHub, clock: Clock, fault: faults.Fault
) -> None:
    pull = github.open_pull()
    github.will("pulls/get", fault)
    assert api.pull(pull.number).number == pull.number
    assert (len(github.requests), len(clock.slept)) == (2, 1)


def test_nobody_listening_is_an_error_that_says_so(
    github: StandIn, clock: Clock, connect: Callable[..., GitHubApi]
) -> None:
    with pytest.raises(GitHubError, match="no answer from GitHub: GET") as failed:
        connect(api_url="http://127.0.0.1:9").pull(1)
    assert failed.value.status == 0
    assert len(clock.slept) == 7


@pytest.mark.parametrize(
    "fault", [faults.answer(502), faults.lost(502), faults.hang(), faults.drop(performed=True)]
)
def test_a_new_comment_is_never_posted_twice_by_itself(
    github: StandIn, api: GitHub, clock: Clock, fault: faults.Fault
) -> None:
    """Who calls it looks first: after an answer that was lost, the comment is there."""
    pull = github.open_pull()
    github.will("issues/create-comment", fault)
    with pytest.raises(GitHubError):
        api.create_comment(pull.number, "measured")
    assert (len(github.requests), clock.slept) == (1, [])
    assert len(api.comments(pull.number)) == fault.performed


def test_a_new_comment_that_a_limit_held_back_is_posted_after_it(
    github: StandIn, api: GitHub, clock: Clock
) -> None:
    """A limit says that nothing was done, so repeating is safe."""
    pull = github.open_pull()
    github.will("issues/create-comment", faults.secondary_limit(retry_after_s=7))
    api.create_comment(pull.number, "measured")
    assert github.bot_comment(pull).body == "measured"
    assert clock.slept == [7.0]


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (faults.secondary_limit(retry_after_s=7), 7.0),
        (faults.secondary_limit(retry_after_s=7, status=429), 7.0),
        (faults.secondary_limit(), 60.0),
        (faults.secondary_limit(status=429), 60.0),
        (faults.primary_limit(reset_in_s=30), 31.0),
        (faults.answer(503, retry_after_s=11), 11.0),
    ],
)
def test_a_limit_is_waited_for_as_long_as_github_says(
    github: StandIn, api: GitHub, clock: Clock, fault: faults.Fault, waited: float
) -> None:
    pull = github.open_pull()
    github.will("pulls/get", fault)
    api.pull(pull.number)
    assert clock.slept == [waited]


@pytest.mark.parametrize(
    "fault",
    [faults.primary_limit(reset_in_s=3000), faults.secondary_limit(retry_after_s=1000)],
)
def test_nothing_is_waited_for_past_the_jobs_deadline(
    github: StandIn, clock: Clock, connect: Callable[..., GitHubApi], fault: faults.Fault
) -> None:
    github.will("pulls/get", fault)
    with pytest.raises(OutOfTimeError, match="the job has 900 s left"):
        connect(deadline_s=clock.seconds + 900.0).pull(1)
    assert (clock.slept, len(github.requests)) == ([], 1)


def test_retries_stop_at_the_jobs_deadline_too(
    github: StandIn, clock: Clock, connect: Callable[..., GitHubApi]
) -> None:
    github.will("pulls/get", *[faults.answer(502)] * 8)
    with pytest.raises(OutOfTimeError):
        connect(deadline_s=clock.seconds + 5.0).pull(1)
    assert sum(clock.slept) <= 5.0
    assert 1 < len(github.requests) < 8


@pytest.mark.parametrize("failed_only", [False, True])
def test_a_rerun_whose_answer_was_lost_is_one_rerun(
    github: StandIn, api: GitHub, failed_only: bool
) -> None:
    run = github.start_run(github.open_pull())
    github.finish_run(run, "failure")
    operation = "actions/re-run-workflow" + ("-failed-jobs" if failed_only else "")
    github.will(operation, faults.lost(502))
    api.rerun(run.id, failed_only=failed_only)
    assert run.attempt == 2


def test_a_cancel_whose_answer_was_lost_is_done(github: StandIn, api: GitHub) -> None:
    run = github.start_run(github.open_pull())
    github.will("actions/cancel-workflow-run", faults.lost(502))
    api.cancel(run.id)
    assert run.conclusion == "cancelled"


def test_a_job_that_asks_without_end_is_stopped(
    github: StandIn, connect: Callable[..., GitHubApi]
) -> None:
    pull = github.open_pull()
    api = connect(most_requests=5)
    for _ in range(5):
        api.pull(pull.number)
    with pytest.raises(GitHubError, match="more than 5 requests"):
        api.pull(pull.number)
    assert len(github.requests) == api.requests == 5


def test_an_answer_that_is_not_as_documented_is_an_error_not_a_guess(
    github: StandIn, api: GitHub
) -> None:
    github.will("pulls/get", faults.answer(200, "hello"))
    with pytest.raises(GitHubError, match="not as it documents") as strange:
        api.pull(1)
    assert "head is not an object" in strange.value.why
    github.will("pulls/list", faults.answer(200, "hello"))
    with pytest.raises(GitHubError, match="not as it documents"):
        api.open_pulls()


ERRORS: dict[str, Callable[[GitHub], object]] = {
    "GET": lambda api: api.pull(1),
    "POST": say,
    "download": lambda api: api.download(Artifact(1, "a", 1, expired=False), 10),
}


@pytest.mark.parametrize("ask", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(
    "fault",
    [
        *[faults.answer(status) for status in (200, 302, 400, 401, 403, 404, 409, 410, 422, 500)],
        faults.secondary_limit(retry_after_s=99_999),
        faults.drop(),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
def test_the_token_is_in_no_text_of_any_error(
    github: StandIn,
    connect: Callable[..., GitHubApi],
    fault: faults.Fault,
    ask: Callable[[GitHub], object],
) -> None:
    """Not even where a server in between echoes it."""
    api = connect()
    echo = replace(fault, message=f"you sent Bearer {github.token}")
    github.will("*", *[echo] * 8)
    try:
        ask(api)
    except GitHubError as error:
        text = "".join(traceback.format_exception(error))
        text += f"{error.what} {error.why} {error.advice} {error!r} {error.args} {vars(error)}"
        assert github.token not in text
    else:
        assert (fault.status, ask) == (200, say)
    assert github.token not in repr(api) + repr(vars(api))


def test_what_the_token_may_not_do_is_said_with_the_permission_that_is_missing(
    github: StandIn, connect: Callable[..., GitHubApi]
) -> None:
    api = connect(token=github.read_token)
    with pytest.raises(GitHubError, match="403") as refused:
        say(api)
    assert "The token may not do this: give the job `permissions: {statuses: write}`" in (
        refused.value.advice
    )
    with pytest.raises(GitHubError) as refused:
        api.create_comment(github.open_pull().number, "hello")
    assert "permissions: {pull-requests: write}" in refused.value.advice
    with pytest.raises(GitHubError, match="401") as unknown:
        connect(token="ghs_revoked").pull(1)
    assert "github-token" in unknown.value.advice


def test_the_environment_of_a_workflow_is_enough(github: StandIn, tmp_path: Path) -> None:
    pull = github.open_pull()
    environ = github.environment(github.events[-1], tmp_path)
    with client_from(environ, deadline_s=1e12) as api:
        assert api.pull(pull.number).number == pull.number
    for name in ("AILAB_TOKEN", "GITHUB_API_URL", "GITHUB_REPOSITORY"):
        with pytest.raises(UserError, match=name):
            client_from({**environ, name: ""}, deadline_s=0.0)
    with pytest.raises(UserError, match="owner/name"):
        client_from({**environ, "GITHUB_REPOSITORY": "acme/models/../x"}, deadline_s=0.0)


@pytest.mark.parametrize(
    "url", ["http://github.example", "ftp://127.0.0.1", "nonsense", "https://"]
)
def test_the_token_is_sent_over_nothing_but_https(url: str) -> None:
    with pytest.raises(UserError, match="GITHUB_API_URL"):
        GitHubApi("acme/models", "token", api_url=url, deadline_s=0.0)
