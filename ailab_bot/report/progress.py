"""What a run shows while it goes on, on stderr: a live display, plain lines for CI, or nothing.

Refuses to pass on a line that a terminal or a CI's log would obey: texts hold what a pull request's
code has printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ailab_bot.model.report import Plan
from ailab_bot.model.verdict import FailureSummary, Interval, Verdict
from ailab_bot.report.words import clean, duration, failed_trials, interval_text, percent

#: Plain lines for blocks come at most this often: a CI log is read, not watched.
_LINE_EVERY_S = 10.0
_BAR_CELLS = 8
#: Characters of a line in a note.
_LONGEST_LINE = 500


class Progress(Protocol):
    """What a flow tells while it works. Every scenario is named by its id."""

    def start(self, plan: Plan) -> None: ...

    def activity(self, scenario: str, text: str) -> None: ...

    def block(
        self,
        scenario: str,
        done: int,
        at_most: int,
        effect: float | None,
        interval: Interval | None,
        time_left_s: float | None,
    ) -> None: ...

    def finish(
        self,
        scenario: str,
        verdicts: tuple[Verdict, ...],
        failures: tuple[FailureSummary, ...],
    ) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class LineProgress:
    """One plain line per event, blocks at a readable rate. The last block is always shown."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._shown_at = float("-inf")
        self._held: str | None = None

    def start(self, plan: Plan) -> None:
        self._say(_plan_line(plan))

    def activity(self, scenario: str, text: str) -> None:
        self._say(f"{clean(scenario)}: {text}")

    def block(
        self,
        scenario: str,
        done: int,
        at_most: int,
        effect: float | None,
        interval: Interval | None,
        time_left_s: float | None,
    ) -> None:
        line = f"{clean(scenario)}: {_block_text(done, at_most, effect, interval, time_left_s)}"
        if self._clock() - self._shown_at >= _LINE_EVERY_S:
            self._say(line)
        else:
            self._held = line

    def finish(
        self,
        scenario: str,
        verdicts: tuple[Verdict, ...],
        failures: tuple[FailureSummary, ...],
    ) -> None:
        if self._held is not None:
            self._say(self._held)
        for line in _finish_lines(scenario, verdicts, failures):
            self._say(line)

    def note(self, text: str) -> None:
        for line in harmless_lines(text):
            self._say(line)

    def close(self) -> None: ...

    def _say(self, line: str) -> None:
        self._shown_at = self._clock()
        self._held = None
        self._console.print(Text(line), soft_wrap=True)


class LiveProgress:
    """A line at the bottom of the terminal that changes, and finished scenarios above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Drawn between trials only: a thread that refreshes would run beside what is timed.
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._done = 0
        self._all = 0

    def start(self, plan: Plan) -> None:
        self._all = len(plan.taken)
        self._console.print(Text(_plan_line(plan)))
        self._live.start()

    def activity(self, scenario: str, text: str) -> None:
        self._show(scenario, Text(text, style="dim"))

    def block(
        self,
        scenario: str,
        done: int,
        at_most: int,
        effect: float | None,
        interval: Interval | None,
        time_left_s: float | None,
    ) -> None:
        filled = round(_BAR_CELLS * done / at_most)
        bar = Text("━" * filled, style="cyan") + Text("━" * (_BAR_CELLS - filled), style="dim")
        text = _block_text(done, at_most, effect, interval, time_left_s)
        self._show(scenario, bar + Text(" " + text))

    def finish(
        self,
        scenario: str,
        verdicts: tuple[Verdict, ...],
        failures: tuple[FailureSummary, ...],
    ) -> None:
        self._done += 1
        for line in _finish_lines(scenario, verdicts, failures):
            self._live.console.print(Text(line))

    def note(self, text: str) -> None:
        for line in harmless_lines(text):
            self._live.console.print(Text(line, style="dim"))

    def close(self) -> None:
        self._live.stop()

    def _show(self, scenario: str, what: Text) -> None:
        place = Text(f"{self._done + 1}/{self._all} {clean(scenario, 24)} ", style="bold")
        line = place + what
        line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(line, refresh=True)


def choose_progress(console: Console, quiet: bool) -> Progress:
    """`console` writes to stderr; with `quiet`, nothing is written."""
    if quiet:
        return LineProgress(Console(quiet=True))
    return LiveProgress(console) if console.is_terminal else LineProgress(console)


def harmless_lines(text: str) -> list[str]:
    """Lines that a log shows and does not obey. A runner of GitHub takes a line that begins with
    `::`, after blanks, for a command, and `##[` wherever it stands; so what follows the first line,
    which may be anybody's output, begins with a bar.
    """
    lines = [clean(line, _LONGEST_LINE).replace("##[", "## [") for line in text.splitlines()]
    return [
        f"| {line}" if number or line.lstrip().startswith("::") else line
        for number, line in enumerate(lines)
    ]


def _plan_line(plan: Plan) -> str:
    left = f", {len(plan.left)} left out" if plan.left else ""
    limit = "" if plan.capacity_s is None else f", at most {duration(plan.capacity_s)}"
    noun = "scenario" if len(plan.taken) == 1 else "scenarios"
    return f"{len(plan.taken)} {noun} to measure{left}{limit}, seed {plan.seed}"


def _block_text(
    done: int,
    at_most: int,
    effect: float | None,
    interval: Interval | None,
    time_left_s: float | None,
) -> str:
    parts = [f"block {done}/{at_most}"]
    if effect is not None:
        parts.append(percent(effect) + (f" ({interval_text(interval)})" if interval else ""))
    if time_left_s is not None:
        parts.append(f"≤ {duration(time_left_s)} left")
    return ", ".join(parts)


def _finish_lines(
    scenario: str, verdicts: tuple[Verdict, ...], failures: tuple[FailureSummary, ...]
) -> list[str]:
    name = clean(scenario)
    lines = [
        f"{name}: {verdict.kind.value} {verdict.metric} {percent(verdict.effect)}, "
        f"{verdict.blocks_used} blocks"
        for verdict in verdicts
    ]
    return lines + [
        f"{name}: {failed_trials(failure)}: {clean(failure.reason, 200)}" for failure in failures
    ]
