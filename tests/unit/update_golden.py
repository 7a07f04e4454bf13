"""Write the golden comments anew: `python tests/unit/update_golden.py`, then read the diff."""

from __future__ import annotations

from pathlib import Path

from sample_incidents import PAGES
from sample_reports import SAMPLES, STATES

from ailab_bot.report.comment import render_comment

GOLDEN = Path(__file__).parent / "golden"

if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    comments = {name: render_comment(report) for name, report in SAMPLES.items()} | STATES | PAGES
    for old in GOLDEN.glob("*.md"):
        if old.stem not in comments:
            old.unlink()
    for name, text in comments.items():
        (GOLDEN / f"{name}.md").write_text(text, encoding="utf-8")
