"""Slash commands: exact ones are read, what merely looks like one is not, nothing raises."""

from __future__ import annotations

import re
from dataclasses import astuple

import pytest
from cmarkgfm import github_flavored_markdown_to_html
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ailab_bot.gh.command import (
    LONGEST_REASON,
    MOST_SCENARIOS,
    NAMES,
    Accept,
    Ack,
    Cancel,
    Command,
    Explain,
    Fault,
    Help,
    Mistake,
    Rerun,
    Revert,
    Run,
    parse_command,
)

SHA = "0123456789abcdef0123456789abcdef01234567"
_ARGUMENT = re.compile(r"[a-z0-9_.-]{1,64}")

EXACT: dict[str, Command] = {
    "/ailab rerun": Rerun(),
    "/ailab rerun failed": Rerun(failed=True),
    "/ailab rerun a b-1 c_2.x": Rerun(("a", "b-1", "c_2.x")),
    "/ailab rerun a a": Rerun(("a",)),
    "/ailab rerun all": Rerun(("all",)),
    "/ailab run a": Run(("a",)),
    "/ailab run all": Run(everything=True),
    "/ailab run failed": Run(("failed",)),
    "/ailab accept 0123456 the loader is worth it": Accept("0123456", "the loader is worth it"),
    f"/ailab accept {SHA} x": Accept(SHA, "x"),
    "/ailab cancel": Cancel(),
    "/ailab explain": Explain(),
    "/ailab explain a": Explain(("a",)),
    "/ailab ack": Ack(),
    "/ailab revert": Revert(),
    "/ailab ack\n\nI look into it today.": Ack(),
    "/ailab help": Help(),
    "/ailab  rerun \t a  ": Rerun(("a",)),
    "/ailab rerun\r\nbecause the runner was busy": Rerun(),
    "/ailab rerun\n\nThanks!\n\n---\nsent from a phone": Rerun(),
    "/ailab rerun\n- once\n---": Rerun(),
}


@pytest.mark.parametrize("body", EXACT)
def test_an_exact_command_is_read(body: str) -> None:
    assert parse_command(body) == EXACT[body]


MISTAKES = {
    "/ailab": (Fault.ARGUMENTS, "help"),
    "/ailab   ": (Fault.ARGUMENTS, "help"),
    "/AILAB rerun": (Fault.ARGUMENTS, "help"),
    "/ailab rerum": (Fault.UNKNOWN, "help"),
    "/ailab Rerun": (Fault.UNKNOWN, "help"),
    "/ailab rerun A": (Fault.ARGUMENTS, "rerun"),
    "/ailab rerun a,b": (Fault.ARGUMENTS, "rerun"),
    "/ailab rerun ../x": (Fault.ARGUMENTS, "rerun"),
    "/ailab rerun " + "x" * 65: (Fault.ARGUMENTS, "rerun"),
    "/ailab rerun failed a": (Fault.ARGUMENTS, "rerun"),
    "/ailab rerun " + " ".join(f"s{n}" for n in range(MOST_SCENARIOS + 1)): (
        Fault.ARGUMENTS,
        "rerun",
    ),
    "/ailab run": (Fault.ARGUMENTS, "run"),
    "/ailab run all a": (Fault.ARGUMENTS, "run"),
    "/ailab cancel now": (Fault.ARGUMENTS, "cancel"),
    "/ailab ack it": (Fault.ARGUMENTS, "ack"),
    f"/ailab revert {SHA}": (Fault.ARGUMENTS, "revert"),
    "/ailab Ack": (Fault.UNKNOWN, "help"),
    "/ailab ack\n/ailab revert": (Fault.ARGUMENTS, "help"),
    "/ailab help me": (Fault.ARGUMENTS, "help"),
    "/ailab accept": (Fault.NO_SHA, "accept"),
    "/ailab accept it is fine": (Fault.NO_SHA, "accept"),
    "/ailab accept 012345 too short": (Fault.NO_SHA, "accept"),
    "/ailab accept 0123456789ABCDEF upper case": (Fault.NO_SHA, "accept"),
    f"/ailab accept {SHA}0 too long": (Fault.NO_SHA, "accept"),
    f"/ailab accept {SHA}": (Fault.NO_REASON, "accept"),
    f"/ailab accept {SHA}\nthe reason on the next line": (Fault.NO_REASON, "accept"),
    "/ailab rerun a\n/ailab cancel": (Fault.ARGUMENTS, "help"),
    "/ailab rerun a\n\n  /ailab run b": (Fault.ARGUMENTS, "help"),
}


@pytest.mark.parametrize("body", MISTAKES)
def test_what_is_not_exact_is_a_mistake_that_names_what_was_meant(body: str) -> None:
    found = parse_command(body)
    assert isinstance(found, Mistake)
    assert (found.fault, found.command) == MISTAKES[body]


