"""What the kernel tells of opened files and folders: all of it, counted, or that some was lost."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ailab_bot.measure import opens as kernel
from ailab_bot.measure.opens import watch_opens

TIMES = 50


def test_each_opening_counts_by_whatever_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = kernel._read

    def read_at_the_end(descriptor: int, wake: int, *rest: Any) -> None:
        select.select([wake], [], [])
        read(descriptor, wake, *rest)

    monkeypatch.setattr(kernel, "_read", read_at_the_end)  # the kernel may merge until then
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.txt").write_text("1")
    with watch_opens(tmp_path) as opens:
        for _ in range(TIMES):
            (tmp_path / "sub/a.txt").read_text()
        for _ in range(TIMES):
            os.listdir(tmp_path / "sub")  # noqa: PTH208
        subprocess.run(["cat", "sub/a.txt"], cwd=tmp_path, check=True, capture_output=True)
    assert opens.files == {b"sub/a.txt": TIMES + 1}
    assert opens.folders == {b"sub": TIMES}
    assert opens.lost == ""


def test_the_root_and_odd_names_are_paths_too_and_links_are_known(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9\n"
    Path(os.fsdecode(odd)).write_text("1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "folder/broken").symlink_to("../nowhere")
    with watch_opens(tmp_path) as opens:
        Path(os.fsdecode(odd)).read_text()
        os.listdir(tmp_path)  # noqa: PTH208
        os.listdir(tmp_path / "link")  # noqa: PTH208
    assert opens.files == {b"caf\xe9\n": 1}
    assert opens.folders == {b"": 1, b"folder": 1}
    assert opens.links == {b"link": b"folder", b"folder/broken": b"../nowhere"}


def test_what_git_keeps_for_itself_is_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / ".git/refs").mkdir(parents=True)
    (tmp_path / ".git/HEAD").write_text("ref")
    with watch_opens(tmp_path) as opens:
        (tmp_path / ".git/HEAD").read_text()
        os.listdir(tmp_path / ".git/refs")  # noqa: PTH208
    assert not opens.files
    assert not opens.folders


def test_more_folders_than_are_watched_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    monkeypatch.setattr(kernel, "MOST_FOLDERS", 3)
    with watch_opens(tmp_path) as opens:
        pass
    assert "more folders" in opens.lost


def test_an_event_that_the_kernel_lost_is_said(tmp_path: Path) -> None:
    opens = kernel.Opens()
    kernel._take(kernel._EVENT.pack(-1, kernel._OVERFLOW, 0, 0), {}, opens)
    assert "more files" in opens.lost


def test_a_system_that_tells_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_start", lambda: -1)
    with watch_opens(tmp_path) as opens:
        pass
    assert "inotify" in opens.lost
