"""Comments that are no report, and the banner over one that is out of date."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_reports import HEAD_SHA, PULL, PULL_MANY, SAMPLES, STATES
from update_golden import GOLDEN

from ailab_bot.report.comment import MARKER, MOST_CHARACTERS, render_comment, utf16_length
from ailab_bot.report.states import (
    NotMeasured,
    mark_stale,
    render_not_measured,
    with_banner,
    without_banner,
)

NEXT = "5e11f00d" * 5


@pytest.mark.parametrize("name", STATES)
def test_each_text_reads_as_it_did(name: str) -> None:
    golden = (GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    assert STATES[name] == golden, "run tests/unit/update_golden.py, read the diff"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_banner_stands_below_the_marker_and_goes_without_a_trace(name: str) -> None:
    comment = render_comment(SAMPLES[name])
    stale = mark_stale(comment, PULL, now=NEXT, minutes=3)
    assert stale.startswith(MARKER + "\n<!-- ailab:banner -->\n> ⏳ **Measuring [`5e11f00d5e11`]")
    assert stale.index("What follows is older.") < stale.index("### ")
    assert without_banner(stale) == comment


def test_a_later_banner_replaces_the_earlier_one() -> None:
    comment = render_comment(SAMPLES["clean"])
    first = mark_stale(comment, PULL, now=NEXT, minutes=3)
    second = mark_stale(first, PULL, now=HEAD_SHA, minutes=9)
    assert "5e11f00d" not in second
    assert second == mark_stale(comment, PULL, now=HEAD_SHA, minutes=9)


def test_a_quoted_banner_further_down_is_left_alone() -> None:
    quoted = f"{MARKER}\n### Title\n\n<!-- ailab:banner -->\n> x\n<!-- /ailab:banner -->\n\nend\n"
    assert without_banner(with_banner(quoted, "news")) == quoted


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_two_banners_over_any_body_leave_the_second(body: str, text: str) -> None:
    body = f"{MARKER}\n{body}"
    assert with_banner(with_banner(body, "first"), "second") == with_banner(body, "second")
    assert with_banner(body, text).count(MARKER + "\n<!-- ailab:banner -->") == 1


def test_a_full_comment_has_room_for_its_banner() -> None:
    comment = render_comment(PULL_MANY)
    stale = mark_stale(comment, PULL, now=NEXT, minutes=1e9)
    assert utf16_length(stale) <= MOST_CHARACTERS
    assert without_banner(stale) == comment


@pytest.mark.parametrize("letter", ["x", "🔴"])
def test_a_body_without_room_is_cut_and_says_so(letter: str) -> None:
    stale = with_banner(f"{MARKER}\n{letter * 65_000}", "news")
    stale = with_banner(stale, "n" * 900)
    assert utf16_length(stale) <= MOST_CHARACTERS
    assert stale.startswith(MARKER + "\n<!-- ailab:banner -->\n> nnn")
    if utf16_length(letter) > 1:
        assert "Cut: the whole report" in stale


@pytest.mark.parametrize("kind", NotMeasured)
def test_nothing_measured_says_what_happened_why_and_what_to_do(kind: NotMeasured) -> None:
    text = render_not_measured(PULL, HEAD_SHA, kind, [f"shard {i}: lost" for i in range(14)])
    assert text.startswith(f"{MARKER}\n### ⚠️ Not measured: ")
    assert "- shard 9: lost" in text
    assert "- and 4 more" in text
    assert "`/ailab rerun`" in text
    assert "never counts as good" in text
