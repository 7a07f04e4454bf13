"""`ailab doctor`: is anything in the way of measuring here, and what will make it noisy?

machine -> repository -> configuration -> this run's surroundings. Changes nothing, and asks nobody
over the network, so what a token may do stays unknown.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.config import Config, load_config, load_scenarios
from ailab_bot.errors import AilabError, UserError
from ailab_bot.measure.cores import THREAD_VARIABLES, choose_cores
from ailab_bot.measure.environment import interpreter, which_python
from ailab_bot.measure.git import Repository, git_version, open_repository
from ailab_bot.measure.machine import inspect_machine
from ailab_bot.measure.worktree import cache_folder
from ailab_bot.model.diagnosis import Diagnosis, Finding, Level, Section
from ailab_bot.model.noise import REPEATS, Noise, cores_text
from ailab_bot.model.policy import MAX_BLOCKS
from ailab_bot.report.words import share

#: What the probe's syntax needs.
OLDEST_PYTHON = (3, 8)
#: `git worktree` with all that is used of it.
OLDEST_GIT = (2, 30)
#: Names of scenarios that are listed; the rest is counted.
_MOST_NAMES = 8
_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


@dataclass(frozen=True)
class DoctorRequest:
    """`repo` None: the repository around here, if there is one."""

    repo: Path | None = None
    config: Path | None = None


@dataclass(frozen=True)
class _Place:
    """Where the user is: findings about the repository, and it itself where there is one."""

    findings: tuple[Finding, ...]
    repository: Repository | None = None


def diagnose(request: DoctorRequest, variables: Mapping[str, str] = os.environ) -> Diagnosis:
    """Look at everything that a measurement depends on. Never raises for what it finds."""
    place = _repository(request.repo)
    config, checked = _configuration(request, place.repository)
    python, packages = _interpreter(config)
    files_bytes = _files_bytes(place.repository, packages)
    return Diagnosis(
        (
            Section("Machine", inspect_machine(cache_folder(), files_bytes)),
            Section("Equal in both arms", _controls(config, variables)),
            Section("Repository", place.findings),
            Section("Configuration", checked),
            Section("Where arms are prepared", (_system(), python, _cache())),
            Section("GitHub", _github(variables)),
        )
    )


def _wrong(name: str, error: AilabError) -> Finding:
    return Finding(name, error.what, Level.WRONG, advice=error.advice, why=error.why)


def _controls(config: Config, variables: Mapping[str, str]) -> tuple[Finding, ...]:
    """What the measurement itself sees to, on any machine."""
    noise = config.noise
    blocks = config.max_blocks if config.max_blocks is not None else MAX_BLOCKS
    repeats = int(REPEATS * blocks)
    return (
        Finding("order", "arms alternate in blocks, at random from a recorded seed"),
        Finding("hash seed", "one for both arms of a block, another in the next block"),
        Finding("paths", "of equal length, so that environments are of equal size too"),
        Finding("caches", "both arms run once untimed, which fills byte-code and page caches"),
        _pinning(noise),
        _threads(noise, variables),
        Finding(
            "quiet machine",
            f"a block is measured again when other work takes more than {share(noise.max_load)} "
            f"of the CPU or the hypervisor more than {share(noise.max_steal)}, at most {repeats} "
            f"in a scenario; a busy machine is waited for, up to {noise.wait_s:g} s before a block",
        ),
    )


def _pinning(noise: Noise) -> Finding:
    cost = (
        "The scheduler moves trials between cores, and a core that is new to one has cold caches: "
        "noise in both arms, so more blocks."
    )
    try:
        cores = choose_cores(noise.pin)
    except UserError as error:
        return _wrong("pinning", error)
    if cores:
        return Finding("pinning", f"every trial runs on cores {cores_text(cores)}", cost=cost)
    state = "off, so trials may use every core, as they do in production"
    if noise.pin == "auto":
        state = "auto, and this machine is too small to give up a core, so trials may use all"
    return Finding("pinning", state, cost=cost)


def _threads(noise: Noise, variables: Mapping[str, str]) -> Finding:
    cost = "A number of threads other than production's makes a trial another program."
    if noise.threads is not None:
        return Finding("threads", f"{noise.threads}, unless a scenario sets them", cost=cost)
    given = [f"{name}={variables[name]}" for name in THREAD_VARIABLES if name in variables]
    state = "as in your environment" + (f" ({', '.join(given)})" if given else "")
    return Finding("threads", f"{state}, unless a scenario sets them", cost=cost)


def _repository(asked: Path | None) -> _Place:
    try:
        version = git_version()
    except UserError as error:
        return _Place((_wrong("git", error),))
    git = _git_finding(version)
    try:
        repository = open_repository(asked or Path.cwd())
    except UserError as error:
        if asked is not None:
            return _Place((git, _wrong("repository", error)))
        advice = "For the rest, run it in your project's clone or name that with --repo DIR."
        none = Finding("repository", "none here; the machine alone is checked", Level.UNKNOWN)
        return _Place((git, Finding(none.name, none.state, none.level, advice=advice)))
    try:
        return _Place((git, *_state_of(repository)), repository)
    except AilabError as error:
        return _Place((git, _wrong("repository", error)))


def _git_finding(version: str) -> Finding:
    if _version(version) >= OLDEST_GIT:
        return Finding("git", version)
    oldest = ".".join(map(str, OLDEST_GIT))
    cost = "Checkouts of the arms may fail."
    return Finding("git", version, Level.WARN, cost, f"Install git {oldest} or later.")


def _state_of(repository: Repository) -> tuple[Finding, ...]:
    if not repository.has_commit():
        advice = "Commit base and head first."
        return (Finding("repository", "has no commit yet", Level.WRONG, advice=advice),)
    state = str(repository.root)
    if repository.is_dirty():
        state += ", with uncommitted changes, which are not measured"
    findings = [Finding("repository", state), _history(repository)]
    cost = "Trials run the change's code in checkouts of this clone, so it can read them."
    if repository.keeps_credentials():
        advice = "Set `persist-credentials: false` for actions/checkout."
        state = "the clone's settings hold a header to log in with"
        findings.append(Finding("credentials", state, Level.WARN, cost, advice))
    else:
        findings.append(Finding("credentials", "none in the clone's settings", cost=cost))
    return tuple(findings)


def _history(repository: Repository) -> Finding:
    cost = "A base that was not fetched cannot be checked out, so nothing is compared."
    if not repository.is_shallow():
        return Finding("history", "complete", cost=cost)
    advice = "git fetch --unshallow (in a workflow: actions/checkout with `fetch-depth: 0`)."
    return Finding("history", "a shallow clone, which may lack base", Level.WARN, cost, advice)


def _configuration(
    request: DoctorRequest, repository: Repository | None
) -> tuple[Config, tuple[Finding, ...]]:
    """The configuration, or the defaults where it is wrong; and what was found about it."""
    root = repository.root if repository else request.repo or Path.cwd()
    path = (request.config or root / ".ailab" / "config.yml").absolute()
    config = Config(scenarios_dir=path.parent / "scenarios")
    if repository is None and request.config is None:
        return config, (Finding("configuration", "no repository, so none", Level.UNKNOWN),)
    try:
        config = load_config(request.config, root)
        read = Finding("configuration", str(path) if path.exists() else "the defaults")
    except UserError as error:
        read = _wrong("configuration", error)
    try:
        names = [scenario.id for scenario in load_scenarios(config)]
    except UserError as error:
        return config, (read, _wrong("scenarios", error))
    listed = ", ".join(names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return config, (read, Finding("scenarios", f"{len(names)}: {listed}{more}"))


def _interpreter(config: Config) -> tuple[Finding, Path | None]:
    """The interpreter of arms without `setup`, and the folder of its packages."""
    try:
        python = interpreter(which_python(None, config.python))
    except UserError as error:
        return _wrong("python", error), None
    if _version(python.version) < OLDEST_PYTHON:
        state = f"{python.version} at {python.python}"
        advice = "Name a newer one with `python:` in .ailab/config.yml."
        why = f"The probe needs Python {'.'.join(map(str, OLDEST_PYTHON))} or later."
        return Finding("python", state, Level.WRONG, advice=advice, why=why), None
    words = [python.python, "-c", _PACKAGES]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    packages = Path(result.stdout.strip()) if result.stdout.strip() else None
    return Finding("python", f"{python.version} at {python.python}"), packages


def _files_bytes(repository: Repository | None, packages: Path | None) -> int | None:
    """Two checkouts and one set of packages: about what both arms read in all."""
    if repository is None or not repository.has_commit():
        return None
    total = 2 * repository.bytes_of("HEAD")
    for folder, _, files in os.walk(packages) if packages else ():
        for name in files:
            try:
                total += os.lstat(f"{folder}/{name}").st_size
            except OSError:
                continue  # it went away while we looked
    return total


def _system() -> Finding:
    name = platform.system()
    state = f"{name} {platform.release()}"
    if name == "Linux":
        return Finding("system", state)
    why = "Trials are watched through /proc and ended with the help of the Linux kernel."
    return Finding("system", state, Level.WRONG, why=why, advice="Measure on Linux.")


def _cache() -> Finding:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = "Set AILAB_CACHE_DIR to a folder that you may write to."
        state = f"cannot write to {folder}"
        return Finding("cache", state, Level.WRONG, advice=advice, why=str(error))
    return Finding("cache", f"{folder}, may be written")


def _github(variables: Mapping[str, str]) -> tuple[Finding, ...]:
    token = _token(variables)
    if variables.get("GITHUB_ACTIONS") != "true":
        return (Finding("workflow", "not in one; nothing is sent anywhere"), token)
    event = variables.get("GITHUB_EVENT_NAME") or "not known"
    runner = variables.get("RUNNER_ENVIRONMENT") or "runner of unknown kind"
    permissions = Finding(
        "permissions",
        "what a token may do cannot be seen without asking GitHub",
        Level.UNKNOWN,
        "Too few, and results cannot be read or posted; too many, and measured code may use them.",
        "Measuring needs `permissions: {contents: read}` and no more.",
    )
    workflow = Finding("workflow", f"event {event}, {runner}")
    return (workflow, _summary(variables), token, permissions)


def _token(variables: Mapping[str, str]) -> Finding:
    present = [name for name in ("GITHUB_TOKEN", "GH_TOKEN") if variables.get(name)]
    cost = (
        "Trials are not given it, but they run as the same user, so a hostile change can read it "
        "from the environment of ailab."
    )
    if not present:
        return Finding("token", "none in the environment, and measuring needs none", cost=cost)
    advice = "Give it to the job that posts, not to the one that measures."
    return Finding("token", f"{' and '.join(present)} set", Level.WARN, cost, advice)


def _summary(variables: Mapping[str, str]) -> Finding:
    path = variables.get("GITHUB_STEP_SUMMARY", "")
    cost = "The report cannot be shown as the job's summary."
    if path and os.access(path if Path(path).exists() else Path(path).parent, os.W_OK):
        return Finding("summary", "may be written", cost=cost)
    return Finding("summary", "cannot be written", Level.WARN, cost, "Pass on GITHUB_STEP_SUMMARY.")


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of `2.39.5 (Apple Git)`; zeros where there are none."""
    numbers = text.split(maxsplit=1)[0].split(".") if text.split() else []
    return tuple(int(part) if part.isdecimal() else 0 for part in numbers[:2])
