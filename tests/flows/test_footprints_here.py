"""`ailab footprint` and the plans that rest on it, with a real repository and real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repositories import commit, git, new_repository

TRAIN = """
import sys
import {name}_model
{name}_model.fit()
sys.audit("ailab.first_batch")
"""
MODEL = """
def fit():
    return 1


def report():
    return 2
"""
SCENARIO = "id: {name}\ncommand: [python, {name}.py]\nfirst_batch: api\ntimeout_s: 60\n"
NAMES = ("ads", "news")


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scenarios, each with a model of its own; branches change one thing each."""
    monkeypatch.setenv("AILAB_CACHE_DIR", str(tmp_path / "cache"))
    folder = new_repository(tmp_path / "platform")
    files = {".ailab/config.yml": "noise: {max_load: 1, max_steal: 1}\n", "README.md": "Read\n"}
    for name in NAMES:
        files[f"{name}.py"] = TRAIN.format(name=name)
        files[f"{name}_model.py"] = MODEL
        files[f".ailab/scenarios/{name}.yml"] = SCENARIO.format(name=name)
    commit(folder, files, "The platform")
    for branch, path, text in (
        ("docs", "README.md", "Read it\n"),
        ("dormant", "ads_model.py", MODEL.replace("return 2", "return 3")),
        ("touched", "ads_model.py", MODEL.replace("return 1", "return 3")),
        ("hidden", "json.py", "x = 1\n"),
    ):
        git(folder, "checkout", "--quiet", "-b", branch, "main")
        commit(folder, {path: text}, branch)
    git(folder, "checkout", "--quiet", "main")
    return folder


