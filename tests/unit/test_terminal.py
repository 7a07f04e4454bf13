"""What the terminal shows: any width, any names, live or as lines."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from sample_reports import HOSTILE, MANY, REGRESSION, SAMPLES, report, verdict

from ailab_bot.errors import UserError
from ailab_bot.model.verdict import Interval, VerdictKind
from ailab_bot.report.comment import render_comment
from ailab_bot.report.progress import (
    LineProgress,
    LiveProgress,
    choose_progress,
)
from ailab_bot.report.terminal import MOST_ROWS, print_comment, print_error, print_report
from ailab_bot.report.words import duration, percent, seconds, size


def console(width: int = 80, terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, force_terminal=terminal, color_system=None), file


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_fits_the_terminal(name: str, width: int) -> None:
    where, file = console(width)
    print_report(SAMPLES[name], where)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in file.getvalue()


def test_a_report_says_why() -> None:
    where, file = console(100)
    print_report(REGRESSION, where)
    text = file.getvalue()
    assert "Slower to first batch: tabular-mlp +18.2" in text
    assert "now imports pandas with 322 more" in text
    assert "trainkit/report.py:3" in text


def test_unicode_names_and_markup_are_shown_as_they_are() -> None:
    where, file = console(120)
    print_report(report(verdict("训练-модель-ñ"), verdict("[red]x[/red]")), where)
    assert "训练-модель-ñ" in file.getvalue()
    assert "[red]x[/red]" in file.getvalue()


def test_hostile_names_move_no_cursor() -> None:
    where, file = console(120, terminal=True)
    print_report(report(*(verdict(name) for name in HOSTILE)), where)
    assert "\x1b]8" not in file.getvalue()
    assert "\u202e" not in file.getvalue()


def test_three_hundred_scenarios_are_summed_up() -> None:
    where, file = console(100)
    print_report(MANY, where)
    assert f"… and {300 - MOST_ROWS} more" in file.getvalue()


def test_an_error_says_what_why_and_what_now() -> None:
    where, file = console(40)
    print_error(UserError("no scenario", why="line one\nline two", advice="Write one."), where)
    assert file.getvalue().splitlines() == [
        "ailab: no scenario",
        "  line one",
        "  line two",
        "  Write one.",
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_comment_is_shown_without_its_html(name: str) -> None:
    where, file = console(80)
    print_comment(render_comment(SAMPLES[name]), where)
    assert "<details" not in file.getvalue()
    assert "<!--" not in file.getvalue() or name == "unfriendly"
    assert max(map(len, file.getvalue().splitlines())) <= 80


def test_lines_come_at_a_readable_rate_and_the_last_block_is_not_lost() -> None:
    where, file = console(200)
    now = 0.0
    progress = LineProgress(where, clock=lambda: now)
    progress.start(REGRESSION.plan)
    for block in range(1, 13):
        now += 1.0
        progress.block("a", block, 40, 0.01, Interval(-0.02, 0.03), 61.0)
    progress.finish("a", (verdict("a"),), ())
    lines = file.getvalue().splitlines()
    assert "3 scenarios to measure, 1 left out, seed 1687238535" in lines[0]
    assert [line for line in lines if "block " in line] == [lines[1], lines[2]]
    assert "block 10/40" in lines[1]
    assert "block 12/40" in lines[2]
    assert "a: NO_CHANGE ttfb_s +0.4\u00a0%, 12 blocks" in lines[3]


def test_what_a_program_printed_is_shown_and_not_obeyed() -> None:
    """A log of GitHub takes `::error` at the start of a line, and `##[` anywhere, for a command."""
    said = "bad: setup failed\n::error::boo\r  ::stop-commands::x\nx ##[add-mask]1\n\x1b[2J\x07"
    where, file = console(200)
    LineProgress(where).note(said + "\n" + "y" * 9999)
    lines = file.getvalue().splitlines()
    assert lines[0] == "bad: setup failed"
    assert lines[1] == "| ::error::boo"
    assert lines[2] == "|   ::stop-commands::x"
    assert lines[3] == "| x ## [add-mask]1"
    assert len(lines) == 6
    assert len(lines[5]) < 600
    assert "\x1b" not in file.getvalue()
    where, file = console(200)
    LineProgress(where).note(" ::error::first")
    assert file.getvalue() == "|  ::error::first\n"
    where, file = console(200, terminal=True)
    LiveProgress(where).note(said)
    assert "\x1b[2J" not in file.getvalue()
    assert "\x07" not in file.getvalue()
    assert "| ::error::boo" in file.getvalue()


def test_the_live_display_works_and_cleans_up() -> None:
    where, file = console(80, terminal=True)
    progress = LiveProgress(where)
    progress.start(REGRESSION.plan)
    progress.activity("a", "warm-up base")
    progress.block("a", 3, 40, 0.01, None, 10.0)
    progress.note("a note")
    progress.finish(
        "a", (verdict("a", VerdictKind.REGRESSION, 0.2),), (SAMPLES["head-fails"].failures[0],)
    )
    progress.close()
    assert "a: REGRESSION ttfb_s +20.0" in file.getvalue()
    assert "a note" in file.getvalue()


def test_the_display_suits_the_place() -> None:
    where, file = console(terminal=True)
    quiet = choose_progress(where, quiet=True)
    quiet.start(REGRESSION.plan)
    quiet.note("a note")
    assert file.getvalue() == ""
    assert isinstance(choose_progress(console()[0], quiet=False), LineProgress)
    assert isinstance(choose_progress(console(terminal=True)[0], quiet=False), LiveProgress)


def test_numbers_read_well() -> None:
    assert percent(0.1824) == "+18.2\u00a0%"
    assert percent(-0.031) == "−3.1\u00a0%"
    assert percent(-0.0001) == "0.0\u00a0%"
    assert percent(None) == percent(float("nan")) == "–"
    assert seconds(1.1339) == "1.13\u00a0s"
    assert seconds(0.09421) == "94\u00a0ms"
    assert seconds(-0.004) == "−4.0\u00a0ms"
    assert seconds(0.9999) == "1.00\u00a0s"
    assert duration(200.4) == "3\u00a0min 20\u00a0s"
    assert duration(3900) == "1\u00a0h 05\u00a0min"
    assert size(241e6) == "230\u00a0MiB"
    assert size(3e9) == "2.79\u00a0GiB"


def test_an_unbounded_interval_is_left_out() -> None:
    where, file = console(100)
    print_report(report(replace(verdict("a"), interval=None)), where)
    assert "None" not in file.getvalue()


def test_output_inside_an_error_is_no_command_of_a_runners() -> None:
    shown = io.StringIO()
    why = "it said:\n::error::all is well\n ##[command]rm"
    print_error(UserError("it failed", why=why, advice="Mend it."), Console(file=shown, width=80))
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert "| ::error::all is well" in lines
    assert not any(line.startswith("::") or "##[" in line for line in lines)
