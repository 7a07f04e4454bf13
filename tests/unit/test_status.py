"""The status's description says the result in at most 140 characters, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_reports import CRASH, HOSTILE, PULL, PULL_REGRESSION, SAMPLES, report, verdict

from ailab_bot.model.report import GateMode
from ailab_bot.model.verdict import Conclusion, VerdictKind
from ailab_bot.report import status

wide = st.text(st.characters(), max_size=400) | st.sampled_from(HOSTILE)


def assert_fit_for_github(text: str) -> None:
    assert 0 < len(text) <= status.MOST_CHARACTERS
    assert max(text) <= "\uffff", "GitHub refuses 4-byte characters"
    assert "\n" not in text
    unseen = "\u200b\u200e\u202a\u202e\u2066\u2069\ufeff\u061c\x1b\x7f\x85"
    assert not any(character < " " or character in unseen for character in text)


LOST_TWICE = "its runner was lost twice: no trials arrived"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pull-regression", "tabular-mlp +18.2\u00a0% slower to first batch"),
        ("pull-mixed", "scenario-04 +31.0\u00a0% slower to first batch, and 1 more"),
        ("pull-clean", "No regression in time to first batch: 2 scenarios"),
        ("improvement", "No regression in time to first batch: 2 scenarios (1 faster)"),
        ("inconclusive", "No regression in time to first batch: 2 scenarios (1 not known)"),
        ("pull-head-fails", "vision-cnn crashed on head, not on base"),
        ("flaky-head", "vision-cnn crashed on head far more often than on base"),
        (
            "pull-infra",
            f"2 of 4 scenarios not measured: {LOST_TWICE}. /ailab rerun failed",
        ),
        ("all-failed", "2 of 2 scenarios not measured: trials failed. /ailab rerun failed"),
        ("interrupted", "Not everything was measured. /ailab rerun failed"),
        ("pull-advisory", "Advisory: tabular-mlp +18.2\u00a0% slower to first batch"),
        ("pull-nothing", "Nothing to measure for this change"),
    ],
)
def test_the_result_is_said(name: str, said: str) -> None:
    assert status.description(SAMPLES[name]) == said


def test_an_acceptance_says_who_why_and_what() -> None:
    said = status.description(SAMPLES["pull-accepted"])
    assert said.startswith("Accepted by maria-ops: metadata is needed for audits")
    assert "tabular-mlp +18.2\u00a0%" in said


def test_off_says_so_first() -> None:
    off = replace(PULL_REGRESSION, pull=replace(PULL, mode=GateMode.OFF))
    assert status.description(off).startswith("Off: ")


def test_a_metric_that_is_no_time_is_named() -> None:
    said = status.description(
        report(
            verdict("a", VerdictKind.REGRESSION, 0.3, "peak_rss_bytes", gates=True),
            conclusion=Conclusion.FAILURE,
        )
    )
    assert said == "a +30.0\u00a0% peak memory to first batch"


def test_what_is_advisory_for_want_of_a_calibration_blocks_nothing() -> None:
    said = status.description(report(verdict("a", VerdictKind.REGRESSION, 0.3, gates=False)))
    assert said == "Blocks nothing: a +30.0\u00a0% slower to first batch"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (lambda: status.measuring(6, 2, 12.3), "Measuring 6 scenarios on 2 runners, about 12 min"),
        (lambda: status.measuring(1, 1), "Measuring 1 scenario on 1 runner"),
        (
            lambda: status.superseded("5e11f00d" * 5),
            "Superseded by 5e11f00d5e11, which is measured by itself",
        ),
        (
            lambda: status.cancelled("octo"),
            "Cancelled by octo before there was a result: /ailab rerun",
        ),
        (lambda: status.swept(6.2), "No result after 6 h, so it was ended: /ailab rerun"),
        (
            lambda: status.not_measured(2, 6, "its runner was lost"),
            "2 of 6 scenarios not measured: its runner was lost. /ailab rerun failed",
        ),
        (lambda: status.failed("No plan."), "No plan. /ailab rerun"),
    ],
)
def test_the_other_states_are_said(said: Callable[[], str], text: str) -> None:
    assert said() == text
    assert_fit_for_github(text)


@given(
    texts=st.tuples(wide, wide, wide, wide),
    kind=st.sampled_from(VerdictKind),
    effect=st.floats(allow_nan=True) | st.none(),
    state=st.sampled_from(Conclusion),
    mode=st.sampled_from(GateMode),
    failing=st.booleans(),
    metric=st.sampled_from(["ttfb_s", "peak_rss_bytes"]) | wide,
)
def test_any_report_fits(
    texts: tuple[str, ...],
    kind: VerdictKind,
    effect: float | None,
    state: Conclusion,
    mode: GateMode,
    failing: bool,
    metric: str,
) -> None:
    name, other, who, why = texts
    made = report(
        replace(verdict(name, kind), effect=effect, gates=True, metric=metric),
        conclusion=state,
        failures=(replace(CRASH, scenario=other),) if failing else (),
        pull=replace(
            PULL,
            mode=mode,
            gate_state=state,
            accepted_by=who,
            accepted_reason=why,
            infra=((other, why),) if state is Conclusion.ERROR else (),
        ),
    )
    assert_fit_for_github(status.description(made))


@given(text=wide, number=st.integers(0, 10**9))
def test_any_other_state_fits_and_keeps_its_command(text: str, number: int) -> None:
    for said in (
        status.cancelled(text),
        status.failed(text),
        status.not_measured(number, number, text),
    ):
        assert_fit_for_github(said)
        assert "/ailab rerun" in said
    assert_fit_for_github(status.superseded(text))
    assert_fit_for_github(status.measuring(number, number, float(number)))
    assert_fit_for_github(status.swept(float(number)))
