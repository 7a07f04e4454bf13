"""`ailab judge` on files as people and attackers bring them: a sound verdict or a clear error."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from replay import recorded_pairs, replay
from repositories import new_repository
from sample_calibrations import SHADOW

from ailab_bot.policyfile import write_policy

PAIRS = recorded_pairs()
Row = dict[str, object]


def rows(effect: float, blocks: int = 40, seed: int = 1, scenario: str = "a") -> list[Row]:
    seconds = replay(PAIRS, blocks, effect, np.random.default_rng(seed))
    return [
        {
            "schema": 1, "scenario": scenario, "block": block, "order": order, "arm": arm,
            "outcome": "ok", "metrics": {"ttfb_s": round(float(value), 6)},
        }
        for block, pair in enumerate(seconds)
        for order, (arm, value) in enumerate(zip(("base", "head"), pair, strict=True))
    ]  # fmt: skip


def judge(
    folder: Path, lines: list[Row] | str, *words: str, **env: str
) -> subprocess.CompletedProcess[str]:
    path = folder / "trials.jsonl"
    text = lines if isinstance(lines, str) else "".join(json.dumps(row) + "\n" for row in lines)
    path.write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ailab_bot", "judge", str(path), *words],
        cwd=folder, env={**os.environ, **env}, text=True, capture_output=True, check=False,
    )  # fmt: skip


def verdict(folder: Path, lines: list[Row], *words: str, status: int = 0) -> Row:
    result = judge(folder, lines, "--json", "-", *words)
    assert result.returncode == status, result.stderr
    (found,) = json.loads(result.stdout)["results"]
    return dict(found)


def fail(row: Row) -> None:
    row["outcome"] = "crash"
    del row["metrics"]


def test_a_regression_and_a_clean_change(tmp_path: Path) -> None:
    slow = verdict(tmp_path, rows(0.15), status=1)
    assert (slow["verdict"], slow["confirmed"], slow["gates"]) == ("REGRESSION", True, True)
    assert verdict(tmp_path, rows(0.0))["verdict"] == "NO_CHANGE"


def test_the_verdict_is_the_same_on_any_processor(tmp_path: Path) -> None:
    """Another job recomputes it, maybe on other hardware: bit for bit the same document."""
    lines = [row for n in range(6) for row in rows(0.02 * n, seed=n, scenario=f"s{n}")]
    features = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_ICL X86_V3 X86_V4"
    plain = judge(tmp_path, lines, "--json", "-")
    old = judge(tmp_path, lines, "--json", "-", NPY_DISABLE_CPU_FEATURES=features)
    assert plain.stdout == old.stdout != ""
    assert plain.returncode == old.returncode == 1


def test_blocks_count_in_the_order_of_the_file_not_of_their_numbers(tmp_path: Path) -> None:
    lines = rows(0.1)
    blocks = [lines[i : i + 2] for i in range(0, len(lines), 2)]
    random.Random(3).shuffle(blocks)
    renumbered = [{**row, "block": n} for n, block in enumerate(blocks) for row in block]
    shuffled = [row for block in blocks for row in block]
    assert verdict(tmp_path, shuffled, status=1) == verdict(tmp_path, renumbered, status=1)


def test_one_percent_of_failed_trials_changes_no_verdict(tmp_path: Path) -> None:
    for effect, kind, status in ((0.0, "NO_CHANGE", 0), (0.1, "REGRESSION", 1)):
        lines = rows(effect, seed=4)
        fail(lines[6])
        found = verdict(tmp_path, lines, status=status)
        assert found["verdict"] == kind
        assert found["blocks_available"] == 39, "its block is left out whole"


def test_one_block_is_not_enough(tmp_path: Path) -> None:
    found = verdict(tmp_path, rows(0.5, blocks=1))
    assert (found["verdict"], found["interval"], found["stopped"]) == (
        "INCONCLUSIVE", None, "capacity",
    )  # fmt: skip


def test_without_any_variance_equal_times_are_no_change_and_others_a_regression(
    tmp_path: Path,
) -> None:
    for head, kind, status in ((1.0, "NO_CHANGE", 0), (1.2, "REGRESSION", 1)):
        lines = rows(0.0)
        for row in lines:
            row["metrics"] = {"ttfb_s": head if row["arm"] == "head" else 1.0}
        assert verdict(tmp_path, lines, status=status)["verdict"] == kind


def test_a_missing_arm_is_an_incomplete_measurement_and_no_success(tmp_path: Path) -> None:
    result = judge(tmp_path, [r for r in rows(0.0) if r["arm"] == "base"], "--json", "-")
    counted = "(40 trials of base, 0 of head)"
    why = f"a: no verdict on ttfb_s, as no block holds it for both arms {counted}"
    assert json.loads(result.stdout) == {
        "schema": 1, "results": [], "failures": [], "conclusion": "error", "shadow": False,
        "notes": [why],
    }  # fmt: skip
    assert result.returncode == 3
    assert why in " ".join(result.stderr.split())


def test_scenarios_without_a_verdict_are_named_also_quietly_and_a_few_of_many(
    tmp_path: Path,
) -> None:
    lines = [row for n in range(30) for row in rows(0.0, blocks=1, scenario=f"s{n}")[:1]]
    result = judge(tmp_path, lines, "--quiet")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.count("no verdict") == 10
    assert "and 20 more without a verdict" in result.stderr


def test_trials_without_a_gating_metric_are_no_success(tmp_path: Path) -> None:
    lines = rows(0.0)
    for row in lines:
        row["metrics"] = {"step_time_s": 1.0}
    result = judge(tmp_path, lines, "--json", "-")
    assert json.loads(result.stdout)["conclusion"] == "error"
    assert result.returncode == 3


def test_two_machines_in_one_block_are_refused_and_in_one_file_are_fine(tmp_path: Path) -> None:
    lines = rows(0.1)
    for row in lines:
        row["machine"] = f"runner-{row['block'] % 2}"  # type: ignore[operator]
    assert verdict(tmp_path, lines, status=1)["verdict"] == "REGRESSION"
    lines[1]["machine"] = "runner-7"
    result = judge(tmp_path, lines)
    assert result.returncode == 2
    assert "trials.jsonl:2: not a trial" in result.stderr
    assert "ran on two machines" in result.stderr


BROKEN: dict[str, Callable[[Row], None]] = {
    "NaN is not a number": lambda row: row.update(metrics={"ttfb_s": float("nan")}),
    "Infinity is not a number": lambda row: row.update(metrics={"ttfb_s": float("inf")}),
    "it must be positive": lambda row: row.update(metrics={"ttfb_s": -1.0}),
    "has a second": lambda row: row.update(block=0, order=1),
    "arm must be one of": lambda row: row.update(arm="control"),
    "missing outcome": lambda row: row.pop("outcome"),
    "unknown key": lambda row: row.update(verdict="NO_CHANGE"),
}


@pytest.mark.parametrize("says", BROKEN)
def test_a_bad_line_is_refused_by_its_number(tmp_path: Path, says: str) -> None:
    lines = rows(0.0)
    BROKEN[says](lines[5])
    result = judge(tmp_path, lines, "--json", "-")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "trials.jsonl:6: not a trial" in result.stderr
    assert says in result.stderr


@pytest.mark.parametrize("text", ["", "\n\n", "not json\n", '{"schema": 1}\n', "\x00\n"])
def test_what_is_no_file_of_trials_is_refused(tmp_path: Path, text: str) -> None:
    result = judge(tmp_path, text)
    assert result.returncode == 2
    assert "ailab:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_threshold_of_the_users_moves_what_is_called_no_change(tmp_path: Path) -> None:
    lines = rows(0.05, seed=2)
    assert verdict(tmp_path, lines, status=1)["verdict"] == "REGRESSION"
    wide = verdict(tmp_path, lines, "--threshold", "0.15")
    assert (wide["verdict"], wide["threshold"]) == ("NO_CHANGE", 0.15)
    assert wide["margin"] == pytest.approx(0.12)


def test_in_a_subfolder_the_policy_of_the_repository_holds(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "p")
    (folder / "src").mkdir()
    policy = folder / ".ailab" / "policy.yml"
    write_policy(SHADOW, policy)
    result = judge(folder / "src", rows(0.15), "--json", "-")
    assert json.loads(result.stdout)["shadow"] is True, result.stderr
    policy.rename(folder / "elsewhere.yml")
    policy.symlink_to("nowhere.yml")
    result = judge(folder / "src", rows(0.15))
    assert result.returncode == 2
    assert "cannot read" in result.stderr
    assert "link to a file that does not exist" in " ".join(result.stderr.split())


def test_the_file_says_what_the_measurement_judged_and_how_many_verdicts_the_change_has(
    tmp_path: Path,
) -> None:
    lines = rows(0.15)
    for row in lines:
        row["metrics"] = {"ttfb_s": row["metrics"]["ttfb_s"], "cpu_s": 1.0}  # type: ignore[index]
    asked = [row | {"judged": ["ttfb_s"], "family": 100_000} for row in lines]
    result = judge(tmp_path, asked, "--json", "-")
    (strict,) = json.loads(result.stdout)["results"]
    assert (strict["metric"], strict["verdict"]) == ("ttfb_s", "REGRESSION")
    assert strict["evidence"] > 1e6
    everything = json.loads(judge(tmp_path, lines, "--json", "-").stdout)["results"]
    assert [each["metric"] for each in everything] == ["ttfb_s", "cpu_s"]
    memory = [row | {"judged": ["cpu_s"]} for row in lines]
    found = json.loads(judge(tmp_path, memory, "--json", "-").stdout)
    assert [r["metric"] for r in found["results"]] == ["cpu_s"]
    assert found["conclusion"] == "success"  # nothing that gates was asked for


@pytest.mark.parametrize("value", [[], "ttfb_s", ["a", "a"], [1], [""]])
def test_a_list_of_judged_metrics_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    result = judge(tmp_path, [rows(0.0)[0] | {"judged": value}])
    assert result.returncode == 2
    assert "judged" in result.stderr


def test_a_gating_metric_that_head_never_reports_is_no_success(tmp_path: Path) -> None:
    (tmp_path / ".ailab").mkdir()
    (tmp_path / ".ailab" / "config.yml").write_text("gate: [ttfb_s, peak_rss_bytes]\n")
    lines = rows(0.0)
    for row in lines:
        if row["arm"] == "base":
            row["metrics"] = dict(row["metrics"], peak_rss_bytes=1e8)  # type: ignore[call-overload]
    result = judge(tmp_path, lines, "--quiet")
    assert result.returncode == 3
    assert "no verdict on peak_rss_bytes" in result.stderr


def test_an_order_that_was_not_random_is_said(tmp_path: Path) -> None:
    lines = rows(0.0)
    assert "the same arm ran first" in " ".join(judge(tmp_path, lines).stdout.split())
    for row in lines[:2]:
        row["order"] = 1 - int(str(row["order"]))
    assert "ran first" not in judge(tmp_path, lines).stdout
