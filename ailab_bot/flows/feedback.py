"""`ailab feedback`: somebody's word on an alarm, kept for the next calibration.

Appended, never changed: who thinks again says so again, and the latest word counts.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ailab_bot.config import Config, load_config
from ailab_bot.errors import UserError
from ailab_bot.measure.git import open_repository
from ailab_bot.model.calibration import OBSERVED_WEEKS, Opinion, false_alarms_per_week
from ailab_bot.model.wire import (
    LONGEST_LINE,
    is_verdict_name,
    opinion_to_json,
    parse_opinions,
)

NAME = "feedback.jsonl"
#: A longer note belongs into the pull request.
LONGEST_NOTE = 2000


def config_of(path: Path | None, folder: Path, *, alone: bool = False) -> Config:
    """The configuration named, else that of `folder`, else that of the repository around it.

    `alone`: without a repository `folder` has to do. Else that is a UserError.
    """
    root = folder
    if path is None and not (folder / ".ailab").is_dir():
        try:
            root = open_repository(folder).root
        except UserError:
            if not alone:
                raise
    return load_config(path, root)


def record_opinion(config: Config, opinion: Opinion) -> tuple[Path, str]:
    """Append it. Returns the file, and a warning where the week's budget is used up, else ""."""
    if not is_verdict_name(opinion.verdict):
        raise UserError(
            f"`{opinion.verdict[:80]}` names no verdict",
            why="A verdict is named <scenario>:<metric>@<head>, head being the commit or report.",
            advice="For instance: ailab feedback train:ttfb_s@1a2b3c4d5e6f false",
        )
    if len(opinion.note) > LONGEST_NOTE:
        raise UserError(
            f"the note has {len(opinion.note)} characters",
            why=f"At most {LONGEST_NOTE} are kept.",
            advice="Say it shorter, or link to where it is said.",
        )
    path = config.folder / NAME
    earlier = read_opinions(path)  # before writing: a file that cannot be read gets no longer
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            start = "" if _ends_a_line(file) else "\n"
            file.write((start + opinion_to_json(opinion) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"cannot write {path}", why=str(error), advice="Check the folder's permissions."
        ) from error
    return path, _warning((*earlier, opinion), config, opinion.when)


def read_opinions(path: Path) -> tuple[Opinion, ...]:
    """All opinions so far; none where the file is missing."""
    try:
        with path.open(encoding="utf-8") as file:
            return parse_opinions(iter(lambda: file.readline(LONGEST_LINE + 1), ""), str(path))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {path}", why=str(error), advice="Mend it, or move it out of the way."
        ) from error


def _ends_a_line(file: BinaryIO) -> bool:
    """Somebody's editor may have left the last line without its end."""
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _warning(opinions: tuple[Opinion, ...], config: Config, now: datetime) -> str:
    observed, budget = false_alarms_per_week(opinions, now), config.false_positives_per_week
    if observed <= budget:
        return ""
    return (
        f"{observed:g} false alarms a week over the last {OBSERVED_WEEKS} weeks are more than the "
        f"{budget:g} agreed: run `ailab calibrate`, which tightens the rule."
    )
