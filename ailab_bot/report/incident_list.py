"""Incidents in a terminal: all of them in a table, or one with its times."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ailab_bot.model.incident import Incident
from ailab_bot.report.words import clean, label, percent


def print_incidents(incidents: Sequence[Incident], console: Console, *, closed: int) -> None:
    """The open ones, oldest first; `closed`: how many others there are."""
    if not incidents:
        also = f" ({closed} closed: --all)" if closed else ""
        console.print(Text(f"No open incident{also}."))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("incident", "state", "since", "slower", "culprit", "issue"):
        table.add_column(name, no_wrap=name != "slower")
    for each in incidents:
        worst = max(each.moved, key=lambda moved: moved.effect)
        more = len(each.scenarios) - 1
        what = f"{worst.scenario} {percent(worst.effect)}" + (f" and {more} more" if more else "")
        table.add_row(
            each.id,
            each.state.value,
            f"{each.detected_at:%Y-%m-%d}",
            clean(what, 60),
            each.blame.sha[:12] if each.blame else "–",
            f"#{each.issue}" if each.issue else "–",
        )
    console.print(table)
    if closed:
        console.print(Text(f"{closed} closed: --all", style="dim"))


def print_incident(incident: Incident, console: Console) -> None:
    """One incident: what it moves, who is blamed, and when it came to each state."""
    console.print(Text(f"Incident {incident.id}: {incident.state.value}", style="bold"))
    for moved in incident.moved:
        what = clean(label(moved.metric), 60)
        console.print(Text(f"  {clean(moved.scenario, 64)}: {percent(moved.effect)} {what}"))
    console.print(
        Text(f"  detected on {clean(incident.branch, 80)} at {incident.bad[:12]}, against ")
        + Text(incident.baseline[:12])
    )
    if incident.blame is not None:
        blame = incident.blame
        console.print(
            Text(f"  culprit {blame.sha[:12]} {clean(blame.subject, 100)} ")
            + Text(f"by {clean(blame.author, 60)} ({blame.probability:.1%})")
        )
        if blame.reproduce:
            console.print(Text(f"  reproduce: {clean(blame.reproduce, 300)}", style="dim"))
    console.print()
    for state, at in incident.times.items():
        console.print(Text(f"  {at:%Y-%m-%d %H:%M} UTC  {state.value}"))
