"""What the planning job shows: where each scenario runs, and why the others do not."""

from __future__ import annotations

import re
from dataclasses import replace

from cmarkgfm import github_flavored_markdown_to_html

from ailab_bot.model.report import Choice, Plan
from ailab_bot.model.shard import Shard
from ailab_bot.report.plan import render_plan

PLAN = Plan(
    (
        Choice("bert", True, "asked for"),
        Choice("gpt", True, "asked for"),
        Choice("big", False, "needs a gpu runner; ask for it by name"),
        Choice("nightly", False, "runs in tier release only"),
        Choice("weekly", False, "runs in tier release only"),
    ),
    seed=7,
)


def shard(*scenarios: str, index: int = 0, labels: tuple[str, ...] = ("ubuntu-latest",)) -> Shard:
    return Shard(index, labels, 90, scenarios, 400.0, None, "a" * 40, "b" * 40, "c" * 40, 7, 2)


def test_a_plan_shows_every_shard_and_every_scenario_left_with_its_reason() -> None:
    shown = render_plan(PLAN, [shard("bert"), shard("gpt", index=1, labels=("self-hosted", "a"))])
    lines = shown.splitlines()
    assert lines[:4] == [
        "### What is measured",
        "",
        "| Shard | Runner | About | Scenarios |",
        "|--:|:--|--:|:--|",
    ]
    assert lines[4] == "| 1 | `ubuntu-latest` | 6\u00a0min 40\u00a0s | `bert` |"
    assert lines[5] == "| 2 | `self-hosted, a` | 6\u00a0min 40\u00a0s | `gpt` |"
    assert "`big`" in shown
    assert "Left out, runs in tier release only: `nightly`, `weekly`." in lines


def test_why_nothing_is_measured_stands_first_and_there_is_no_table() -> None:
    shown = render_plan(Plan((), 7), (), "No scenario applies: nothing to measure")
    assert shown.splitlines()[2] == "No scenario applies: nothing to measure"
    assert "|" not in shown


def test_hostile_names_stay_in_their_cells() -> None:
    evil = "a` | b @everyone ![x](https://evil.example/p.png) <img src=x>\n# Title"
    plan = Plan((Choice(evil, False, "@all https://evil.example"),), 7)
    shown = render_plan(plan, [shard(evil, labels=("x|y`", "@all"))])
    html = github_flavored_markdown_to_html(shown)
    assert html.count("<tr>") == 2
    assert html.count("<td") == 4
    tags = set(re.findall(r"<(\w+)", html))
    assert tags == {"h3", "table", "thead", "tbody", "tr", "th", "td", "code", "p"}
    outside = re.sub(r"<code>.*?</code>", "", html)
    assert not re.search("@everyone|@all|evil|Title", outside)


def test_many_names_are_counted_and_not_listed() -> None:
    names = tuple(f"s{number:03}" for number in range(300))
    shown = render_plan(Plan(tuple(Choice(n, True, "x") for n in names), 7), [shard(*names)])
    assert "`s039` and 260 more" in shown
    assert "s040" not in shown


def test_a_plan_that_its_time_is_too_short_for_says_so() -> None:
    tight = replace(shard("bert"), capacity_s=100.0)
    text = "1 of 2 shards are expected to need more time than there is"
    assert text in render_plan(PLAN, [tight, shard("gpt", index=1)])
    assert "It is expected to need more time" in render_plan(PLAN, [tight])
    assert "more time" not in render_plan(PLAN, [replace(tight, capacity_s=400.0)])
