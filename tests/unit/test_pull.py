"""A pull request's comment says what the gate does and offers only what would be taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_reports import (
    BLOCKING,
    CRASH,
    HEAD_SHA,
    PULL,
    PULL_MIXED,
    PULL_REGRESSION,
    REGRESSION,
    RUN,
    SAMPLES,
    report,
    verdict,
)

from ailab_bot.model.report import GateMode
from ailab_bot.model.verdict import Conclusion, VerdictKind
from ailab_bot.report.comment import render_comment
from ailab_bot.report.pull import steps

ACCEPT = f"`/ailab accept {HEAD_SHA} <reason>`"


def steps_of(name: str) -> str:
    made = SAMPLES[name]
    assert made.pull is not None
    return "\n".join(steps(made, made.pull))


@pytest.mark.parametrize(
    ("name", "title", "gate"),
    [
        ("pull-regression", "🔴 Slower to first batch: `tabular-mlp` +18.2\u00a0%", "**blocks**"),
        (
            "pull-accepted",
            "🟠 Slower to first batch: `tabular-mlp` +18.2\u00a0% (accepted)",
            f"/acme/train/commit/{HEAD_SHA}): `maria-ops` accepted it",
        ),
        (
            "pull-advisory",
            "🟠 Slower to first batch: `tabular-mlp` +18.2\u00a0% (advisory)",
            "advisory here and blocks nothing",
        ),
        ("pull-clean", "✅ No change in time to first batch (2 scenarios)", "**passes**"),
        ("pull-nothing", "✅ Nothing to measure for this change", "**passes**"),
        ("pull-infra", "⚠️ Not measured: `recsys`, `ddp-gloo`", "**error**"),
        ("pull-all-failed", "⚠️ Could not be measured: `ddp-gloo`, `vision-cnn`", "**error**"),
    ],
)
def test_the_first_lines_say_verdict_and_gate(name: str, title: str, gate: str) -> None:
    lines = render_comment(SAMPLES[name]).splitlines()
    assert lines[1] == f"### {title}"
    assert gate in lines[3]


def test_a_regression_can_be_mended_doubted_or_accepted() -> None:
    offered = steps_of("pull-regression")
    for part in ("Mend it", "`/ailab rerun tabular-mlp`", ACCEPT, "other than the author"):
        assert part in offered


def test_nobody_is_told_to_accept_a_crash() -> None:
    assert "accept" not in steps_of("pull-head-fails")
    assert "`/ailab rerun vision-cnn`" in steps_of("pull-head-fails")


def test_a_crash_beside_a_regression_is_not_accepted_with_it() -> None:
    both = replace(PULL_REGRESSION, failures=(CRASH,))
    assert "accept" not in "\n".join(steps(both, BLOCKING))
    assert "accept" in "\n".join(steps(PULL_REGRESSION, BLOCKING))


def test_many_crashes_hide_neither_the_slowest_nor_themselves() -> None:
    text = render_comment(SAMPLES["pull-many"])
    assert text.splitlines()[1].endswith("+15.8\u00a0% and 10 more; head fails in 20 more")
    table = text.index("| Scenario |")
    assert text[:table].count("Traceback") <= 2 * 5 + 8
    assert text.index("<details><summary>Head fails in 18 more") < table


def test_what_is_accepted_advisory_or_clean_is_not_to_be_accepted() -> None:
    assert steps_of("pull-accepted") == steps_of("pull-clean") == ""
    assert "accept" not in steps_of("pull-advisory")


def test_what_is_missing_can_be_measured_again() -> None:
    assert "`/ailab rerun failed`" in steps_of("pull-infra")
    assert "`ddp-gloo`, `vision-cnn`" in steps_of("pull-all-failed")


@pytest.mark.parametrize("name", ["UPPER", "a b", "a|b", "x" * 65, "`", "--all@x"])
def test_a_command_that_would_be_refused_is_not_suggested(name: str) -> None:
    made = report(
        verdict(name, VerdictKind.REGRESSION, 0.2), conclusion=Conclusion.FAILURE, pull=BLOCKING
    )
    assert "`/ailab rerun` decides" in "\n".join(steps(made, BLOCKING))


def test_without_a_whole_commit_nothing_is_offered_for_acceptance() -> None:
    short = replace(BLOCKING, head_sha=HEAD_SHA[:12])
    assert "accept" not in "\n".join(steps(replace(REGRESSION, pull=short), short))


def test_the_gate_that_is_off_blocks_nothing() -> None:
    off = replace(PULL, mode=GateMode.OFF)
    text = render_comment(replace(PULL_REGRESSION, pull=off))
    assert "The gate is **off**" in text
    assert "🔴" not in text


def test_machines_shards_log_and_edited_definitions_are_named_once() -> None:
    mixed = render_comment(PULL_MIXED)
    assert mixed.count("2 × `AMD EPYC 7763`") == 1
    assert mixed.count("`Intel Xeon Platinum 8370C`") == 1
    assert "on 3 runners" in mixed
    regression = render_comment(PULL_REGRESSION)
    assert regression.count(f"[run, attempt 2]({RUN})") == 1
    infra = render_comment(SAMPLES["pull-infra"])
    assert infra.count("This change edits `.ailab/scenarios/recsys/scenario.yml`") == 1
    measured = next(line for line in infra.splitlines() if line.startswith("Planned: "))
    assert "recsys" not in measured


def test_a_picture_is_drawn_for_what_moved_alone() -> None:
    still = replace(PULL_REGRESSION, blocks={"vision-cnn": (0.1, 0.2)})
    assert "in order, marks" not in render_comment(still)
    assert "head slower in 16 of 16 blocks" in render_comment(PULL_REGRESSION)


def test_an_improvement_without_an_explanation_promises_none() -> None:
    text = render_comment(PULL_MIXED)
    assert "#### `scenario-02`, block by block" in text
    assert "Why `scenario-02`" not in text


@pytest.mark.parametrize("name", SAMPLES)
def test_no_heading_stands_over_nothing_and_no_row_is_empty(name: str) -> None:
    lines = [line for line in render_comment(SAMPLES[name]).splitlines() if line]
    for line, after in zip(lines, [*lines[1:], "#"], strict=True):
        assert not (line.startswith("#") and after.startswith("#")), line
        assert not (line.startswith("|") and set(line) <= set("| ")), line
