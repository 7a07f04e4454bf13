"""One parser and one prepared environment for all; a repository and a GitHub for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import repositories
import rights
from action.runner import Language, Settings, Site, pip_settings, prepared_environment
from sources import CONFIG
from standin import running
from works import Works

Founded = Callable[..., Works]


@pytest.fixture(scope="session")
def language() -> Iterator[Language]:
    with Language() as one:
        yield one


@pytest.fixture(scope="session")
def prepared(language: Language, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the action installs, as the action installs it."""
    folder = tmp_path_factory.mktemp("prepare")
    base = repositories.new_repository(folder / "base")
    repositories.commit(base, {"a.txt": "1"})
    settings = Settings(
        language,
        Site("acme/models", base),
        folder / "runs",
        token_for=lambda granted: "none",
        passed_on=pip_settings(os.environ),
    )
    return prepared_environment(settings)


@pytest.fixture
def found(tmp_path: Path, language: Language, prepared: Path) -> Iterator[Founded]:
    """`found("eager", "steady")`: a repository with these scenarios, on a GitHub of its own.

    Afterwards no job may have asked GitHub for more than its workflow file lets it, but for what
    the story says was refused.
    """
    with running() as github:
        made: list[Works] = []

        def one(*scenarios: str, config: str = CONFIG) -> Works:
            made.append(Works(tmp_path, github, language, prepared, scenarios, config))
            return made[-1]

        yield one
        for works in made:
            assert rights.beyond(works.jobs, github.requests) == works.refused
