"""Arms are prepared once, shared where that is right, and never run the other arm's code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.errors import UserError
from ailab_bot.measure.environment import (
    Environment,
    Source,
    command_of,
    interpreter,
    prepare,
    variables_of,
)
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import Workplace, open_workplace
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import Arm

# A package without dependencies that pip can install without fetching a build tool.
BACKEND = """
import base64, hashlib, os, zipfile
META = "Metadata-Version: 2.1\\nName: toy\\nVersion: 1\\n"
def _wheel(folder, files):
    path = os.path.join(folder, "toy-1-py3-none-any.whl")
    info = "toy-1.dist-info/"
    files = dict(files)
    files[info + "METADATA"] = META
    lines = ["Wheel-Version: 1.0", "Generator: t", "Root-Is-Purelib: true", "Tag: py3-none-any", ""]
    files[info + "WHEEL"] = "\\n".join(lines)
    with zipfile.ZipFile(path, "w") as out:
        for name, text in files.items():
            out.writestr(name, text)
        out.writestr(info + "RECORD", "".join(f"{name},,\\n" for name in files))
    return os.path.basename(path)
def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {"toy.py": open("src/toy.py").read()})
def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {"toy.pth": os.path.abspath("src") + "\\n"})
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
version = "1"
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    folder = new_repository(tmp_path / "repository")
    files = {"backend.py": BACKEND, "pyproject.toml": PYPROJECT, "requirements.txt": ""}
    base = commit(folder, {**files, "src/toy.py": "ARM = 'base'\n"})
    head = commit(folder, {"src/toy.py": "ARM = 'head'\n"})
    with open_workplace(open_repository(folder), {Arm.BASE: base, Arm.HEAD: head}) as opened:
        yield opened


def source(place: Workplace, arm: Arm) -> Source:
    checkout = place.checkout(arm)
    return Source(place.repository, git(checkout, "rev-parse", "HEAD"), checkout)


def scenario(*setup: list[str], command: tuple[str, ...] = ("python", "x.py")) -> Scenario:
    return Scenario("toy", command, Path("/scenarios/toy"), setup=tuple(map(tuple, setup)))


def prepared(place: Workplace, arm: Arm, what: Scenario) -> Environment:
    cache = place.folder.parents[2]
    return prepare(what, source(place, arm), interpreter(sys.executable), cache)


