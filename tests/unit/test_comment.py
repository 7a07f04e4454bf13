"""The comment says what happened and what to do, fits into GitHub, and lets nothing out."""

from __future__ import annotations

import html
import re
from dataclasses import fields, is_dataclass, replace
from enum import Enum

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_reports import CRASH, HOSTILE, MANY, REGRESSION, SAMPLES, explanation, report, verdict
from update_golden import GOLDEN

from ailab_bot.model.report import Choice, Report
from ailab_bot.model.verdict import VerdictKind
from ailab_bot.report.comment import MARKER, MOST_CHARACTERS, render_comment
from ailab_bot.report.markdown import code_span


def to_html(markdown: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_comment_reads_as_it_did(name: str) -> None:
    golden = (GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    assert render_comment(SAMPLES[name]) == golden, "run tests/unit/update_golden.py, read the diff"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_comment_is_found_again_and_folds_what_it_opens(name: str) -> None:
    text = render_comment(SAMPLES[name])
    assert text.startswith(MARKER + "\n### ")
    page = to_html(text)
    opened = page.count("<details>") + page.count("<details open>")
    assert opened == page.count("</details>") == page.count("<summary>")
    assert "{{" not in re.sub(r"<code>.*?</code>|<pre.*?</pre>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("regression", "🔴 Slower to first batch: `tabular-mlp` +18.2\u00a0%"),
        ("clean", "✅ No change in time to first batch (2 scenarios)"),
        ("improvement", "🟢 Faster to first batch: `tabular-mlp` −14.3\u00a0%"),
        ("inconclusive", "🟡 Not known yet: `recsys`"),
        ("head-fails", "🔴 Head fails where base works: `vision-cnn`"),
        ("all-failed", "⚠️ Could not be measured: `ddp-gloo`, `vision-cnn`"),
        ("interrupted", "⚠️ Interrupted: partial results"),
        ("incomplete", "⚠️ Incomplete: not everything was measured"),
        ("nothing", "⚠️ Nothing was measured"),
        ("mixed", "🔴 Slower to first batch: `scenario-04` +31.0\u00a0% and 1 more"),
    ],
)
def test_the_headline_is_the_verdict(name: str, title: str) -> None:
    assert render_comment(SAMPLES[name]).splitlines()[1] == f"### {title}"


def test_three_hundred_scenarios_fit_with_the_worst_on_top() -> None:
    text = render_comment(MANY)
    assert len(text) <= MOST_CHARACTERS
    worst = max((v for v in MANY.verdicts), key=lambda v: v.effect or 0)
    first_row = next(line for line in text.splitlines() if line.startswith("| 🔴"))
    assert worst.scenario in first_row


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=300),
    kinds=st.sampled_from(VerdictKind),
)
def test_any_names_fit(names: list[str], kinds: VerdictKind) -> None:
    many = report(
        *(verdict(name, kinds, 0.2) for name in names),
        failures=tuple(replace(CRASH, scenario=name, output_tail=(name,) * 20) for name in names),
        explanations=tuple(explanation(name, name) for name in names),
        notes=tuple(names),
    )
    assert len(render_comment(many)) <= MOST_CHARACTERS


def test_five_thousand_results_with_the_longest_names_still_fit() -> None:
    names = [f"{i:04}" + "`" * 70 for i in range(5000)]
    many = report(*(verdict(name, VerdictKind.REGRESSION, 0.2) for name in names))
    many = replace(
        many,
        plan=replace(
            many.plan, choices=tuple(Choice(n, i % 2 == 0, n) for i, n in enumerate(names))
        ),
    )
    assert len(render_comment(many)) <= MOST_CHARACTERS


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_inside_its_code_span(text: str) -> None:
    page = to_html(f"before {code_span(text)} after | x")
    assert page.startswith("<p>before <code>")
    assert page.endswith("</code> after | x</p>\n")
    inside = page[len("<p>before ") : -len(" after | x</p>\n")]
    assert re.sub(r"</?code>", "", inside).count("<") == 0
    shown = html.unescape(inside)
    assert not re.search(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u206f]", shown)


def with_every_text(value: object, text: str) -> object:
    """The same report with `text` in place of each text that it holds, however deep."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_every_text(item, text) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return replace(value, **{n: with_every_text(getattr(value, n), text) for n in names})
    return value


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["mixed", "head-fails", "all-failed", "unfriendly"])
def test_no_text_of_a_report_is_ever_live(name: str, text: str) -> None:
    hostile = with_every_text(SAMPLES[name], text)
    assert isinstance(hostile, Report)
    page = to_html(render_comment(hostile))
    outside = re.sub(r"<code>.*?</code>|<pre.*?</pre>", "", page, flags=re.DOTALL)
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z0-9!]+)", outside))
    known = "h3 h4 p sub table thead tbody tr th td strong br ul ol li details summary !"
    assert tags <= set(known.split())
    assert "example.invalid" not in outside
    assert "@" not in outside
    assert not re.search(r"#\d|GH-\d", outside)
    assert not re.search(r"[\x00-\x08\x1b\x7f\u200b-\u200f\u202a-\u202e]", page)


def test_a_regression_that_does_not_gate_is_shown_and_does_not_lead() -> None:
    text = render_comment(
        report(
            verdict("a", VerdictKind.REGRESSION, 0.3, "peak_rss_bytes", gates=False), verdict("a")
        )
    )
    assert "Time to first batch is fine, but peak memory" in text
    assert "🟠" in text


def test_the_three_steps_of_the_decision_are_visible() -> None:
    text = render_comment(REGRESSION)
    for word in ("Significance", "Threshold", "Confirmation", "t-test p", "8 fresh blocks"):
        assert word in text
    assert "seed 1687238535" in text
    assert REGRESSION.reproduce in text
