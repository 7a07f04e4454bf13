"""Replies say what, why and what now; help lists each command once, with who may give it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sample_reports import HEAD_SHA, HOSTILE, PULL_ALL_FAILED, PULL_MANY, PULL_REGRESSION, SAMPLES

from ailab_bot.report import replies
from ailab_bot.report.comment import MARKER, MOST_CHARACTERS, utf16_length
from ailab_bot.report.pull import COMMANDS, INCIDENT_COMMANDS

ACCEPT = f"`/ailab accept {HEAD_SHA} <reason>`"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("retun", "`/ailab rerun [scenario…|failed]`"),
        ("Rerun", "`/ailab rerun [scenario…|failed]`"),
        ("acept", "`/ailab accept <sha> <reason>`"),
        ("hlep", "`/ailab help`"),
        ("explian", "`/ailab explain [scenario…]`"),
    ],
)
def test_a_mistyped_command_gets_the_one_that_was_meant(typed: str, meant: str) -> None:
    assert replies.unknown_command(typed) == (
        f"There is no command `{typed}`. Did you mean {meant}?\n"
    )


def test_a_command_like_none_gets_the_list() -> None:
    reply = replies.unknown_command("deploy!")
    assert "Did you mean" not in reply
    assert "`rerun`, `run`, `accept`, `cancel`, `explain`, `ack`, `revert`, `help`" in reply


def test_a_mistyped_scenario_gets_the_one_that_was_meant() -> None:
    assert replies.unknown_scenarios(["recsis"], ["tabular-mlp", "recsys"]) == (
        "There is no scenario `recsis`. Did you mean `recsys`?\n"
    )
    assert "There are `a`, `b`." in replies.unknown_scenarios(["zzzz"], ["a", "b"])
    assert "and 30 more." in replies.unknown_scenarios(["?"], [f"s{i}" for i in range(50)])
    assert "has none" in replies.unknown_scenarios(["x"], [])


@pytest.mark.parametrize(
    "refusal",
    [
        replies.accept_without_sha,
        replies.accept_without_reason,
        lambda head: replies.head_moved("5e11f00d" * 5, head),
    ],
)
def test_a_refused_acceptance_says_what_to_write(refusal: Callable[[str], str]) -> None:
    assert ACCEPT in refusal(HEAD_SHA)
    assert "`/ailab accept <sha> <reason>`" in refusal("`evil`")


def test_help_lists_every_command_with_its_rights() -> None:
    lines = replies.help_text().splitlines()
    rows = [line for line in lines if line.startswith("| `/ailab ")]
    assert len(rows) == len(COMMANDS) + len(INCIDENT_COMMANDS)
    (accept,) = [row for row in rows if "accept" in row]
    assert "except the author" in accept


def test_an_explanation_holds_all_the_evidence() -> None:
    reply = replies.explain(PULL_REGRESSION, ["tabular-mlp"])
    for fact in (
        "+18.2\u00a0%", "+15.1 to +21.4\u00a0% at 86\u00a0%", "threshold 5\u00a0%, margin 2\u00a0%",
        "2,400 to 1", "16 of 40 blocks used, 8 of them fresh", "`interpreter`", "`first_batch`",
        "`pandas`", "peak memory", "16 of 16 blocks", "9ab37e109ab3", "4f0c1d2e4f0c",
    ):  # fmt: skip
        assert fact in reply, fact
    assert "vision-cnn" not in reply


def test_an_explanation_shows_failures_and_names_that_are_not_there() -> None:
    assert "timed out in 2 of 2 trials" in replies.explain(PULL_ALL_FAILED)
    assert "There is no scenario `nope`" in replies.explain(PULL_REGRESSION, ["nope"])
    assert "nothing to explain" in replies.explain(SAMPLES["pull-nothing"])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_explanation_fits(name: str) -> None:
    assert utf16_length(replies.explain(SAMPLES[name])) <= MOST_CHARACTERS


def test_an_explanation_of_too_much_says_what_is_left_out() -> None:
    assert "more scenarios do not fit: name them, `/ailab explain" in replies.explain(PULL_MANY)


def test_no_reply_is_taken_for_a_command_or_for_the_sticky_comment() -> None:
    texts = [
        replies.help_text(), replies.not_allowed("run"), replies.rights_unknown("run"),
        replies.own_change(), replies.never_measured(), replies.not_yet(HEAD_SHA),
        replies.too_many(), replies.too_old(),
        replies.nothing_to_do("cancel"), replies.nothing_to_do("rerun"),
        replies.nothing_to_accept(HEAD_SHA), replies.explain(PULL_REGRESSION),
        replies.bad_arguments("accept", "It needs a commit."),
        replies.only_in_incidents("ack"), replies.only_on_pulls("rerun"), replies.no_culprit_yet(),
        replies.incident_is_closed(), replies.unknown_incident(), replies.history_unavailable(),
        replies.culprit_is_gone(HEAD_SHA), replies.nothing_to_revert(HEAD_SHA),
        replies.revert_conflicts(HEAD_SHA, HOSTILE),
        *(replies.unknown_command(text) for text in HOSTILE),
    ]  # fmt: skip
    for text in texts:
        assert not text.startswith("/ailab")
        assert MARKER not in text
        assert text.endswith("\n")