def ailab(folder: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "ailab_bot", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result


def planned(folder: Path, head: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ailab(folder, "plan", "main", head, "--json", "-").stdout)
    return document


def taken(document: dict[str, Any]) -> set[str]:
    return {row["scenario"] for row in document["scenarios"] if row["taken"]}


def test_without_footprints_every_scenario_is_taken(platform: Path) -> None:
    assert taken(planned(platform, "docs")) == set(NAMES)


def test_footprints_tell_which_scenarios_a_change_can_move(platform: Path) -> None:
    made = ailab(platform, "footprint", "main", "--json", "-")
    assert {row["scenario"] for row in json.loads(made.stdout)["footprints"]} == set(NAMES)
    assert taken(planned(platform, "docs")) == set()
    assert planned(platform, "docs")["skip"].startswith("No scenario can be moved")
    assert taken(planned(platform, "dormant")) == set()
    assert taken(planned(platform, "touched")) == {"ads"}
    reasons = {row["scenario"]: row for row in planned(platform, "touched")["scenarios"]}
    assert reasons["ads"]["rule"] == "predicted"
    assert "fit in ads_model.py" in reasons["ads"]["reason"]
    assert reasons["news"]["rule"] == "proved"
    told = ailab(platform, "plan", "main", "touched", "--explain").stdout
    assert "1 of 2 scenarios measured" in told
    assert "fit in ads_model.py" in " ".join(told.split())
    git(platform, "checkout", "--quiet", "touched")
    assert git(platform, "status", "--porcelain") == "", "a recording leaves nothing in the tree"


def test_calls_that_a_change_adds_weigh_by_how_often_the_function_ran(platform: Path) -> None:
    shared = "def often():\n    pass\n\n\ndef once():\n    pass\n"
    hot, cold = (
        f"import shared\n\n\ndef fit():\n    for _ in range({often}):\n        shared.often()\n"
        "    shared.once()\n"
        for often in (400, 1)
    )
    files = {"shared.py": shared, "ads_model.py": hot, "news_model.py": cold}
    commit(platform, files, "Shared code")
    git(platform, "checkout", "--quiet", "-b", "busier")
    commit(platform, {"shared.py": shared.replace("pass", "abs(1)", 1)}, "Often does more")
    git(platform, "checkout", "--quiet", "main")
    ailab(platform, "footprint", "main")

    document = planned(platform, "busier")

    chance = {row["scenario"]: row["probability"] for row in document["scenarios"]}
    assert taken(document) == set(NAMES)
    assert chance["ads"] > 2 * chance["news"]


def test_an_import_of_what_a_scenario_loads_already_is_less_probable(platform: Path) -> None:
    files = {
        "shared.py": "def once():\n    pass\n",
        "ads_model.py": "import colorsys\nimport shared\n\n\ndef fit():\n    shared.once()\n",
        "news_model.py": "import chunk_of\nimport shared\n\n\ndef fit():\n    shared.once()\n",
        "chunk_of.py": "",
    }
    commit(platform, files, "Shared code")
    git(platform, "checkout", "--quiet", "-b", "importing")
    commit(platform, {"shared.py": "import colorsys\n" + files["shared.py"]}, "Shared imports")
    git(platform, "checkout", "--quiet", "main")
    ailab(platform, "footprint", "main")

    chance = {
        row["scenario"]: row["probability"] for row in planned(platform, "importing")["scenarios"]
    }

    assert chance["ads"] < chance["news"]


def test_a_new_scenario_is_likelier_moved_by_what_its_script_imports_through_another_file(
    platform: Path,
) -> None:
    ailab(platform, "footprint", "main")
    files = {
        ".ailab/scenarios/far.yml": SCENARIO.format(name="far").replace("far.py", "jobs/far.py"),
        ".ailab/scenarios/near.yml": SCENARIO.format(name="near").replace(
            "near.py", "jobs/near.py"
        ),
        "jobs/far.py": "import news_model\n",
        "jobs/near.py": "def main():\n    from steps import fit\n",
        "jobs/steps.py": "try:\n    import ads_model\nexcept ImportError:\n    pass\n",
    }
    commit(platform, files, "Two scenarios that nobody measured yet")
    git(platform, "checkout", "--quiet", "-b", "fit")
    commit(platform, {"ads_model.py": MODEL.replace("return 1", "return 3")}, "Another fit")

    document = planned(platform, "fit")

    chance = {row["scenario"]: row["probability"] for row in document["scenarios"]}
    assert {"far", "near"} <= taken(document)
    assert chance["news"] < chance["far"] < chance["near"]


def test_a_scenario_that_was_asked_for_is_taken_whatever_is_proved(platform: Path) -> None:
    ailab(platform, "footprint", "--quiet")
    made = ailab(platform, "plan", "main", "docs", "--scenario", "news", "--json", "-")
    assert taken(json.loads(made.stdout)) == {"news"}


def test_ab_measures_only_what_could_move_and_says_why(platform: Path) -> None:
    ailab(platform, "footprint", "--quiet")
    out = platform / "report.json"
    ailab(platform, "ab", "main", "docs", "--json", str(out), "--quiet")
    document = json.loads(out.read_text())
    assert document["results"] == []
    assert document["conclusion"] == "success"


def test_a_scenario_that_fails_has_no_footprint_and_the_others_have(platform: Path) -> None:
    broken = "id: broken\ncommand: [python, -c, 'raise SystemExit(3)']\nfirst_batch: api\n"
    (platform / ".ailab/scenarios/broken.yml").write_text(broken)
    made = ailab(platform, "footprint", "--json", "-", status=3)
    document = json.loads(made.stdout)
    assert {row["scenario"] for row in document["footprints"]} == set(NAMES)
    (note,) = document["notes"]
    assert note.startswith("broken: exited with status 3")


def test_an_unknown_commit_is_the_users_to_mend(platform: Path) -> None:
    made = ailab(platform, "footprint", "nowhere", status=2)
    assert "unknown ref `nowhere`" in made.stderr


def test_a_damaged_footprint_is_as_if_there_were_none(platform: Path, tmp_path: Path) -> None:
    ailab(platform, "footprint", "--quiet")
    (file,) = (tmp_path / "cache").glob("footprints/*/ads.json")
    file.write_text("{")
    assert taken(planned(platform, "docs")) == {"ads"}