def test_each_command_has_its_name_and_each_name_its_command() -> None:
    spoken = {type(command).__name__.lower() for command in EXACT.values()}
    assert spoken == set(NAMES)


NOT_FOR_US = (
    "",
    "\n/ailab rerun",
    " /ailab rerun",
    "\t/ailab rerun",
    "    /ailab rerun",
    "please /ailab rerun",
    "/ailabs rerun",
    "/ailab: rerun",
    "/ai lab rerun",
    "> /ailab rerun",
    "# /ailab rerun",
    "`/ailab rerun`",
    "```\n/ailab rerun\n```",
    "~~~\n/ailab rerun\n~~~",
    "<!--\n/ailab rerun\n-->",
    "<!-- /ailab rerun -->",
    "/ailab rerun\n===",
    "/ailab rerun\n---",
    "/ailab rerun\nand more\n   -----  ",
    "/ailab rerun" + " " * 70_000,
)


@pytest.mark.parametrize("body", NOT_FOR_US)
def test_what_only_looks_like_a_command_is_nothing(body: str) -> None:
    assert parse_command(body) is None


HIDDEN = (
    "> {}",
    "# {}",
    "    {}",
    "\t{}",
    "```\n{}\n```",
    "~~~ sh\n{}\n~~~",
    "````\n```\n{}\n````",
    "```\n{}",
    "<!--\n{}\n-->",
    "<!--\nthe usual:\n{}\n-->",
    "<!-- {} -->",
)


@pytest.mark.parametrize("wrapping", HIDDEN)
def test_a_hidden_second_command_does_not_disturb_the_first(wrapping: str) -> None:
    hidden = wrapping.format("/ailab cancel")
    assert parse_command(f"/ailab rerun a\n\n{hidden}") == Rerun(("a",))


@pytest.mark.parametrize("opening", ["```\nx\n```", "~~~\nx\n~~~", "<!-- x -->", "<!--\nx\n-->"])
def test_what_follows_the_end_of_something_hidden_counts_again(opening: str) -> None:
    assert isinstance(parse_command(f"/ailab rerun a\n\n{opening}\n/ailab cancel"), Mistake)


def test_a_reason_is_cut_and_keeps_its_words() -> None:
    found = parse_command(f"/ailab accept {SHA} Because  we pay for it: {'x' * 500}")
    assert isinstance(found, Accept)
    assert found.reason.startswith("Because  we pay for it: xxx")
    assert len(found.reason) == LONGEST_REASON


_SOME = ("/ailab", "/ailab rerun a", "/ailab run all", f"/ailab accept {SHA} why", "/ailab cancel")
_MARKS = (
    "", "```", "~~~", "> ", "# ", "    ", "<!--", "-->", "===", "---", "- ", "`", "text", "\t",
)  # fmt: skip
_line = st.builds("".join, st.lists(st.sampled_from(_SOME + _MARKS), max_size=3))
_bodies = st.one_of(
    st.text(max_size=200),
    st.builds("/ailab {}".format, st.text(max_size=80)),
    st.builds("/ailab {} {}".format, st.sampled_from(NAMES), st.text(max_size=200)),
    st.builds("\n".join, st.lists(st.one_of(_line, st.sampled_from(_SOME), st.text()), max_size=6)),
)


@given(_bodies)
def test_no_text_raises_and_every_argument_is_harmless(body: str) -> None:
    found = parse_command(body)
    if isinstance(found, (Rerun, Run, Explain)):
        assert all(_ARGUMENT.fullmatch(name) for name in found.scenarios)
        assert len(found.scenarios) <= MOST_SCENARIOS
    elif isinstance(found, Accept):
        assert re.fullmatch(r"[0-9a-f]{7,40}", found.sha)
        assert 0 < len(found.reason) <= LONGEST_REASON
    elif isinstance(found, Mistake):
        assert not found.why or found.why.isprintable()
    else:
        assert found is None or astuple(found) == ()


@given(st.builds("\n".join, st.lists(st.one_of(_line, st.sampled_from(_SOME)), max_size=7)))
@settings(max_examples=400)
@example("/ailab rerun a\ntext\n===")
def test_a_command_is_a_paragraph_of_the_comment_as_github_renders_it(body: str) -> None:
    """CommonMark's own parser is the judge of what is code, quote, heading or HTML comment."""
    found = parse_command(body)
    if found is not None and not isinstance(found, Mistake):
        shown = github_flavored_markdown_to_html(body)
        assert shown.startswith("<p>/ailab"), shown


@given(st.sampled_from(sorted(EXACT)), st.sampled_from(HIDDEN), st.sampled_from(_SOME))
def test_a_command_inside_something_hidden_is_never_carried_out(
    body: str, wrapping: str, other: str
) -> None:
    assert parse_command(wrapping.format(other)) is None
    assert parse_command(f"Look:\n{wrapping.format(body)}\n{body}") is None
