"""The same stories on a GitHub that a third party wrote: emulate 0.12.2, an npm package.

The shipped jobs speak HTTP to it, with installation tokens that have the permissions of the shipped
workflows. Each story names the operations that emulate has to have served, so that the stand-in
cannot quietly serve them all. What
emulate does otherwise than GitHub stands in the table of test_deviations.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import test_commands as commands
import test_faults as faults
import test_pull_request as pulls
from emulated import HAS, EmulatedHub, client_of, emulated
from emulator import Node
from hub.state import Pull
from office import Office
from routing import EMULATE, STAND_IN

from ailab_bot.gh.client import GitHubError, NotFoundError
from ailab_bot.model.verdict import ImportChange

PULL, LIST, COMPARE = "pulls/get", "pulls/list", "repos/compare-commits-with-basehead"
READ, POST, EDIT = "issues/list-comments", "issues/create-comment", "issues/update-comment"
RIGHTS, CHECK = "repos/get-collaborator-permission-level", "checks/create"
REPORT = {LIST, COMPARE, READ, POST}

#: Story -> what emulate serves, and what the stand-in serves although emulate has it.
STORIES: dict[Callable[[Office], None], tuple[set[str], set[str]]] = {
    pulls.test_a_change_without_effect_passes: (REPORT, set()),
    pulls.test_a_regression_fails_says_where_and_marks_the_line: (REPORT | {CHECK}, set()),
    pulls.test_a_line_that_the_change_did_not_add_is_not_marked: (REPORT, set()),
    pulls.test_a_push_is_measured_anew_in_the_same_comment: (REPORT | {EDIT}, {LIST}),
    pulls.test_a_fork_is_measured_and_answered_like_a_branch: (REPORT, set()),
    pulls.test_a_deleted_fork_is_found_by_its_commit: (REPORT, set()),
    pulls.test_a_head_that_moved_gets_nothing_of_the_old_result: (REPORT, {LIST}),
    pulls.test_a_force_push_is_a_push: (REPORT | {EDIT}, {LIST}),
    pulls.test_a_pull_request_that_was_merged_meanwhile_is_judged_all_the_same: (
        REPORT,
        set(),
    ),
    pulls.test_a_retargeted_pull_request_is_compared_with_its_new_base: (REPORT | {EDIT}, set()),
    pulls.test_base_definitions_judge_a_change_that_edits_them: (REPORT, set()),
    pulls.test_a_base_that_moved_on_does_not_matter: (REPORT, set()),
    faults.test_a_comment_that_was_deleted_is_posted_anew: (REPORT, {LIST}),
    faults.test_somebody_elses_comment_with_our_marker_is_left_alone: (REPORT, set()),
    faults.test_a_report_delivered_twice_changes_nothing: (REPORT, set()),
    commands.test_a_running_measurement_is_cancelled: (REPORT | {PULL}, set()),
}
AFTER_A_REGRESSION: dict[Callable[[tuple[Office, Pull]], None], tuple[set[str], set[str]]] = {
    commands.test_the_author_measures_again: (REPORT | {PULL, EDIT}, set()),
    commands.test_a_second_rerun_and_a_second_delivery_change_nothing: (
        REPORT | {PULL},
        {RIGHTS},
    ),
    commands.test_a_maintainer_accepts_and_the_gate_opens_for_that_commit: (
        REPORT | {PULL, EDIT},
        {RIGHTS, LIST},
    ),
}


def regressed(office: Office) -> tuple[Office, Pull]:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    office.github.user("maria", "write")
    office.github.user("rita", "read")
    return office, pull


def assert_served(hub: EmulatedHub, served: set[str], instead: set[str]) -> None:
    """And no job lacked a permission, not even one that it would get over."""
    assert [each for each in hub.proxy.served if each.status in {401, 403}] == []
    assert hub.operations_by(EMULATE) == served
    assert hub.operations_by(STAND_IN) & HAS == instead


def name_of(story: Callable[..., None]) -> str:
    return story.__name__.removeprefix("test_")


@pytest.mark.parametrize("story", STORIES, ids=name_of)
def test_the_same_story(story: Callable[[Office], None], office: Office, hub: EmulatedHub) -> None:
    story(office)
    assert_served(hub, *STORIES[story])


@pytest.mark.parametrize("story", AFTER_A_REGRESSION, ids=name_of)
def test_the_same_story_of_a_command(
    story: Callable[[tuple[Office, Pull]], None], office: Office, hub: EmulatedHub
) -> None:
    story(regressed(office))
    assert_served(hub, *AFTER_A_REGRESSION[story])


def test_the_button_update_branch_is_a_push(office: Office, hub: EmulatedHub) -> None:
    """A head that emulate itself moves: no answer about pull requests is the stand-in's."""
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    old, (before,) = pull.head_sha, hub.bot_comments(pull)
    new = hub.press_update_branch(pull, office.origin)
    office.measure(pull)
    assert (office.gate(old).state, office.gate(new).state) == ("failure", "success")
    (after,) = hub.bot_comments(pull)
    assert after.id == before.id
    assert after.body != before.body
    assert_served(hub, REPORT | {EDIT}, set())


