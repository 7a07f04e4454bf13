"""`/ailab revert`: a branch that takes a culprit back, for a person to open a pull request from.

The revert is made in git's object store: nothing is checked out, and no code runs. Refuses to open
the pull request itself: GitHub starts no workflow for what a workflow's own token opens, so nobody
would measure it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ailab_bot.gh.client import GitHubError
from ailab_bot.gh.fetch import run_git
from ailab_bot.measure.git import Repository
from ailab_bot.model.incident import Blame
from ailab_bot.model.report import Commit

#: The user behind a workflow's own token, as GitHub shows it.
_EMAIL = "41898282+github-actions[bot]@users.noreply.github.com"
_IDENTITY = ("-c", "user.name=github-actions[bot]", "-c", f"user.email={_EMAIL}")
_MOST_FILES = 20


@dataclass(frozen=True)
class Prepared:
    """`sha` of the commit that takes it back; empty where it does not apply: `conflicts` then are
    the files in the way, none where there is nothing left to take back."""

    sha: str
    conflicts: tuple[str, ...] = ()


def prepare_revert(clone: Repository, culprit: Commit, tip: str, reason: str) -> Prepared:
    """A commit on top of `tip` without what `culprit` did; of a merge, what its branch brought.

    `git revert` without a work tree: the merge of `tip` and the culprit's parent, with the culprit
    as their base. Three commits without a history stand for them, as only git 2.40 and later can
    be told the base. GitHubError where git cannot do that.
    """
    base = _bare(clone, clone.tree_of(culprit.sha))
    ours = _bare(clone, clone.tree_of(tip), base)
    theirs = _bare(clone, clone.tree_of(f"{culprit.sha}^1"), base)
    words = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs)
    result = run_git(clone.root, words, "", "")
    tree, *files = [each for each in result.stdout.split("\0") if each] or [""]
    if result.returncode == 1 and tree:
        return Prepared("", tuple(files[:_MOST_FILES]))
    if result.returncode:
        raise GitHubError(
            f"git could not take {culprit.sha[:12]} back",
            why=result.stderr.strip()[-500:],
            advice="Take it back by hand: the incident's issue has the commands.",
        )
    if tree == clone.tree_of(tip):
        return Prepared("")
    subject = _plain(culprit.subject)
    message = f'Revert "{subject}"\n\nThis reverts commit {culprit.sha}.\n\n{reason}\n'
    return Prepared(clone.git(*_IDENTITY, "commit-tree", tree, "-p", tip, "-m", message).strip())


def _plain(subject: str) -> str:
    """Somebody's subject in a message of ours: no mention, no reference to an issue, and none of
    the words in brackets that keep GitHub from running workflows."""
    return " ".join(re.sub(r"[\[\]#@\x00-\x1f]", " ", subject).split())[:100]


def _bare(clone: Repository, tree: str, *parents: str) -> str:
    words = [word for parent in parents for word in ("-p", parent)]
    return clone.git(*_IDENTITY, "commit-tree", tree, *words, "-m", "for a merge").strip()


def push_branch(
    clone: Repository, sha: str, branch: str, environ: Mapping[str, str], server_url: str
) -> bool:
    """False: the branch was there already, and stays as it is. GitHubError where it cannot be
    pushed."""
    ref = f"refs/heads/{branch}"
    words = ("push", "--porcelain", f"--force-with-lease={ref}:", "origin", f"{sha}:{ref}")
    result = run_git(clone.root, words, environ.get("AILAB_TOKEN", ""), server_url)
    if result.returncode == 0:
        return True
    if "stale info" in result.stdout + result.stderr:
        return False
    raise GitHubError(
        f"the branch {branch} could not be pushed",
        why=result.stderr.strip()[-500:],
        advice="The job needs `contents: write`, and no rule that forbids new branches; a "
        "workflow's own token may never change what lies in .github/workflows.",
    )


def reason_of(blame: Blame, issue: int) -> str:
    """A line for the commit's message."""
    what = f"It made a workflow slower to start: incident {f'#{issue}' if issue else 'in the log'}"
    return f"{what}, found with a probability of {blame.probability:.0%}."
