"""What the terminal shows of a diagnosis: any width, any text, the answer last."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from sample_reports import HOSTILE

from ailab_bot.model.diagnosis import Diagnosis, Finding, Level, Section
from ailab_bot.report.doctor import print_diagnosis

WRONG = Finding(
    "scenarios",
    "launch/scenario.yml is malformed",
    Level.WRONG,
    advice="Mend it:\n  id: x",
    why="scenario.yml:3:1: unknown key\n    timeot_s: 3\n    ^",
)
FINE = Finding("swap", "none", cost="Jumps.")
WARNED = Finding("turbo", "on", Level.WARN, "It drifts.", "Turn it off.")
HIDDEN = Finding("governor", "not visible", Level.UNKNOWN, "It drifts.")


def shown(*findings: Finding, width: int = 80) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None)
    print_diagnosis(Diagnosis((Section("Machine", findings),)), console)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_what_is_fine_takes_a_line_and_what_is_not_says_cost_and_advice() -> None:
    assert shown(FINE, WARNED, HIDDEN) == (
        "\nMachine\n"
        "✓  swap      none\n"
        "!  turbo     on\n"
        "             Cost: It drifts.\n"
        "             → Turn it off.\n"
        "?  governor  not visible\n"
        "             Possible cost: It drifts.\n"
        "\n"
        "Nothing is in the way of measuring.\n"
        "1 thing has a cost (!), 1 cannot be seen from here (?). See docs/noise.md."
    )


def test_what_is_wrong_shows_its_place_and_is_named_last() -> None:
    text = shown(FINE, WRONG)
    assert "    timeot_s: 3\n                  ^\n" in text
    assert text.endswith("Mend this before measuring: scenarios.")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_diagnosis_fits_the_terminal_whatever_it_holds(width: int) -> None:
    hostile = [Finding(text, text, Level.WRONG, text, text, text) for text in HOSTILE]
    text = shown(FINE, WARNED, WRONG, *hostile, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "\u202e" not in text
