"""The job summary: the comment's Markdown without its hidden marker, and with more room.

GitHub drops a summary of more than 1 MiB whole, so lists are shortened until it fits.
"""

from __future__ import annotations

from ailab_bot.model.report import Report
from ailab_bot.report.comment import MARKER, render_fitting

#: Of one step, in bytes of UTF-8.
MOST_BYTES = 1 << 20


def render_summary(report: Report) -> str:
    """The summary's Markdown, at most MOST_BYTES bytes."""
    text = render_fitting(report, MOST_BYTES, lambda text: len(text.encode()))
    return text.removeprefix(MARKER).lstrip("\n")
