"""Stories of `ailab plan`, `measure` and `report`: the main job in the three parts that CI runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from repositories import commit, git, new_repository

from ailab_bot.model.exchange import result_from_json, result_to_json
from ailab_bot.model.shard import LONGEST_NOTE, Loss, LossKind

TRAIN = """
import sys, time
import {module}
time.sleep({module}.DELAY)
print("first batch", flush=True)
time.sleep(60)
"""
SCENARIO = """
id: {name}
command: [python, {name}.py]
first_batch: {{marker: first batch}}
timeout_s: 20
"""
#: Two shards of a scenario each, on whatever else the machine is doing.
CONFIG = """
noise: {max_load: 1, max_steal: 1}
max_blocks: 40
threshold: 0.4
github:
  runners:
    cpu: {labels: [ubuntu-latest], count: 2}
"""
NAMES = ("clean", "slow")


def platform(folder: Path) -> Path:
    """A repository whose tag head makes the scenario `slow` slower, and not `clean`."""
    new_repository(folder)
    files = {".ailab/config.yml": CONFIG}
    for name in NAMES:
        files[f"{name}.py"] = TRAIN.format(module=f"{name}_settings")
        files[f"{name}_settings.py"] = "DELAY = 0.05\n"
        files[f".ailab/scenarios/{name}.yml"] = SCENARIO.format(name=name)
    commit(folder, files, "The platform")
    git(folder, "tag", "base")
    commit(folder, {"slow_settings.py": "DELAY = 0.3\n"}, "A harmless change")
    git(folder, "tag", "head")
    return folder


def ailab(folder: Path, *words: str, status: int) -> subprocess.CompletedProcess[str]:
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


def planned(folder: Path, out: Path, *more: str) -> dict[str, Any]:
    ailab(folder, "plan", "base", "head", "--json", f"{out}/plan.json", *more, status=0)
    document: dict[str, Any] = json.loads((out / "plan.json").read_text())
    return document


def measured(folder: Path, out: Path, shard: int, *, status: int = 0) -> Path:
    where = out / f"shard-{shard}"
    words = ("--shard", str(shard), "--out", str(where), "--quiet")
    ailab(folder, "measure", f"{out}/plan.json", *words, status=status)
    return where


def report(folder: Path, out: Path, *folders: Path, status: int) -> dict[str, Any]:
    words = [f"{out}/plan.json", *map(str, folders), "--json", "-"]
    found: dict[str, Any] = json.loads(ailab(folder, "report", *words, status=status).stdout)
    return found


def complaint(folder: Path, *words: str, status: int = 2) -> str:
    """What stderr says of a command that cannot be followed: never a traceback."""
    said = ailab(folder, *words, status=status).stderr
    assert "Traceback" not in said
    return said


def loaded(code: str) -> list[str]:
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A platform, the folder with its plan, and both shards' folders: measured once."""
    out = tmp_path_factory.mktemp("parts")
    os.environ["AILAB_CACHE_DIR"] = str(out / "cache")
    try:
        folder = platform(out / "platform")
        document = planned(folder, out, "--seed", "7")
        assert [shard["scenarios"] for shard in document["shards"]] == [["clean"], ["slow"]]
        return folder, out, [measured(folder, out, shard) for shard in (0, 1)]
    finally:
        del os.environ["AILAB_CACHE_DIR"]


Story = tuple[Path, Path, list[Path]]


def test_the_three_parts_conclude_what_the_whole_does(story: Story) -> None:
    folder, out, shards = story
    parts = report(folder, out, *shards, status=1)
    whole = ailab(folder, "ab", "base", "head", "--seed", "7", "--json", "-", status=1)
    ab = json.loads(whole.stdout)

    def verdict(document: dict[str, Any], name: str) -> tuple[str, bool]:
        (row,) = [row for row in document["results"] if row["scenario"] == name]
        return row["verdict"], row["confirmed"]

    for document in (parts, ab):
        assert verdict(document, "slow") == ("REGRESSION", True)
        assert verdict(document, "clean")[0] != "REGRESSION"
    assert parts["conclusion"] == ab["conclusion"] == "failure"
    for arm in ("base", "head"):
        assert parts["commits"][arm]["sha"] == ab["commits"][arm]["sha"]
        assert parts["commits"][arm]["subject"] == ab["commits"][arm]["subject"]
    assert parts["plan"]["seed"] == ab["plan"]["seed"] == 7
    assert parts.keys() == ab.keys()
    (why,) = parts["explanations"]
    assert why["scenario"] == "slow"
    assert "--seed 7" in parts["reproduce"]


