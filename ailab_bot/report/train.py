"""What `ailab train` found, on a terminal: labels, both predictors side by side, what is used."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ailab_bot.model.learned import TrainingReport, Written
from ailab_bot.report.words import clean

_FILE = {
    Written.NEW: "Written to",
    Written.UNCHANGED: "Nothing new for",
    Written.REMOVED: "The earlier model was removed:",
}


def print_training(report: TrainingReport, where: Path, written: Written, console: Console) -> None:
    """Labels, scores and calibration, notes, and at the end what is used from now on."""
    console.print()
    dates = f" from {report.since} to {report.until}" if report.since else ""
    console.print(
        Text(
            f"{report.labels} labelled pairs of a change and a scenario{dates}, "
            f"{report.moved} with a relevant effect"
        )
    )
    if report.tested:
        console.print(
            Text(
                f"Compared on the latest {report.tested} of them ({report.tested_moved} with an "
                "effect), which the model there never saw."
            )
        )
        console.print(_scores(report))
        console.print(_calibration(report))
    for note in report.notes:
        console.print(Text(f"Note: {clean(note, 400)}"))
    console.print()
    console.print(Text(report.why, style="bold green" if report.chosen else "bold"))
    if written in _FILE:
        console.print(Text(f"{_FILE[written]} {clean(str(where), 300)}"))


def _scores(report: TrainingReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "by hand", "learned"):
        table.add_column(name, justify="right" if name else "left")
    for row in report.recall:
        table.add_row(
            f"found at {row.cost:.0%} of the cost", _percent(row.by_hand), _percent(row.learned)
        )
    table.add_row("Brier score (0 is best)", _score(report.brier_by_hand), _score(report.brier))
    table.add_row(
        "error of calibration",
        _score(report.calibration_error_by_hand),
        _score(report.calibration_error),
    )
    return table


def _calibration(report: TrainingReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("learned said", "on average", "happened", "pairs"):
        table.add_column(name, justify="right")
    for row in report.calibration:
        between = f"{row.low * 100:g} to {row.high * 100:g} %"
        table.add_row(between, _percent(row.said), _percent(row.happened), str(row.count))
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.3g} %"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
