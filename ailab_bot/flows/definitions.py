"""The configuration, scenarios and policy of a commit, laid out in a folder of their own.

On GitHub they come from the base branch: a change is never judged by its own edit of them. Reads
git objects; refuses to touch a work tree.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.config import Config, load_config, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.flows.policy import policy_of
from ailab_bot.measure.git import Repository
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.policyfile import NAME as POLICY_FILE

CONFIG = ".ailab/config.yml"
_LINK = "120000"


@dataclass(frozen=True)
class Definitions:
    """What the commit `sha` says. `paths` are the repository's folders and files it was read from;
    `scenarios` is empty where the commit has none yet.
    """

    sha: str
    paths: tuple[str, ...]
    config: Config
    scenarios: tuple[Scenario, ...]
    policy: Policy

    def edited_by(self, changed: Sequence[str]) -> tuple[str, ...]:
        """Those of the changed files that would say how to measure and judge."""
        return tuple(
            path
            for path in changed
            if any(path == own or path.startswith(f"{own}/") for own in self.paths)
        )

    def chosen(self, names: Sequence[str]) -> tuple[Scenario, ...]:
        wanted = set(names)
        return tuple(scenario for scenario in self.scenarios if scenario.id in wanted)


def read_definitions(
    repository: Repository, sha: str, folder: Path, config: str = CONFIG
) -> Definitions:
    """Lay `sha`'s definitions out below `folder` (which must not exist) and read them.

    `config` is the configuration's path in the repository. UserError for what is malformed there.
    """
    config = posixpath.normpath(config)
    if config.startswith(("/", "..")):
        raise UserError(
            f"the configuration `{config}` lies outside the repository",
            why="On GitHub it is read from the base commit.",
            advice="Give a path inside the repository, such as .ailab/config.yml.",
        )
    home = posixpath.dirname(config) or "."
    paths = _paths(repository, sha, home)
    folder.mkdir(parents=True)
    if paths:
        repository.export(sha, paths, folder)
    path = folder / config
    loaded = Config(scenarios_dir=path.parent / "scenarios")
    if path.exists():
        loaded = load_config(path, folder)
    has_any = any(loaded.scenarios_dir.glob("*/scenario.yml")) or any(
        loaded.scenarios_dir.glob("*.yml")
    )
    return Definitions(
        sha,
        paths or (home,),
        loaded,
        load_scenarios(loaded) if has_any else (),
        policy_of(loaded, shown=Path(home) / POLICY_FILE),
    )


def _paths(repository: Repository, sha: str, home: str) -> tuple[str, ...]:
    """`home` and what links directly in it lead to, as far as the commit has them."""
    found: list[str] = []
    for row in _rows(repository, sha, f"{home}/"):
        meta, _, path = row.partition("\t")
        mode, _, blob = meta.split()
        if not found:
            found.append(home)
        if mode == _LINK:
            target = repository.git("cat-file", "blob", blob)
            inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if not inside.startswith(("/", "..")) and _rows(repository, sha, inside):
                found.append(inside)
    return tuple(found)


def _rows(repository: Repository, sha: str, path: str) -> list[str]:
    rows = repository.git("ls-tree", "-z", "--full-tree", sha, "--", path).split("\0")
    return [row for row in rows if row]
