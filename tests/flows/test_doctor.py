"""Stories of `ailab doctor`: the command as users type it, in good places and in bad ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

SCENARIO = "id: launch\ncommand: [python, train.py]\n"
WHERE = ".ailab/scenarios/launch/scenario.yml"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = new_repository(tmp_path / "p")
    commit(folder, {"train.py": "pass\n", WHERE: SCENARIO})
    return folder


def doctor(
    folder: Path, *words: str, status: int, **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "GH_"))}
    result = subprocess.run(
        [sys.executable, "-m", "ailab_bot", "doctor", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**env, "COLUMNS": "80", **variables},
    )
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def findings(folder: Path, *words: str, status: int = 0, **variables: str) -> dict[str, dict]:
    document = json.loads(doctor(folder, *words, "--json", "-", status=status, **variables).stdout)
    assert document["fit"] is (status == 0)
    return {f["name"]: f for section in document["sections"] for f in section["findings"]}


def test_in_a_good_repository_nothing_is_in_the_way(repository: Path) -> None:
    result = doctor(repository, status=0)
    assert "Nothing is in the way of measuring." in result.stdout
    for text in ("Machine", "cores", "ASLR on", "hash seed", "1: launch", "may be written"):
        assert text in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == ""
    assert git(repository, "status", "--porcelain", "--ignored") == ""


def test_a_broken_scenario_is_named_with_its_place(repository: Path) -> None:
    (repository / WHERE).write_text(SCENARIO + "timeot_s: 3\n")
    result = doctor(repository, status=2)
    assert "✗" in result.stdout
    text = " ".join(result.stdout.split())
    assert "unknown key `timeot_s`; did you mean `timeout_s`?" in text
    assert "Mend this before measuring: scenarios." in text


def test_a_broken_configuration_does_not_hide_what_else_is_there(repository: Path) -> None:
    (repository / ".ailab" / "config.yml").write_text("noise: {pin: all, max_load: 5}\n")
    (repository / WHERE).write_text("id: launch\n")
    found = findings(repository, status=2)
    assert found["configuration"]["level"] == "wrong"
    assert "expected auto, off or cores" in found["configuration"]["why"]
    assert "at most 1" in found["configuration"]["why"]
    assert "`command` is missing" in found["scenarios"]["why"]
    assert found["cores"]["state"]
    assert found["python"]["level"] == "ok"


def test_cores_that_are_not_there_are_the_users_to_mend(repository: Path) -> None:
    (repository / ".ailab" / "config.yml").write_text("noise: {pin: 8000}\n")
    found = findings(repository, status=2)
    assert "cannot pin trials to cores 8000" in found["pinning"]["state"]


def test_what_the_configuration_asks_for_is_shown(repository: Path) -> None:
    core = min(os.sched_getaffinity(0))
    text = f"max_blocks: 20\nnoise: {{pin: '{core}', threads: 2, max_load: 0.5, wait_s: 3}}\n"
    (repository / ".ailab" / "config.yml").write_text(text)
    found = findings(repository)
    assert found["pinning"]["state"] == f"every trial runs on cores {core}"
    assert found["threads"]["state"].startswith("2,")
    quiet = found["quiet machine"]["state"].replace("\u00a0", " ")
    for part in ("more than 50 % of the CPU", "at most 5 in a scenario", "up to 3 s"):
        assert part in quiet


def test_outside_of_a_repository_the_machine_is_still_looked_at(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert found["repository"]["level"] == "unknown"
    assert found["cores"]["level"] != "unknown"
    assert "scenarios" not in found


def test_a_repository_that_was_named_must_be_one(tmp_path: Path) -> None:
    found = findings(tmp_path, "--repo", str(tmp_path), status=2)
    assert "not in a git repository" in found["repository"]["state"]
    found = findings(tmp_path, "--repo", str(tmp_path / "none"), status=2)
    assert "no folder at" in found["repository"]["state"]


def test_a_repository_without_commit_or_scenario_is_told(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "new")
    found = findings(folder, status=2)
    assert found["repository"]["state"] == "has no commit yet"
    assert "command: [python, train.py]" in found["scenarios"]["advice"]


def test_a_shallow_clone_with_credentials_is_warned_about(repository: Path, tmp_path: Path) -> None:
    commit(repository, {"train.py": "print()\n"})
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    shallow = tmp_path / "shallow"
    git(shallow, "config", "http.https://example.invalid/.extraheader", "AUTHORIZATION: x7z")
    result = doctor(shallow, "--json", "-", status=0)
    found = findings(shallow)
    assert found["history"]["level"] == "warn"
    assert "fetch-depth: 0" in found["history"]["advice"]
    assert found["credentials"]["level"] == "warn"
    assert "x7z" not in result.stdout + result.stderr


def test_an_interpreter_that_does_not_run_is_in_the_way(repository: Path) -> None:
    (repository / ".ailab" / "config.yml").write_text("python: python0\n")
    assert findings(repository, status=2)["python"]["level"] == "wrong"


def test_a_cache_that_cannot_be_written_is_in_the_way(repository: Path) -> None:
    found = findings(repository, status=2, AILAB_CACHE_DIR="/proc/none")
    assert found["cache"]["level"] == "wrong"
    assert "AILAB_CACHE_DIR" in found["cache"]["advice"]


def test_inside_a_workflow_a_token_is_warned_about_and_never_shown(
    repository: Path, tmp_path: Path
) -> None:
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "RUNNER_ENVIRONMENT": "self-hosted",
        "GITHUB_TOKEN": "ghs_x7z",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    result = doctor(repository, status=0, **variables)
    assert "ghs_x7z" not in result.stdout + result.stderr
    found = findings(repository, **variables)
    assert found["workflow"]["state"] == "event pull_request, self-hosted"
    assert found["token"]["level"] == "warn"
    assert found["permissions"]["level"] == "unknown"
    assert found["summary"]["level"] == "ok"


def test_json_goes_to_a_file_beside_the_table_and_quiet_is_quiet(
    repository: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out" / "d.json"
    assert "Machine" in doctor(repository, "--json", str(file), status=0).stdout
    document = json.loads(file.read_text())
    assert document["schema"] == 1
    assert document["sections"][0]["title"] == "Machine"
    result = doctor(repository, "--quiet", status=0)
    assert (result.stdout, result.stderr) == ("", "")
