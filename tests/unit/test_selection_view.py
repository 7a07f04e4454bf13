"""How a plan's choice is told: one sentence, groups by rule, and a table for the terminal."""

from __future__ import annotations

import io
import re

import pytest
from cmarkgfm import github_flavored_markdown_to_html
from rich.console import Console
from sample_reports import HOSTILE, PULL_SELECTED, PULL_UNTOUCHED, SELECTED, UNTOUCHED, choice

from ailab_bot.model.report import Choice, Plan, Why
from ailab_bot.report.comment import render_comment
from ailab_bot.report.markdown import mixed
from ailab_bot.report.plan import render_plan
from ailab_bot.report.selection import groups_of, is_selective, likely_text, short_tally, tally
from ailab_bot.report.terminal import print_plan


def shown(plan: Plan, *, explain: bool, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_plan(plan, (), console, explain=explain)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_sentence_counts_every_scenario_once() -> None:
    assert tally(SELECTED) == (
        "3 of 48 scenarios measured: 1 always runs, 1 is worth its cost, 1 was drawn by chance; "
        "30 cannot be moved by this change, 14 were left for capacity, 1 runs elsewhere."
    )
    assert short_tally(UNTOUCHED) == "0 of 2 scenarios measured; 2 cannot be moved by this change."
    assert sum(len(group.choices) for group in groups_of(SELECTED)) == len(SELECTED.choices)


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("rule", list(Why))
def test_no_rule_makes_a_scenario_vanish_from_the_groups(rule: Why, taken: bool) -> None:
    plan = Plan((choice("one", taken, rule, "because"),), 7)
    assert [c.scenario for group in groups_of(plan) for c in group.choices] == ["one"]


def test_a_plan_that_tier_and_names_alone_decided_is_told_as_before() -> None:
    plan = Plan((Choice("a", True, "all scenarios of tier pull_request"),), 7)
    assert not is_selective(plan)
    assert render_plan(plan, ()) == "### What is measured\n\n"


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.834, "83\u00a0%"), (0.0042, "0.42\u00a0%"), (0.0, "0\u00a0%"), (1.0, "100\u00a0%")],
)
def test_a_probability_is_shown_with_two_digits(probability: float, text: str) -> None:
    assert likely_text(choice("a", True, Why.PREDICTED, "x", probability)) == text


def test_nothing_predicted_is_a_dash() -> None:
    assert likely_text(Choice("a", True, "x")) == "–"


def test_the_terminal_explains_every_rule_within_its_width() -> None:
    text = shown(SELECTED, explain=True)
    assert max(map(len, text.splitlines())) <= 80
    for group in groups_of(SELECTED):
        assert group.choices[0].scenario in text
    assert re.search(r"✓ +recsys +83", text)
    assert text.index("recsys") < text.index("nlp-00")


def test_without_explain_the_terminal_names_a_few_of_each_rule() -> None:
    text = " ".join(shown(SELECTED, explain=False).split())
    assert "nlp-07 and 22 more" in text
    assert "nlp-08" not in text
    assert "--explain" in text


def test_three_hundred_scenarios_are_counted_in_the_table() -> None:
    many = [choice(f"s{n:03}", False, Why.PROVED, f"apart {n}", 0.0) for n in range(300)]
    text = shown(Plan(tuple(many), 7), explain=True)
    assert "260 more" in " ".join(text.split())
    assert "s041" not in text


def test_scenarios_with_one_reason_share_a_row() -> None:
    text = " ".join(shown(SELECTED, explain=True).split())
    assert "nlp-00, nlp-01, nlp-02 and" in text
    assert "27 more" in text
    assert "nlp-03" not in text
    assert text.count("touches nothing it used") == 1


def test_the_comment_tells_it_in_short_and_folds_the_reasons() -> None:
    text = render_comment(PULL_SELECTED)
    visible = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    assert short_tally(SELECTED) in visible
    assert "drawn by chance" not in visible
    assert "| `recsys` | 83\u00a0% | 1\u00a0min 58\u00a0s |" in text


def test_a_change_that_moves_nothing_says_so_first() -> None:
    text = render_comment(PULL_UNTOUCHED)
    assert text.splitlines()[1] == "### ✅ No scenario can be moved by this change"


@pytest.mark.parametrize("text", [*HOSTILE, "(" * 50, "a)b(c", ",,,", "()", "@a, #1."])
def test_names_in_a_reason_stay_inert(text: str) -> None:
    html = github_flavored_markdown_to_html(f"x {mixed(text, 200)}")
    assert set(re.findall(r"<(\w+)", html)) <= {"p", "code"}
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    assert not re.search(r"[@#|<]\w|https?:|www\.", outside.replace("<p>", "").replace("</p>", ""))


def test_a_reason_keeps_its_words_and_sets_its_names() -> None:
    reason = "runs changed code: build_vocab in data/text.py (12 % of the traced time)"
    assert mixed(reason, 200) == (
        "runs changed code: `build_vocab` in `data/text.py` (12 % of the traced time)"
    )
