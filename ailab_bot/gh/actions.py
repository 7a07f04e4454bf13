"""The runner's side of GitHub Actions: variables in, outputs, summary and log lines out.

Refuses to print anything that could be read as a command of the runner's.
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.gh.event import Event, read_event

#: GitHub drops larger summaries whole.
LARGEST_SUMMARY_BYTES = 1024 * 1024
#: The name of a shard's artifact begins so; attempt and index follow.
TRIALS_ARTIFACT = "ailab-trials"


@dataclass(frozen=True)
class Surroundings:
    """Where in GitHub Actions this process runs. `temp` is emptied after the job."""

    event_name: str
    event_path: Path
    repository: str
    run_id: int
    attempt: int
    server_url: str
    workspace: Path
    temp: Path
    output: Path | None
    summary: Path | None
    config: str
    capacity_s: float | None
    shard: str

    def event(self) -> Event:
        return read_event(self.event_name, self.event_path)

    def set_output(self, name: str, value: str) -> None:
        """An output of the step; the delimiter cannot be guessed by what is inside the value."""
        if self.output is not None:
            fence = f"ailab-{secrets.token_hex(8)}"
            with self.output.open("a", encoding="utf-8") as file:
                file.write(f"{name}<<{fence}\n{value}\n{fence}\n")

    def add_summary(self, markdown: str) -> None:
        """Shown on the run's page; what does not fit is left out whole, never cut in the middle."""
        if self.summary is None:
            return
        size = self.summary.stat().st_size if self.summary.exists() else 0
        data = markdown.encode("utf-8")
        if size + len(data) <= LARGEST_SUMMARY_BYTES:
            with self.summary.open("ab") as file:
                file.write(data)

    def out(self) -> Path:
        """The folder that the action uploads."""
        folder = self.temp / "ailab-out"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def read_surroundings(environ: Mapping[str, str]) -> Surroundings:
    """UserError names the variable that is missing."""
    minutes = environ.get("AILAB_CAPACITY_MINUTES", "").strip()
    return Surroundings(
        event_name=_needed(environ, "GITHUB_EVENT_NAME"),
        event_path=Path(_needed(environ, "GITHUB_EVENT_PATH")),
        repository=_needed(environ, "GITHUB_REPOSITORY"),
        run_id=_number(environ, "GITHUB_RUN_ID"),
        attempt=_number(environ, "GITHUB_RUN_ATTEMPT"),
        server_url=environ.get("GITHUB_SERVER_URL", "https://github.com"),
        workspace=Path(_needed(environ, "GITHUB_WORKSPACE")),
        temp=Path(_needed(environ, "RUNNER_TEMP")),
        output=_path(environ, "GITHUB_OUTPUT"),
        summary=_path(environ, "GITHUB_STEP_SUMMARY"),
        config=environ.get("AILAB_CONFIG") or ".ailab/config.yml",
        capacity_s=None if not minutes else _minutes(minutes) * 60,
        shard=environ.get("AILAB_SHARD", ""),
    )


def say(level: str, text: str, title: str = "") -> None:
    """A line of the log that GitHub shows on the run's page. `level`: notice, warning or error."""
    properties = f" title={_escaped(title, ',:')}" if title else ""
    sys.stdout.write(f"::{level}{properties}::{_escaped(text)}\n")
    sys.stdout.flush()


def artifact_name(attempt: int, index: int) -> str:
    return f"{TRIALS_ARTIFACT}-{attempt}-{index}"


def parse_artifact_name(name: str) -> tuple[int, int] | None:
    """Attempt and index; None: not a shard's artifact."""
    head, _, rest = name.partition(f"{TRIALS_ARTIFACT}-")
    attempt, _, index = rest.partition("-")
    whole = all(part.isascii() and part.isdecimal() and len(part) <= 6 for part in (attempt, index))
    return (int(attempt), int(index)) if not head and whole else None


def _escaped(text: str, more: str = "") -> str:
    """As the runner unescapes it: line ends could begin a command of somebody else's."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise UserError(
            f"{name} is not set",
            why="With --github this command runs inside a GitHub workflow, which sets it.",
            advice="Use the workflows in examples/, or leave --github out.",
        )
    return value


def _number(environ: Mapping[str, str], name: str) -> int:
    value = _needed(environ, name)
    if not (value.isascii() and value.isdecimal()):
        raise UserError(f"{name} is no number", why=f"It is `{value:.40}`.")
    return int(value)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= 100_000:
        raise UserError(
            "`capacity-minutes` is no number of minutes",
            why=f"It is `{text:.40}`.",
            advice="Give runner-minutes such as 30, or leave it out for no limit.",
        )
    return minutes


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None
