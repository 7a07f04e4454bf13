"""Ranges of commits, in real repositories."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.errors import UserError
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.measure.ranges import brought_by, read_inside, read_range, without


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """main: a, b, a merge of side (two commits), c."""
    monkeypatch.setenv("AILAB_CACHE_DIR", str(tmp_path / "cache"))
    folder = new_repository(tmp_path / "platform")
    commit(folder, {"a.txt": "1\n"}, "a")
    git(folder, "checkout", "--quiet", "-b", "side")
    commit(folder, {"side.txt": "1\n"}, "side one")
    commit(folder, {"side.txt": "2\n"}, "side two")
    git(folder, "checkout", "--quiet", "main")
    commit(folder, {"b.txt": "1\n"}, "b")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merge side", "side")
    commit(folder, {"c.txt": "1\n"}, "c: with a\ttab and 'quotes'")
    return open_repository(folder)


def sha(repository: Repository, ref: str) -> str:
    return repository.resolve(ref).sha


def test_a_merge_is_one_step_of_the_range(repository: Repository) -> None:
    found = read_range(repository, sha(repository, "main~3"), sha(repository, "main"))

    assert [each.subject for each in found] == ["b", "Merge side", "c: with a\ttab and 'quotes'"]
    assert [each.is_merge for each in found] == [False, True, False]
    assert found[-1].sha == sha(repository, "main")
    assert all(each.author and "@" in each.email for each in found)


def test_what_a_merge_brought_begins_where_its_branch_did(repository: Repository) -> None:
    merge = read_range(repository, sha(repository, "main~3"), sha(repository, "main"))[1]

    inside = read_inside(repository, merge)

    assert inside is not None
    start, commits = inside
    assert start == sha(repository, "main~3")
    assert [each.subject for each in commits] == ["side one", "side two"]
    assert read_inside(repository, commits[0]) is None


def test_what_stood_on_the_line_before_it_took_good_in_is_not_in_the_range(
    repository: Repository,
) -> None:
    found = read_range(repository, sha(repository, "side"), sha(repository, "main"))

    assert [each.subject for each in found] == ["Merge side", "c: with a\ttab and 'quotes'"]


def test_merges_within_a_merge_are_part_of_what_it_brought(repository: Repository) -> None:
    git(repository.root, "checkout", "--quiet", "-b", "develop", "main~3")
    git(repository.root, "merge", "--quiet", "--no-ff", "-m", "Merge side again", "side")
    commit(repository.root, {"d.txt": "1\n"}, "d")
    git(repository.root, "checkout", "--quiet", "-b", "trunk", "main~3")
    git(repository.root, "merge", "--quiet", "--no-ff", "-m", "Merge develop", "develop")
    merge = read_range(repository, sha(repository, "main~3"), sha(repository, "trunk"))[0]

    brought = brought_by(repository, merge)

    assert {each.subject for each in brought.values()} == {
        "Merge side again", "d", "side one", "side two",
    }  # fmt: skip
    assert brought_by(repository, brought[sha(repository, "side")]) == {}


def test_signatures_are_not_shown_where_commits_are_read(repository: Repository) -> None:
    git(repository.root, "config", "log.showSignature", "true")
    found = read_range(repository, sha(repository, "main~3"), sha(repository, "main"))

    assert [each.subject for each in found][:2] == ["b", "Merge side"]


def test_an_empty_author_and_an_empty_message_are_a_commit_all_the_same(
    repository: Repository,
) -> None:
    tree = repository.tree_of("main")
    odd = repository.git(
        "-c", "user.name=x", "-c", "user.email=", "commit-tree", tree, "-p", "main", "-m", ""
    ).strip()

    (found,) = read_range(repository, sha(repository, "main"), odd)

    assert (found.sha, found.subject, found.email) == (odd, "", "")


def test_ends_in_the_wrong_order_are_told(repository: Repository) -> None:
    with pytest.raises(UserError, match="does not come after GOOD") as raised:
        read_range(repository, sha(repository, "main"), sha(repository, "main~1"))

    assert "other way round" in raised.value.why


def test_a_history_that_was_rewritten_names_where_the_two_part(repository: Repository) -> None:
    folder = repository.root
    old = sha(repository, "main")
    git(folder, "checkout", "--quiet", "-B", "main", "main~1")
    commit(folder, {"c.txt": "other\n"}, "c again")

    with pytest.raises(UserError, match="does not come after GOOD") as raised:
        read_range(repository, old, sha(repository, "main"))

    assert sha(repository, "main~1")[:12] in raised.value.advice


def test_one_commit_is_no_range(repository: Repository) -> None:
    with pytest.raises(UserError, match="same commit"):
        read_range(repository, sha(repository, "main"), sha(repository, "main"))


def test_the_tip_without_a_commit_is_a_commit_that_no_branch_knows(repository: Repository) -> None:
    tip = sha(repository, "main")
    b, merge, _ = read_range(repository, sha(repository, "main~3"), tip)

    one, two = without(repository, b, tip), without(repository, merge, tip)

    assert one is not None
    assert set(repository.blobs(one)) == set(repository.blobs(tip)) - {"b.txt"}
    assert two is not None
    assert set(repository.blobs(two)) == set(repository.blobs(tip)) - {"side.txt"}
    assert repository.git("branch", "--contains", one).strip() == ""
    assert not repository.is_dirty()
    assert repository.git("worktree", "list").count("\n") == 1


def test_what_does_not_come_off_cleanly_is_none(repository: Repository) -> None:
    folder = repository.root
    commit(folder, {"c.txt": "2\n"}, "c grows")
    commit(folder, {"c.txt": "3\n"}, "c grows more")
    grows = read_range(repository, sha(repository, "main~2"), sha(repository, "main"))[0]

    assert without(repository, grows, sha(repository, "main")) is None