def test_a_regression_with_marked_lines_is_accepted_by_an_admin(
    office: Office, hub: EmulatedHub
) -> None:
    """emulate itself says that maria is an admin; the lines stay marked as they are."""
    pull = office.open_pull({"train.py": "import os\nimport torch\n"})
    cause = ImportChange("torch", 0.2, 900, "train.py:2")
    office.measure(pull, slower={"train": 0.2}, imports={"train": cause})
    hub.user("maria", "admin")
    said = office.say(pull, "maria", f"/ailab accept {pull.head_sha} needed")
    assert [content for _, content in said.reactions] == ["rocket"]
    assert office.gate(pull).state == "success"
    assert "(accepted)" in office.comment_of(pull)
    assert len(hub.checks) == 1
    assert_served(hub, REPORT | {EDIT, PULL, RIGHTS, CHECK}, set())


@pytest.mark.parametrize(("who", "right"), [("rita", "read"), ("bob", None)])
def test_who_may_not_write_may_not_accept(
    who: str, right: str | None, office: Office, hub: EmulatedHub
) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    if right is not None:
        hub.user(who, right)
    said = office.say(pull, who, f"/ailab accept {pull.head_sha} I like it")
    assert [content for _, content in said.reactions] == ["confused"]
    assert office.gate(pull).state == "failure"
    assert "is for who may write here" in hub.bot_comments(pull)[-1].body
    assert_served(hub, REPORT | {PULL, RIGHTS}, set())


def test_help_and_explain_are_answered_in_comments_of_their_own(
    office: Office, hub: EmulatedHub
) -> None:
    """The golden one holds the number of the comment that it answers, which is another one here."""
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    asked = [office.say(pull, "bob", text) for text in ("/ailab help", "/ailab explain train")]
    _, first, second = hub.bot_comments(pull)
    assert first.body.startswith(f"<!-- ailab:reply to={asked[0].id} -->\n")
    assert "| `/ailab rerun" in first.body
    assert second.body.startswith(f"<!-- ailab:reply to={asked[1].id} -->\n")
    assert "head slower in 24 of 24 blocks" in second.body
    assert_served(hub, REPORT | {PULL}, set())


def test_in_a_private_repository_the_permissions_to_read_are_enough_too(
    node: Node, tmp_path: Path
) -> None:
    """emulate looks at permissions to read in private repositories only."""
    with emulated(node, private=True) as hub:
        office = Office(tmp_path, hub)
        pull = office.open_pull()
        office.measure(pull, slower={"train": 0.2})
        assert office.gate(pull).state == "failure"
        office.say(pull, "alice", "/ailab rerun")
        (run,) = hub.runs.values()
        office.again(run)
        assert office.gate(pull).state == "success"
        assert "No change" in office.comment_of(pull)
        assert_served(hub, REPORT | {PULL, EDIT}, set())


def test_a_foreign_comment_with_our_marker_stays_as_it_is_at_emulate(
    office: Office, hub: EmulatedHub
) -> None:
    pull = office.open_pull()
    text = "<!-- ailab:comment -->\n### ✅ All is well"
    theirs = office.say(pull, "mallory", text)
    office.measure(pull, slower={"train": 0.2})
    first, second = hub.all_comments(pull)
    assert (first.id, first.author.login, first.body) == (theirs.id, "mallory", text)
    assert "Slower" in second.body
    assert second.author is hub.bot


