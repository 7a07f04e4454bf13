"""Remarks stand on lines that the change added, and on no others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_reports import explanation

from ailab_bot.model.verdict import Explanation, ImportChange
from ailab_bot.report.annotations import MOST_ANNOTATIONS, added_lines, annotate

PATCH = """@@ -1,4 +1,6 @@ def main():
 import json
+import pandas
 import os
-import yaml
+import logging.handlers
+
 end
@@ -40,2 +42,3 @@
 a
+b
 c
\\ No newline at end of file"""


def test_a_new_import_is_marked_where_it_was_added() -> None:
    patch = "@@ -1,3 +1,4 @@\n a\n b\n+import pandas\n c"
    (one,) = annotate([explanation("recsys")], {"trainkit/report.py": patch})
    assert (one.path, one.line, one.level) == ("trainkit/report.py", 3, "warning")
    assert one.title == "pandas is now imported before the first batch"
    assert "recsys: about 231\u00a0ms" in one.message
    assert "322 further modules" in one.message


def test_a_line_that_the_change_did_not_add_is_not_blamed() -> None:
    patch = "@@ -1,3 +1,4 @@\n a\n+import json\n b\n c"
    assert annotate([explanation("recsys")], {"trainkit/report.py": patch}) == ()


@pytest.mark.parametrize("patch", [None, "", "@@ nonsense", "Binary files differ"])
def test_a_file_without_a_patch_gets_no_remark(patch: str | None) -> None:
    assert annotate([explanation("recsys")], {"trainkit/report.py": patch}) == ()


def test_one_line_that_slows_several_scenarios_gets_one_remark() -> None:
    patch = "@@ -0,0 +1,3 @@\n+a\n+b\n+import pandas"
    found = annotate([explanation(n) for n in "abc"], {"trainkit/report.py": patch})
    assert [one.message.partition(":")[0] for one in found] == ["a and 2 more"]


def test_the_slowest_come_first_and_fifty_are_enough() -> None:
    patch = "@@ -0,0 +1,80 @@\n" + "\n".join(["+x"] * 80)
    changes = tuple(ImportChange(f"m{i}", i / 100, 0, f"a.py:{i}") for i in range(1, 81))
    found = annotate([Explanation("s", imports_added=changes)], {"a.py": patch})
    assert [one.line for one in found] == list(range(80, 80 - MOST_ANNOTATIONS, -1))


def test_lines_are_counted_as_github_counts_them() -> None:
    assert added_lines(PATCH) == {2, 4, 5, 43}


@pytest.mark.parametrize(
    "broken",
    [
        PATCH.replace("-1,4", "-1,5"),
        PATCH.replace("+1,6", "+1,5"),
        PATCH.replace(" a\n", "a\n"),
        PATCH.replace("+42,3", "+2,3"),
        PATCH + "\n+more",
        PATCH.replace("@@ -40", "@@ 40"),
        "+b",
    ],
)
def test_a_patch_that_does_not_add_up_is_not_trusted(broken: str) -> None:
    assert added_lines(broken) == frozenset()


@given(st.text("@+- \\0123,\nab", max_size=200))
def test_any_text_is_read_to_an_end(text: str) -> None:
    assert all(line > 0 for line in added_lines("@@ -1,2 +1,2 @@\n" + text))


@given(
    base=st.lists(st.sampled_from(["a", "b", "", "x y"]), max_size=25),
    head=st.lists(st.sampled_from(["a", "b", "", "new"]), max_size=25),
)
def test_what_git_itself_writes_is_understood(
    tmp_path_factory: pytest.TempPathFactory, base: list[str], head: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("diff")
    for name, lines in (("base", base), ("head", head)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    patch = _git_patch(folder)
    found = added_lines(patch)
    # Taking the added lines out of head, and base's removed ones out of base, leaves the same.
    kept = [line for number, line in enumerate(head, start=1) if number not in found]
    removed = sum(line.startswith("-") for line in patch.split("\n")) if patch else 0
    assert len(kept) == len(base) - removed
    assert all(f"+{head[number - 1]}" in patch.split("\n") for number in found)


def _git_patch(folder: Path) -> str:
    """The hunks alone, as GitHub's API gives them."""
    done = subprocess.run(
        ["git", "diff", "--no-index", "--no-color", "base", "head"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    start = done.stdout.find("@@ ")
    return done.stdout[start:].removesuffix("\n") if start >= 0 else ""