def test_the_report_gives_the_plans_own_reasons(story: Story, tmp_path: Path) -> None:
    folder, out, shards = story
    document = json.loads((out / "plan.json").read_text())
    assert {row["reason"] for row in document["scenarios"]} == {
        "all scenarios of tier pull_request"
    }
    left = {"scenario": "idle", "taken": False, "reason": "it touches nothing that it uses"}
    more = {"rule": "proved", "probability": 0.01, "propensity": 0.0, "cost_s": 3.0}
    document["scenarios"].append({**left, **more})
    document["basis"] = "Of 3 scenarios 1 has a footprint."
    (tmp_path / "plan.json").write_text(json.dumps(document))
    comment = tmp_path / "comment.md"
    words = [f"{tmp_path}/plan.json", *map(str, shards), "--json", "-", "--comment", str(comment)]
    found = json.loads(ailab(folder, "report", *words, status=1).stdout)
    assert found["plan"]["scenarios"] == document["scenarios"]
    said = comment.read_text()
    assert "2 of 3 scenarios measured: 2 belong to the tier; 1 cannot be moved" in said
    assert "Of 3 scenarios 1 has a footprint." in said


def test_a_plan_whose_reasons_are_none_or_others_is_the_users_to_mend(
    story: Story, tmp_path: Path
) -> None:
    folder, out, shards = story
    document = json.loads((out / "plan.json").read_text())
    path = tmp_path / "plan.json"
    for rows, said in (
        (document["scenarios"][:1], "contradicts itself"),
        ([{"scenario": "slow"}], "holds no plan"),
        (None, "holds no plan"),
    ):
        path.write_text(json.dumps({**document, "scenarios": rows}))
        assert said in complaint(folder, "report", str(path), *map(str, shards))


def test_shards_are_taken_in_any_order(story: Story) -> None:
    folder, out, shards = story
    one = report(folder, out, *shards, status=1)
    other = report(folder, out, *reversed(shards), status=1)

    def by_scenario(document: dict[str, Any]) -> list[Any]:
        return sorted(document["results"], key=lambda row: row["scenario"])

    assert by_scenario(one) == by_scenario(other)


def test_what_the_shards_left_is_judged_alike_without_the_plan(
    story: Story, tmp_path: Path
) -> None:
    """Bit for bit, from the trials alone: no plan, no repository, no network."""
    folder, out, shards = story
    trials = tmp_path / "trials.jsonl"
    trials.write_text("".join((shard / "trials.jsonl").read_text() for shard in shards))
    config = f"{folder}/.ailab/config.yml"
    words = ("judge", str(trials), "--config", config, "--json", "-")
    judged = json.loads(ailab(tmp_path, *words, status=1).stdout)["results"]
    assert [row for row in judged if row["metric"] == "ttfb_s"] == report(
        folder, out, *shards, status=1
    )["results"]


def test_a_missing_shard_loses_its_scenario_and_the_result_is_an_error(story: Story) -> None:
    folder, out, shards = story
    found = report(folder, out, shards[0], status=3)
    assert found["conclusion"] == "error"
    assert [row["scenario"] for row in found["results"]] == ["clean"]
    assert any(note.startswith("slow: no result arrived") for note in found["notes"])


def test_a_folder_that_is_none_is_the_users_to_mend(story: Story) -> None:
    folder, out, shards = story
    said = ailab(
        folder, "report", f"{out}/plan.json", str(shards[0]), str(out / "nowhere"), status=2
    ).stderr
    assert "no folder at" in said
    assert "nowhere" in said


def test_a_folder_without_a_result_costs_only_its_scenario(story: Story) -> None:
    folder, out, shards = story
    (out / "empty").mkdir(exist_ok=True)
    found = report(folder, out, shards[0], out / "empty", status=3)
    assert any("is not used" in note for note in found["notes"])
    assert [row["scenario"] for row in found["results"]] == ["clean"]


def test_a_damaged_shard_costs_only_its_scenario(story: Story, tmp_path: Path) -> None:
    folder, out, shards = story
    (tmp_path / "shard.json").write_bytes((shards[0] / "shard.json").read_bytes()[:-9])
    (tmp_path / "trials.jsonl").write_bytes((shards[0] / "trials.jsonl").read_bytes())
    found = report(folder, out, tmp_path, shards[1], status=1)
    assert [row["scenario"] for row in found["results"]] == ["slow"]
    assert any("not JSON" in note for note in found["notes"])


def test_a_definition_that_changed_since_is_not_judged(story: Story) -> None:
    folder, out, shards = story
    path = folder / ".ailab" / "scenarios" / "slow.yml"
    before = path.read_text()
    try:
        path.write_text(before.replace("timeout_s: 20", "timeout_s: 30"))
        found = report(folder, out, *shards, status=3)
    finally:
        path.write_text(before)
    assert any("definition changed" in note for note in found["notes"])


