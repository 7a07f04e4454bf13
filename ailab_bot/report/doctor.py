"""What `ailab doctor` found, on a terminal: a line for what is fine, more for what is not."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ailab_bot.model.diagnosis import Diagnosis, Finding, Level, Section
from ailab_bot.report.words import clean

_MARKS = {
    Level.OK: ("✓", "green"),
    Level.WARN: ("!", "bold yellow"),
    Level.UNKNOWN: ("?", "cyan"),
    Level.WRONG: ("✗", "bold red"),
}
#: Lines of text read badly when they are longer.
_WIDEST = 110


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """A table per section, and the answer at the end, where a reader's eye is."""
    names = [found.name for section in diagnosis.sections for found in section.findings]
    width = max(map(len, names), default=0)
    for section in diagnosis.sections:
        console.print()
        console.print(Text(section.title, style="bold"))
        console.print(_table(section, width, min(console.width, _WIDEST)))
    console.print()
    for line, style in _answer(diagnosis):
        console.print(Text(line, style=style))


def _table(section: Section, width: int, whole: int) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.width = whole
    table.add_column(width=1, no_wrap=True)
    table.add_column(width=min(width, max(whole // 4, 8)), overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for found in section.findings:
        mark, style = _MARKS[found.level]
        table.add_row(Text(mark, style=style), Text(clean(found.name)), _text(found))
    return table


def _text(found: Finding) -> Text:
    style = _MARKS[found.level][1] if found.level is Level.WRONG else ""
    text = Text(clean(found.state, 600), style=style)
    if found.level is Level.OK:
        return text
    for line in found.why.splitlines():
        text.append(f"\n{clean(line, 400)}", style="not bold default")
    if found.cost:
        word = "Possible cost" if found.level is Level.UNKNOWN else "Cost"
        text.append(f"\n{word}: {clean(found.cost, 600)}", style="not bold dim")
    for number, line in enumerate(found.advice.splitlines()):
        text.append(f"\n{'  ' if number else '→ '}{clean(line, 400)}", style="not bold default")
    return text


def _answer(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    warned, unknown = diagnosis.count(Level.WARN), diagnosis.count(Level.UNKNOWN)
    lines = []
    if diagnosis.fit:
        lines.append(("Nothing is in the way of measuring.", "bold green"))
    else:
        names = ", ".join(clean(found.name) for found in diagnosis.wrong)
        lines.append((f"Mend this before measuring: {names}.", "bold red"))
    told = []
    if warned:
        told.append(f"{warned} {'thing has' if warned == 1 else 'things have'} a cost (!)")
    if unknown:
        told.append(f"{unknown} cannot be seen from here (?)")
    if told:
        lines.append((", ".join(told) + ". See docs/noise.md.", ""))
    return lines
