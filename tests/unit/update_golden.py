"""Write the golden comments anew: `python tests/unit/update_golden.py`, then read the diff."""

from __future__ import annotations

from pathlib import Path

from sample_reports import SAMPLES

from ailab_bot.report.comment import render_comment

GOLDEN = Path(__file__).parent / "golden"

if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, report in SAMPLES.items():
        (GOLDEN / f"{name}.md").write_text(render_comment(report), encoding="utf-8")
