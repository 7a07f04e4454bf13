"""Brings a branch's newest commit into the clone that a trusted job works in.

The token goes to git through its environment, never as an argument, which other processes can
read, and is stored nowhere. Refuses to check anything out.
"""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

from ailab_bot.gh.client import GitHubError

_REF = "refs/ailab/base"
_PATIENCE_S = 300.0


def fetch_tip(clone: Path, branch: str, token: str, server_url: str) -> str:
    """The SHA of `branch` on origin; its files can be read from `clone` afterwards."""
    refspec = f"+refs/heads/{branch}:{_REF}"
    fetch = ("fetch", "--quiet", "--no-tags", "--depth=1", "origin", refspec)
    result = _git(clone, fetch, token, server_url)
    if result.returncode:
        raise GitHubError(
            f"cannot fetch the base branch `{branch:.80}`",
            why=result.stderr.strip()[-500:],
            advice="It may have been deleted. The job needs `contents: read` and a checkout of the "
            "default branch before this step.",
        )
    return _git(clone, ("rev-parse", _REF), "", server_url).stdout.strip()


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


def _git(
    clone: Path, arguments: tuple[str, ...], token: str, server_url: str
) -> subprocess.CompletedProcess[str]:
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
