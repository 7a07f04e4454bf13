"""Number 18 of the nineteen: a shallow clone is deepened until its answer is right, or refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.errors import UserError
from ailab_bot.measure.git import Repository, ensure_commits, open_repository


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """main: 0 .. 7; topic forks from 3 and has three commits of its own."""
    folder = new_repository(tmp_path / "origin")
    for number in range(4):
        commit(folder, {"a.txt": str(number)}, f"Main {number}")
    git(folder, "checkout", "--quiet", "-b", "topic")
    for number in range(3):
        commit(folder, {"b.txt": str(number)}, f"Topic {number}")
    git(folder, "checkout", "--quiet", "main")
    for number in range(4, 8):
        commit(folder, {"a.txt": str(number)}, f"Main {number}")
    return folder


def tips(origin: Path) -> tuple[str, str]:
    return git(origin, "rev-parse", "main"), git(origin, "rev-parse", "topic")


def shallow_clone(origin: Path, branch: str = "main") -> Repository:
    folder = origin.parent / "clone"
    git(
        origin.parent,
        *("clone", "--quiet", "--depth=1", "--single-branch", "--branch", branch),
        *(f"file://{origin}", str(folder)),
    )
    repository = open_repository(folder)
    assert repository.is_shallow()
    return repository


def test_a_clone_of_depth_one_gets_both_commits_and_their_merge_base(origin: Path) -> None:
    base, head = tips(origin)
    clone = shallow_clone(origin)
    assert not clone.has(head)
    refs = clone.git("for-each-ref")
    ensure_commits(clone, [base, head], merge_base_of=(base, head))
    assert clone.merge_base(base, head) == git(origin, "merge-base", "main", "topic")
    assert clone.blobs(head), "the commit's files are here, too"
    assert clone.git("diff", "--name-only", f"{base}...{head}").split() == ["b.txt"]
    assert clone.git("for-each-ref") == refs, "no ref of the user's has moved"
    assert not (clone.root / ".git" / "FETCH_HEAD").exists()
    assert not clone.is_dirty()


def test_commits_alone_are_fetched_without_their_history(origin: Path) -> None:
    base, head = tips(origin)
    clone = shallow_clone(origin)
    ensure_commits(clone, [base, head])
    assert clone.git("rev-list", head).split() == [head]


def test_the_whole_history_is_fetched_where_the_fork_is_that_old(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "origin")
    commit(folder, {"a.txt": ""}, "Root")
    git(folder, "branch", "topic")
    lines = []
    for branch, number in (("main", 1300), ("topic", 3)):
        for index in range(number):
            when = 4_000_000_000 + index
            lines.append(
                f"commit refs/heads/{branch}\ncommitter T <t@example.invalid> {when} +0000"
            )
            start = f"\nfrom refs/heads/{branch}^0" if not index else ""
            lines.append(f"data 1\n{branch[0]}{start}")
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=folder, input="\n".join(lines), text=True, check=True
    )
    base, head = tips(folder)
    clone = shallow_clone(folder)
    ensure_commits(clone, [head], merge_base_of=(base, head))
    assert clone.merge_base(base, head) == git(folder, "rev-list", "--max-parents=0", "main")
    assert not clone.is_shallow()


def test_a_merge_base_that_only_the_cut_makes_is_not_believed(tmp_path: Path) -> None:
    """Base and head share an old commit by a short way and a later one by a long way.

    A clone in which the long way is cut off names the old one: the files that lie between would
    be counted as the change's own.
    """
    folder = new_repository(tmp_path / "origin")
    old = commit(folder, {"old.txt": ""}, "Old")
    fork = commit(folder, {"fork.txt": ""}, "The true fork")
    git(folder, "checkout", "--quiet", "-b", "long")
    for number in range(5):
        commit(folder, {"long.txt": str(number)}, f"Long {number}")
    for branch in ("main", "topic"):  # each merges the old commit's side line and the long way
        git(folder, "checkout", "--quiet", "--detach", old)
        commit(folder, {f"{branch}-side.txt": ""}, "Side")
        side = git(folder, "rev-parse", "HEAD")
        git(folder, "checkout", "--quiet", "--detach", fork if branch == "main" else "long")
        for number in range(5):
            commit(folder, {f"{branch}.txt": str(number)}, f"{branch} {number}")
        git(folder, "merge", "--quiet", "--no-ff", "--message", "Merge", side)
        git(folder, "branch", "--force", branch)
    base, head = tips(folder)
    clone = shallow_clone(folder)
    ensure_commits(clone, [base, head])
    git(clone.root, "fetch", "--quiet", "--deepen=2", "origin", base, head)
    assert clone.merge_base(base, head) == old, "the trap is set"
    ensure_commits(clone, [base, head], merge_base_of=(base, head))
    assert clone.merge_base(base, head) == fork == git(folder, "merge-base", "main", "topic")


def test_a_full_clone_is_left_as_it_is_and_stays_full(origin: Path) -> None:
    folder = origin.parent / "full"
    git(origin.parent, "clone", "--quiet", f"file://{origin}", str(folder))
    git(origin, "checkout", "--quiet", "topic")
    new = commit(origin, {"c.txt": ""}, "Pushed later")
    clone = open_repository(folder)
    base, head = git(origin, "rev-parse", "main"), new
    ensure_commits(clone, [base, head], merge_base_of=(base, head))
    assert clone.has(new)
    assert not clone.is_shallow()
    git(origin.parent, "-C", str(folder), "remote", "remove", "origin")
    ensure_commits(clone, [base, head], merge_base_of=(base, head))


def test_a_commit_that_origin_does_not_have_is_an_error_that_says_what_to_do(origin: Path) -> None:
    base, _ = tips(origin)
    clone = shallow_clone(origin)
    with pytest.raises(UserError, match="commit 0123456789ab is not here") as caught:
        ensure_commits(clone, [base, "0123456789ab" + "0" * 28])
    assert "origin" in caught.value.why
    assert "fetch-depth: 0" in caught.value.advice


def test_history_that_cannot_be_fetched_is_an_error_and_no_guess(origin: Path) -> None:
    base, head = tips(origin)
    clone = shallow_clone(origin)
    ensure_commits(clone, [head])
    origin.rename(origin.parent / "gone")
    with pytest.raises(UserError, match="history between") as caught:
        ensure_commits(clone, [base, head], merge_base_of=(base, head))
    assert "fetch-depth: 0" in caught.value.advice


def test_commits_without_a_common_ancestor_are_an_error(origin: Path) -> None:
    base, _ = tips(origin)
    git(origin, "checkout", "--quiet", "--orphan", "topic2")
    head = commit(origin, {"z.txt": ""}, "Unrelated")
    clone = shallow_clone(origin)
    with pytest.raises(UserError, match="no common ancestor"):
        ensure_commits(clone, [base, head], merge_base_of=(base, head))


@pytest.mark.parametrize("sha", ["main", "--upload-pack=touch x", "", "0" * 39, "0" * 40 + "\n"])
def test_only_full_ids_reach_git(origin: Path, sha: str) -> None:
    with pytest.raises(UserError, match="not a commit"):
        ensure_commits(open_repository(origin), [sha])
