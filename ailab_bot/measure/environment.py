"""Prepares an arm: the interpreter and packages that a scenario's `setup` asks for, cached.

An environment is found again by what it was made from: the set-up commands and their variables, the
interpreter, the files that the commands name, every lock or dependency file of the commit, and what
requirements files include. One that points into a checkout (an editable install)
or holds a copy of its code (a plain install) is only used again where that is still true, so an
arm never runs the other arm's code.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.measure.clean import SECRETS
from ailab_bot.measure.git import LOCAL_VARIABLES, Repository
from ailab_bot.model.scenario import Scenario

#: Files that decide what a set-up installs, wherever they lie in the repository.
DEPENDENCY_FILES = (
    "requirements*.txt",
    "requirements*.in",
    "constraints*.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "*.lock",
    "Pipfile",
    "environment*.yml",
    "environment*.yaml",
    "pixi.toml",
    ".python-version",
)
#: Files that pip may read requirements from; such a file may include others.
_REQUIREMENTS = (".txt", ".in", ".pip", "")
_INCLUDE = re.compile(
    r"^[ \t]*(?:-[rc]|--(?:requirement|constraint)(?=[ \t=]))[ \t=]*([^\s#]+)", re.MULTILINE
)
#: An option that may stand before a file's name without a space.
_OPTION = re.compile(r"-[rc]|--[\w-]+=")
#: What package builds leave in a checkout and no run needs.
_BUILD_REMAINS = ("__pycache__", "*.egg-info", "build", "dist", ".eggs", "*.pyc")
#: Variables that would keep the byte-code cache from its known state: warm in both arms.
_UNEQUAL = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
#: Files by which a step tells GitHub's runner what later steps shall see.
_RUNNER_FILES = tuple(
    f"GITHUB_{name}" for name in ("ENV", "PATH", "OUTPUT", "STATE", "STEP_SUMMARY")
)
#: Variables that belong to the bot, to GitHub or to another checkout, not to the user's workflow.
_WITHHELD = (
    *("AILAB_*", "ACTIONS_*", "INPUT_*", "PYTHONPATH"),
    *SECRETS,
    *_RUNNER_FILES,
    *_UNEQUAL,
    *LOCAL_VARIABLES,
)
_SETUP_TIMEOUT_S = 3600.0
#: No run takes as long: an environment for a single run is older than that only when it is over.
_LEFT_OVER_S = 2 * 86_400.0
_SHOWN_LINES = 30
_RECORD = "ailab-environment.json"


@dataclass(frozen=True)
class Environment:
    """A prepared interpreter. `folder` is None for one that was there already."""

    python: str
    version: str
    folder: Path | None = None
    reused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Source:
    """The commit that an arm's set-up sees."""

    repository: Repository
    sha: str
    checkout: Path


def compile_probe(probe: Path, python: str) -> None:
    """Write the probe's byte code for this interpreter, so that no trial has to compile it."""
    subprocess.run([python, "-m", "compileall", "-q", str(probe)], capture_output=True, check=False)


