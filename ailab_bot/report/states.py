"""What the bot's comment says when there is no report to show: measuring, superseded, not measured.

The banner of an older report is pure text between two hidden marks, so that it can be put over a
comment of ours, and replaced, without knowing anything about what follows. Nothing is ever read
back out of a comment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from ailab_bot.model.report import PullContext
from ailab_bot.report.comment import MARKER, MOST_CHARACTERS, utf16_length
from ailab_bot.report.markdown import commit_link, prose
from ailab_bot.report.pull import commands_list, run_text

_OPEN, _CLOSE = "<!-- ailab:banner -->", "<!-- /ailab:banner -->"
#: Only directly below the marker: what a report quotes further down is not ours to remove.
_BANNER = re.compile(rf"\A{re.escape(_OPEN)}\n.*?\n{re.escape(_CLOSE)}\n+", re.DOTALL)
_CUT = "\n\n<sub>Cut: the whole report is in the job summary.</sub>\n"
_MOST_REASONS = 10


class NotMeasured(StrEnum):
    """Why a commit has no result at all."""

    MACHINES = "machines"
    CANCELLED = "cancelled"
    FORGED = "forged"
    REFUSED = "refused"
    CHANGED = "changed"
    SETUP = "setup"


_TITLES = {
    NotMeasured.MACHINES: "Not measured: every machine or job failed",
    NotMeasured.CANCELLED: "Not measured: it was cancelled",
    NotMeasured.FORGED: "Not measured: the results cannot be trusted",
    NotMeasured.REFUSED: "Not measured: the configuration does not allow it",
    NotMeasured.CHANGED: "Not measured: the base branch has changed meanwhile",
    NotMeasured.SETUP: "Not measured: the set-up fails, on base too",
}
_WHY = {
    NotMeasured.MACHINES: "The machines failed, which says nothing about the change.",
    NotMeasured.CANCELLED: "Somebody, or a time limit, stopped the run before it had a result.",
    NotMeasured.FORGED: "What the measuring jobs handed over is not what our own job writes.",
    NotMeasured.REFUSED: "A maintainer has to mend it on the base branch.",
    NotMeasured.CHANGED: "Its scenarios are defined differently by now.",
    NotMeasured.SETUP: "That is the scenario's trouble, not this change's.",
}
_NOW = {
    NotMeasured.MACHINES: "**Measure again:** `/ailab rerun`",
    NotMeasured.CANCELLED: "**Measure again:** `/ailab rerun`",
    NotMeasured.FORGED: "**Look at what the change does to its own measurement**, then "
    "`/ailab rerun`",
    NotMeasured.REFUSED: "**Mend `.ailab` on the base branch**, then `/ailab rerun`",
    NotMeasured.CHANGED: "**Measure again:** `/ailab rerun`",
    NotMeasured.SETUP: "**Mend the scenario's set-up on the base branch**, then `/ailab rerun`",
}


def render_superseded(pull: PullContext, old_sha: str, new_sha: str) -> str:
    """The comment when a push came before the first result."""
    old = commit_link(old_sha, pull.server_url, pull.repository)
    new = commit_link(new_sha, pull.server_url, pull.repository)
    return _page(
        "⏭️ Superseded by a newer push",
        f"{old} was not measured to its end, as {new} replaced it.",
        f"Nothing to do: {new} is measured by itself, and its result will stand here.",
    )


def render_not_measured(
    pull: PullContext, sha: str, kind: NotMeasured, reasons: Sequence[str] = ()
) -> str:
    """The comment when nothing was measured. `reasons` are evidence and may be hostile."""
    shown = [f"- {prose(reason, 300)}" for reason in reasons[:_MOST_REASONS]]
    more = len(reasons) - _MOST_REASONS
    shown += [f"- and {more} more"] if more > 0 else []
    head = commit_link(sha, pull.server_url, pull.repository)
    return _page(
        f"⚠️ {_TITLES[kind]}",
        f"The gate is at **error** for {head}: what was not measured never counts as good. "
        f"{_WHY[kind]}",
        "\n".join(shown),
        _NOW[kind],
        _footer(pull),
    )


def mark_stale(body: str, pull: PullContext, *, now: str, minutes: float) -> str:
    """Our comment `body` with a banner: `now` is being measured, what follows is older."""
    new = commit_link(now, pull.server_url, pull.repository)
    last = f"about {max(1, round(minutes))}\u00a0min"
    return with_banner(body, f"⏳ **Measuring {new}** ({last}). What follows is older.")


def with_banner(body: str, text: str) -> str:
    """`body` with one quoted paragraph below its marker, in place of an earlier one.

    `text` is Markdown of ours, on one line. What no longer fits is cut off at the end.
    """
    rest = without_banner(body).removeprefix(MARKER).lstrip("\n")
    line = text.replace("\n", " ")
    made = f"{MARKER}\n{_OPEN}\n> {line}\n{_CLOSE}\n\n{rest}"
    over = utf16_length(made) - MOST_CHARACTERS
    return made if over <= 0 else made[: len(made) - over - len(_CUT)] + _CUT


def without_banner(body: str) -> str:
    """`body` as it was before any banner."""
    marked = body.startswith(MARKER)
    rest = body.removeprefix(MARKER).lstrip("\n")
    rest = _BANNER.sub("", rest)
    return f"{MARKER}\n{rest}" if marked else rest


def _page(title: str, *paragraphs: str) -> str:
    return "\n\n".join([f"{MARKER}\n### {title}", *filter(None, paragraphs)]) + "\n"


def _footer(pull: PullContext) -> str:
    return (
        f"<details><summary>Log and commands</summary>\n\n{run_text(pull)}\n\n"
        f"{commands_list()}\n\n</details>"
    )