def imported_arm(environment: Environment) -> str:
    code = "import toy; print(toy.ARM)"
    words = [environment.python, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_without_setup_the_interpreter_is_used_as_it_is(place: Workplace) -> None:
    environment = prepared(place, Arm.BASE, scenario())
    assert environment.folder is None
    assert environment.version == sys.version.split()[0]


def test_arms_share_an_environment_that_holds_nothing_of_either(place: Workplace) -> None:
    what = scenario(["python", "-c", "print('no packages')"])
    base = prepared(place, Arm.BASE, what)
    head = prepared(place, Arm.HEAD, what)
    assert base.folder == head.folder
    assert (base.reused, head.reused) == (False, True)


PIP = ["python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]


@pytest.mark.parametrize("install", [[*PIP, "-e", "."], [*PIP, "."]], ids=["editable", "plain"])
def test_each_arm_imports_its_own_code_and_a_second_run_reuses_it(
    place: Workplace, install: list[str]
) -> None:
    what = scenario(install)
    first = {arm: prepared(place, arm, what) for arm in Arm}
    assert {arm: imported_arm(environment) for arm, environment in first.items()} == {
        Arm.BASE: "base",
        Arm.HEAD: "head",
    }
    again = {arm: prepared(place, arm, what) for arm in Arm}
    assert all(environment.reused for environment in again.values())
    assert {arm: e.folder for arm, e in again.items()} == {
        arm: e.folder for arm, e in first.items()
    }


def test_a_plain_install_of_another_commit_is_not_reused(place: Workplace) -> None:
    what = scenario([*PIP, "."])
    prepared(place, Arm.HEAD, what)
    checkout = place.checkout(Arm.HEAD)
    commit(checkout, {"src/toy.py": "ARM = 'newer'\n"})
    environment = prepared(place, Arm.HEAD, what)
    assert not environment.reused
    assert imported_arm(environment) == "newer"


def test_a_changed_lock_file_makes_a_new_environment(place: Workplace) -> None:
    what = scenario(["python", "-c", "pass"])
    first = prepared(place, Arm.HEAD, what)
    commit(place.checkout(Arm.HEAD), {"sub/requirements-gpu.txt": "# a comment\n"})
    assert prepared(place, Arm.HEAD, what).folder != first.folder


def test_a_script_that_setup_names_counts_as_what_the_environment_is_made_from(
    place: Workplace,
) -> None:
    what = scenario(["python", "./install.py"])
    for text in ("pass\n", "import sys\n"):
        commit(place.checkout(Arm.HEAD), {"install.py": text})
        assert not prepared(place, Arm.HEAD, what).reused
    assert prepared(place, Arm.HEAD, what).reused


def test_a_file_that_setup_names_by_its_placeholder_counts_too(
    place: Workplace, tmp_path: Path
) -> None:
    script = "{checkout}/install.py"
    for text in ("pass\n", "import sys\n"):
        commit(place.checkout(Arm.HEAD), {"install.py": text})
        assert not prepared(place, Arm.HEAD, scenario(["python", script])).reused
    assert prepared(place, Arm.HEAD, scenario(["python", script])).reused
    (tmp_path / "pins").mkdir()
    (tmp_path / "pins" / "self").symlink_to(tmp_path / "pins")
    words = ["python", "-c", "pass", "--constraint={scenario_dir}/x.txt", "{scenario_dir}/pins"]
    what = replace(scenario(words), directory=tmp_path)
    for name in ("x.txt", "included.txt", "pins/own.txt"):
        (tmp_path / name).write_text("-r included.txt\n-c x.txt\n")
    prepared(place, Arm.HEAD, what)
    for name in ("included.txt", "pins/own.txt"):
        (tmp_path / name).write_text("a==1\n")
        assert not prepared(place, Arm.HEAD, what).reused, name
    assert prepared(place, Arm.HEAD, what).reused


def test_what_requirements_files_include_counts_however_deep(place: Workplace) -> None:
    what = scenario(["bash", "-c", "true -r reqs/dev.pip"])
    files = {
        "reqs/dev.pip": "--requirement ../more/base\nnumpy\n",
        "more/base": "  -c 'pins'  # for now\n-r ../reqs/dev.pip\n-r https://example.invalid/x\n",
        "more/pins": "a==1\n",
    }
    commit(place.checkout(Arm.HEAD), files)
    first = prepared(place, Arm.HEAD, what)
    assert prepared(place, Arm.HEAD, what).folder == first.folder
    commit(place.checkout(Arm.HEAD), {"more/pins": "a==2\n"})
    assert not prepared(place, Arm.HEAD, what).reused


def test_other_variables_make_another_environment(place: Workplace) -> None:
    what = scenario(["python", "-c", "pass"])
    prepared(place, Arm.BASE, what)
    assert not prepared(place, Arm.BASE, replace(what, env={"EXTRA": "gpu"})).reused
    bound = replace(what, env={"WHEELS": "{checkout}/wheels"})
    assert not prepared(place, Arm.BASE, bound).reused
    assert not prepared(place, Arm.HEAD, bound).reused
    assert prepared(place, Arm.BASE, bound).reused


def test_environments_of_single_runs_are_removed_when_they_are_over(place: Workplace) -> None:
    what = scenario(["python", "-c", "open('kernel.so', 'w').close()"])
    first, second = (prepared(place, Arm.BASE, what) for _ in range(2))
    assert first.folder is not None
    assert second.folder is not None
    os.utime(first.folder, (1, 1))
    (first.folder / "old").touch()
    os.utime(first.folder, (1, 1))
    prepared(place, Arm.BASE, what)  # may take the free place again, but not what lay there
    assert not (first.folder / "old").exists()
    assert second.folder.exists()


def test_what_setup_builds_inside_the_checkout_is_built_again(place: Workplace) -> None:
    what = scenario(["python", "-c", "open('kernel.so', 'w').close()"])
    prepared(place, Arm.BASE, what)
    assert not prepared(place, Arm.BASE, what).reused


def test_a_failing_setup_shows_its_output_and_leaves_no_environment(place: Workplace) -> None:
    what = scenario(["python", "-c", "print('the cause'); raise SystemExit(9)"])
    with pytest.raises(UserError, match="failed with status 9") as caught:
        prepared(place, Arm.BASE, what)
    assert "the cause" in caught.value.why
    assert not any((place.folder.parents[2] / "envs").iterdir())


@pytest.mark.parametrize("python", ["no-such-python", "/nowhere/python", "false"])
def test_an_interpreter_that_does_not_run_is_the_users_to_fix(python: str) -> None:
    with pytest.raises(UserError, match="does not run"):
        interpreter(python)


def test_placeholders_and_python_are_filled_in() -> None:
    what = Scenario(
        "toy",
        ("python", "{scenario_dir}/train.py", "{checkout}/x", "{other}"),
        Path("/scenarios/toy"),
        env={"PYTHONPATH": "{checkout}/src", "MODE": "{}"},
    )
    environment = Environment("/usr/bin/python9", "9")
    command = command_of(what, Path("/work"), environment)
    assert command == ("/usr/bin/python9", "/scenarios/toy/train.py", "/work/x", "{other}")
    variables = variables_of(what, Path("/work"), environment, hash_seed=5)
    assert variables["PYTHONPATH"] == "/work/src"
    assert variables["MODE"] == "{}"
    assert variables["PYTHONHASHSEED"] == "5"
    assert variables["PATH"].startswith("/usr/bin:")


def test_a_trial_gets_no_token_and_no_path_into_the_users_work_tree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "AILAB_PROBE", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("USERS_OWN", "kept")
    variables = variables_of(scenario(), Path("/work"), Environment("/bin/python", "3"), 1)
    assert "secret" not in variables.values()
    assert variables["USERS_OWN"] == "kept"
