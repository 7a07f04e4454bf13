"""Issues, who can be assigned, commits' authors and starts of workflows, against the stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hub import faults
from hub.state import BOT_ID, Issue, sha_of
from standin import BISECT, RELEASE, StandIn

from ailab_bot.gh.answers import read_author
from ailab_bot.gh.api import GitHubApi
from ailab_bot.gh.client import (
    NOBODY,
    GitHub,
    GitHubError,
    IssuesDisabledError,
    NotFoundError,
    User,
)
from ailab_bot.gh.fields import Fields

SHA = sha_of("any")
LABEL = "ailab-incident"


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def api(github: StandIn, slept: list[float]) -> Iterator[GitHub]:
    with GitHubApi(
        "acme/models",
        github.token,
        deadline_s=1e12,
        api_url=github.server.url,
        timeout_s=1,
        sleep=slept.append,
        now=github.now_s,
    ) as client:
        yield client


def only_issue(github: StandIn) -> Issue:
    (issue,) = github.issues.values()
    return issue


# Reading


def test_an_issue_is_read_as_it_is_now(github: StandIn, api: GitHub) -> None:
    made = github.open_issue("alice", "Slow", "since Monday", ["bug", LABEL])
    made.assignees.append(github.user("maria", "write"))
    found = api.issue(made.number)
    assert (found.number, found.author.login, found.title) == (made.number, "alice", "Slow")
    assert (found.body, found.labels, found.assignees) == (
        "since Monday",
        ("bug", LABEL),
        ("maria",),
    )
    assert (found.open, found.state_reason, found.closed_by) == (True, "", None)
    assert found.url == f"https://github.com/acme/models/issues/{made.number}"
    github.close_issue(made, "maria", "not_planned")
    closed = api.issue(made.number)
    assert (closed.open, closed.state_reason) == (False, "not_planned")
    assert closed.closed_by == User(github.users["maria"].id, "maria")
    github.reopen_issue(made)
    again = api.issue(made.number)
    assert (again.open, again.state_reason, again.closed_by) == (True, "reopened", None)


def test_an_issue_without_text_or_author_is_nobodys(github: StandIn, api: GitHub) -> None:
    made = github.open_issue()
    made.author = None
    assert (api.issue(made.number).author, api.issue(made.number).body) == (NOBODY, "")


def test_a_pull_request_is_no_issue(github: StandIn, api: GitHub) -> None:
    with pytest.raises(NotFoundError, match="is a pull request"):
        api.issue(github.open_pull().number)


def test_an_issue_that_was_deleted_is_gone_and_issues_are_not_off(
    github: StandIn, api: GitHub
) -> None:
    made = github.open_issue()
    github.delete_issue(made)
    for ask in (lambda: api.issue(made.number), lambda: api.update_issue(made.number, title="x")):
        with pytest.raises(NotFoundError) as gone:
            ask()
        assert gone.value.status == 410
    with pytest.raises(NotFoundError) as unknown:
        api.issue(99)
    assert unknown.value.status == 404


def test_issues_of_a_label_come_newest_first_open_and_closed_without_pull_requests(
    github: StandIn, api: GitHub
) -> None:
    first = github.open_issue("alice", labels=["AILab-Incident"])
    github.open_issue("alice", labels=["bug"])
    second = github.open_issue("bob", labels=["bug", LABEL])
    pull = github.open_pull()
    github.labels_of_pulls[pull.number] = [LABEL]
    github.close_issue(first)
    found = api.issues(LABEL)
    assert [(issue.number, issue.open) for issue in found] == [
        (second.number, True),
        (first.number, False),
    ]
    assert found[1].closed_by is None  # a list does not say
    assert api.issues("other") == ()


@pytest.mark.parametrize(("there", "asked"), [(0, 1), (99, 1), (100, 2), (250, 3), (1100, 10)])
def test_issues_come_from_all_pages_up_to_a_thousand(
    github: StandIn, api: GitHub, there: int, asked: int
) -> None:
    for _ in range(there):
        github.open_issue(labels=[LABEL])
    found = [issue.number for issue in api.issues(LABEL)]
    assert found == list(range(there, 0, -1))[:1000]
    assert len(github.requests) == asked


def test_a_page_of_pull_requests_does_not_end_the_list(github: StandIn, api: GitHub) -> None:
    issue = github.open_issue(labels=[LABEL])
    for _ in range(100):
        pull = github.open_pull()
        github.labels_of_pulls[pull.number] = [LABEL]
    assert [each.number for each in api.issues(LABEL)] == [issue.number]


# Writing


def test_an_issue_is_opened_changed_closed_and_opened_again(github: StandIn, api: GitHub) -> None:
    github.user("maria", "write")
    made = api.create_issue("Slower", "by 18 %", [LABEL, "ailab: detected"], ["maria"])
    assert made == api.issue(made.number)
    assert made.author.id == BOT_ID
    assert (made.labels, made.assignees) == ((LABEL, "ailab: detected"), ("maria",))
    changed = api.update_issue(made.number, title="Much slower", labels=[LABEL], assignees=[])
    assert (changed.title, changed.body) == ("Much slower", "by 18 %")
    assert (changed.labels, changed.assignees) == ((LABEL,), ())
    closed = api.update_issue(made.number, state="closed", state_reason="completed")
    assert (closed.open, closed.state_reason) == (False, "completed")
    assert closed.closed_by is not None
    assert closed.closed_by.id == BOT_ID
    assert closed.title == "Much slower"
    again = api.update_issue(made.number, state="open", state_reason="reopened", body="still")
    assert (again.open, again.state_reason, again.body) == (True, "reopened", "still")


def test_people_and_the_bot_talk_in_an_issue_as_on_a_pull_request(
    github: StandIn, api: GitHub
) -> None:
    made = api.create_issue("Slower", "", [LABEL], ())
    github.comment(only_issue(github), "bob", "/ailab ack")
    api.create_comment(made.number, "thank you")
    assert [comment.body for comment in api.comments(made.number)] == ["/ailab ack", "thank you"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "x" * 257},
        {"title": ""},
        {"body": "x" * 65_537},
        {"labels": ["x" * 51]},
        {"assignees": ["rita"]},
    ],
)
def test_an_issue_that_github_would_refuse_is_an_error_with_githubs_words(
    github: StandIn, api: GitHub, wrong: dict[str, object]
) -> None:
    github.user("rita", "read")
    good: dict[str, object] = {"title": "t", "body": "", "labels": [], "assignees": []}
    with pytest.raises(GitHubError, match="422") as refused:
        api.create_issue(**(good | wrong))  # type: ignore[arg-type]
    assert "Validation Failed" in refused.value.why
    assert github.issues == {}
    made = api.create_issue("t", "", [], [])
    with pytest.raises(GitHubError, match="422"):
        api.update_issue(made.number, **wrong)  # type: ignore[arg-type]
    assert api.issue(made.number) == made


DOUBTS = [faults.answer(502), faults.lost(502), faults.hang(), faults.drop(performed=True)]


@pytest.mark.parametrize("fault", DOUBTS)
def test_a_new_issue_is_never_opened_twice_by_itself(
    github: StandIn, api: GitHub, slept: list[float], fault: faults.Fault
) -> None:
    """Who calls it looks first: after an answer that was lost, the issue is there."""
    github.will("issues/create", fault)
    with pytest.raises(GitHubError):
        api.create_issue("Slower", "", [LABEL], ())
    assert (len(github.requests), slept) == (1, [])
    assert len(api.issues(LABEL)) == fault.performed


@pytest.mark.parametrize("fault", DOUBTS)
def test_a_change_of_an_issue_is_tried_again(
    github: StandIn, api: GitHub, fault: faults.Fault
) -> None:
    issue = github.open_issue()
    github.will("issues/update", fault)
    assert api.update_issue(issue.number, title="Slower").title == issue.title == "Slower"


def test_a_repository_without_issues_says_so_in_an_error_of_its_own(
    github: StandIn, api: GitHub
) -> None:
    issue, pull = github.open_issue(labels=[LABEL]), github.open_pull()
    github.has_issues = False
    asks: list[Callable[[], object]] = [
        lambda: api.issues(LABEL),
        lambda: api.issue(issue.number),
        lambda: api.create_issue("Slower", "", [LABEL], ()),
        lambda: api.update_issue(issue.number, state="closed"),
    ]
    for ask in asks:
        with pytest.raises(IssuesDisabledError) as off:
            ask()
        assert not isinstance(off.value, NotFoundError)
        assert off.value.status == 410
        assert "Settings" in off.value.advice
    api.create_comment(pull.number, "pull requests are still there")


def test_who_may_not_write_issues_is_told_which_permission_is_missing(
    github: StandIn,
) -> None:
    with GitHubApi(
        "acme/models", github.read_token, deadline_s=1e12, api_url=github.server.url
    ) as api:
        with pytest.raises(GitHubError, match="403") as refused:
            api.create_issue("Slower", "", [], ())
        assert "permissions: {issues: write}" in refused.value.advice
        with pytest.raises(GitHubError, match="403") as refused:
            api.dispatch(BISECT, "main", {})
        assert "permissions: {actions: write}" in refused.value.advice


def test_an_issue_that_is_not_as_documented_is_an_error_not_a_guess(
    github: StandIn, api: GitHub
) -> None:
    for operation, ask in (
        ("issues/get", lambda: api.issue(1)),
        ("issues/list-for-repo", lambda: api.issues(LABEL)),
        ("issues/create", lambda: api.create_issue("t", "", [], ())),
        ("issues/update", lambda: api.update_issue(1, title="t")),
    ):
        github.will(operation, faults.answer(200, "hello"))
        with pytest.raises(GitHubError, match="not as it documents"):
            ask()


# Who and what


@pytest.mark.parametrize(
    ("level", "may"), [("admin", True), ("write", True), ("read", False), ("none", False)]
)
def test_who_may_write_can_be_assigned(github: StandIn, api: GitHub, level: str, may: bool) -> None:
    github.user("maria", level)
    assert api.can_assign("maria") is may


@pytest.mark.parametrize("login", ["nobody", "", ".", "..", "a/../b"])
def test_who_is_unknown_cannot_be_assigned(api: GitHub, login: str) -> None:
    assert not api.can_assign(login)


def test_where_github_fails_it_does_not_say_that_nobody_can_be_assigned(
    github: StandIn, api: GitHub
) -> None:
    github.will("issues/check-user-can-be-assigned", faults.answer(403, "Forbidden"))
    with pytest.raises(GitHubError, match="403"):
        api.can_assign("maria")


def test_a_commits_author_is_an_account_or_nobody(github: StandIn, api: GitHub) -> None:
    pull = github.open_pull("alice")
    assert api.commit_author(pull.head_sha) == User(pull.author.id, "alice")
    github.authors[SHA] = None
    assert api.commit_author(SHA) is None
    assert github.requests[-1].query == {"per_page": "1", "page": "1"}
    for status in (404, 422):
        github.will("repos/get-commit", faults.answer(status, "No commit found"))
        with pytest.raises(NotFoundError):
            api.commit_author(SHA)
    with pytest.raises(NotFoundError):
        api.commit_author(sha_of("unknown"))


def test_an_empty_author_is_nobody() -> None:
    """GitHub describes both null and an empty object."""
    assert read_author(Fields({"author": {}}, "commit")) is None


@pytest.mark.parametrize("tells", [False, True])
def test_a_workflow_is_started_with_its_inputs_on_a_branch(
    github: StandIn, api: GitHub, tells: bool
) -> None:
    """Whether GitHub answers with nothing, or with the run that it started."""
    github.tells_dispatched = tells
    github.push_branch("release/2", SHA)
    api.dispatch(BISECT, "release/2", {"incident": "0123456789ab", "rounds": ""})
    (started,) = github.dispatches
    assert (started.workflow, started.ref) == (BISECT, "release/2")
    assert started.inputs == {"incident": "0123456789ab", "rounds": ""}
    (run,) = api.runs(BISECT)
    assert (run.event, run.head_sha, run.head_branch) == ("workflow_dispatch", SHA, "release/2")


@pytest.mark.parametrize("fault", DOUBTS)
def test_a_workflow_is_never_started_twice_by_itself(
    github: StandIn, api: GitHub, slept: list[float], fault: faults.Fault
) -> None:
    github.will("actions/create-workflow-dispatch", fault)
    with pytest.raises(GitHubError):
        api.dispatch(BISECT, "main", {})
    assert (len(github.requests), slept) == (1, [])
    assert len(github.dispatches) == fault.performed


@pytest.mark.parametrize(
    ("workflow", "ref", "inputs", "status"),
    [
        ("other.yml", "main", {}, 404),
        (RELEASE, "main", {}, 422),
        (BISECT, "gone", {}, 422),
        (BISECT, "main", {"evil": "1"}, 422),
    ],
)
def test_a_start_that_github_refuses_tells_its_status(
    github: StandIn, api: GitHub, workflow: str, ref: str, inputs: dict[str, str], status: int
) -> None:
    with pytest.raises(GitHubError) as refused:
        api.dispatch(workflow, ref, inputs)
    assert (refused.value.status, github.dispatches) == (status, [])
    assert isinstance(refused.value, NotFoundError) == (status == 404)


def test_a_pull_request_is_read_with_its_words_and_whether_it_was_merged(
    github: StandIn, api: GitHub
) -> None:
    first = github.open_pull(title="Load less", body="Fixes #7")
    second = github.open_pull(head="other", sha=SHA)
    found = api.pull(first.number)
    assert (found.title, found.body, found.merged) == ("Load less", "Fixes #7", False)
    assert (api.pull(second.number).body, {each.merged for each in api.open_pulls()}) == (
        "",
        {False},
    )
    github.close(first)
    assert not api.pull(first.number).merged
    github.merge(second)
    assert api.pull(second.number).merged
    assert [each.merged for each in api.pulls_with_commit(SHA)] == [True]
