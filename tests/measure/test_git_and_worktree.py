"""Refs become commits, commits become folders side by side, and nothing stays behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.errors import UserError
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import Workplace, cache_folder, open_workplace
from ailab_bot.model.trial import Arm


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = new_repository(tmp_path / "repository")
    commit(folder, {"a.txt": "one"}, "First")
    commit(folder, {"a.txt": "two"}, "Second: with | a pipe")
    return folder


def test_refs_of_every_kind_name_commits(repository: Path) -> None:
    git(repository, "tag", "v1", "HEAD~1")
    git(repository, "tag", "--annotate", "v2", "--message", "annotated")
    opened = open_repository(repository)
    head = opened.resolve("HEAD")
    assert opened.resolve("main").sha == opened.resolve("v2").sha == head.sha
    assert opened.resolve(head.sha[:10]).sha == head.sha
    assert opened.resolve("HEAD~1").sha == opened.resolve("v1").sha != head.sha
    assert head.subject == "Second: with | a pipe"


@pytest.mark.parametrize("ref", ["mian", "", "--help", "HEAD~9", "a b"])
def test_an_unknown_ref_is_the_users_to_fix(repository: Path, ref: str) -> None:
    with pytest.raises(UserError, match="unknown ref") as caught:
        open_repository(repository).resolve(ref)
    assert caught.value.advice
    if ref == "mian":
        assert "`main`" in caught.value.advice


def test_a_folder_without_repository_is_the_users_to_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not in a git repository"):
        open_repository(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        open_repository(tmp_path / "nowhere")


def test_a_repository_without_commit_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_repository(new_repository(tmp_path / "new")).resolve("main")
    assert "no commit yet" in caught.value.advice


def test_a_hooks_variables_neither_change_the_users_index_nor_name_another_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_repository(tmp_path / "other")
    commit(other, {"b.txt": "other"}, "Other")
    (repository / "a.txt").write_text("staged")
    git(repository, "add", "a.txt")
    index = repository / ".git" / "index"
    before, arms = index.read_bytes(), shas(repository)
    with monkeypatch.context() as patch:
        patch.setenv("GIT_INDEX_FILE", str(index))
        patch.setenv("GIT_DIR", str(other / ".git"))
        patch.setenv("GIT_WORK_TREE", str(other))
        opened = open_repository(repository)
        assert opened.root == repository
        with open_workplace(opened, arms) as place:
            assert (place.checkout(Arm.BASE) / "a.txt").read_text() == "one"
    assert index.read_bytes() == before


def test_a_shallow_clone_without_the_base_says_how_to_get_it(
    repository: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    shallow = open_repository(tmp_path / "shallow")
    for ref in ("HEAD~1", git(repository, "rev-parse", "HEAD~1")):
        with pytest.raises(UserError, match="shallow clone") as caught:
            shallow.resolve(ref)
        assert "--unshallow" in caught.value.advice


def shas(repository: Path) -> dict[Arm, str]:
    return {
        Arm.BASE: git(repository, "rev-parse", "HEAD~1"),
        Arm.HEAD: git(repository, "rev-parse", "HEAD"),
    }


def test_both_arms_lie_side_by_side_at_paths_of_equal_length(repository: Path) -> None:
    with open_workplace(open_repository(repository), shas(repository)) as place:
        base, head = place.checkout(Arm.BASE), place.checkout(Arm.HEAD)
        assert (base / "a.txt").read_text() == "one"
        assert (head / "a.txt").read_text() == "two"
        assert len(str(base)) == len(str(head))
        assert (place.probe / "sitecustomize.py").exists()


@pytest.mark.parametrize("below", ["", "work", "work/other"])
def test_a_cache_that_is_a_file_is_the_users_to_mend(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    file = tmp_path / "cache" / below
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    monkeypatch.setenv("AILAB_CACHE_DIR", str(file))
    with (
        pytest.raises(UserError, match="no folder can be made") as caught,
        open_workplace(open_repository(repository), shas(repository)),
    ):
        pass
    assert str(file) in caught.value.why
    assert "AILAB_CACHE_DIR" in caught.value.advice


def left_behind(repository: Path) -> list[Path]:
    assert git(repository, "worktree", "list").count("\n") == 0
    work = cache_folder() / "work"
    return [path for path in work.rglob("*") if path.is_file() or path.parent.parent == work]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_stays_whatever_happens(repository: Path, error: type[BaseException]) -> None:
    (repository / "a.txt").write_text("uncommitted")

    def interrupted_run() -> None:
        with open_workplace(open_repository(repository), shas(repository)) as place:
            (place.checkout(Arm.HEAD) / "written-by-a-trial").write_text("x")
            raise error

    with pytest.raises(error):
        interrupted_run()
    assert left_behind(repository) == []
    assert (repository / "a.txt").read_text() == "uncommitted", "the work tree is the user's"


def test_runs_at_the_same_time_take_different_places(repository: Path) -> None:
    opened = open_repository(repository)
    with open_workplace(opened, shas(repository)) as one:
        with open_workplace(opened, shas(repository)) as two:
            assert one.folder != two.folder
        assert (one.checkout(Arm.BASE) / "a.txt").exists()
    assert left_behind(repository) == []


def test_what_a_killed_run_left_is_cleared_by_the_next(repository: Path) -> None:
    opened = open_repository(repository)
    with open_workplace(opened, shas(repository)) as place:
        folder = place.folder
    # As after SIGKILL: the worktree is there and registered, nobody holds the lock.
    dead = Workplace(folder, opened)
    folder.mkdir(parents=True)
    git(repository, "worktree", "add", "--quiet", "--detach", str(dead.checkout(Arm.BASE)))
    with open_workplace(opened, shas(repository)) as place:
        assert place.folder == folder
        assert (place.checkout(Arm.BASE) / "a.txt").read_text() == "one"
    assert left_behind(repository) == []


def test_a_cache_that_is_emptied_meanwhile_costs_no_result(repository: Path) -> None:
    with open_workplace(open_repository(repository), shas(repository)) as place:
        shutil.rmtree(place.folder)
    assert left_behind(repository) == []


def test_what_git_knows_of_a_vanished_workplace_is_dropped(repository: Path) -> None:
    opened = open_repository(repository)
    with open_workplace(opened, shas(repository)) as place:
        path = place.checkout(Arm.BASE)
    git(repository, "worktree", "add", "--quiet", "--detach", "--lock", str(path))
    shutil.rmtree(path.parent)
    with open_workplace(opened, shas(repository)):
        pass
    assert left_behind(repository) == []


def test_a_worktree_of_the_users_that_is_away_for_now_is_kept(
    repository: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    git(repository, "worktree", "add", "--quiet", "--detach", str(disk / "theirs"))
    disk.rename(tmp_path / "not-mounted")
    with open_workplace(open_repository(repository), shas(repository)):
        pass
    (tmp_path / "not-mounted").rename(disk)
    assert git(disk / "theirs", "status", "--porcelain") == ""


def test_the_users_hooks_do_not_run(repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/hook-ran\n")
    hook.chmod(0o755)
    with open_workplace(open_repository(repository), shas(repository)):
        pass
    assert not (repository / "hook-ran").exists()