def test_a_plan_is_shown_and_its_document_is_the_same_twice(story: Story, tmp_path: Path) -> None:
    folder, out, _ = story
    shown = ailab(folder, "plan", "base", "head", "--seed", "7", status=0).stdout
    assert "ubuntu-latest" in shown
    assert "clean" in shown
    assert planned(folder, tmp_path, "--seed", "7") == json.loads((out / "plan.json").read_text())
    assert planned(folder, tmp_path)["seed"] != planned(folder, tmp_path)["seed"]


def test_only_some_scenarios_can_be_planned(story: Story, tmp_path: Path) -> None:
    folder, _, _ = story
    document = planned(folder, tmp_path, "--scenario", "slow")
    assert [shard["scenarios"] for shard in document["shards"]] == [["slow"]]
    left = {row["scenario"]: row["reason"] for row in document["scenarios"] if not row["taken"]}
    assert left == {"clean": "not asked for"}
    said = complaint(folder, "plan", "base", "head", "--scenario", "slwo")
    assert "Did you mean `slow`?" in said


def test_a_second_measurement_into_a_folder_replaces_the_first(
    story: Story, tmp_path: Path
) -> None:
    folder, _, _ = story
    planned(folder, tmp_path, "--scenario", "clean", "--seed", "1")
    first = (measured(folder, tmp_path, 0) / "trials.jsonl").read_text()
    planned(folder, tmp_path, "--scenario", "clean", "--seed", "2")
    where = measured(folder, tmp_path, 0)
    second = (where / "trials.jsonl").read_text()
    assert first != second
    assert sorted(path.name for path in where.iterdir()) == ["shard.json", "trials.jsonl"]
    found = report(folder, tmp_path, where, status=0)
    assert [row["scenario"] for row in found["results"]] == ["clean"]
    assert found["reproduce"].endswith("--seed 2 --scenario clean")


