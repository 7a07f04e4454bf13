"""Number 9 of the nineteen: measured code finds no token, in its environment or its parent's.

A real tree: a process that was given tokens starts itself anew, measures, and the measured child
reads its own environment and the one that its parent was started with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ailab_bot.measure.clean import secrets_in

SECRET = "ghs_0123456789abcdefghijklmnopqrstuvwxyz"
GIVEN = dict.fromkeys(
    (
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "GH_ENTERPRISE_TOKEN",
        "GITHUB_ENTERPRISE_TOKEN",
        "AILAB_TOKEN",
        "AILAB_APP_PRIVATE_KEY",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "INPUT_GITHUB-TOKEN",
        "INPUT_PASSWORD",
    ),
    SECRET,
)
RUNNER_FILES = ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")

CHILD = """
import json, os, sys
found = {"own": open("/proc/self/environ").read()}
found["parent"] = open(f"/proc/{os.getppid()}/environ").read()
found["inherited"] = json.dumps(dict(os.environ))
json.dump(found, open("found.json", "w"))
sys.audit("ailab.first_batch")
"""

#: What `ailab measure` does, in short. The word after it says whether secrets are dropped.
SUPERVISOR = """
import os, sys
from pathlib import Path
from ailab_bot.measure.clean import drop_secrets
print("started", sys.argv[1:], os.getpid(), flush=True)
if sys.argv[1] == "drop":
    drop_secrets()
from ailab_bot.measure.environment import command_of, interpreter, variables_of
from ailab_bot.measure.execute import Launch, execute
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode, Scenario
here = Path.cwd()
scenario = Scenario(id="s", directory=here, command=("python", "child.py"))
python = interpreter(sys.executable)
env = variables_of(scenario, here, python, 1)
api = FirstBatch(FirstBatchMode.API)
done = execute(Launch(command_of(scenario, here, python), here, env, api, 60.0, here))
print("measured", done.outcome, done.failure, sys.prefix, os.environ.get("AILAB_STARTED_CLEAN"))
"""


def measure(folder: Path, word: str, given: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Lines of the supervisor, and what its child found."""
    (folder / "child.py").write_text(CHILD)
    (folder / "supervisor.py").write_text(SUPERVISOR)
    env = {name: text for name, text in os.environ.items() if not secrets_in([name])}
    result = subprocess.run(
        [sys.executable, "-X", "dev", "supervisor.py", word, "a b", ""],
        cwd=folder,
        env={**env, "PYTHONPATH": str(Path(__file__).parents[2]), **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines(), json.loads((folder / "found.json").read_text())


def test_a_measured_child_finds_no_token_anywhere(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in RUNNER_FILES}
    lines, found = measure(tmp_path, "drop", {**GIVEN, **files, "HF_TOKEN": "the-users-own"})
    assert "measured ok" in lines[-1]
    for place, text in found.items():
        assert SECRET not in text, place
    assert "the-users-own" in found["own"], "what the user's workflow may need stays"
    assert not any(name in json.loads(found["inherited"]) for name in [*GIVEN, *RUNNER_FILES])


def test_the_parent_would_give_tokens_away_if_it_did_not_start_anew(tmp_path: Path) -> None:
    _, found = measure(tmp_path, "keep", GIVEN)
    assert SECRET in found["parent"], "deleting a variable does not change /proc"
    assert SECRET not in found["own"]


def test_it_starts_anew_once_as_the_same_process_with_the_same_words(tmp_path: Path) -> None:
    lines, _ = measure(tmp_path, "drop", GIVEN)
    first, second, last = lines
    assert first == second, "same words, same process id"
    assert "['drop', 'a b', '']" in first
    assert sys.prefix in last, "the virtual environment is kept"
    assert last.endswith("None"), "the mark is not handed on"


def test_without_secrets_nothing_is_started_anew(tmp_path: Path) -> None:
    lines, _ = measure(tmp_path, "drop", {})
    assert len(lines) == 2


def test_secrets_that_come_back_are_an_error_and_no_loop(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['GH_TOKEN'] = 'x'\n")
    code = "from ailab_bot.measure.clean import drop_secrets\ndrop_secrets()\n"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "RunnerError: cannot start without secrets" in result.stderr


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "GITHUB_SHA", "ACTIONS_CACHE_URL", "PATH", "TOKEN"]
)
def test_what_is_no_secret_of_the_bots_or_githubs_stays(name: str) -> None:
    assert secrets_in([name]) == ()
