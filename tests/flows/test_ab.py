"""Stories of `ailab ab`: real git repositories, real processes, the command as users type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repositories import commit, git, new_repository
from rich.console import Console

from ailab_bot.errors import RunnerError
from ailab_bot.flows import ab, arms
from ailab_bot.flows.measurement import Bench
from ailab_bot.measure import procfs
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report.progress import choose_progress

TRAIN = """
import sys, time
import settings
time.sleep(settings.DELAY)
sys.audit("ailab.first_batch")
time.sleep(60)
"""
SCENARIO = """
id: {id}
command: [python, train.py]
first_batch: api
timeout_s: 20
"""

#: Other work on the machine that tests must not depend on.
ANY_LOAD = {".ailab/config.yml": "noise: {max_load: 1, max_steal: 1}\n"}


def scenario_file(name: str) -> str:
    return f".ailab/scenarios/{name}/scenario.yml"


def platform(folder: Path, base: str, head: str, **files: str) -> Path:
    """A repository whose tags base and head differ in settings.py (and in nothing else)."""
    new_repository(folder)
    common = {"train.py": TRAIN, scenario_file("launch"): SCENARIO.format(id="launch")}
    commit(folder, {**ANY_LOAD, **common, "settings.py": base, **files}, "The platform")
    git(folder, "tag", "base")
    commit(folder, {"settings.py": head}, "A harmless change")
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


def assert_clean(folder: Path) -> None:
    """No worktree, no lock, no file of a run beside the user's own."""
    assert git(folder, "worktree", "list").count("\n") == 0
    work = Path(os.environ["AILAB_CACHE_DIR"]) / "work"
    assert [path for home in work.glob("*") for path in home.iterdir()] == []
    assert git(folder, "status", "--porcelain", "--ignored") == ""


def test_a_slower_head_is_found_confirmed_and_explained(tmp_path: Path) -> None:
    slow = "import heavy\nDELAY = 0.1\n"
    heavy = {"heavy.py": "import time\ntime.sleep(0.08)\n"}
    folder = platform(tmp_path / "p", "DELAY = 0.1\n", slow, **heavy)
    out = tmp_path / "out"
    result = ailab(
        folder,
        "ab",
        "base",
        "head",
        "--json",
        f"{out}/r.json",
        "--comment",
        f"{out}/c.md",
        status=1,
    )
    assert "Slower to first batch: launch +" in result.stdout
    document = json.loads((out / "r.json").read_text())
    (verdict,) = document["results"]
    assert verdict["verdict"] == "REGRESSION"
    assert verdict["confirmed"]
    assert document["conclusion"] == "failure"
    assert document["commits"]["head"]["sha"] == git(folder, "rev-parse", "head")
    (why,) = document["explanations"]
    shift = why["phases"]["import"]
    assert shift["head_s"] - shift["base_s"] > 0.07
    (added,) = why["imports_added"]
    assert (added["module"], added["importer"]) == ("heavy", "settings.py:1")
    comment = (out / "c.md").read_text()
    assert "now imports **`heavy`**" in comment
    assert document["reproduce"] in comment
    assert_clean(folder)
    # The file of trials holds all that the verdict needs: another job gets the same one.
    trials = result.stderr.split("Every trial: ")[1].strip()
    again = ailab(tmp_path, "judge", trials, "--json", "-", status=1)
    results = json.loads(again.stdout)["results"]
    assert [row for row in results if row["metric"] == "ttfb_s"] == document["results"]


