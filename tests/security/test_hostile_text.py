"""Test 13 of the specification: nineteen hostile strings render inert, wherever they come from.

The proof is by comparison: with hostile text in place of every name, message and line of output,
the page has exactly the tags that it has with harmless text, in the same order. So nothing forged
a row, a link, an image or a heading, closed a fold, or reached the page outside a code span.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.sample_reports import (
    CRASH,
    HEAD_SHA,
    HOSTILE,
    PULL,
    SAMPLES,
    STATES,
    explanation,
    report,
    verdict,
)

from ailab_bot.model.report import Machine, Report
from ailab_bot.model.verdict import Explanation, ImportChange, PhaseShift, VerdictKind
from ailab_bot.report import replies, states, status
from ailab_bot.report.annotations import annotate
from ailab_bot.report.comment import MOST_CHARACTERS, render_comment, utf16_length
from ailab_bot.report.markdown import code_block, code_span, commit_link, prose, run_link
from ailab_bot.report.selection import is_selective
from ailab_bot.report.summary import render_summary

#: Harmless words: one that `prose` shows as a code span, as it does hostile ones, and one not.
QUOTED, PLAIN = "x_y", "xy"
#: What comes from GitHub itself, not from whoever opened the pull request.
TRUSTED = {"sha", "head_sha", "server_url", "repository", "run_url", "metric"}
PULLS = [name for name in SAMPLES if name.startswith("pull-") and name != "pull-many"]
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)

Render = Callable[[Report], str]
VIEWS: Mapping[str, Render] = {
    "comment": render_comment,
    "summary": render_summary,
    "explain": replies.explain,
}


def to_html(markdown: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))


def with_every_text(value: object, text: str) -> object:
    """The same value with `text` in place of each text that a stranger could choose."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text if value else value
    if isinstance(value, tuple):
        return tuple(with_every_text(item, text) for item in value)
    if isinstance(value, Mapping):
        return {with_every_text(k, text): with_every_text(v, text) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.name not in TRUSTED]
        return replace(value, **{n: with_every_text(getattr(value, n), text) for n in names})
    return value


def hostile_report(name: str, text: str) -> Report:
    made = with_every_text(SAMPLES[name], text)
    assert isinstance(made, Report)
    return made


#: Samples whose sentences hold names: there each word of its own is plain or a code span.
CHOSEN = {name for name in SAMPLES if is_selective(SAMPLES[name].plan)}


def without_spans(found: list[str]) -> list[str]:
    return [tag for tag in found if tag not in {"<code>", "</code>"}]


def harmless_like(text: str) -> str:
    return QUOTED if prose(text).startswith("`") else PLAIN


@functools.cache
def harmless_tags(name: str, view: str, text: str) -> list[str]:
    return tags(to_html(VIEWS[view](hostile_report(name, text))))


def outside_code(page: str) -> str:
    return re.sub(r"<code[^>]*>.*?</code>", "", page, flags=re.DOTALL)


def tags(page: str) -> list[str]:
    """Every tag and HTML comment of a page, code spans' and blocks' own tags included."""
    return re.findall(r"<!--.*?-->|<[^>]*>", page, flags=re.DOTALL)


def assert_inert(markdown: str) -> None:
    page = to_html(markdown)
    outside = outside_code(page)
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    ours = f"{PULL.server_url}/{PULL.repository}/"
    assert all(link.startswith((ours + "commit/", ours + "actions/runs/")) for link in links)
    assert "<img" not in outside
    assert "<script" not in outside
    words = re.sub(r"<[^>]*>", "", outside)
    assert "example.invalid" not in words
    assert "@" not in words
    assert not re.search(r"#\d|GH-\d", words)
    assert not UNSEEN.search(html.unescape(page))
    assert not UNSEEN.search(markdown)


