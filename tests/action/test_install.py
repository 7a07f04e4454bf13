"""The install step of action.yml itself, run as GitHub runs it, with the real packages.

The only tests here that need a package index: what is locked is downloaded once, with pip.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import house_rules
import install
import pytest
import shipped

(STEP,) = [
    step for _, step in house_rules.read(shipped.ACTION).steps() if step["name"] == "Install"
]


@dataclass(frozen=True)
class Runner:
    """A machine of GitHub's with nothing on it: `wheels` is all that pip can reach."""

    folder: Path
    wheels: Path
    action: Path = shipped.ROOT

    def install(self, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
        script = self.folder / "step.sh"
        script.write_text(STEP["run"], encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_ACTION_PATH": str(self.action),
            "AILAB_PYTHON": python,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }
        return self._run(["bash", "--noprofile", "--norc", "-eo", "pipefail", script], environment)

    def bot(self, *words: str) -> subprocess.CompletedProcess[str]:
        python = self.folder / "ailab" / "bin" / "python"
        return self._run([python, "-I", *words], {"PATH": os.environ["PATH"]})

    def _run(
        self, words: list[str | Path], env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            env=env,
            cwd=self.workspace,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    @property
    def workspace(self) -> Path:
        """A pull request whose modules have the names of those that the step and the bot import."""
        workspace = self.folder / "work"
        workspace.mkdir(exist_ok=True)
        for name in ("venv", "pip", "sysconfig", "jinja2", "numpy", "ailab_bot", "sitecustomize"):
            (workspace / f"{name}.py").write_text("raise SystemExit('the pull request ran')\n")
        return workspace


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    install.download(folder)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Runner:
    runner = Runner(tmp_path_factory.mktemp("runner"), wheels)
    result = runner.install()
    assert result.returncode == 0, result.stdout + result.stderr
    return runner


def test_installing_downloads_no_more_than_is_promised(wheels: Path) -> None:
    megabytes = sum(file.stat().st_size for file in wheels.iterdir()) / 1e6
    assert 20 < megabytes <= install.PROMISED_MB


def test_the_bot_answers_from_the_environment_that_the_action_makes(installed: Runner) -> None:
    result = installed.bot("-m", "ailab_bot", "--help")
    assert result.returncode == 0, result.stderr
    assert "ailab" in result.stdout


def test_the_bot_is_not_installed_but_named_by_one_path_file(installed: Runner) -> None:
    where = installed.bot("-c", "import ailab_bot.cli; print(ailab_bot.cli.__file__)")
    assert where.stdout.strip() == str(shipped.ROOT / "ailab_bot" / "cli.py")
    (named,) = installed.folder.glob("ailab/lib/python*/site-packages/ailab-bot.pth")
    assert named.read_text(encoding="utf-8").strip() == str(shipped.ROOT)
    assert not list(named.parent.glob("ailab_bot*"))


def test_nothing_that_a_locked_package_needs_is_missing(installed: Runner) -> None:
    result = installed.bot("-m", "pip", "check")
    assert (result.returncode, result.stdout.strip()) == (0, "No broken requirements found.")


def test_whatever_the_bot_imports_is_there(installed: Runner) -> None:
    names = [
        ".".join(path.relative_to(shipped.ROOT).with_suffix("").parts)
        for folder in ("gh", "report", "stats", "flows", "ledger")
        for path in sorted((shipped.ROOT / "ailab_bot" / folder).glob("*.py"))
        if path.name != "sql.py"  # for who installs the extra `postgresql`
    ]
    result = installed.bot("-c", "".join(f"import {name}\n" for name in names))
    assert result.returncode == 0, result.stderr


def test_a_second_use_in_a_job_installs_nothing(installed: Runner, tmp_path: Path) -> None:
    again = Runner(installed.folder, tmp_path)
    result = again.install()
    assert result.returncode == 0, result.stdout + result.stderr
    assert again.bot("-m", "ailab_bot", "--version").returncode == 0


def test_half_an_environment_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """Killed between pip and its end: it begins again, here with nothing to install from."""
    left = tmp_path / "ailab" / "bin"
    left.mkdir(parents=True)
    (left / "python").symlink_to(sys.executable)
    (tmp_path / "nothing").mkdir()
    result = Runner(tmp_path, tmp_path / "nothing").install()
    assert result.returncode == 2
    assert "::error title=AI Lab bot: cannot install::" in result.stdout


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path, wheels: Path) -> None:
    """The hash is what counts: a wheel of the right name and version does not help."""
    forged = tmp_path / "forged"
    forged.mkdir()
    for wheel in wheels.iterdir():
        if not wheel.name.startswith("jinja2"):
            (forged / wheel.name).symlink_to(wheel)
        else:
            (forged / wheel.name).write_bytes(wheel.read_bytes() + b"\0")
    result = Runner(tmp_path, forged).install()
    assert result.returncode == 2
    assert "DO NOT MATCH THE HASHES" in result.stderr
    assert "::error title=AI Lab bot: cannot install::" in result.stdout
    assert not (tmp_path / "ailab" / "installed.txt").exists()


def test_a_runner_without_python_is_told_what_to_do(tmp_path: Path) -> None:
    result = Runner(tmp_path, tmp_path).install("no-such-python")
    assert result.returncode == 2
    (line,) = result.stdout.splitlines()
    assert line.startswith("::error title=AI Lab bot: no Python::This runner has no 'no-such-py")
    assert "3.11 or later" in line
    assert "setup-python" in line


def test_a_python_that_is_too_old_is_told_apart(tmp_path: Path) -> None:
    """The step's own check, run by an interpreter that says that it is 3.9."""
    old = tmp_path / "python3.9"
    lie = "import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])"
    old.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        exec '{sys.executable}' -I -c '{lie}' "$3"
        """)
    )
    old.chmod(0o755)
    result = Runner(tmp_path, tmp_path).install(str(old))
    assert result.returncode == 2
    assert f"'{old}' is Python 3.9; the bot needs 3.11 or later" in result.stdout


def test_a_python_that_cannot_make_environments_is_told_apart(tmp_path: Path) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\n[ "$2" = -m ] && exit 1\nexec \'{sys.executable}\' "$@"\n')
    bare.chmod(0o755)
    result = Runner(tmp_path, tmp_path).install(str(bare))
    assert result.returncode == 2
    assert "::error title=AI Lab bot: no virtual environment::" in result.stdout
    assert "python3-venv" in result.stdout