def test_an_equal_head_passes_and_a_dirty_work_tree_is_mentioned(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.3\n", "DELAY = 0.3  # the same\n")
    (folder / "settings.py").write_text("DELAY = 9\n")
    result = ailab(folder, "ab", "base", "head", "--json", "-", status=0)
    document = json.loads(result.stdout)
    assert document["results"][0]["verdict"] == "NO_CHANGE"
    assert any("uncommitted" in note for note in document["notes"])
    assert "uncommitted changes" in result.stderr
    assert (folder / "settings.py").read_text() == "DELAY = 9\n"


def test_a_head_that_crashes_blocks_and_shows_its_last_lines(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.05\n", "raise ImportError('no such driver')\n")
    result = ailab(folder, "ab", "base", "head", "--comment", "-", status=1)
    assert "Head fails where base works: `launch`" in result.stdout
    assert "ImportError: no such driver" in result.stdout
    assert "crashed in 2 of 2 trials (head only)" in result.stderr
    assert_clean(folder)


def test_a_program_that_head_deletes_blocks_and_costs_no_other_scenario(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "p")
    run = "#!/bin/sh\necho first batch\nsleep 60\n"
    marker = "command: [./run.sh]\nfirst_batch: {marker: first batch}\ntimeout_s: 20\n"
    files = {
        "train.py": TRAIN,
        "settings.py": "DELAY = 0.3\n",
        "run.sh": run,
        scenario_file("a"): "id: a\n" + marker,
        scenario_file("b"): SCENARIO.format(id="b"),
        ".ailab/config.yml": "max_blocks: 10\n",
    }
    (folder / "run.sh").touch(mode=0o755)
    commit(folder, files)
    (folder / "run.sh").unlink()
    commit(folder, {})
    result = ailab(folder, "ab", "HEAD~1", "HEAD", "--json", "-", status=1)
    document = json.loads(result.stdout)
    (failure,) = document["failures"]
    assert (failure["scenario"], failure["arms"], failure["outcome"]) == ("a", "head", "crash")
    assert failure["reason"].startswith("cannot start `./run.sh`")
    assert [row["scenario"] for row in document["results"]] == ["b"]
    assert "Head fails where base works: a" in result.stderr
    assert_clean(folder)


@pytest.mark.parametrize("during", ["measure_scenario", "trace_imports"])
def test_an_error_in_one_scenario_is_noted_and_the_others_are_reported(
    during: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "DELAY = 0.2\n" if during == "trace_imports" else "DELAY = 0.1  # the same\n"
    second = {scenario_file("second"): SCENARIO.format(id="second")}
    folder = platform(tmp_path / "p", "DELAY = 0.1\n", slow, **second)
    whole = getattr(arms, during)

    def fails_in_the_first(bench: Bench, *more: object) -> object:
        if bench.scenario.id == "launch":
            raise RunnerError("the disk is gone", why="I/O error", advice="Look at it.")
        return whole(bench, *more)

    monkeypatch.setattr(arms, during, fails_in_the_first)
    request = ab.AbRequest("base", "head", folder)
    report, _ = ab.compare_commits(request, choose_progress(Console(), quiet=True))
    assert report.notes == ("launch: the disk is gone: I/O error. Look at it.",)
    if during == "measure_scenario":
        assert [verdict.scenario for verdict in report.verdicts] == ["second"]
        assert report.conclusion is Conclusion.ERROR
    else:
        assert {explanation.scenario for explanation in report.explanations} == {"launch", "second"}
        assert report.conclusion is Conclusion.FAILURE
    assert_clean(folder)


def test_a_scenario_that_never_reaches_a_first_batch_is_the_users_to_mend(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "raise SystemExit\n", "raise SystemExit  # too\n")
    result = ailab(folder, "ab", "base", "head", "--json", "-", status=2)
    document = json.loads(result.stdout)
    assert document["results"] == []
    assert document["failures"][0]["outcome"] == "no_first_batch"
    assert document["failures"][0]["arms"] == "both"
    assert document["conclusion"] == "error"


def test_trials_end_where_capacity_ends(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.3\n", "DELAY = 0.3  # the same\n")
    result = ailab(folder, "ab", "base", "head", "--capacity-s", "2.5", "--json", "-", status=0)
    (verdict,) = json.loads(result.stdout)["results"]
    assert verdict["verdict"] == "INCONCLUSIVE"
    assert verdict["stopped"] == "capacity"
    assert verdict["blocks_used"] < 5


def test_without_capacity_for_one_block_the_measurement_is_incomplete(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.3\n", "DELAY = 0.4\n")
    result = ailab(folder, "ab", "base", "head", "--capacity-s", "0.01", "--json", "-", status=3)
    document = json.loads(result.stdout)
    assert document["conclusion"] == "error"
    assert any("capacity" in note for note in document["notes"])
    assert "Nothing was measured" in result.stderr


def unheard(folder: Path, *words: str, also_stderr: bool = False) -> int:
    """The exit status where nobody reads what the command prints."""
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "ailab_bot", *words],
        cwd=folder,
        stdout=writer,
        stderr=writer if also_stderr else subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    os.close(writer)
    return result.returncode


def test_a_reader_that_goes_away_changes_neither_the_files_nor_the_exit_status(
    tmp_path: Path,
) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.1\n", "DELAY = 0.1  # the same\n")
    words = ["ab", "base", "head", "--capacity-s", "1.5"]
    for also_stderr in (False, True):
        files = ["--json", f"{tmp_path}/r.json", "--comment", f"{tmp_path}/c.md"]
        assert unheard(folder, *words, *files, also_stderr=also_stderr) == 0
        for name in ("r.json", "c.md"):
            assert (tmp_path / name).read_text()
            (tmp_path / name).unlink()
    (trials, *_) = (Path(os.environ["AILAB_CACHE_DIR"]) / "runs").glob("*/trials.jsonl")
    for more in ([], ["--json", "-"], ["--json", f"{tmp_path}/r.json"]):
        assert unheard(folder, "judge", str(trials), *more) == 0
    assert (tmp_path / "r.json").read_text()
    assert unheard(folder, "judge", "no.jsonl", also_stderr=True) == 2
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "ailab_bot", "judge"]
    assert subprocess.run([*closed, str(trials), "--json", "-"], check=False).returncode == 0


def test_an_interrupted_run_reports_what_it_has_and_leaves_nothing(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.2\n", "DELAY = 0.2  # the same\n")
    words = [
        sys.executable,
        "-m",
        "ailab_bot",
        "ab",
        "base",
        "head",
        "--json",
        f"{tmp_path}/r.json",
    ]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        runs = Path(os.environ["AILAB_CACHE_DIR"]) / "runs"
        deadline = time.monotonic() + 60
        while not any(path.read_text().count("\n") >= 3 for path in runs.glob("*/trials.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = procfs.descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    (trials,) = runs.glob("*/trials.jsonl")
    assert str(trials) in stderr
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["interrupted"]
    assert document["conclusion"] == "error"
    assert all(procfs.is_zombie(pid) for pid in children)
    assert_clean(folder)


def test_a_second_run_uses_the_prepared_arms_again(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.3\n", "DELAY = 0.3  # the same\n")
    setup = SCENARIO.format(id="launch") + "setup: [[python, -c, 'import venv']]\n"
    (folder / scenario_file("launch")).write_text(setup)
    (folder / ".ailab" / "config.yml").write_text("max_blocks: 10\n")
    words = ("ab", "base", "head")
    first = ailab(folder, *words, status=0)
    assert first.stderr.count("uses a prepared environment again") == 1, "both arms share one"
    second = ailab(folder, *words, status=0)
    assert second.stderr.count("uses a prepared environment again") == 2


def test_a_branch_that_was_never_measured_needs_no_scenarios_of_its_own(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "p")
    old = commit(folder, {"train.py": TRAIN, "settings.py": "DELAY = 0.1\n"}, "Old")
    commit(folder, {"settings.py": "DELAY = 0.25\n"}, "New")
    commit(folder, {scenario_file("launch"): SCENARIO.format(id="launch")}, "Scenarios")
    ailab(folder, "ab", old, "HEAD", "--quiet", status=1)


MISTAKES = {
    "unknown ref": (["ab", "bsae", "head"], "unknown ref `bsae`", "Did you mean `base`?"),
    "same commit": (["ab", "head", "HEAD"], "the same commit", "HEAD~1"),
    "unknown scenario": (
        ["ab", "base", "head", "--scenario", "lunch"],
        "unknown scenario",
        "`launch`",
    ),
    "no interpreter": (["ab", "base", "head", "--python", "python0"], "does not run", "--python"),
    "no repository": (["ab", "base", "head", "--repo", "/"], "not in a git repository", "--repo"),
    "no config": (["ab", "base", "head", "--config", "no.yml"], "cannot read", "path"),
    "no place": (
        ["ab", "base", "head", "--json", "/proc/no/x"],
        "cannot write /proc/no/x",
        "yours",
    ),
    "no trials": (["judge", "no.jsonl"], "cannot read no.jsonl", "trials"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return platform(tmp_path_factory.mktemp("plain") / "p", "DELAY = 0.0\n", "DELAY = 0.1\n")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_a_clear_answer(name: str, plain: Path) -> None:
    words, what, advice = MISTAKES[name]
    result = ailab(plain, *words, status=2)
    assert result.stdout == ""
    assert result.stderr.startswith("ailab: ")
    assert what in result.stderr
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        (scenario_file("launch"), "id: launch\ncommnd: [x]\n", "scenario.yml:2:1: unknown key"),
        (
            scenario_file("launch"),
            SCENARIO.format(id="launch") + "setup: [[python, -c, 'x x']]",
            "SyntaxError",
        ),
        (scenario_file("launch"), "id: launch\ncommand: [no-such-program]\n", "cannot start"),
    ],
    ids=["malformed scenario", "failing setup", "missing program"],
)
def test_a_broken_scenario_gets_a_clear_answer(
    file: str, text: str, what: str, tmp_path: Path
) -> None:
    folder = platform(tmp_path / "p", "DELAY = 0.0\n", "DELAY = 0.1\n")
    (folder / file).write_text(text)
    result = ailab(folder, "ab", "base", "head", status=2)
    assert what in result.stderr
    git(folder, "checkout", "--quiet", ".")
    assert_clean(folder)


def test_a_repository_without_scenarios_gets_one_to_copy(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "p")
    commit(folder, {"a": "1"})
    commit(folder, {"a": "2"})
    result = ailab(folder, "ab", "HEAD~1", "HEAD", status=2)
    assert "command: [python, train.py]" in result.stderr


def test_three_hundred_scenarios_are_planned_each_with_a_reason(tmp_path: Path) -> None:
    others = {
        scenario_file(f"训练-{i:03}"): SCENARIO.format(id=f"训练-{i:03}") + "tiers: [release]\n"
        for i in range(299)
    }
    folder = platform(tmp_path / "p", "DELAY = 0.1\n", "DELAY = 0.2\n", **others)
    result = ailab(folder, "ab", "base", "head", "--json", "-", "--comment", "c.md", status=1)
    scenarios = json.loads(result.stdout)["plan"]["scenarios"]
    assert len(scenarios) == 300
    assert all(row["reason"] for row in scenarios)
    assert [row["scenario"] for row in scenarios if row["taken"]] == ["launch"]
    comment = (folder / "c.md").read_text()
    assert "训练-000" in comment
    assert "and 259 more" in comment


def test_usage_errors_and_help_answer_without_loading_anything_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from ailab_bot.cli import main\n"
        "try:\n    main([sys.argv[1]])\nexcept SystemExit as end:\n    status = end.code\n"
        "heavy = {'numpy', 'scipy', 'rich', 'yaml', 'jinja2', 'torch', 'asyncio', 'subprocess'}\n"
        "print(status, sorted(heavy & set(sys.modules)))\n"
    )
    for word, status in (("--help", 0), ("--version", 0), ("nonsense", 2)):
        words = [sys.executable, "-c", code, word]
        result = subprocess.run(words, capture_output=True, text=True, check=True)
        assert result.stdout.splitlines()[-1] == f"{status} []"


def test_a_hostile_number_is_refused(plain: Path) -> None:
    for words in (["--capacity-s", "nan"], ["--capacity-s", "-1"], ["--capacity-s", "x"]):
        ailab(plain, "ab", "base", "head", *words, status=2)
    ailab(plain, "judge", "x", "--threshold", "5", status=2)