def test_there_are_nineteen() -> None:
    assert len(set(HOSTILE)) == 19


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PULLS)
def test_hostile_text_leaves_the_page_as_it_was(name: str, view: str, text: str) -> None:
    shown = VIEWS[view](hostile_report(name, text))
    assert_inert(shown)
    found, usual = tags(to_html(shown)), harmless_tags(name, view, harmless_like(text))
    if name in CHOSEN:
        found, usual = without_spans(found), without_spans(usual)
    assert found == usual


@pytest.mark.parametrize("text", HOSTILE)
def test_even_hostile_addresses_and_commits_make_no_link(text: str) -> None:
    pull = replace(
        PULL, server_url=text, repository=text, run_url=text, head_sha=text, infra=((text, text),)
    )
    made = replace(hostile_report("pull-regression", text), pull=pull)
    assert "<a " not in outside_code(to_html(render_comment(made)))
    assert_inert(render_comment(made))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.invalid/acme/train/actions/runs/1",
        "https://github.com/acme/train/actions/runs/1)[x](https://example.invalid",
        "https://github.com/acme/train/actions/runs/../../../evil",
        "https://github.com/acme/train/issues/1",
        "https://github.com/acme/train",
        "javascript:alert(1)",
    ],
)
def test_only_our_own_runs_are_linked(url: str) -> None:
    assert run_link("run", url, PULL.server_url, PULL.repository) == "run"
    assert run_link("run", PULL.run_url, PULL.server_url, PULL.repository).startswith("[run](")


def test_only_whole_commits_are_linked() -> None:
    assert commit_link(HEAD_SHA[:12], PULL.server_url, PULL.repository) == "`9ab37e109ab3`"
    assert commit_link(HEAD_SHA, "https://x)", PULL.repository) == "`9ab37e109ab3`"
    assert commit_link(HEAD_SHA, PULL.server_url, PULL.repository).startswith("[`9ab37e109ab3`](")


@pytest.mark.parametrize("letter", ["`", "x", "\U0001f534"])
def test_the_longest_texts_in_the_greatest_number_fit(letter: str) -> None:
    """Everything of the greatest length and number that a trial could carry, and more."""
    names = [f"{letter * 1000}{i}" for i in range(200)]
    why = Explanation(
        names[0],
        phases=tuple(PhaseShift(name, 0.1, 0.2) for name in names),
        imports_added=tuple(ImportChange(name, 1.0, 1, name) for name in names),
        imports_removed=tuple(ImportChange(name, 1.0, 1, name) for name in names),
        note=names[0],
    )
    crash = replace(CRASH, reason=names[0], advice=names[0], output_tail=tuple(names) * 50)
    made = report(
        *(verdict(name, VerdictKind.REGRESSION, 0.2, reason=name) for name in names),
        *(verdict(names[0], VerdictKind.REGRESSION, 0.2, metric=name) for name in names),
        failures=tuple(replace(crash, scenario=name) for name in names),
        explanations=tuple(replace(why, scenario=name) for name in names),
        notes=tuple(names),
        machines=tuple(Machine(name, 4, 1 << 30, name, name) for name in names),
        blocks=dict.fromkeys(names, (0.1,) * 500),
        pull=replace(
            PULL,
            base_ref=names[0],
            infra=tuple((name, name) for name in names),
            pull_edits_definitions=tuple(names),
        ),
    )
    assert utf16_length(render_comment(made)) <= MOST_CHARACTERS
    assert utf16_length(replies.explain(made)) <= MOST_CHARACTERS
    assert utf16_length(replies.explain(made, names[:1])) <= MOST_CHARACTERS
    assert len(render_summary(made).encode()) <= 1 << 20


def texts_of_states(text: str) -> list[str]:
    pull = replace(PULL, base_ref=text)
    return [
        states.render_superseded(pull, text, text),
        *(states.render_not_measured(pull, text, k, [text, text]) for k in states.NotMeasured),
        states.mark_stale(STATES["state-superseded"], pull, now=text, minutes=3),
    ]


