"""The commits between a good and a bad one, and what the bad one would be without one of them.

First parents only: what a merge brought is one step, and looked into afterwards. Refuses to touch
the user's branches and work tree: a revert is a commit that no branch knows.
"""

from __future__ import annotations

from bisect import bisect_left

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.measure.git import Repository
from ailab_bot.measure.worktree import open_workplace
from ailab_bot.model.culprit import RangeCommit
from ailab_bot.model.trial import Arm

#: Commits of a range; the search looks at pairs of them.
MOST_COMMITS = 2000
#: Merges within merges that are looked into.
DEEPEST = 3
_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%s%x00%x00"
_IDENTITY = ("-c", "user.name=AI Lab bot", "-c", "user.email=ailab-bot@localhost")


def read_range(repository: Repository, good: str, bad: str) -> tuple[RangeCommit, ...]:
    """The first-parent commits of `bad` that `good` does not have, oldest first.

    Both are SHAs of the repository. UserError where `bad` does not come after `good`.
    """
    if good == bad:
        raise UserError(
            f"GOOD and BAD are the same commit ({good[:12]})",
            why="Nothing lies between them.",
            advice="Name a commit that was still fast as GOOD, and one that is slow as BAD.",
        )
    fork = repository.merge_base(good, bad)
    if fork != good:
        backwards = " GOOD comes after BAD: is it the other way round?" if fork == bad else ""
        raise UserError(
            f"BAD ({bad[:12]}) does not come after GOOD ({good[:12]})",
            why=f"Their histories part at {fork[:12]}, so BAD does not lead on from GOOD; a "
            f"branch that was rewritten looks like this, too.{backwards}",
            advice=f"Take an ancestor of BAD as GOOD: `ailab bisect {fork[:12]} {bad[:12]} …` if "
            "that one is fast.",
        )
    found = _log(repository, good, bad)
    # BAD may have taken GOOD in by a merge: what stood on its line before that had no GOOD in it.
    found = found[bisect_left(found, True, key=lambda each: repository.contains(good, each.sha)) :]
    if len(found) > MOST_COMMITS:
        raise UserError(
            f"{len(found):,} commits lie between GOOD and BAD",
            why=f"At most {MOST_COMMITS:,} are searched.",
            advice="Compare a commit halfway with GOOD first: `ailab ab GOOD HALFWAY`.",
        )
    return found


def read_inside(
    repository: Repository, merge: RangeCommit
) -> tuple[str, tuple[RangeCommit, ...]] | None:
    """What a merge brought: the commit that its branch began from, and the branch's own commits.

    None for a commit that is no merge, one of several branches, or of unrelated histories.
    """
    if len(merge.parents) != 2:
        return None
    first, second = merge.parents
    try:
        start = repository.merge_base(first, second)
    except UserError:
        return None
    found = _log(repository, start, second)
    return (start, found) if 0 < len(found) <= MOST_COMMITS else None


def brought_by(repository: Repository, merge: RangeCommit) -> dict[str, RangeCommit]:
    """By SHA, everything that may be named instead of the merge: also what its merges brought."""
    found: dict[str, RangeCommit] = {}
    merges = [merge]
    for _ in range(DEEPEST):
        inside = [read_inside(repository, each) for each in merges]
        commits = [commit for brought in inside if brought for commit in brought[1]]
        found.update({each.sha: each for each in commits})
        merges = [each for each in commits if each.is_merge]
    return found


def _log(repository: Repository, good: str, bad: str) -> tuple[RangeCommit, ...]:
    words = (
        "log",
        "--no-show-signature",
        "--first-parent",
        "--reverse",
        "--topo-order",
        f"--format={_FORMAT}",
        "-z",
    )
    fields = repository.git(*words, f"{good}..{bad}").split("\0")
    rows = [fields[place : place + 5] for place in range(0, len(fields) - 5, 7)]
    return tuple(
        RangeCommit(sha, tuple(parents.split()), author, email, subject)
        for sha, parents, author, email, subject in rows
    )


def without(repository: Repository, commit: RangeCommit, tip: str) -> str | None:
    """A commit that is `tip` without what `commit` did; None where that does not apply cleanly."""
    mainline = ("-m", "1") if commit.is_merge else ()
    with open_workplace(repository, {Arm.HEAD: tip}) as place:
        folder = place.checkout(Arm.HEAD)
        try:
            repository.git(*_IDENTITY, "revert", "--no-commit", *mainline, commit.sha, cwd=folder)
        except RunnerError:
            return None
        tree = repository.git("write-tree", cwd=folder).strip()
    if tree == repository.tree_of(tip):
        return None
    message = f"{tip[:12]} without {commit.sha[:12]}"
    return repository.git(*_IDENTITY, "commit-tree", tree, "-p", tip, "-m", message).strip()
