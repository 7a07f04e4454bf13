"""The office of the stories on emulate; what the stand-in would notice, fails a test here too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The stories are another folder's; this one runs them again.
sys.path.append(str(Path(__file__).parents[1] / "stories"))

from emulated import EmulatedHub, emulated
from emulator import Node
from office import Office


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    process = Node()
    yield process
    process.close()


@pytest.fixture
def hub(node: Node) -> Iterator[EmulatedHub]:
    with emulated(node) as github:
        yield github


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: EmulatedHub) -> Office:
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-03-01T12:00:00Z")
    return Office(tmp_path, hub)