def interpreter(python: str) -> Environment:
    """An interpreter as it is; UserError when it is missing or does not run."""
    path = shutil.which(python)
    code = "import sys; print(sys.version.split()[0])"
    try:
        if path is None:
            raise FileNotFoundError(f"there is no `{python}` on PATH or at that path")
        result = subprocess.run(
            [path, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(
            f"the interpreter `{python}` does not run",
            why=str(error),
            advice="Name one with --python PATH or `python:` in .ailab/config.yml.",
        ) from error
    return Environment(path, result.stdout.strip())


def which_python(asked: str | None, configured: str | None) -> str:
    """The interpreter of arms without `setup`: as asked, else the active environment's, else ours.

    The active environment comes before ours because the bot may be installed in one of its own.
    """
    if asked or configured:
        return asked or configured or ""
    active = os.environ.get("VIRTUAL_ENV")
    if active and (Path(active) / "bin" / "python").exists():
        return str(Path(active) / "bin" / "python")
    return sys.executable


def prepare(
    scenario: Scenario, source: Source, base_python: Environment, cache: Path
) -> Environment:
    """The environment that the scenario's `setup` makes for this arm, new or reused.

    Raises UserError with the end of its output when a set-up command fails.
    """
    if not scenario.setup:
        return base_python
    started = time.monotonic()
    key = _key(scenario, source, base_python)
    home = cache / "envs"
    home.mkdir(parents=True, exist_ok=True)
    for folder in sorted(home.glob(f"{key}-*")):
        if _is_left_over(folder):
            shutil.rmtree(folder, ignore_errors=True)
        elif _fits(folder, source):
            return Environment(_python_in(folder), base_python.version, folder, reused=True)
    folder = _new_folder(home, key)
    try:
        _run([base_python.python, "-m", "venv", str(folder)], scenario, source, folder)
        for command in scenario.setup:
            _run(fill_in(command, scenario, source.checkout), scenario, source, folder)
        record = _describe(folder, source)
        (folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    seconds = time.monotonic() - started
    return Environment(_python_in(folder), base_python.version, folder, seconds=seconds)


def fill_in(words: Iterable[str], scenario: Scenario, checkout: Path) -> list[str]:
    """Replace `{checkout}` and `{scenario_dir}`."""
    return [
        word.replace("{checkout}", str(checkout)).replace("{scenario_dir}", str(scenario.directory))
        for word in words
    ]


def command_of(scenario: Scenario, checkout: Path, environment: Environment) -> tuple[str, ...]:
    """The scenario's command for an arm: a leading `python` is the arm's interpreter."""
    command = fill_in(scenario.command, scenario, checkout)
    if command[0] == "python":
        command[0] = environment.python
    return tuple(command)


def variables_of(
    scenario: Scenario,
    checkout: Path,
    environment: Environment,
    hash_seed: int,
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The whole environment of a trial: the user's, without secrets of the bot, plus `env`.

    `settings` are of the configuration; the scenario's own `env` has the last word.

    `hash_seed` (the same for both arms of a block) fixes Python's string hashing, so base and
    head see sets in the same order, and different blocks different orders.
    """
    variables = _inherited(environment.folder, environment.python)
    variables["PYTHONHASHSEED"] = str(hash_seed)
    names = list(scenario.env)
    values = fill_in(scenario.env.values(), scenario, checkout)
    return variables | dict(settings or {}) | dict(zip(names, values, strict=True))


def _inherited(folder: Path | None, python: str) -> dict[str, str]:
    variables = {
        name: value
        for name, value in os.environ.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _WITHHELD)
    }
    first = Path(python).parent
    if folder is not None:
        variables["VIRTUAL_ENV"] = str(folder)
        first = folder / "bin"
    variables["PATH"] = os.pathsep.join([str(first), variables.get("PATH", os.defpath)])
    return variables


def _key(scenario: Scenario, source: Source, python: Environment) -> str:
    made_from = [
        scenario.setup,
        dict(
            zip(
                scenario.env, fill_in(scenario.env.values(), scenario, source.checkout), strict=True
            )
        ),
        str(Path(python.python).resolve()),
        python.version,
        _files_of_commit(scenario, source),
        _files_of_scenario(scenario),
    ]
    mentions_scenario = any("{scenario_dir}" in word for words in scenario.setup for word in words)
    if mentions_scenario:
        made_from.append(str(scenario.directory))
    text = json.dumps(made_from, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files_of_commit(scenario: Scenario, source: Source) -> dict[str, str]:
    """Blob ids of the commit's files that decide what the set-up installs, by path."""
    blobs = source.repository.blobs(source.sha)
    found: dict[str, str] = {}
    heap = [os.path.normpath(word.removeprefix("{checkout}/")) for word in _named(scenario)]
    heap += [
        path
        for path in blobs
        if any(fnmatch.fnmatchcase(PurePosixPath(path).name, p) for p in DEPENDENCY_FILES)
    ]
    while heap:
        path = heap.pop()
        if path in found or path not in blobs:
            continue
        found[path] = blobs[path]
        if PurePosixPath(path).suffix in _REQUIREMENTS:
            folder = PurePosixPath(path).parent
            included = _included(source.repository, blobs[path])
            heap += [os.path.normpath(folder / name) for name in included]
    return found


def _files_of_scenario(scenario: Scenario) -> dict[str, str]:
    """Digests of the files that the set-up names in the scenario's own folder, by path."""
    found: dict[str, str] = {}
    words = [word for word in _named(scenario) if word.startswith("{scenario_dir}")]
    heap = [Path(os.path.normpath(path)) for path in fill_in(words, scenario, Path())]
    while heap:
        path = heap.pop()
        if str(path) in found:
            continue
        with contextlib.suppress(OSError):  # what cannot be read is the set-up's to complain about
            if path.is_dir():
                heap += [child for child in path.iterdir() if _is_content(child)]
            elif path.is_file():
                with path.open("rb") as file:
                    found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
                if path.suffix in _REQUIREMENTS:
                    text = path.read_text(encoding="utf-8", errors="replace")
                    heap += [Path(os.path.normpath(path.parent / name)) for name in _includes(text)]
    return found


def _is_content(path: Path) -> bool:
    """Not what a build left there, and no link by which a folder could hold itself."""
    return not _is_remains(path.name) and not (path.is_symlink() and path.is_dir())


def _named(scenario: Scenario) -> set[str]:
    """What in the set-up's words may be the name of a file; also inside a shell's line."""
    words = {word for words in scenario.setup for word in words}
    words |= {part.strip("\"';") for word in words for part in word.split()}
    return words | {_OPTION.sub("", word, count=1) for word in words if _OPTION.match(word)}


@functools.lru_cache(maxsize=4096)  # the arms and the scenarios of a run share most of them
def _included(repository: Repository, blob: str) -> tuple[str, ...]:
    try:
        return _includes(repository.git("cat-file", "blob", blob))
    except RunnerError:
        return ()  # a submodule, say


def _includes(requirements: str) -> tuple[str, ...]:
    return tuple(name.strip("\"'") for name in _INCLUDE.findall(requirements))


def _describe(folder: Path, source: Source) -> dict[str, str]:
    """What the environment is bound to: "nothing", a "path", a "tree" or a single "run"."""
    tree = source.repository.tree_of(source.sha)
    record = {"bound_to": "nothing", "path": str(source.checkout), "tree": tree}
    if _left_behind(source):
        return record | {"bound_to": "run"}  # what it built in the checkout goes with the checkout
    kinds = {_binding(file, str(source.checkout)) for file in _clues(folder)}
    for kind in ("tree", "path"):
        if kind in kinds:
            return record | {"bound_to": kind}
    return record


def _fits(folder: Path, source: Source) -> bool:
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        bound_to, path, tree = record["bound_to"], record["path"], record["tree"]
    except (OSError, ValueError, KeyError):
        return False  # unfinished, or being made by another run right now
    if not Path(_python_in(folder)).exists():
        return False
    same_path = path == str(source.checkout)
    same_tree = tree == source.repository.tree_of(source.sha)
    return bool(
        bound_to == "nothing"
        or (bound_to == "path" and same_path)
        or (bound_to == "tree" and same_path and same_tree)
    )


def _is_left_over(folder: Path) -> bool:
    """Whether it was for a single run, or never finished, and no run can be using it any more."""
    age_s = 0.0
    try:
        age_s = time.time() - folder.stat().st_mtime
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        for_one_run = record["bound_to"] == "run"
    except (OSError, ValueError, KeyError, TypeError):
        for_one_run = True
    return for_one_run and age_s > _LEFT_OVER_S


def _clues(folder: Path) -> Iterable[Path]:
    for pattern in ("*.dist-info/direct_url.json", "*.pth", "*.egg-link", "__editable__*.py"):
        yield from folder.glob(f"lib*/python*/site-packages/{pattern}")


def _binding(file: Path, checkout: str) -> str:
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.name == "direct_url.json":
        record = json.loads(text)
        origin = unquote(urlparse(record.get("url", "")).path)
        if origin != checkout and not origin.startswith(checkout + os.sep):
            return "nothing"
        return "path" if record.get("dir_info", {}).get("editable") else "tree"
    if checkout not in text:
        return "nothing"
    # A finder lists the packages that the tree had; a .pth file names a folder and stays true.
    return "tree" if file.suffix == ".py" else "path"


def _left_behind(source: Source) -> bool:
    rows = source.repository.git(
        "status", "--porcelain", "--ignored", "--untracked-files=normal", cwd=source.checkout
    )
    names = [PurePosixPath(row[3:].strip('"').rstrip("/")).name for row in rows.splitlines()]
    return not all(map(_is_remains, names))


def _is_remains(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _BUILD_REMAINS)


def _new_folder(home: Path, key: str) -> Path:
    number = 0
    while True:
        folder = home / f"{key}-{number:02}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _python_in(folder: Path) -> str:
    return str(folder / "bin" / "python")


def _run(command: Sequence[str], scenario: Scenario, source: Source, folder: Path) -> None:
    words = [
        _python_in(folder) if word == "python" and not i else word for i, word in enumerate(command)
    ]
    names = list(scenario.env)
    values = fill_in(scenario.env.values(), scenario, source.checkout)
    variables: Mapping[str, str] = _inherited(folder, _python_in(folder)) | dict(
        zip(names, values, strict=True)
    )
    try:
        result = subprocess.run(
            words,
            cwd=source.checkout,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SETUP_TIMEOUT_S,
            check=False,
        )
        status, output = result.returncode, result.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        status, output = 1, str(error)
    if status:
        shown = "\n".join(output.rstrip().splitlines()[-_SHOWN_LINES:])
        raise UserError(
            f"setup of `{scenario.id}` failed with status {status}: {' '.join(command)}",
            why=f"At commit {source.sha[:12]}, the end of its output:\n{shown}",
            advice="Run it by hand in a checkout of that commit, or mend `setup` in the scenario.",
        )
