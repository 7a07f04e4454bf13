"""Footprints on a terminal: what each scenario touched, in numbers, and where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ailab_bot.model.footprint import Footprint, Use
from ailab_bot.report.words import clean


def print_footprints(
    footprints: Sequence[Footprint], notes: Sequence[str], folder: Path, console: Console
) -> None:
    """A row for each scenario, then what could not be recorded."""
    if footprints:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("scenario", overflow="fold", ratio=2)
        for name in ("imported", "opened", "functions", "packages"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("not seen", overflow="fold", ratio=2)
        for each in footprints:
            opened = sum(Use.OPENED in how for how in each.files.values())
            table.add_row(
                Text(clean(each.scenario)),
                str(len(each.files) - opened),
                str(opened),
                str(sum(len(own) for own in each.functions.values())),
                str(len(each.distributions)),
                Text("; ".join(clean(reason, 120) for reason in each.unseen) or "–"),
            )
        console.print(table)
        console.print(Text(f"Kept in {folder}, for plans made with this clone.", style="dim"))
    for note in notes:
        console.print(Text(f"Not recorded: {clean(note, 400)}"))
