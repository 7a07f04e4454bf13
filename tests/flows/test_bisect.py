"""Stories of `ailab bisect`: real repositories, real processes, the command as users type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from repositories import commit, git, new_repository
from rich.console import Console

from ailab_bot.flows.bisect import BisectRequest, find_culprit
from ailab_bot.flows.confirming import Confirmation
from ailab_bot.flows.measurement import TrialLog
from ailab_bot.model.culprit import Ending
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.model.verdict import Explanation
from ailab_bot.report.progress import LineProgress

TRAIN = """
import sys, time
import settings
time.sleep(settings.DELAY)
sys.audit("ailab.first_batch")
time.sleep(60)
"""
FAST, SLOW = "DELAY = 0.05\n", "DELAY = 0.13\n"
SCENARIO = "id: launch\ncommand: [python, train.py]\nfirst_batch: api\ntimeout_s: 20\n"
#: Other work on the machine that tests must not depend on.
ANY_LOAD = "noise: {max_load: 1, max_steal: 1}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AILAB_CACHE_DIR", str(tmp_path / "cache"))
    folder = new_repository(tmp_path / "platform")
    commit(folder, {"train.py": TRAIN, "settings.py": FAST, ".ailab/config.yml": ANY_LOAD,
                    ".ailab/scenarios/launch.yml": SCENARIO}, "The platform")  # fmt: skip
    git(folder, "tag", "good")
    return folder


def words(folder: Path, count: int, name: str = "words") -> None:
    for number in range(count):
        commit(folder, {f"docs/{name}-{number}.md": f"{number}\n"}, f"More {name} {number}")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ailab_bot", "bisect", *arguments]


def bisect(folder: Path, *arguments: str, status: int) -> tuple[dict[str, Any], str]:
    """The document, and what was told beside it."""
    asked = ("good", "main", "--scenario", "launch", *arguments)
    result = subprocess.run(
        command(*asked, "--json", "-"),
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert result.returncode == status, result.stdout + result.stderr
    return json.loads(result.stdout) if result.stdout else {}, result.stderr


def test_the_commit_that_made_it_slower_is_found_confirmed_and_told(folder: Path) -> None:
    commit(folder, {".ailab/scenarios/check.yml": SCENARIO.replace("launch", "check")}, "Check")
    words(folder, 2)
    commit(folder, {"train.py": "import nothing_here\n" + TRAIN}, "Broken for a moment")
    commit(folder, {"train.py": TRAIN}, "Mended")
    culprit = commit(folder, {"settings.py": "import decimal\n" + SLOW}, "Wait for the disk")
    words(folder, 3, "more")

    found, told = bisect(folder, "--also", "check", status=1)

    assert (found["culprit"], found["ending"]) == (culprit, "found")
    assert found["author"] == {"name": "Test", "email": "test@example.invalid"}
    assert found["posterior"][culprit] > 0.95
    assert found["posterior"][found["bad"]] < 0.05
    assert len(found["posterior"]) == 9
    assert found["effect"] > 0.1
    assert found["interval"][0] < found["interval"][1]
    assert [(each["what"], each["held"]) for each in found["checks"]] == [
        ("against its parent", True), ("BAD without it", True),
    ]  # fmt: skip
    assert [(each["scenario"], each["held"]) for each in found["others"]] == [("check", True)]
    added = [change["module"] for each in found["explanations"] for change in each["imports_added"]]
    assert "decimal" in added
    assert found["trials"] >= 2 * sum(len(each["effects"]) for each in found["tested"])
    assert f"{found['good'][:12]} {found['bad'][:12]} --scenario launch" in found["reproduce"]
    assert "Culprit found" in told
    assert "Wait for the disk" in told
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "worktree", "list").count("\n") == 0


def test_with_a_footprint_the_commit_that_touches_it_is_suspected_first(folder: Path) -> None:
    words(folder, 6)
    culprit = commit(folder, {"settings.py": SLOW}, "Wait for the disk")
    words(folder, 6, "more")
    recorded = [sys.executable, "-m", "ailab_bot", "footprint", "good", "--quiet"]
    subprocess.run(recorded, cwd=folder, check=True, capture_output=True)

    found, told = bisect(folder, "--blocks", "1", status=3)

    assert (found["effect"] is None) == (found["interval"] is None)
    assert "by its footprint 6 of 13 commits cannot move launch" in told
    assert max(found["posterior"], key=found["posterior"].__getitem__) == culprit


def test_of_commits_that_do_not_run_none_is_told_from_the_culprit_among_them(folder: Path) -> None:
    words(folder, 2)
    broken = commit(folder, {"train.py": "import nothing_here\n" + TRAIN}, "Broken")
    slow = commit(folder, {"settings.py": SLOW}, "Slower, and nobody can run it")
    mended = commit(folder, {"train.py": TRAIN}, "Mended")

    found, told = bisect(folder, status=3)

    assert (found["culprit"], found["ending"]) == (None, "ambiguous")
    assert set(found["suspects"]) == {broken, slow, mended}
    assert set(found["skipped"]) == {broken, slow}
    assert "nothing_here" in found["why_skipped"][broken]
    assert "(2 left out)" in found["reason"]
    assert "one of several commits" in told


def test_a_range_that_is_no_slower_blames_nobody(folder: Path) -> None:
    commit(folder, {"settings.py": "DELAY = 0.25\n"}, "So long that little else shows")
    git(folder, "tag", "--force", "good")
    words(folder, 2)

    found, told = bisect(folder, status=0)

    assert (found["culprit"], found["ending"], found["checks"]) == (None, "no_culprit", [])
    assert sum(found["posterior"].values()) < 0.1
    assert "dependencies, the image or the runner" in told


def test_inside_a_guilty_merge_its_own_commit_is_named(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "-b", "side")
    words(folder, 1, "side")
    culprit = commit(folder, {"settings.py": SLOW}, "Slower on a branch")
    words(folder, 1, "after")
    git(folder, "checkout", "--quiet", "main")
    words(folder, 2)
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merge side", "side")
    merge = git(folder, "rev-parse", "HEAD")
    words(folder, 1, "last")

    found, told = bisect(folder, "--no-check", status=1)

    assert (found["culprit"], found["inside_merge"]) == (culprit, merge)
    assert "Nothing was confirmed" in told


def test_an_interruption_inside_a_merge_ends_the_search_and_blames_nobody(
    folder: Path, tmp_path: Path
) -> None:
    git(folder, "checkout", "--quiet", "-b", "side")
    words(folder, 2, "side")
    commit(folder, {"settings.py": SLOW}, "Slower on a branch")
    git(folder, "checkout", "--quiet", "main")
    words(folder, 1)
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merge side", "side")
    document = tmp_path / "found.json"
    process = subprocess.Popen(
        command("good", "main", "--scenario", "launch", "--json", str(document)),
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    inside = False
    for line in process.stderr:
        inside = inside or "searching inside" in line
        if inside and "block   1" in line:
            process.send_signal(signal.SIGINT)
            break
    shown, told = process.communicate(timeout=60)

    assert process.returncode == 130, told
    found = json.loads(document.read_text())
    assert (found["culprit"], found["author"], found["ending"]) == (None, None, "interrupted")
    assert found["suspects"]
    assert "only a suspect" in " ".join(shown.split())
    assert "Culprit found" not in shown


def test_what_was_measured_counts_after_an_interruption(folder: Path, tmp_path: Path) -> None:
    words(folder, 3)
    culprit = commit(folder, {"settings.py": SLOW}, "Wait for the disk")
    words(folder, 2, "more")
    asked = ("good", "main", "--scenario", "launch", "--no-check")
    process = subprocess.Popen(
        command(*asked), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "block   2" in line:
            process.send_signal(signal.SIGINT)
            break
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    (run,) = (tmp_path / "cache" / "runs").iterdir()
    assert f"--resume {run}" in told
    before = {path.name: path.read_text() for path in (run / "range").glob("*.jsonl")}

    found, _ = bisect(folder, "--resume", str(run), "--no-check", status=1)

    assert (found["culprit"], found["checks"]) == (culprit, [])
    for name, text in before.items():
        assert (run / "range" / name).read_text().startswith(text)
    assert found["trials"] > sum(text.count("\n") for text in before.values()) > 0


def test_a_warm_up_that_fails_spoils_nothing_of_what_was_measured(
    folder: Path, tmp_path: Path
) -> None:
    once = tmp_path / "fail-once"
    flaky = f"import os, pathlib\nif os.path.exists({str(once)!r}):\n    os.remove({str(once)!r})\n"
    commit(folder, {"train.py": flaky + "    raise SystemExit(1)\n" + TRAIN}, "Flaky")
    git(folder, "tag", "--force", "good")
    words(folder, 1)
    first, _ = bisect(folder, "--blocks", "1", "--no-check", status=3)
    assert first["trials"] == 2
    (run,) = (tmp_path / "cache" / "runs").iterdir()
    again = ("--resume", str(run), "--blocks", "2", "--no-check")
    once.touch()

    second, _ = bisect(folder, *again, status=3)
    third, _ = bisect(folder, *again, status=3)

    assert not once.exists()
    assert [len(each["tested"][0]["effects"]) for each in (first, second, third)] == [1, 2, 2]
    assert third["trials"] == second["trials"] == 6, "the failed warm-up is kept as what it is"


def test_an_interrupted_confirmation_is_finished_and_not_asked_again(
    folder: Path, tmp_path: Path
) -> None:
    culprit = commit(folder, {"settings.py": SLOW}, "Wait for the disk")
    words(folder, 1)
    asked = ("good", "main", "--scenario", "launch")
    process = subprocess.Popen(
        command(*asked), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    runs = tmp_path / "cache" / "runs"
    while len(list(runs.glob("*/check-*.jsonl"))) < 2:  # the second comparison has begun
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "while the suspect was being confirmed" in " ".join(shown.split())
    (run,) = runs.iterdir()
    before = {path.name: path.read_text() for path in run.glob("check-*.jsonl")}

    found, _ = bisect(folder, "--resume", str(run), status=1)

    assert found["culprit"] == culprit
    assert [each["held"] for each in found["checks"]] == [True, True]
    after = {path.name: path.read_text() for path in run.glob("check-*.jsonl")}
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1


def test_what_several_workers_measured_counts_together(folder: Path, tmp_path: Path) -> None:
    words(folder, 2)
    culprit = commit(folder, {"settings.py": SLOW}, "Wait for the disk")
    words(folder, 1, "more")
    parcels = tmp_path / "parcels"
    asked = ("good", "main", "--scenario", "launch", "--minutes", "0.03")
    for number in (1, 2):
        out = str(parcels / f"machine-{number}")
        worker = [*command(*asked), "--worker", f"{number}/2", "--out", out]
        subprocess.run(worker, cwd=folder, check=True, capture_output=True)
    left = [x for path in parcels.rglob("trials.jsonl") for x in path.read_text().splitlines()]
    assert left

    found, _ = bisect(folder, "--earlier", str(parcels), "--no-check", status=1)
    assert found["culprit"] == culprit
    assert found["trials"] >= len(left)

    run = max((tmp_path / "cache" / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
    again, _ = bisect(folder, "--resume", str(run), "--no-check", status=1)
    assert (again["culprit"], again["trials"]) == (culprit, found["trials"])

    words(folder, 1, "later")
    _, told = bisect(folder, "--earlier", str(parcels), status=2)
    assert "of another search" in told


def test_an_interpreter_is_meant_from_where_the_user_stands(folder: Path) -> None:
    words(folder, 1)
    own = folder / "bin"
    own.mkdir()
    (own / "python").symlink_to(sys.executable)

    found, _ = bisect(folder, "--python", "bin/python", "--blocks", "1", status=3)
    assert found["trials"] == 2
    _, told = bisect(folder, "--python", "venv/bin/python", status=2)
    assert "no interpreter at venv/bin/python" in told


def test_another_search_is_not_gone_on_with(folder: Path, tmp_path: Path) -> None:
    words(folder, 1)
    bisect(folder, "--blocks", "1", status=3)
    (run,) = (tmp_path / "cache" / "runs").iterdir()
    path = folder / ".ailab" / "scenarios" / "launch.yml"
    path.write_text(SCENARIO.replace("20", "21"))

    _, told = bisect(folder, "--resume", str(run), status=2)
    assert "was another one" in told


def test_a_suspect_that_does_not_hold_is_measured_further_and_not_compared_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words(folder, 1)
    suspect = commit(folder, {"settings.py": SLOW}, "Wait for the disk")
    compared: list[str] = []

    def alike(
        self: Confirmation, log: TrialLog, base: str, head: str, *_: object, **__: object
    ) -> tuple[dict[str, str], tuple[Explanation, ...], float]:
        """As if fresh blocks showed no difference."""
        compared.append(head)
        for block in range(40):
            seconds = 0.1 + 0.0001 * (block % 7)
            for order, arm in enumerate(Arm):
                log.append(Trial("launch", block, order, arm, metrics={"ttfb_s": seconds}))
        return {}, (), 1.0

    monkeypatch.setattr(Confirmation, "_measure", alike)
    progress = LineProgress(Console(quiet=True))
    asked = BisectRequest("good", "main", folder, "launch")

    found, run = find_culprit(asked, progress)

    assert (found.ending, found.culprit, compared) == (Ending.UNCONFIRMED, None, [suspect])
    assert [each.sha for each in found.suspects] == [suspect]
    assert "suspected again" in found.reason
    assert [(check.head, check.held) for check in found.checks] == [(suspect, False)]
    assert all(len(each.effects) >= 3 for each in found.tested)
    assert len(found.tested) == 2

    later, _ = find_culprit(replace(asked, resume=run), progress)

    assert (later.ending, compared) == (Ending.UNCONFIRMED, [suspect])
    assert later.trials == found.trials


def test_with_few_blocks_the_likeliest_are_told_and_nobody_is_blamed(folder: Path) -> None:
    words(folder, 5)
    commit(folder, {"settings.py": SLOW}, "Wait for the disk")
    words(folder, 5, "more")

    found, told = bisect(folder, "--blocks", "2", status=3)

    assert (found["culprit"], found["ending"]) == (None, "capacity")
    assert "--blocks" in told


@pytest.mark.parametrize(
    ("break_at", "said"), [("good", "does not run at GOOD"), ("bad", "does not run at BAD")]
)
def test_ends_that_do_not_run_end_the_search(folder: Path, break_at: str, said: str) -> None:
    if break_at == "bad":
        words(folder, 2)
    commit(folder, {"train.py": "import nothing_here\n" + TRAIN}, "Broken")
    if break_at == "good":
        git(folder, "tag", "--force", "good")
        commit(folder, {"train.py": TRAIN}, "Mended")

    _, told = bisect(folder, status=2)

    assert said in told
    assert "nothing_here" in told


def test_an_unknown_scenario_is_told_with_the_known_ones(folder: Path) -> None:
    words(folder, 1)
    result = subprocess.run(
        command("good", "main", "--scenario", "lunch"),
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "lunch" in result.stderr
    assert "launch" in result.stderr
