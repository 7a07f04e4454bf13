"""`ailab ab` on a machine that is not quiet, and pinned: real neighbours, real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_ab import ailab, platform


@pytest.fixture
def neighbour() -> Iterator[None]:
    """Keeps one core busy."""
    core = max(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, [{core}])\nos.nice(5)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        yield
        process.kill()


@pytest.mark.usefixtures("neighbour")
def test_disturbed_blocks_are_measured_again_and_the_report_says_so(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.2\n", "DELAY = 0.2  # the same\n")
    core = max(os.sched_getaffinity(0))
    text = f"max_blocks: 10\nnoise: {{pin: '{core}', max_load: 0.2, max_steal: 1, wait_s: 0}}\n"
    (folder / ".ailab" / "config.yml").write_text(text)
    result = ailab(folder, "ab", "base", "head", "--json", "-", "--comment", "c.md", status=0)
    document = json.loads(result.stdout)
    notes = "\n".join(document["notes"]).replace("\u00a0", " ")
    assert f"Every trial of both arms ran on cores {core}." in notes
    again = "launch: 2 blocks were measured again because other work took more than 20 % of the CPU"
    assert again in notes
    assert "disturbed blocks count all the same" in notes
    assert "is measured again: other work took" in result.stderr
    assert again in (folder / "c.md").read_text().replace("\u00a0", " ")
    # What was discarded is kept beside what counts, and no verdict reads it.
    trials = Path(result.stderr.split("Every trial: ")[1].strip())
    discarded = trials.with_name("discarded.jsonl").read_text().splitlines()
    assert 2 <= len(discarded) <= 4
    kept = [json.loads(line)["block"] for line in trials.read_text().splitlines()]
    assert sorted(kept) == [block for block in range(len(kept) // 2) for _ in range(2)]
    again = ailab(tmp_path, "judge", str(trials), "--json", "-", status=0)
    assert [r for r in json.loads(again.stdout)["results"] if r["metric"] == "ttfb_s"]


@pytest.mark.usefixtures("neighbour")
def test_little_capacity_on_a_busy_machine_still_gives_a_verdict(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.3\n", "DELAY = 0.3  # the same\n")
    core = max(os.sched_getaffinity(0))
    text = f"noise: {{pin: '{core}', max_load: 0.05, wait_s: 60}}\n"
    (folder / ".ailab" / "config.yml").write_text(text)
    result = ailab(folder, "ab", "base", "head", "--capacity-s", "4", "--json", "-", status=0)
    document = json.loads(result.stdout)
    assert document["results"][0]["blocks_used"] >= 1
    assert document["runner_seconds"] < 20
