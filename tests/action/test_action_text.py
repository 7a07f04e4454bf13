"""action.yml and the workflows agree with each other, and with the commit that is pinned."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import house_rules
import pin
import pytest
import shipped
import yaml

ACTION = house_rules.read(shipped.ACTION)
COMMANDS = {
    *("plan", "measure", "gate", "publish", "history"),
    *("compact", "command", "sweep", "report"),
    *("incident", "revert", "search-plan", "search", "decide"),
}
HOOK = {"hook-url", "hook-secret"}
#: What a command may be given; `python` and `config` go with each.
TAKES = {
    "plan": {"github-token", "capacity-minutes"},
    "measure": {"shard"},
    "gate": {"github-token"},
    "publish": {"github-token"},
    "history": {"github-token"},
    "compact": {"github-token"},
    "command": {"github-token", *HOOK},
    "sweep": {"github-token", *HOOK},
    "report": {"github-token", *HOOK},
    "incident": {"github-token", *HOOK},
    "revert": {"github-token", *HOOK},
    "search-plan": {"github-token"},
    "search": {"shard", "earlier"},
    "decide": {"github-token"},
}


def uses_of_the_bot(path: Path) -> list[dict[str, Any]]:
    steps = house_rules.read(path).steps()
    return [step for _, step in steps if house_rules.BOT.match(step.get("uses", ""))]


def step(name: str) -> dict[str, Any]:
    (found,) = [step for _, step in ACTION.steps() if step["name"] == name]
    return found


def has_history() -> bool:
    """Whether git can be asked for older commits: not in an archive, nor in a shallow clone."""
    answer = subprocess.run(
        ["git", "-C", str(shipped.ROOT), "rev-parse", "--is-shallow-repository"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() == "false"


def test_inputs_and_outputs_are_those_that_people_rely_on() -> None:
    assert set(ACTION.data["inputs"]) == {
        "command", "config", "github-token", "capacity-minutes", "shard", "earlier", "hook-url",
        "hook-secret", "python",
    }  # fmt: skip
    assert set(ACTION.data["outputs"]) == {
        "matrix", "conclusion", "report-path", "comment-url", "records-path", "earlier", "next",
        "culprit-path", "revert",
    }  # fmt: skip
    for text in [*ACTION.data["inputs"].values(), *ACTION.data["outputs"].values()]:
        assert text["description"]


@pytest.mark.parametrize("path", shipped.WORKFLOWS, ids=shipped.name_of)
def test_workflows_give_a_command_only_inputs_that_it_takes(path: Path) -> None:
    bot = [use["with"] for use in uses_of_the_bot(path)]
    for given in bot:
        allowed = TAKES[given["command"]] | {"command", "config", "python"}
        assert set(given) <= allowed & set(ACTION.data["inputs"])
    if path.name != "ailab-dispatch.yml":
        assert bot


def test_every_command_is_used_by_a_workflow() -> None:
    used = {use["with"]["command"] for path in shipped.EXAMPLES for use in uses_of_the_bot(path)}
    assert used == COMMANDS
    case = re.search(r"\n +([a-z |-]+)\) ;;", step("Run")["run"])
    assert case
    assert set(case[1].split(" | ")) == COMMANDS - {"measure", "search"}


@pytest.mark.parametrize("path", shipped.WORKFLOWS, ids=shipped.name_of)
def test_workflows_read_only_outputs_that_the_action_has(path: Path) -> None:
    file = house_rules.read(path)
    of_bot = {use.get("id") for use in uses_of_the_bot(path)} - {None}
    for name, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", file.text):
        if name in of_bot:
            assert output in ACTION.data["outputs"]


def test_the_steps_that_measure_get_no_token_and_the_others_do() -> None:
    for name in ("Measure", "Search"):
        assert not re.search("token|secret", yaml.dump(step(name)).lower())
        assert step(name)["if"] == f"inputs.command == '{name.lower()}'"
    holders = [s["name"] for _, s in ACTION.steps() if "github-token }}" in yaml.dump(s)]
    assert holders == ["Run"]
    assert step("Run")["if"] == "inputs.command != 'measure' && inputs.command != 'search'"


def test_inputs_reach_the_bot_under_the_names_that_it_reads() -> None:
    assert set(step("Measure")["env"]) == {"AILAB_CONFIG", "AILAB_PYTHON", "AILAB_SHARD"}
    assert set(step("Search")["env"]) == {
        "AILAB_CONFIG", "AILAB_PYTHON", "AILAB_SHARD", "AILAB_EARLIER",
    }  # fmt: skip
    assert set(step("Run")["env"]) == {
        "AILAB_COMMAND", "AILAB_CONFIG", "AILAB_CAPACITY_MINUTES", "AILAB_TOKEN",
        "AILAB_HOOK_URL", "AILAB_HOOK_SECRET",
    }  # fmt: skip


def test_what_was_measured_is_kept_when_a_job_fails_or_is_cancelled() -> None:
    keep = step("Keep the trials")
    assert keep["if"] == "always() && inputs.command == 'measure'"
    assert keep["with"]["name"] == (
        "ailab-trials-${{ github.run_attempt }}-${{ fromJSON(inputs.shard).index }}"
    )
    assert keep["with"]["path"] == "${{ runner.temp }}/ailab-out"


def test_what_was_searched_is_kept_under_the_name_that_the_next_round_reads() -> None:
    keep = step("Keep what was searched")
    assert keep["if"] == "always() && inputs.command == 'search'"
    assert keep["with"]["name"] == (
        "ailab-search-${{ github.run_attempt }}-${{ fromJSON(inputs.shard).index }}"
    )
    assert keep["with"]["path"] == "${{ runner.temp }}/ailab-out"


def test_every_workflow_pins_the_same_commit_and_says_its_version() -> None:
    assert len(pin.pins()) == 1
    texts = "".join(path.read_text(encoding="utf-8") for path in shipped.WORKFLOWS)
    uses = sum(len(uses_of_the_bot(path)) for path in shipped.WORKFLOWS)
    assert len(re.findall(r"OWNER/ailab-bot@[0-9a-f]{40} # v\d", texts)) == uses


@pytest.mark.skipif(not has_history(), reason="the history is not here")
def test_the_pinned_commit_holds_an_action_that_takes_what_the_workflows_give() -> None:
    ((sha, version),) = pin.pins()
    pinned = yaml.load(pin.at(sha, "action.yml"), Loader=yaml.BaseLoader)
    given = {
        name for path in shipped.EXAMPLES for use in uses_of_the_bot(path) for name in use["with"]
    }
    assert given <= set(pinned["inputs"])
    texts = "".join(path.read_text(encoding="utf-8") for path in shipped.EXAMPLES)
    read = set(re.findall(r"steps\.\w+\.outputs\.([\w-]+)", texts))
    assert {"matrix"} <= read <= set(pinned["outputs"])
    takes = pin.at(sha, "ailab_bot/arguments.py")
    for command in {use["with"]["command"] for p in shipped.EXAMPLES for use in uses_of_the_bot(p)}:
        assert f'"{command}"' in takes, f"the pinned bot has no command {command}"
    assert pin.at(sha, "requirements/action.txt")
    assert pin.version_at(sha) == version


def test_pinning_refuses_a_commit_that_is_not_there() -> None:
    before = pin.pins()
    result = subprocess.run(
        [shipped.PYTHON, str(Path(pin.__file__)), "0" * 40],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "cannot be pinned" in result.stderr
    assert pin.pins() == before
