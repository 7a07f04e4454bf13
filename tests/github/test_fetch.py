"""What trusted jobs fetch, from a real repository over git's own protocol."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.gh.client import GitHubError
from ailab_bot.gh.fetch import fetch_before, fetch_commits, fetch_tip

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    made = new_repository(tmp_path / "origin")
    git(made, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit(made, {"train.py": "import os\n"}, "Base")
    return made


def clone_of(origin: Path) -> Path:
    clone = origin.with_name("clone")
    git(origin.parent, "clone", "--quiet", "--depth=1", origin.as_uri(), str(clone))
    return clone


def records(origin: Path, count: int) -> list[str]:
    """A branch of its own with a commit a minute from noon on; their ids."""
    tree = git(origin, "rev-parse", "HEAD^{tree}")
    made: list[str] = []
    for number in range(count):
        stamp = (NOON + timedelta(minutes=number)).isoformat()
        env = {**os.environ, "GIT_COMMITTER_DATE": stamp, "GIT_AUTHOR_DATE": stamp}
        parents = ["-p", made[-1]] if made else []
        words = ["git", "commit-tree", tree, *parents, "-m", f"Record {number}"]
        made.append(
            subprocess.run(
                words, cwd=origin, env=env, capture_output=True, text=True, check=True
            ).stdout.strip()
        )
    git(origin, "update-ref", "refs/heads/history", made[-1])
    return made


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def test_the_commit_that_was_newest_then_is_found_whatever_came_after(origin: Path) -> None:
    made = records(origin, 130)
    clone = clone_of(origin)
    assert fetch_before(clone, "history", at(128.5), "", "") == made[128]
    assert fetch_before(clone, "history", at(20), "", "") == made[20]  # 110 commits back
    assert fetch_before(clone, "history", at(999), "", "") == made[-1]


def test_before_the_first_commit_there_is_none(origin: Path) -> None:
    records(origin, 60)
    assert fetch_before(clone_of(origin), "history", at(-1), "", "") is None


def test_no_more_history_is_fetched_than_it_takes(origin: Path) -> None:
    records(origin, 130)
    clone = clone_of(origin)
    fetch_before(clone, "history", at(129), "", "")
    assert git(clone, "rev-list", "--count", "refs/ailab/before/history") == "50"


def test_a_branch_that_is_not_there_is_an_error(origin: Path) -> None:
    with pytest.raises(GitHubError, match="cannot fetch the branch `gone`"):
        fetch_before(clone_of(origin), "gone", NOON, "", "")


def test_commits_of_pull_requests_are_brought_in_by_their_ids_and_nothing_is_checked_out(
    origin: Path,
) -> None:
    git(origin, "checkout", "--quiet", "-b", "feature")
    head = commit(origin, {"train.py": "import json\n"}, "Head")
    git(origin, "checkout", "--quiet", "main")
    base = git(origin, "rev-parse", "main")
    commit(origin, {"other.py": "x = 1\n"}, "Later")
    clone = clone_of(origin)
    fetch_commits(clone, [base, head], "", "")
    assert git(clone, "show", f"{head}:train.py") == "import json"
    assert git(clone, "diff", "--name-only", base, head) == "train.py"
    assert (clone / "train.py").read_text() == "import os\n"
    assert git(clone, "status", "--porcelain") == ""
    git(clone, "remote", "set-url", "origin", "file:///nowhere")
    fetch_commits(clone, [base, head], "", "")  # a second time asks for nothing


def test_a_commit_that_the_server_does_not_have_is_an_error(origin: Path) -> None:
    with pytest.raises(GitHubError, match="cannot fetch commit dddddddddddd"):
        fetch_commits(clone_of(origin), ["d" * 40], "", "")


def test_a_clone_with_all_of_its_history_keeps_it_when_a_tip_is_fetched(origin: Path) -> None:
    for number in range(3):
        commit(origin, {"train.py": f"import os  # {number}\n"})
    whole = origin.with_name("whole")
    git(origin.parent, "clone", "--quiet", origin.as_uri(), str(whole))
    newest = commit(origin, {"train.py": "import json\n"})
    assert fetch_tip(whole, "main", "", "") == newest
    assert git(whole, "rev-list", "--count", newest) == "5"


def test_a_shallow_clone_stays_as_shallow_when_a_tip_is_fetched(origin: Path) -> None:
    commit(origin, {"train.py": "import os  # again\n"})
    clone = clone_of(origin)
    newest = commit(origin, {"train.py": "import json\n"})
    assert fetch_tip(clone, "main", "", "") == newest
    assert git(clone, "rev-list", "--count", newest) == "1"
