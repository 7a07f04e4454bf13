"""People's word on alarms: kept, counted once, and it tightens the rule."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from repositories import new_repository

from ailab_bot.config import load_config
from ailab_bot.errors import UserError
from ailab_bot.flows.feedback import read_opinions, record_opinion
from ailab_bot.model.calibration import Budget, Opinion, false_alarms_per_week

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def opinion(verdict: str, right: bool = False, days_ago: float = 1, note: str = "") -> Opinion:
    return Opinion(NOW - timedelta(days=days_ago), verdict, right, note)


def test_an_opinion_is_appended_and_read_back(tmp_path: Path) -> None:
    config = load_config(None, tmp_path)
    first = opinion("train:ttfb_s@1a2b3c4d", note="shared runner\nbusy 训练")
    path, warning = record_opinion(config, first)
    assert warning == ""
    record_opinion(config, opinion("训练.a:cpu_s@report-17", right=True))
    assert path == tmp_path / ".ailab" / "feedback.jsonl"
    assert read_opinions(path)[0] == first
    assert len(read_opinions(path)) == 2


def test_the_latest_opinion_on_a_verdict_counts_and_old_ones_do_not() -> None:
    opinions = (
        opinion("a:ttfb_s@aaaa", right=True, days_ago=1),
        opinion("a:ttfb_s@aaaa", right=False, days_ago=3),
        opinion("a:ttfb_s@bbbb", days_ago=2),
        opinion("a:ttfb_s@bbbb", days_ago=4),
        opinion("a:ttfb_s@cccc", days_ago=40),
    )
    assert false_alarms_per_week(opinions, NOW) == 0.25


@pytest.mark.parametrize(("observed", "by"), [(0, 1), (1, 1), (1.25, 2), (2, 2), (4.5, 5)])
def test_more_false_alarms_than_agreed_tighten_the_rule(observed: float, by: int) -> None:
    assert Budget(1.0, 1800.0, observed).tightened_by == by


def test_a_used_up_budget_is_told_at_once(tmp_path: Path) -> None:
    config = load_config(None, tmp_path)
    warnings = [record_opinion(config, opinion(f"a:ttfb_s@{n:04}"))[1] for n in range(5)]
    assert warnings[:4] == [""] * 4
    assert "1.25 false alarms a week" in warnings[4]
    assert "ailab calibrate" in warnings[4]


@pytest.mark.parametrize(
    "name", ["", "train", "train:ttfb_s", "train@abcd", "a:b:c@abcd", "a:t@x y", "../a:t@abcd"]
)
def test_a_verdict_that_is_none_is_refused_with_the_right_form(name: str, tmp_path: Path) -> None:
    config = load_config(None, tmp_path)
    with pytest.raises(UserError, match="names no verdict") as caught:
        record_opinion(config, opinion(name))
    assert "<scenario>:<metric>@<head>" in caught.value.why
    assert not (tmp_path / ".ailab" / "feedback.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ('{"schema": 1}', "missing right, verdict, when"),
        ('{"schema": 2, "when": "x", "verdict": "a:t@abcd", "right": true}', "schema 2"),
        ('{"schema": 1, "when": "x", "verdict": "a:t@abcd", "right": true}', "not a time"),
        ('{"schema": 1, "when": "2026-01-01", "verdict": "a:t@abcd", "right": true}', "zone"),
        ('{"schema": 1, "when": "x", "verdict": "a:t@abcd", "right": 1}', "true or false"),
        ('{"schema": 1, "when": "x", "verdict": "a", "right": true}', "names no verdict"),
        ('{"schema": 1, "when": "x", "verdict": "a", "right": true, "b": 1}', "unknown key"),
    ],
)
def test_a_broken_line_is_named(line: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(UserError, match=r"feedback\.jsonl:2") as caught:
        read_opinions(path)
    assert why in caught.value.why


def test_the_command_notes_it_in_the_repository(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "p")
    (folder / "src").mkdir()
    words = [sys.executable, "-m", "ailab_bot", "feedback", "a:ttfb_s@1a2b3c4d", "false"]
    for _ in range(2):
        result = subprocess.run(
            [*words, "--note", "busy runner", "--json", "-"],
            cwd=folder / "src",
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(result.stdout)["over_budget"] is False
    assert "Noted in" in result.stderr
    opinions = read_opinions(folder / ".ailab" / "feedback.jsonl")
    assert len(opinions) == 2
    assert false_alarms_per_week(opinions, datetime.now(UTC)) == 0.25
    bad = subprocess.run(
        [*words[:4], "nonsense", "false"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2
    assert "names no verdict" in bad.stderr


def test_an_opinion_gets_a_line_of_its_own_where_the_last_one_lacks_its_end(tmp_path: Path) -> None:
    config = load_config(None, tmp_path)
    path, _ = record_opinion(config, opinion("a:ttfb_s@aaaa"))
    path.write_text(path.read_text().rstrip("\n"))
    record_opinion(config, opinion("a:ttfb_s@bbbb"))
    assert [each.verdict for each in read_opinions(path)] == ["a:ttfb_s@aaaa", "a:ttfb_s@bbbb"]
