"""Comments go through the shipped workflow file: who is heard, and what is done for them."""

from __future__ import annotations

from conftest import Founded
from test_shipped_pull_request import CLEAN, FAILING, MEASURE

COMMAND = "AI Lab command"


def test_a_comment_that_is_not_for_us_starts_no_job(found: Founded) -> None:
    works = found("eager")
    works.lose.add(("pull_request", "opened"))
    pull = works.open_pull(CLEAN)
    works.say(pull, "bob", "Nice work!")
    works.say(works.github.open_issue("bob"), "bob", "/ailab help")
    assert [run.conclusion for run in works.all_of(COMMAND)] == ["skipped", "skipped"]
    assert works.github.requests == []

    # So that the silence above is worth something: this one is for us.
    asked = works.say(pull, "bob", "/ailab help")
    assert works.all_of(COMMAND)[-1].conclusion == "success", works.log
    assert [(who.login, what) for who, what in asked.reactions] == [
        ("github-actions[bot]", "rocket")
    ]
    assert "/ailab accept" in works.github.bot_comment(pull).body


def test_rerun_measures_everything_again_in_the_next_attempt(found: Founded) -> None:
    works = found("eager")
    pull = works.open_pull(FAILING)
    asked = works.say(pull, "alice", "/ailab rerun")
    assert [what for _, what in asked.reactions] == ["rocket"], works.log
    first, second = works.all_of(MEASURE)
    assert second.attempt == 2
    assert second.job("measure/0") is not first.job("measure/0")
    names = [artifact.name for artifact in works.measurement().artifacts]
    assert names == ["ailab-trials-1-0", "ailab-trials-2-0"]
    gates = works.gates(pull.head_sha)
    assert gates[:3] == ["pending", "failure", "pending"], works.log
    assert gates[-1] == "failure"
    works.github.bot_comment(pull)  # one, edited in place
