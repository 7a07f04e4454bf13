"""An incident goes through the shipped workflow files, from a slower release to the measured fix.

Nothing is played: releases and the rounds of the search measure real processes, each round is
started by the one before, and what people get pushed for them is pushed.
"""

from __future__ import annotations

from conftest import Founded
from hub.state import Comment, Issue
from promised import PROMISED
from repositories import git
from sources import PATIENT, script
from test_shipped_branches import RELEASE
from test_shipped_commands import COMMAND
from test_shipped_pull_request import CLEAN
from works import Works

from ailab_bot.flows.history import BRANCH
from ailab_bot.flows.incidents import read_steps
from ailab_bot.model.incident import Incident, State, What, incidents_of

BISECT = "AI Lab bisect"
LINE = "release/1.0"
#: Two workers search, however many runners GitHub would give.
TWO = PATIENT + "github: {runners: {cpu: {labels: [ubuntu-latest], count: 2}}}\n"
SLOW = {
    "eager.py": script(0.05, "import warehouse"),
    "warehouse.py": "import time\ntime.sleep(0.3)\n",
}


def recorded(works: Works) -> Incident:
    """The one incident, as the branch that is really pushed has it."""
    (incident,) = incidents_of(read_steps(works.origin, git(works.origin, "rev-parse", BRANCH)))
    return incident


def decision(works: Works, sha: str) -> tuple[str, str]:
    """State and first word of a release's status."""
    status = works.github.status(sha, "ailab/release")
    assert status is not None, works.log
    return status.state, (status.description or "").partition(":")[0]


def reactions(comment: Comment) -> list[str]:
    return [what for _, what in comment.reactions]


def only_issue(works: Works) -> Issue:
    (issue,) = works.github.issues.values()
    return issue


def check_search(works: Works, good: str, bad: str) -> None:
    """Each round is a run that the one before has started; the last one tells and records."""
    rounds = works.all_of(BISECT)
    assert [run.conclusion for run in rounds] == ["success"] * len(rounds), works.log
    for run in rounds:
        assert {job.conclusion for job in run.of("search")} == {"success"}, works.log
    assert len(rounds[0].of("search")) == 2
    assert len(rounds[-1].of("search")) == 1, "one alone confirms"
    steps = [run.job("decide").step("Decide from the raw trials, or search on") for run in rounds]
    ends = [step.outputs["next"] for step in steps]
    assert ends[:-1], "a search, and a confirmation by itself"
    assert ends == ["dispatch"] * len(ends[:-1]) + ["over"], works.log
    assert [run.job("history").conclusion for run in rounds[:-1]] == ["skipped"] * len(ends[:-1])

    asked = {"incident": recorded(works).id, "good": good, "bad": bad, "scenario": "eager"}
    for number, started in enumerate(works.github.dispatches):
        assert (started.workflow, started.ref) == ("ailab-bisect.yml", LINE)
        assert asked.items() <= started.inputs.items()
        assert (started.inputs["metric"], started.inputs["also"]) == ("ttfb_s", "")
        earlier = [str(run.run_id) for run in rounds[:number]]
        assert started.inputs["rounds"].split() == earlier


def check_people(works: Works, culprit: str, before: str, bad: str) -> str:
    """A stranger is refused; the author takes it on, and a maintainer gets the revert's branch."""
    issue = only_issue(works)
    refused = works.say(issue, "mallory", "/ailab revert")
    assert reactions(refused) == ["confused"], works.log
    run = works.all_of(COMMAND)[-1]
    assert run.job("revert").conclusion == run.job("history").conclusion == "skipped"

    taken = works.say(issue, "alice", "/ailab ack")
    assert reactions(taken) == ["rocket"], works.log
    assert recorded(works).acknowledged_by == "alice"
    assert set(issue.labels) == {"ailab-incident", "ailab: acknowledged"}
    assert works.all_of(COMMAND)[-1].job("revert").conclusion == "skipped"

    wanted = works.say(issue, "carol", "/ailab revert")
    assert reactions(wanted) == ["rocket"], works.log
    branch = f"ailab/revert-{culprit[:12]}"
    assert git(works.origin, "rev-parse", f"{branch}^") == bad
    assert git(works.origin, "diff", "--name-only", before, branch) == "readme.txt"
    assert any(branch in each.body for each in works.github.bot_comments(issue))
    assert recorded(works).has(What.REVERT_PREPARED)
    return branch


