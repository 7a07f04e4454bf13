"""The office as a fixture; the stand-in fails a test whose requests GitHub does not describe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from office import Office
from standin import running


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit is made on the same day: the same story gives the same SHAs, and comments."""
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-03-01T12:00:00Z")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with running() as github:
        yield Office(tmp_path, github)
