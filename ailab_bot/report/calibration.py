"""What `ailab calibrate` found, on a terminal: noise, settings tried, and what now holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ailab_bot.model.calibration import (
    LARGEST_MDE,
    Calibration,
    Judged,
    Mode,
    NoiseRow,
    RocPoint,
)
from ailab_bot.report.words import clean

#: Rows of each table; the policy file has them all.
MOST_ROWS = 40


@contextmanager
def telling(console: Console, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Says what the computer is busy with: a line that changes, or nothing new to read twice."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("calibrating") as status:
            yield lambda text: status.update(Text(text))
    else:
        said: set[str] = set()

        def tell(text: str) -> None:
            topic = text.partition(":")[0]
            if topic not in said:
                said.add(topic)
                console.print(Text(f"calibrate: {topic}"), soft_wrap=True)

        yield tell


def print_calibration(calibration: Calibration, where: Path, console: Console) -> None:
    """Noise, settings, covariates, notes, and at the end whether verdicts may block."""
    console.print()
    console.print(_noise_table(calibration, console.width < 72))
    more = len(calibration.noise) - MOST_ROWS
    if more > 0:
        console.print(Text(f"… and {more} more rows in {clean(str(where), 200)}"))
    console.print(_roc_table(calibration))
    for machine, fit in calibration.covariates.items():
        used = "used" if fit.used else "not used"
        console.print(Text(f"Covariates on {clean(machine, 80)} are {used}: {fit.why}"))
    for note in calibration.notes:
        console.print(Text(f"Note: {clean(note, 400)}"))
    console.print()
    for text, style in _answer(calibration, where):
        console.print(Text(text, style=style))


def _noise_table(calibration: Calibration, narrow: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("scenario", overflow="fold", ratio=3)
    for name in ("blocks", "noise") if narrow else ("blocks", "noise", "builds ±", "margin"):
        table.add_column(name, justify="right")
    table.add_column("found 9 in 10", justify="right")
    table.add_column("", overflow="fold")
    judged = {(row.scenario, row.metric): row for row in calibration.judged}
    several = len({row.machine for row in calibration.noise}) > 1
    for row in calibration.noise[:MOST_ROWS]:
        found = judged[row.scenario, row.metric]
        cells = [_name(row, several), Text(str(row.blocks)), Text(_percent(row.sigma))]
        if not narrow:
            bias = _percent(row.bias_sd) if row.builds > 1 else "–"
            cells += [Text(bias), Text(_percent(found.limits.margin))]
        table.add_row(*cells, Text(_mde(found)), _label(found))
    return table


def _name(row: NoiseRow, several: bool) -> Text:
    text = Text(clean(row.scenario))
    if row.metric != "ttfb_s":
        text.append(f" {clean(row.metric)}", style="dim")
    if several:
        text.append(f" on {clean(row.machine, 40)}", style="dim")
    return text


def _mde(row: Judged) -> str:
    if not row.gates:
        return "–"
    return "> 30 %" if row.mde is None else f"+{row.mde * 100:.2g} %"


def _label(row: Judged) -> Text:
    if not row.gates:
        return Text("")
    return Text("too noisy to gate", style="yellow") if row.too_noisy else Text("ok")


def _roc_table(calibration: Calibration) -> Table:
    """The settings at the chosen error; the policy file holds those at other errors too."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("threshold", "blocks ≤", "false a week", "found", "mean blocks", ""):
        table.add_column(name, justify="right", no_wrap=True)
    chosen = calibration.chosen
    for row in calibration.roc:
        if chosen is not None and row.point.error == chosen.point.error:
            mark = Text("← chosen", style="bold") if row == chosen else Text("")
            table.add_row(*_cells(row, calibration.budget.verdicts_per_week), mark)
    return table


def _cells(row: RocPoint, verdicts_per_week: float) -> list[str]:
    rate = row.false_positives / row.replays * verdicts_per_week
    return [
        _percent(row.point.threshold),
        str(row.point.max_blocks),
        f"{rate:.1f} (≤ {row.at_most * verdicts_per_week:.2g})",
        f"{row.detection * 100:.0f} ± {2 * row.detection_error * 100:.0f} %",
        f"{row.blocks:.1f}",
    ]


def _answer(calibration: Calibration, where: Path) -> list[tuple[str, str]]:
    lines = [(f"Policy: {clean(str(where), 300)}", "")]
    noisy = sorted(calibration.too_noisy)
    if noisy:
        shown = ", ".join(clean(name) for name in noisy[:10])
        lines.append((f"Too noisy to gate (above {LARGEST_MDE:.0%}): {shown}", "yellow"))
    if calibration.mode is Mode.SHADOW:
        lines.append(("Shadow mode: verdicts are advisory and block nothing.", "bold yellow"))
        lines.append((calibration.why, ""))
    else:
        lines.append((f"Certified: {calibration.certificate.text}.", "bold green"))
    return lines


def _percent(value: float) -> str:
    return f"{value * 100:.2g} %"
