"""Both back ends of the ledger, as one suite of tests meets them."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from postgres_server import PASSWORD, server
from repositories import commit, git, new_repository

from ailab_bot.ledger.scratch import Ledger
from ailab_bot.ledger.sql import SqlStore, open_store
from ailab_bot.ledger.store import GitStore, Store

REF = "refs/remotes/origin/ailab-ledger"
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Backend:
    """`open` gives the store as somebody else would open it now; `words` are what a process of its
    own needs to open it with `open_words`."""

    name: str
    open: Callable[[], Store]
    words: tuple[str, ...]


def open_words(name: str, where: str) -> Store:
    """The store in a process of its own, for writing."""
    if name == "git":
        return GitStore(Ledger(Path(where)), None, time.sleep, random.Random())
    return open_store(where)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    with server() as folder:
        yield folder


@pytest.fixture
def database_url(postgres: Path) -> str:
    name = f"ledger_{next(_NUMBERS)}"
    with psycopg.connect(
        host=str(postgres), user="postgres", password=PASSWORD, autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://postgres:{quote(PASSWORD, safe='')}@/{name}?host={quote(str(postgres))}"


@pytest.fixture
def sql_store(database_url: str) -> Iterator[SqlStore]:
    store = open_store(database_url)
    yield store
    store.close()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(folder))
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    source = new_repository(tmp_path / "source")
    commit(source, {"a.txt": "one"}, "First")
    git(source, "push", "--quiet", str(folder), "main")
    return folder


@pytest.fixture
def clone(remote: Path) -> Path:
    return new_clone(remote, "clone")


def new_clone(remote: Path, name: str) -> Path:
    folder = remote.parent / name
    git(remote.parent, "clone", "--quiet", "--depth=1", f"file://{remote}", str(folder))
    return folder


def fetched(clone: Path) -> str | None:
    """The ledger's newest commit, in a clone that has no more of its history than that."""
    if not git(clone, "ls-remote", "origin", "ailab-ledger"):
        return None
    git(clone, "fetch", "--quiet", "--depth=1", "origin", f"+refs/heads/ailab-ledger:{REF}")
    return git(clone, "rev-parse", REF)


def git_store(clone: Path) -> GitStore:
    return GitStore(Ledger(clone), fetched(clone), lambda _: None, random.Random(1))


@pytest.fixture(params=["git", "postgresql"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "git":
        clone = request.getfixturevalue("clone")
        yield Backend("git", lambda: git_store(clone), ("git", str(clone)))
        return
    url = request.getfixturevalue("database_url")
    opened: list[SqlStore] = []

    def again() -> SqlStore:
        opened.append(open_store(url))
        return opened[-1]

    yield Backend("postgresql", again, ("postgresql", url))
    for store in opened:
        store.close()
