"""Trials are hostile input: read exactly, or refused with the line and the reason."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_reports import SAMPLES

from ailab_bot.errors import UserError
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.wire import (
    LONGEST_LINE,
    MOST_TRIALS,
    parse_trials,
    report_to_json,
    trial_to_json,
)

GOOD = {
    "schema": 1,
    "scenario": "tabular-mlp",
    "block": 0,
    "order": 0,
    "arm": "base",
    "outcome": "ok",
    "metrics": {"ttfb_s": 1.134, "cpu_s": 1.08, "peak_rss_bytes": 241000000},
    "phases": {"interpreter": 0.02, "import": 0.91},
    "covariates": {"run_delay_s": 0.011, "nivcsw": 12, "a_new_one": 3},
}


def line(**changes: object) -> str:
    return json.dumps({key: v for key, v in {**GOOD, **changes}.items() if v is not ...})


def test_a_trial_of_the_contract_is_read_and_unknown_numbers_are_kept() -> None:
    (trial,) = parse_trials([line()], "trials.jsonl")
    assert trial.scenario == "tabular-mlp"
    assert trial.arm is Arm.BASE
    assert trial.metrics["peak_rss_bytes"] == 241e6
    assert trial.covariates["a_new_one"] == 3


finite = st.floats(1e-6, 1e12)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(
    scenario=names,
    block=st.integers(0, 10**6),
    order=st.integers(0, 1),
    arm=st.sampled_from(Arm),
    metrics=st.dictionaries(names, finite, min_size=1, max_size=5),
    covariates=st.dictionaries(names, st.floats(-1e9, 1e9), max_size=5),
)
def test_what_is_written_is_read_back(
    scenario: str,
    block: int,
    order: int,
    arm: Arm,
    metrics: dict[str, float],
    covariates: dict[str, float],
) -> None:
    trial = Trial(scenario, block, order, arm, metrics=metrics, covariates=covariates)
    written = trial_to_json(trial)
    assert "\n" not in written
    assert parse_trials([written], "x") == [trial]


def test_a_failure_is_written_and_read_back() -> None:
    failure = Failure("crashed", "look", ("line 1", "line 2"))
    trial = Trial("a", 1, 0, Arm.HEAD, Outcome.CRASH, failure=failure)
    assert parse_trials([trial_to_json(trial)], "x") == [trial]


BAD = {
    "NaN": line().replace("1.134", "NaN"),
    "Infinity": line().replace("1.134", "-Infinity"),
    "overflow": line().replace("1.134", "1e999"),
    "5,000 digits": line().replace("241000000", "9" * 5000),
    "duplicate key": line().replace('"block": 0', '"block": 0, "block": 1'),
    "duplicate metric": line().replace('"cpu_s"', '"ttfb_s"'),
    "bool as number": line(metrics={"ttfb_s": True}),
    "text as number": line(metrics={"ttfb_s": "1.0"}),
    "bool as count": line(block=True),
    "bool as schema": line(schema=True),
    "newer schema": line(schema=2),
    "negative time": line(metrics={"ttfb_s": -1.0}),
    "zero time": line(metrics={"ttfb_s": 0}),
    "negative block": line(block=-1),
    "third order": line(order=2),
    "unknown arm": line(arm="a"),
    "list as arm": line(arm=["base"]),
    "unknown outcome": line(outcome="fine"),
    "unknown key": line(extra=1),
    "missing scenario": line(scenario=...),
    "empty scenario": line(scenario=""),
    "endless scenario": line(scenario="x" * 201),
    "ok without metrics": line(metrics=...),
    "crash with metrics": line(outcome="crash"),
    "metrics as list": line(metrics=[1]),
    "too many metrics": line(metrics={f"m{i}": 1 for i in range(201)}),
    "half a character": line(scenario="a\ud800"),
    "half a character in a name": line(metrics={"a\ud800": 1}),
    "too small": line(metrics={"ttfb_s": 1e-300}),
    "too large": line(metrics={"ttfb_s": 1e300}),
    "schema as float": line(schema=1.0),
    "ok with failure": line(failure={"reason": "x"}),
    "negative phase": line(phases={"import": -1}),
    "failure as text": line(outcome="crash", metrics=..., failure="boom"),
    "not JSON": "{",
    "a list": "[]",
    "a number": "1",
    "depth": "[" * 100_000,
    "too long": line(scenario="x" * LONGEST_LINE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_refused_with_its_number_and_the_reason(name: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_trials([line(scenario="another"), "", BAD[name]], "trials.jsonl")
    assert caught.value.what == "trials.jsonl:3: not a trial"
    assert caught.value.why
    assert len(caught.value.why) < 300


def test_no_more_trials_are_read_of_a_file_than_anybody_measures() -> None:
    """16 MiB of the shortest lines took 300 MB to read."""
    line = '{{"schema":1,"scenario":"a","block":{},"order":0,"arm":"base","outcome":"crash"}}'
    lines = (line.format(number) for number in itertools.count())
    with pytest.raises(UserError, match="it holds too many trials") as caught:
        parse_trials(lines, "it")
    assert f"At most {MOST_TRIALS} of one file are read; line {MOST_TRIALS + 1}" in caught.value.why
    assert caught.value.advice
    lines = (line.format(number) for number in range(MOST_TRIALS))
    assert len(parse_trials(lines, "it")) == MOST_TRIALS


def test_an_arm_may_stand_only_once_in_a_block() -> None:
    with pytest.raises(UserError) as caught:
        parse_trials([line(), line(order=1)], "x")
    assert "second base trial" in caught.value.why
    with pytest.raises(UserError) as caught:
        parse_trials([line(), line(arm="head")], "x")
    assert "second trial of order 0" in caught.value.why


@pytest.mark.parametrize("name", SAMPLES)
def test_the_json_report_holds_what_the_contract_names(name: str) -> None:
    document = json.loads(json.dumps(report_to_json(SAMPLES[name]), allow_nan=False))
    assert document["schema"] == 1
    assert document["conclusion"] in {"success", "failure", "pending", "error"}
    expected = {"plan", "failures", "explanations", "machine", "commits", "results"}
    assert expected <= set(document)
    for result in document["results"]:
        keys = {"scenario", "metric", "verdict", "confirmed", "effect", "interval", "level"}
        keys |= {"threshold", "blocks_used", "blocks_available", "stopped", "reason"}
        assert keys <= set(result)
        if result["pattern"] != "slow_in_some" or result["interval"] is not None:
            assert result["interval"][0] <= result["effect"] <= result["interval"][1]