def test_a_slower_release_is_attributed_taken_on_taken_back_and_measured_to_be_gone(
    found: Founded,
) -> None:
    works = found("eager", config=TWO)
    git(works.origin, "branch", LINE)
    git(works.origin, "tag", "--annotate", "v1.0", "--message", "The first release", LINE)
    good = git(works.origin, "rev-parse", LINE)
    for login, permission in (("alice", "write"), ("carol", "write"), ("mallory", "read")):
        works.github.user(login, permission)

    commits = ({"notes.txt": "1\n"}, SLOW, CLEAN)
    before, culprit, bad = works.push(LINE, *commits, authors=("carol", "alice", "carol"))
    assert decision(works, bad) == ("failure", "No-go"), works.log
    issue, incident = only_issue(works), recorded(works)
    assert issue.author is works.github.bot
    assert (incident.issue, incident.good, incident.bad) == (issue.number, good, bad)

    check_search(works, good, bad)
    assert incident.state is State.ATTRIBUTED, works.log
    assert incident.blame is not None
    assert (incident.blame.sha, incident.blame.login) == (culprit, "alice")
    assert [each.login for each in issue.assignees] == ["alice"]
    assert set(issue.labels) == {"ailab-incident", "ailab: attributed"}
    assert culprit[:12] in issue.title
    assert "warehouse" in (issue.body or "")
    searches = len(works.all_of(BISECT))

    branch = check_people(works, culprit, before, bad)
    fixed = works.merge(branch, LINE)
    assert decision(works, fixed) == ("success", "Go"), works.log
    assert (only_issue(works).state, issue.state_reason) == ("closed", "completed")
    assert recorded(works).state is State.CLOSED
    assert recorded(works).has(What.FIX_MEASURED)
    assert len(works.all_of(BISECT)) == searches, "there is nothing left to search for"

    said = [each for run in works.ran for job in run.jobs for each in job.annotations]
    assert [each for each in said if each.level != "notice"] == []
    for (workflow, key), rights in PROMISED.items():
        if workflow in (RELEASE, BISECT, COMMAND):
            assert works.job(workflow, key).conclusion == "success", (workflow, key)
            assert works.job(workflow, key).permissions == rights, (workflow, key)


def test_an_issue_that_the_bot_has_not_filed_is_left_alone(found: Founded) -> None:
    works = found("eager")
    github = works.github
    github.user("carol", "write")
    works.say(github.open_issue("mallory"), "carol", "/ailab ack")
    (run,) = works.all_of(COMMAND)
    assert run.conclusion == "skipped", "without the label no job is started"
    assert github.requests == []

    body = "<!-- ailab-incident:0123456789ab -->\nIt is slow."
    forged = github.open_issue("mallory", body=body, labels=["ailab-incident"])
    for line in ("/ailab ack", "/ailab revert"):
        said = works.say(forged, "carol", line)
        run = works.all_of(COMMAND)[-1]
        assert run.job("command").conclusion == "success", works.log
        assert run.job("revert").conclusion == run.job("history").conclusion == "skipped"
        assert said.reactions == []
    assert github.bot_comments(forged) == []
    assert (forged.body, forged.labels, forged.state) == (body, ["ailab-incident"], "open")
    assert github.writes == 0, works.log
    assert git(works.origin, "branch", "--list", BRANCH, "ailab/*") == ""