def texts_of_replies(text: str) -> list[str]:
    return [
        replies.unknown_command(text),
        replies.unknown_scenarios([text], [text + "1"]),
        replies.unknown_scenarios([text], ["something-else-entirely"]),
        replies.head_moved(text, text),
        replies.accept_without_sha(text),
        replies.accept_without_reason(text),
        replies.not_yet(text),
        replies.nothing_to_accept(text),
        replies.not_allowed(text),
        replies.rights_unknown(text),
        replies.nothing_to_do(text),
    ]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("made", [texts_of_states, texts_of_replies])
def test_states_and_replies_are_inert(made: Callable[[str], list[str]], text: str) -> None:
    for shown, harmless in zip(made(text), made(harmless_like(text)), strict=True):
        assert_inert(shown)
        # A near match adds a suggestion; that it is inert is seen above.
        if "Did you mean" not in shown + harmless:
            assert tags(to_html(shown)) == tags(to_html(harmless))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_status_is_one_visible_line(text: str) -> None:
    for name in PULLS:
        said = status.description(hostile_report(name, text))
        assert 0 < len(said) <= 140
        assert not UNSEEN.search(said)
        assert "\n" not in said


@pytest.mark.parametrize("text", HOSTILE)
def test_annotations_are_visible_lines_on_the_files_of_the_change(text: str) -> None:
    patch = "@@ -1,2 +1,3 @@\n a\n b\n+c"
    (one,) = annotate([explanation(text, text)], {"trainkit/report.py": patch})
    assert one.path == "trainkit/report.py"
    for shown in (one.title, one.message):
        assert not UNSEEN.search(shown)
        assert "\n" not in shown


hostile = st.text(st.sampled_from("`|<>[]()!@#&\\*_~:/\n\r\t \x1b\u202e\u200bax1-."), max_size=120)


@settings(max_examples=300, deadline=None)
@given(hostile)
def test_any_text_in_a_table_is_one_cell(text: str) -> None:
    for made in (code_span(text), prose(text)):
        page = to_html(f"| a | b |\n|---|---|\n| {made} | end |\n")
        assert page.count("<tr>") == 2
        assert page.count("<td>") == 2
        assert "<td>end</td>" in page
        assert not re.search(r"<(a|img|h\d|em|strong|del|script)\b", outside_code(page))


@settings(max_examples=300, deadline=None)
@given(hostile)
def test_any_text_at_the_start_of_a_line_is_a_paragraph(text: str) -> None:
    for made in (code_span(text), prose(text)):
        page = to_html(f"before\n\n{made}\n\nafter")
        kept = outside_code(page)
        assert [tag for tag in tags(kept) if tag not in {"<p>", "</p>"}] == []
        assert kept.count("<p>") == 3


@settings(max_examples=500, deadline=None)
@given(st.text("a1.):- ,%(w'", max_size=12))
def test_what_looks_like_a_sentence_starts_no_list_rule_or_heading(text: str) -> None:
    page = outside_code(to_html(f"before\n{prose(text)}\n\nafter"))
    assert set(tags(page)) <= {"<p>", "</p>"}
    assert page.count("<p>") == 2


@pytest.mark.parametrize(
    "text",
    ["1. first", "2) second", "- item", "---", "+ a", ":tada:", "see www.x.y", "gh-12", "a:b"],
)
def test_a_sentence_with_a_meaning_in_markdown_is_quoted(text: str) -> None:
    assert prose(text) == f"`{text}`"


def test_a_plain_sentence_is_shown_as_one() -> None:
    assert prose("its runner was lost twice: no trials, 40 % done") == (
        "its runner was lost twice: no trials, 40 % done"
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(hostile, max_size=6))
def test_any_lines_stay_in_their_block(lines: list[str]) -> None:
    page = to_html(f"before\n\n{code_block(tuple(lines))}\n\nafter")
    assert re.fullmatch(
        r'<p>before</p>\n<pre( lang="text")?><code[^>]*>[^<]*</code></pre>\n<p>after</p>\n', page
    )
