"""Brings commits into the clone that a trusted job works in: a branch's newest, or named ones.

The token goes to git through its environment, never as an argument, which other processes can
read, and is stored nowhere. Refuses to check anything out.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ailab_bot.gh.client import GitHubError

_REF = "refs/ailab/base"
#: What was brought in by its id stays reachable here, so that git does not collect it meanwhile.
_KEPT = "refs/ailab/kept/"
_PATIENCE_S = 300.0
#: Commits of a branch's history to fetch, in turn, until one is old enough.
_DEPTHS = (50, 500, 5_000, 50_000)
#: What git says of a branch, and of a commit, that the server does not have.
MISSING, _NOT_THERE = "couldn't find remote ref", "not our ref"


def fetch_tip(clone: Path, branch: str, token: str, server_url: str) -> str:
    """The SHA of `branch` on origin; its files can be read from `clone` afterwards.

    A clone that has all of its history keeps it: a depth would cut it off, of whatever else holds
    the same commits, too.
    """
    refspec = f"+refs/heads/{branch}:{_REF}"
    asked = run_git(clone, ("rev-parse", "--is-shallow-repository"), "", server_url)
    depth = ("--depth=1",) if asked.stdout.strip() == "true" else ()
    fetch = ("fetch", "--quiet", "--no-tags", *depth, "origin", refspec)
    result = run_git(clone, fetch, token, server_url)
    if result.returncode:
        raise _cannot_fetch(f"the base branch `{branch:.80}`", result.stderr)
    return run_git(clone, ("rev-parse", _REF), "", server_url).stdout.strip()


def fetch_before(
    clone: Path, branch: str, when: datetime, token: str, server_url: str
) -> str | None:
    """The newest commit of `branch` that was there at `when`, by its committer's clock.

    None where there was none yet. Fetches no more of the history than it takes to know.
    """
    ref = f"refs/ailab/before/{branch}"
    shallow = 0
    for depth in _DEPTHS:
        fetch = ("fetch", "--quiet", "--no-tags", f"--depth={depth}", "origin")
        result = run_git(clone, (*fetch, f"+refs/heads/{branch}:{ref}"), token, server_url)
        if result.returncode:
            raise _cannot_fetch(f"the branch `{branch:.80}`", result.stderr)
        line = ("rev-list", "--first-parent", "--max-count=1", f"--before={when.isoformat()}", ref)
        found = run_git(clone, line, "", server_url).stdout.strip()
        if found:
            return found
        count = int(run_git(clone, ("rev-list", "--count", ref), "", server_url).stdout or 0)
        if count == shallow or count < depth:
            return None
        shallow = count
    return None


def fetch_commits(clone: Path, shas: Sequence[str], token: str, server_url: str) -> None:
    """Bring commits in by their ids, with their files and without their history.

    What a pull request's commit holds is data that is read, never checked out. GitHubError where
    the server has one of them no more.
    """
    missing = [sha for sha in shas if not _has(clone, sha, server_url)]
    if not missing:
        return
    kept = [f"+{sha}:{_KEPT}{sha}" for sha in missing]
    fetch = ("fetch", "--quiet", "--no-tags", "--depth=1", "--no-recurse-submodules", "origin")
    result = run_git(clone, (*fetch, *kept), token, server_url)
    if result.returncode:
        raise _cannot_fetch(f"commit {missing[0][:12]}", result.stderr)


def bring_if_there(clone: Path, sha: str, token: str, server_url: str) -> None:
    """As `fetch_commits`, of a commit that the server may have forgotten."""
    try:
        fetch_commits(clone, [sha], token, server_url)
    except GitHubError as error:
        if _NOT_THERE not in error.why:
            raise


def _has(clone: Path, sha: str, server_url: str) -> bool:
    return not run_git(clone, ("cat-file", "-e", f"{sha}^{{tree}}"), "", server_url).returncode


def _cannot_fetch(what: str, error: str) -> GitHubError:
    return GitHubError(
        f"cannot fetch {what}",
        why=error.strip()[-500:],
        advice="It may have been deleted. The job needs `contents: read` and a checkout of the "
        "default branch before this step.",
    )


def access(token: str, server_url: str) -> dict[str, str]:
    """Variables with which git logs in to the server; where there is no token it does not."""
    settings = {"core.hooksPath": "/dev/null", "protocol.version": "2"}
    if token:
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        settings[f"http.{server_url}/.extraheader"] = f"AUTHORIZATION: basic {basic}"
    env = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env


def run_git(
    clone: Path, arguments: tuple[str, ...], token: str, server_url: str
) -> subprocess.CompletedProcess[str]:
    """A git command that may log in to the server, whatever it ends with; GitHubError where it does
    not answer in time."""
    env = {**os.environ, **access(token, server_url)}
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=clone,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GitHubError(
            "git did not answer in time",
            why=f"`git {arguments[0]}` took more than {_PATIENCE_S:.0f} s.",
            advice="Run the job again.",
        ) from error