# The client by itself


def test_what_is_gone_is_not_found(office: Office, hub: EmulatedHub) -> None:
    pull = office.open_pull()
    comment = office.say(pull, "alice", "hello")
    hub.delete_comment(comment)
    with client_of(hub, "publish") as github:
        for ask in (
            lambda: github.update_comment(comment.id, "x"),
            lambda: github.pull(pull.number + 1),
            lambda: github.comments(pull.number + 1),
            lambda: github.compare("0" * 40, pull.head_sha),
            lambda: github.permission("nobody"),
            lambda: github.issue(pull.number + 1),
            lambda: github.commit_author("0" * 40),
        ):
            with pytest.raises(NotFoundError):
                ask()
    assert hub.operations_by(STAND_IN) == set()


def test_an_issue_is_opened_changed_closed_and_listed(office: Office, hub: EmulatedHub) -> None:
    pull = office.open_pull()
    hub.user("maria", "write")
    theirs = hub.open_issue("alice", "Slow", "since Monday", ["bug"])
    with client_of(hub, "command") as github:
        made = github.create_issue("Slower", "by 18 %", ["ailab-incident", "new"], ["maria"])
        assert (made.number, made.author.id) == (theirs.number + 1, hub.bot.id)
        assert (made.labels, made.assignees) == (("ailab-incident", "new"), ("maria",))
        changed = github.update_issue(
            made.number, title="Slow", labels=["ailab-incident"], assignees=[]
        )
        assert (changed.title, changed.body, changed.open) == ("Slow", "by 18 %", True)
        assert (changed.labels, changed.assignees) == (("ailab-incident",), ())
        closed = github.update_issue(made.number, state="closed", state_reason="not_planned")
        assert (closed.open, closed.state_reason) == (False, "not_planned")
        assert closed.closed_by is not None
        assert closed.closed_by.id == hub.bot.id
        assert [each.number for each in github.issues("ailab-incident")] == [made.number]
        again = github.update_issue(made.number, state="open", state_reason="reopened")
        assert again.open
        assert (github.issue(theirs.number).body, github.issue(theirs.number).author.login) == (
            "since Monday",
            "alice",
        )
        assert github.issues("nothing") == ()
        with pytest.raises(GitHubError) as refused:
            github.create_issue("Slower", "", [], ["nobody"])
        assert refused.value.status == 422
        assert github.commit_author(pull.head_sha) is None
    assert hub.operations_by(STAND_IN) == set()


def test_a_person_closes_an_issue_as_not_planned(office: Office, hub: EmulatedHub) -> None:
    office.open_pull()
    issue = hub.open_issue("alice")
    hub.user("maria", "write")
    hub.close_issue(issue, "maria", "not_planned")
    with client_of(hub, "command") as github:
        found = github.issue(issue.number)
    assert (found.open, found.state_reason) == (False, "not_planned")
    assert found.closed_by is not None
    assert found.closed_by.login == "maria"


def test_more_comments_than_a_page_are_all_read(office: Office, hub: EmulatedHub) -> None:
    pull = office.open_pull()
    ids = [hub.comment(pull, "alice", f"number {index}").id for index in range(103)]
    with client_of(hub, "publish") as github:
        assert [comment.id for comment in github.comments(pull.number)] == ids
        assert github.requests == 2


def test_a_job_may_only_write_what_its_workflow_lets_it(office: Office, hub: EmulatedHub) -> None:
    """The permissions bite at emulate, so the stories above show that they are enough."""
    pull = office.open_pull()
    with client_of(hub, "plan") as github:
        with pytest.raises(GitHubError) as refused:
            github.create_comment(pull.number, "hello")
        assert refused.value.status == 403
    with client_of(hub, "gate") as github:
        with pytest.raises(GitHubError) as refused:
            github.create_check(pull.head_sha, name="n", title="t", summary="s", annotations=[])
        assert refused.value.status == 403
    assert hub.all_comments(pull) == []
    assert hub.checks == []
