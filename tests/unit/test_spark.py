"""Pictures made of letters: shape, zero and words agree."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.report.spark import MOST_MARKS, spark, spark_words

MARKS = "▁▂▃▄▅▆▇█"


def test_no_difference_is_the_lowest_mark_of_a_regression() -> None:
    assert spark([0.0, 0.1, 0.2]) == "▁▅█"
    assert spark_words([0.0, 0.1, 0.2]) == (
        "head slower in 2 of 3 blocks (in order, marks from 0.0\u00a0% to +20.0\u00a0%)"
    )


def test_no_difference_is_the_highest_mark_of_an_improvement() -> None:
    assert spark([0.0, -0.1, -0.2]) == "█▅▁"
    assert spark_words([0.0, -0.1, -0.2]).startswith("head faster in 2 of 3 blocks")


def test_nothing_to_draw_is_nothing() -> None:
    assert spark([]) == ""
    assert spark([math.nan, math.inf]) == ""
    assert spark([0.0, 0.0]) == "▁▁"


@given(st.lists(st.floats(-1, 10) | st.just(math.nan), max_size=300))
def test_more_never_looks_less_and_a_line_is_never_too_long(values: list[float]) -> None:
    known = [value for value in values if math.isfinite(value)]
    picture = spark(values)
    assert len(picture) == min(len(known), MOST_MARKS)
    assert set(picture) <= set(MARKS)
    if len(known) <= MOST_MARKS:
        heights = [MARKS.index(mark) for mark in picture]
        pairs = sorted(zip(known, heights, strict=True))
        assert [height for _, height in pairs] == sorted(heights)


def test_a_long_row_keeps_its_shape() -> None:
    assert spark([0.0] * 60 + [1.0] * 60) == "▁" * 20 + "█" * 20
