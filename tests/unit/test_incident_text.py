"""An incident says what happened, who is asked and what to do; nothing in it is live."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_incidents import (
    ACCEPTED,
    ACKNOWLEDGED,
    ATTRIBUTED,
    BLAME,
    CULPRIT,
    DETECTED,
    DROPPED,
    FASTER,
    FILED,
    FIXED,
    ID,
    INCIDENTS,
    JOINED,
    NUMBER,
    PAGES,
    PREPARED,
    PROPOSED,
    SEARCHING,
    STILL,
    STRANGER,
    SURFACE,
    UNATTRIBUTED,
    WHOLE,
    incident,
    moved,
)
from sample_reports import HOSTILE
from update_golden import GOLDEN

from ailab_bot.model.incident import Incident, State, What
from ailab_bot.report import status
from ailab_bot.report.comment import MOST_CHARACTERS, utf16_length
from ailab_bot.report.incident import (
    MOST_TITLE,
    hook_text,
    issue_labels,
    issue_title,
    remark_mark,
    render_issue,
    render_pull_comment,
    render_release_summary,
    render_remark,
)

MARK = f"<!-- ailab-incident:{ID} -->\n### "
BLAMED = [name for name, each in INCIDENTS.items() if each.blame is not None]


def to_html(markdown: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))


@pytest.mark.parametrize("name", PAGES)
def test_each_page_reads_as_it_did(name: str) -> None:
    golden = (GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    assert PAGES[name] == golden, "run tests/unit/update_golden.py, read the diff"


@pytest.mark.parametrize("name", INCIDENTS)
def test_every_issue_is_found_again_and_folds_what_it_opens(name: str) -> None:
    text = render_issue(INCIDENTS[name], SURFACE)
    assert text.startswith(MARK)
    page = to_html(text)
    assert page.count("<details>") == page.count("</details>") == page.count("<summary>") == 2
    assert "{{" not in page
    assert page.count("<table>") == 2


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("detected", "tabular-mlp and 2 more: +18.2 % time to first batch on release/1.4"),
        ("attributed", "tabular-mlp and 2 more: +18.2 % time to first batch (1a2b3c4d1a2b)"),
        ("closed", "tabular-mlp and 2 more: +18.2 % time to first batch (1a2b3c4d1a2b)"),
    ],
)
def test_the_title_says_what_and_since_when(name: str, title: str) -> None:
    assert issue_title(INCIDENTS[name]) == title


@pytest.mark.parametrize("text", [*HOSTILE, "<!channel> <@U1> &", "*bold* _it_ ~no~"])
def test_no_title_and_no_notification_holds_markup(text: str) -> None:
    own = replace(DETECTED, branch=text, moved=(moved(text, metric=text),))
    blamed = replace(ATTRIBUTED, blame=replace(BLAME, login=text, author=text), moved=())
    taken = replace(ACKNOWLEDGED, by=text)
    for each in (Incident(ID, (own,)), Incident(ID, (own, blamed, taken))):
        assert len(issue_title(each)) <= MOST_TITLE
        for shown in (issue_title(each), *(hook_text(each, what) for what in What)):
            assert not re.search(r"[`@<>&*|\[\]!{}\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e]", shown)
            assert not re.search(r"#\d|https?:", shown)


def test_the_worst_scenario_leads() -> None:
    slow, slower = moved("a", 0.06), moved("b", 0.4)
    found = Incident(ID, (replace(DETECTED, moved=(slow, slower)),))
    assert issue_title(found).startswith("b and 1 more: +40.0 %")
    rows = [row for row in render_issue(found, SURFACE).splitlines() if row.startswith("| 🔴")]
    assert ["`b`" in rows[0], "`a`" in rows[1]] == [True, True]


def test_several_metrics_of_one_scenario_are_one_scenario() -> None:
    both = (moved(), moved(effect=0.1, metric="peak_rss_bytes", base=3e8))
    found = Incident(ID, (replace(DETECTED, moved=both),))
    assert issue_title(found).startswith("tabular-mlp: +18.2 %")
    assert "286 MiB → 315 MiB".replace(" M", "\u00a0M") in render_issue(found, SURFACE)


@pytest.mark.parametrize("state", State)
def test_an_issue_has_its_own_label_and_one_of_its_state(state: State) -> None:
    for each in INCIDENTS.values():
        assert issue_labels(each) == ("ailab-incident", f"ailab: {each.state.value}")
    assert state.value == state.value.lower()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("detected", "**Nothing to do yet:** the search for its culprit goes on"),
        ("unattributed", "**Somebody has to look:** the search ended without a culprit"),
        ("attributed", "@dana, **please mend it, or take it back:** [`1a2b3c4d1a2b`]"),
        ("acknowledged", "**@dana has taken it on.**"),
        ("fix-proposed", "**A fix is proposed:** [#57](https://github.com/acme/train/pull/57)"),
        ("fix-dropped", "was closed without being merged"),
        ("still-slow", "**Still slower** at [`5e11f00d5e11`]"),
        ("closed", "is not slower than [`4f0c1d2e4f0c`]"),
        ("accepted", "**Accepted** by @sam"),
        ("joined", "goes on for both"),
    ],
)
def test_the_first_sentence_depends_on_where_it_stands(name: str, said: str) -> None:
    assert said in render_issue(INCIDENTS[name], SURFACE).splitlines()[3]


def test_a_culprit_is_shown_with_what_it_rests_on() -> None:
    text = render_issue(INCIDENTS["attributed"], SURFACE)
    for fact in (
        f"https://github.com/acme/train/commit/{CULPRIT}", "`Report metrics as data frames`",
        "by @dana in [#41](https://github.com/acme/train/pull/41)",
        "inside the merge [`77aa88bb77aa`]",
        "- ✓ Against its parent: +18.0\u00a0% (+15.2 to +20.9\u00a0%), 16 blocks",
        "- ✓ `vision-cnn` against its parent", "- ✓ The measured commit without it: −15.1\u00a0%",
        "now imports pandas at `trainkit/report.py:3`", "Probability more than 99\u00a0%",
        "`Fixes #12`", "`/ailab ack`", "`/ailab revert`", "*not planned*",
        f"git switch -c ailab/revert-{CULPRIT[:12]} origin/release/1.4",
        f"git revert -m 1 {CULPRIT[:12]}",
        BLAME.reproduce,
    ):  # fmt: skip
        assert fact in text, fact


def test_nobody_is_blamed_before_the_search_has_ended() -> None:
    for name in ("detected", "unattributed"):
        text = render_issue(INCIDENTS[name], SURFACE)
        assert "@" not in text
        assert "/ailab revert" not in text
        assert "git revert" not in text
        assert "/compare/4f0c1d2e" in text
        assert "ailab ab 4f0c1d2e4f0c 9ab37e109ab3 --scenario tabular-mlp" in text


def test_an_author_whom_github_does_not_know_is_named_and_not_mentioned() -> None:
    text = render_issue(STRANGER, replace(SURFACE, assigned=False))
    assert "**Please assign somebody" in text
    assert "`Dana Doe`" in text
    assert "@" not in text


@pytest.mark.parametrize("login", ["renovate[bot]", "-x", "a" * 60, "a b", "a_b", "x\n@octocat"])
def test_what_is_no_login_is_never_mentioned(login: str) -> None:
    found = incident(replace(ATTRIBUTED, blame=replace(BLAME, login=login)))
    assert "@" not in re.sub(r"`[^`]*`", "", render_issue(found, SURFACE))


def test_a_revert_that_is_prepared_is_one_click_away() -> None:
    link = "https://github.com/acme/train/compare/release/1.4...ailab/revert-1a2b3c4d1a2b?expand=1"
    assert link in render_issue(INCIDENTS["acknowledged"], SURFACE)
    assert link in render_remark(WHOLE, PREPARED, SURFACE)


@pytest.mark.parametrize("branch", ["a;rm -rf ~", "$(id)", "`id`", "a'b", "-x", "a..b"])
def test_a_branch_never_reaches_a_shell_or_a_link_as_it_is(branch: str) -> None:
    own = (replace(DETECTED, branch=branch), FILED, ATTRIBUTED, replace(PREPARED, branch=branch))
    text = render_issue(Incident(ID, own), SURFACE)
    assert "origin/BRANCH" in text
    assert f"origin/{branch}" not in text
    assert "?expand=1" not in text


def test_an_issue_that_has_no_number_yet_says_so() -> None:
    text = render_issue(Incident(ID, (DETECTED, ATTRIBUTED)), SURFACE)
    assert "`Fixes #` and this issue's number" in text
    assert "#0" not in text


def test_the_text_is_the_same_whenever_and_wherever_it_is_written() -> None:
    later = replace(SURFACE, now=SURFACE.now + timedelta(days=9), run_url="")
    for each in INCIDENTS.values():
        assert render_issue(each, SURFACE) == render_issue(each, later)


def test_a_closed_incident_asks_for_nothing() -> None:
    for name in ("closed", "accepted", "joined"):
        text = render_issue(INCIDENTS[name], SURFACE)
        assert "What to do" not in text
        assert "/ailab" not in text
        assert "### 🔴" not in text


def test_a_fix_is_shown_beside_what_it_mended() -> None:
    text = render_issue(INCIDENTS["closed"], SURFACE)
    assert "After the fix" in text
    assert "**+0.3\u00a0%**" in text
    assert "It was open for 2\u00a0days" in text


@pytest.mark.parametrize("name", BLAMED)
def test_a_pull_request_has_one_comment_that_mentions_nobody(name: str) -> None:
    text = render_pull_comment(INCIDENTS[name], SURFACE)
    assert text.startswith(MARK)
    assert f"[#{NUMBER}](https://github.com/acme/train/issues/{NUMBER})" in text
    assert "@" not in text
    assert len(text.splitlines()) <= 8


def test_a_pull_request_without_an_issue_has_the_commands_itself() -> None:
    text = render_pull_comment(Incident(ID, (DETECTED, ATTRIBUTED)), SURFACE)
    assert "git revert" in text
    assert "#0" not in text
    assert "Fixes" not in text


@pytest.mark.parametrize("step", [DETECTED, FILED, SEARCHING, ACKNOWLEDGED])
def test_a_step_that_is_no_news_gets_no_remark(step: object) -> None:
    assert step in WHOLE.steps
    assert render_remark(WHOLE, step, SURFACE) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (ATTRIBUTED, "**The culprit is known:**"),
        (UNATTRIBUTED, "**The search ended without a culprit.**"),
        (PREPARED, "**A revert is prepared**"),
        (PROPOSED, "**A fix is proposed:**"),
        (DROPPED, "**The fix was dropped:**"),
        (STILL, "**Still slower** at"),
        (FIXED, "**Gone.**"),
        (ACCEPTED, "**Accepted** by `sam`"),
        (JOINED, "that one goes on for both"),
    ],
)
def test_a_step_that_is_news_is_told_once_and_to_nobody_by_name(step: object, said: str) -> None:
    found = incident(PROPOSED, STILL) if step is STILL else incident(ATTRIBUTED, step)  # type: ignore[arg-type]
    text = render_remark(found, step, SURFACE)  # type: ignore[arg-type]
    assert text.startswith(remark_mark(step) + "\n")  # type: ignore[arg-type]
    assert not text.startswith(f"<!-- ailab-incident:{ID} -->")
    assert said in text
    assert "@" not in text


def test_what_is_seen_again_is_news_only_after_a_fix() -> None:
    assert render_remark(incident(ATTRIBUTED, STILL), STILL, SURFACE) == ""
    early = replace(STILL, at=ATTRIBUTED.at)
    assert render_remark(incident(ATTRIBUTED, early, PROPOSED), early, SURFACE) == ""
    assert render_remark(incident(PROPOSED, DROPPED, STILL), STILL, SURFACE) == ""


def test_two_steps_of_a_kind_have_two_marks() -> None:
    assert remark_mark(STILL) != remark_mark(replace(STILL, sha=CULPRIT))
    assert remark_mark(PROPOSED) != remark_mark(replace(PROPOSED, pull=58))
    assert remark_mark(replace(ACCEPTED, by="a --> b")).count("-->") == 1


def test_go_thanks_and_no_go_lists_what_is_open() -> None:
    go, no_go = PAGES["release-go"], PAGES["release-no-go"]
    assert go.startswith("### ✅ Go: nothing is slower than `v1.3`")
    assert "`train` reaches its first batch 12.0\u00a0% sooner than `v1.3`: it is the new" in go
    assert no_go.startswith("### ⛔ No-go: 2 open incidents")
    assert "[#12](https://github.com/acme/train/issues/12)" in no_go
    assert "Slower bit by bit" in no_go
    late = render_release_summary(
        go=False, baseline="v1", incidents=(), improved=FASTER, creep=(), surface=SURFACE
    )
    assert "new baseline" not in late


# --- what somebody else chose ------------------------------------------------------------------


def with_every_text(value: object, text: str) -> object:
    """The same with `text` in place of each text that it holds, SHAs included."""
    if isinstance(value, (Enum, datetime)):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_every_text(item, text) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.name not in {"id", "incident"}]
        return replace(value, **{n: with_every_text(getattr(value, n), text) for n in names})
    return value


def everything(found: Incident) -> list[str]:
    texts = [render_issue(found, SURFACE)]
    texts += [render_pull_comment(found, SURFACE)] if found.blame is not None else []
    texts += [render_remark(found, each, SURFACE) for each in found.steps]
    texts.append(
        render_release_summary(
            go=False, baseline=found.branch, incidents=(found,), improved=found.moved,
            creep=(found.branch,), surface=SURFACE,
        )
    )  # fmt: skip
    return texts


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", INCIDENTS)
def test_no_text_of_an_incident_is_ever_live(name: str, text: str) -> None:
    hostile = with_every_text(INCIDENTS[name], text)
    assert isinstance(hostile, Incident)
    for shown in everything(hostile):
        # A hidden mark is inert as long as it stays one, on its line.
        page = to_html(re.sub(r"\A<!-- [^<>\n]* -->\n", "", shown))
        own = r"<a href=\"https://github\.com/acme/train/(issues|pull|actions/runs)/\d+\">[^<]*</a>"
        outside = re.sub(r"<code>.*?</code>|<pre.*?</pre>", "", re.sub(own, "", page), flags=re.S)
        tags = set(re.findall(r"<\s*/?\s*([a-zA-Z0-9!]+)", outside))
        known = "h3 h4 p sub table thead tbody tr th td strong em br ul ol li details summary"
        assert tags <= set(known.split())
        assert "example.invalid" not in outside
        assert "@" not in outside
        assert not re.search(r"#\d|GH-\d", outside)
        assert not re.search(r"[\x00-\x08\x1b\x7f\u200b-\u200f\u202a-\u202e]", page)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=60))
def test_any_names_and_any_number_of_steps_fit(names: list[str]) -> None:
    many = tuple(moved(name, 0.1 + n / 100) for n, name in enumerate(names))
    blame = replace(
        BLAME, subject=names[0], why=tuple(names), also=(CULPRIT,) * 60,
        proofs=BLAME.proofs * 20,
    )  # fmt: skip
    steps = [replace(STILL, sha=f"{n:040x}", moved=many) for n in range(200)]
    found = incident(replace(ATTRIBUTED, moved=many, blame=blame), PROPOSED, *steps)
    found = replace(found, steps=(replace(DETECTED, moved=many), *found.steps[1:]))
    assert all(utf16_length(text) <= MOST_CHARACTERS // 2 for text in everything(found))
    assert "180 more" in render_issue(found, SURFACE) or "more" in render_issue(found, SURFACE)


# --- the status --------------------------------------------------------------------------------


def test_go_and_no_go_in_one_line() -> None:
    assert status.release_go(12, "v1.3", 0) == "Go: 12 scenarios, none slower than v1.3"
    assert status.release_go(1, "v1.3", 1) == "Go: 1 scenario, not slower than v1.3 (1 faster)"
    assert status.release_no_go([(12, "train +18.2 %"), (15, "tokenize +6.0 %")], 0) == (
        "No-go: 2 open incidents: #12 train +18.2 %, #15 tokenize +6.0 %"
    )
    assert status.release_no_go([(12, "a")], 2) == "No-go: 3 open incidents: #12 a, and 2 more"
    assert status.release_no_go([], 1) == "No-go: 1 open incident, without an issue: see the run"


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.text(max_size=200)), max_size=30),
    st.integers(0, 99),
    st.text(max_size=200),
)
def test_go_and_no_go_always_fit(
    incidents: list[tuple[int, str]], unfiled: int, baseline: str
) -> None:
    for text in (
        status.release_no_go(incidents, unfiled),
        status.release_go(unfiled, baseline, unfiled),
    ):
        assert 0 < len(text) <= status.MOST_CHARACTERS
        assert max(text) <= "\uffff"
        assert "\n" not in text
