"""What git says a change did, in real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from repositories import GIT_ENV, commit, git, new_repository

from ailab_bot.errors import RunnerError
from ailab_bot.measure.changes import read_blobs, read_change, read_folders
from ailab_bot.measure.git import Repository
from ailab_bot.model.change import LINK, SUBMODULE, ChangedFile, ChangeKind

LONG = "".join(f"line {number}\n" for number in range(50))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "repository")


def only(folder: Path, base: str, head: str) -> ChangedFile:
    change = read_change(Repository(folder), base, head)
    (file,) = change.files
    return file


def test_added_modified_and_deleted_files_are_told_with_their_blobs(folder: Path) -> None:
    base = commit(folder, {"kept.py": "1", "modified.py": "old", "deleted.py": "gone"})
    (folder / "deleted.py").unlink()
    head = commit(folder, {"modified.py": "new", "src/added.py": "here"})
    change = read_change(Repository(folder), base, head)
    assert (change.base, change.head) == (base, head)
    assert [(each.path, each.kind) for each in change.files] == [
        ("deleted.py", ChangeKind.DELETED),
        ("modified.py", ChangeKind.MODIFIED),
        ("src/added.py", ChangeKind.ADDED),
    ]
    deleted, modified, added = change.files
    held = read_blobs(Repository(folder), {deleted.old_blob, modified.old_blob, modified.new_blob})
    assert held[deleted.old_blob] == b"gone"
    assert (held[modified.old_blob], held[modified.new_blob]) == (b"old", b"new")
    assert (deleted.new_blob, added.old_blob) == ("", "")
    assert added.new_blob == git(folder, "rev-parse", f"{head}:src/added.py")


def test_a_rename_has_both_paths_and_may_have_changed_the_contents(folder: Path) -> None:
    base = commit(folder, {"old.py": LONG})
    (folder / "old.py").rename(folder / "new.py")
    head = commit(folder, {"new.py": LONG + "one more\n"})
    file = only(folder, base, head)
    assert (file.kind, file.paths) == (ChangeKind.RENAMED, ("old.py", "new.py"))
    assert file.appears
    assert file.vanishes
    assert file.old_blob != file.new_blob


def test_a_copy_is_a_file_that_was_added(folder: Path) -> None:
    base = commit(folder, {"one.py": LONG})
    head = commit(folder, {"two.py": LONG, "one.py": LONG + "more\n"})
    kinds = {each.path: each.kind for each in read_change(Repository(folder), base, head).files}
    assert kinds == {"one.py": ChangeKind.MODIFIED, "two.py": ChangeKind.ADDED}


def test_a_mode_alone_is_a_change(folder: Path) -> None:
    base = commit(folder, {"run.sh": "true\n"})
    (folder / "run.sh").chmod(0o755)
    head = commit(folder, {})
    file = only(folder, base, head)
    assert (file.old_mode, file.new_mode) == ("100644", "100755")
    assert file.kind is ChangeKind.MODIFIED
    assert file.old_blob == file.new_blob


def test_a_link_in_the_place_of_a_file_is_retyped(folder: Path) -> None:
    base = commit(folder, {"data": "1", "other": "2"})
    (folder / "data").unlink()
    (folder / "data").symlink_to("other")
    head = commit(folder, {})
    file = only(folder, base, head)
    assert (file.kind, file.new_mode, file.is_plain) == (ChangeKind.RETYPED, LINK, False)


def test_a_submodule_has_commits_for_blobs_even_where_settings_hide_it(folder: Path) -> None:
    first, second = "1" * 40, "2" * 40
    commit(folder, {".gitmodules": '[submodule "sub"]\npath = sub\nurl = ./x\nignore = all\n'})
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{first},sub")
    git(folder, "commit", "--quiet", "--message", "Add")
    base = git(folder, "rev-parse", "HEAD")
    git(folder, "config", "diff.ignoreSubmodules", "all")
    git(folder, "update-index", "--cacheinfo", f"160000,{second},sub")
    tree = git(folder, "write-tree")  # `git commit` would see nothing to commit
    file = only(folder, base, git(folder, "commit-tree", "-p", base, "-m", "Move", tree))
    assert (file.path, file.new_mode, file.old_blob, file.new_blob) == (
        "sub", SUBMODULE, first, second,
    )  # fmt: skip
    assert read_blobs(Repository(folder), [first]) == {}
    assert read_folders(Repository(folder), base) == {"sub"}


def test_a_merge_commit_is_compared_with_the_base_that_was_asked_for(folder: Path) -> None:
    base = commit(folder, {"a.py": "1"})
    git(folder, "checkout", "--quiet", "-b", "side")
    commit(folder, {"b.py": "1"})
    git(folder, "checkout", "--quiet", "main")
    commit(folder, {"c.py": "1"})
    git(folder, "merge", "--quiet", "--no-edit", "side")
    head = git(folder, "rev-parse", "HEAD")
    files = read_change(Repository(folder), base, head).files
    assert [each.path for each in files] == ["b.py", "c.py"]


def test_odd_names_come_back_whole_and_read_as_in_footprints(folder: Path) -> None:
    base = commit(folder, {"a": ""})
    names = [b"new\nline", b'quo"te', b"tab\there", b"caf\xe9", "ünï".encode()]
    for name in names:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_text("x", encoding="utf-8")
    head = commit(folder, {})
    files = read_change(Repository(folder), base, head).files
    assert {each.path for each in files} == {name.decode("utf-8", "replace") for name in names}


def test_binary_contents_come_back_byte_for_byte(folder: Path) -> None:
    base = commit(folder, {"a": ""})
    data = bytes(range(256)) * 3 + b"\n\0"
    (folder / "weights.bin").write_bytes(data)
    head = commit(folder, {})
    file = only(folder, base, head)
    assert read_blobs(Repository(folder), [file.new_blob]) == {file.new_blob: data}


def test_large_missing_and_superfluous_blobs_are_left_out(folder: Path) -> None:
    head = commit(folder, {"small": "x", "large": "x" * 101, "edge": "y" * 100})
    small, large, edge = (
        git(folder, "rev-parse", f"{head}:{n}") for n in ("small", "large", "edge")
    )
    repository = Repository(folder)
    wanted = [small, "0" * 40, large, edge, head]
    assert set(read_blobs(repository, wanted, largest_bytes=100)) == {small, edge}
    assert set(read_blobs(repository, [small, edge], most=1)) == {small}
    assert read_blobs(repository, []) == {}


def test_equal_commits_change_nothing(folder: Path) -> None:
    base = commit(folder, {"a": "1"})
    assert read_change(Repository(folder), base, commit(folder, {})).files == ()


def test_an_unknown_commit_is_an_error_and_not_an_empty_change(folder: Path) -> None:
    base = commit(folder, {"a": "1"})
    with pytest.raises(RunnerError, match="diff-tree"):
        read_change(Repository(folder), base, "f" * 40)


def test_folders_are_those_of_the_commit_without_the_root(folder: Path) -> None:
    base = commit(folder, {"a/b/c.py": "1", "d": ""})
    assert read_folders(Repository(folder), base) == {"a", "a/b"}


def test_fifty_thousand_files_take_one_git_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = commit(folder, {"a": ""})
    lines = [
        f"commit refs/heads/many\ncommitter T <t@example.invalid> 0 +0000\ndata 0\nfrom {base}\n"
    ]
    lines += [f"M 644 inline f{n % 100}/{n}.py\ndata {len(str(n))}\n{n}\n" for n in range(50_000)]
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=folder, env={**os.environ, **GIT_ENV},
        input="".join(lines).encode(), check=True,
    )  # fmt: skip
    head = git(folder, "rev-parse", "many")
    started: list[object] = []
    run = subprocess.run

    def counted(*words: Any, **options: Any) -> Any:
        started.append(words)
        return run(*words, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    assert len(read_change(Repository(folder), base, head).files) == 50_000
    assert len(started) == 1
    # Every one renamed: nothing is compared with everything.
    assert len(read_change(Repository(folder), head, base).files) == 50_000