def test_an_interrupted_shard_leaves_a_partial_result_and_the_report_is_an_error(
    story: Story, tmp_path: Path
) -> None:
    folder, _, _ = story
    planned(folder, tmp_path, "--scenario", "slow")
    where = tmp_path / "shard-0"
    words = ["measure", f"{tmp_path}/plan.json", "--out", str(where)]
    with subprocess.Popen(
        [sys.executable, "-m", "ailab_bot", *words], cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        trials = where / "trials.jsonl"
        while not trials.exists() or trials.read_text().count("\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "slow was not measured to its end: interrupted" in stderr
    result = json.loads((where / "shard.json").read_text())
    assert result["interrupted"]
    assert result["lost"] == {"slow": {"kind": "interrupted", "reason": "interrupted"}}
    found = report(folder, tmp_path, where, status=3)
    assert found["results"] == []
    assert found["conclusion"] == "error"
    assert any(note.startswith("slow: interrupted") for note in found["notes"])


PIP = "ERROR: No matching distribution found for package"
SET_UP = """
import sys
for number in range({lines}):
    print("{pip}", number, "." * 600)
print("::error::not ours")
sys.exit({status})
"""


def test_a_broken_set_up_costs_its_scenario_and_is_told_by_whose_it_is(tmp_path: Path) -> None:
    """What pip says is longer than a note may be; the other scenarios of the shard are judged."""
    folder = new_repository(tmp_path / "platform")
    set_up = "setup: [[python, set_up_{name}.py]]\n"
    files = {".ailab/config.yml": CONFIG.replace("count: 2", "count: 1")}
    for name in ("fine", "base", "head"):
        files[f"{name}.py"] = TRAIN.format(module="settings")
        files[f".ailab/scenarios/{name}.yml"] = SCENARIO.format(name=name) + (
            set_up.format(name=name) if name != "fine" else ""
        )
    broken = SET_UP.format(lines=60, status=1, pip=PIP)
    works = SET_UP.format(lines=0, status=0, pip=PIP)
    files |= {"settings.py": "DELAY = 0.05\n", "set_up_base.py": broken, "set_up_head.py": works}
    commit(folder, files, "The platform")
    git(folder, "tag", "base")
    commit(folder, {"set_up_head.py": broken, "set_up_base.py": works}, "A change")
    git(folder, "tag", "head")
    planned(folder, tmp_path)
    where = tmp_path / "shard-0"
    said = ailab(folder, "measure", f"{tmp_path}/plan.json", "--out", str(where), status=3).stderr
    result = result_from_json((where / "shard.json").read_bytes())
    assert {name: loss.kind for name, loss in result.lost.items()} == {
        "base": LossKind.SETUP,
        "head": LossKind.SETUP_HEAD,
    }
    assert "setup of `head` failed with status 1" in result.lost["head"].reason
    note = next(note for note in result.notes if note.startswith("head: setup of `head` failed"))
    assert len(note) == LONGEST_NOTE
    assert f"{PIP} 59" in note
    assert "Run it by hand" in note
    assert result.notes == result_from_json(result_to_json(result).encode()).notes
    assert f"| {PIP} 59" in said, "whoever watches sees more than what is kept"
    assert "\n| ::error::not ours. Run it" in said, "no log obeys it"
    found = report(folder, tmp_path, where, status=1)
    assert [row["scenario"] for row in found["results"]] == ["fine"]


def test_a_scenario_whose_share_ends_before_its_first_block_is_lost_to_capacity(
    story: Story, tmp_path: Path
) -> None:
    folder, _, _ = story
    document = planned(folder, tmp_path, "--scenario", "clean")
    document["shards"][0]["capacity_s"] = 0.01
    (tmp_path / "plan.json").write_text(json.dumps(document))
    result = result_from_json((measured(folder, tmp_path, 0, status=3) / "shard.json").read_bytes())
    why = "capacity ended before its first block"
    assert result.lost == {"clean": Loss(LossKind.CAPACITY, why)}
    assert not result.interrupted


# Plans that cannot be followed


def test_a_plan_of_another_repository_is_refused(story: Story, tmp_path: Path) -> None:
    _, out, shards = story
    stranger = new_repository(tmp_path / "stranger")
    scenario = {".ailab/scenarios/clean.yml": SCENARIO.format(name="clean")}
    commit(stranger, {"x.py": "", **scenario, ".ailab/config.yml": CONFIG})
    plan = f"{out}/plan.json"
    where = str(tmp_path / "out")
    said = complaint(stranger, "measure", plan, "--shard", "1", "--out", where)
    assert "no scenario `slow` in the definitions" in said
    said = complaint(stranger, "measure", plan, "--shard", "0", "--out", where)
    base = json.loads(Path(plan).read_text())["base"]
    assert f"the commit {base[:12]} is not in this repository" in said
    assert not (tmp_path / "out").exists()
    (stranger / ".ailab/scenarios/slow.yml").write_text(SCENARIO.format(name="slow"))
    said = complaint(stranger, "report", plan, *map(str, shards))
    assert base[:7] in said


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not JSON", '{"shards": {}}', '{"shards": [{}]}', '{"shards": [null]}'],
)
def test_what_is_no_plan_is_refused(text: str, story: Story, tmp_path: Path) -> None:
    folder, _, _ = story
    (tmp_path / "plan.json").write_text(text)
    said = complaint(folder, "measure", f"{tmp_path}/plan.json")
    assert "plan.json holds no" in said
    assert "ailab plan" in said
    assert "plan.json holds no" in complaint(folder, "report", f"{tmp_path}/plan.json", ".")


def test_a_plan_that_is_not_there_is_named(story: Story, tmp_path: Path) -> None:
    folder, _, _ = story
    said = complaint(folder, "measure", f"{tmp_path}/none.json")
    assert "none.json holds no plan" in said
    assert "missing: PLAN" in complaint(folder, "measure")
    assert "missing: BASE HEAD" in complaint(folder, "plan")


@pytest.mark.parametrize("number", ["2", "99", "-1"])
def test_a_shard_that_the_plan_lacks_is_refused(number: str, story: Story) -> None:
    folder, out, _ = story
    said = complaint(folder, "measure", f"{out}/plan.json", f"--shard={number}")
    assert f"no shard {number}" in said
    assert "The plan has 2, counted from 0." in said
    assert not (folder / f"ailab-shard-{number}").exists()


def test_a_plan_without_a_shard_has_no_report(story: Story, tmp_path: Path) -> None:
    folder, _, _ = story
    plan = {"schema": 1, "shards": [], "skip": "nothing to measure"}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert "the plan has no shard" in complaint(folder, "report", f"{tmp_path}/plan.json")
    said = complaint(folder, "measure", f"{tmp_path}/plan.json")
    assert "The plan has 0" in said


def test_the_planning_job_loads_neither_statistics_nor_templates() -> None:
    """It is to be quick: 1 s of its own, `python bench/plan.py`."""
    code = (
        "import sys, ailab_bot.flows.jobs, ailab_bot.flows.hosted, ailab_bot.report.plan\n"
        "heavy = {'numpy', 'scipy', 'jinja2', 'rich', 'github', 'httpx', 'ailab_bot.judge'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_the_job_that_opens_the_gate_loads_no_judge() -> None:
    code = (
        "import sys, ailab_bot.flows.gate, ailab_bot.flows.trusted\n"
        "print(*sorted({'numpy', 'scipy', 'jinja2', 'ailab_bot.judge'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
