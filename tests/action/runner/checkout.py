"""What stands in for actions/checkout: a real clone of the site's repository, from a local folder.

An input that is not known here is refused, and so is a value whose meaning is not built.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import RefusedError
from .inputs import Brought, only, with_usual
from .jobstate import JobState

#: GitHub serves every commit of a network of forks by its SHA; a local repository must be told to.
_SERVE_ANY = "git -c uploadpack.allowAnySHA1InWant=true upload-pack"


def checkout(job: JobState, contexts: Mapping[str, Any], given: Mapping[str, str]) -> Brought:
    """A clone of the site's repository in the workspace, as actions/checkout leaves it."""
    usual = {
        "repository": contexts["github"]["repository"],
        "ref": "",
        "token": contexts["github"]["token"],
        "fetch-depth": "1",
        "fetch-tags": "false",
        "persist-credentials": "true",
        "path": "",
        "clean": "true",
        "submodules": "false",
        "lfs": "false",
        "show-progress": "true",
        "allow-unsafe-pr-checkout": "false",
    }
    inputs = with_usual(given, usual)
    only(inputs, "submodules", "false")
    only(inputs, "lfs", "false")
    only(inputs, "repository", usual["repository"])
    if job.settings.site.private and "contents" not in job.permissions:
        raise RefusedError("remote: Repository not found. fatal: repository not found")
    _refuse_untrusted(contexts["github"], inputs)
    folder = job.workspace / inputs["path"]
    folder.mkdir(parents=True, exist_ok=True)
    git = _Git(folder, job.environment({}, contexts["github"], {}))
    if not (folder / ".git").is_dir():
        git("init", "--quiet", "--initial-branch=checkout-none")
        git("remote", "add", "origin", job.settings.site.git.resolve().as_uri())
        git("config", "remote.origin.uploadpack", _SERVE_ANY)
    git("config", "--local", "gc.auto", "0")
    _set_credentials(git, job.settings.site.server_url, inputs)
    ref, commit = _wanted(inputs["ref"], contexts["github"])
    _fetch(git, ref, commit, depth=int(inputs["fetch-depth"]), tags=inputs["fetch-tags"] == "true")
    target, start = _target(git, ref, commit)
    git("checkout", "--quiet", "--force", *(["-B", target, start] if start else [target]))
    if inputs["clean"] == "true":
        git("clean", "-ffdxq")
    git_config = job.home / ".gitconfig"
    git("config", "--file", str(git_config), "--add", "safe.directory", str(folder))
    sha = git("rev-parse", "HEAD")
    return {"ref": ref or sha, "commit": sha}, f"{git.log}{sha}\n", []


def _refuse_untrusted(github: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """The real action's guard: no fork's code where the base's token is."""
    if inputs["allow-unsafe-pr-checkout"] == "true":
        return
    event = github["event"]
    if github["event_name"] == "workflow_run":
        run = event["workflow_run"]
        head, base = run.get("head_repository") or {}, run.get("repository") or {}
        if head.get("id") != base.get("id") and inputs["ref"] in (
            run["head_sha"],
            run["head_branch"],
        ):
            raise RefusedError(
                "Refusing to check out fork pull request code from a workflow_run workflow"
            )


class _Git:
    """Git in one folder, with the job's environment; `log` keeps what was asked."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.log = ""

    def __call__(self, *arguments: str) -> str:
        shown = "***" if any("AUTHORIZATION" in text for text in arguments) else " ".join(arguments)
        self.log += f"git {shown}\n"
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RefusedError(
                f"The process 'git {shown}' failed with exit code {done.returncode}\n{done.stderr}"
            )
        return done.stdout.strip()

    def has(self, name: str) -> bool:
        try:
            self("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except RefusedError:
            return False
        return True


def _set_credentials(git: _Git, server_url: str, inputs: Mapping[str, str]) -> None:
    if inputs["persist-credentials"] == "true":
        secret = base64.b64encode(f"x-access-token:{inputs['token']}".encode()).decode()
        header = f"AUTHORIZATION: basic {secret}"
        git("config", "--local", f"http.{server_url}/.extraheader", header)


def _wanted(given: str, github: Mapping[str, Any]) -> tuple[str, str]:
    """The ref and the commit to check out; one of them may be empty."""
    if not given:
        return github["ref"], github["sha"]
    if re.fullmatch(r"[0-9a-fA-F]{40}", given):
        return "", given
    return given, ""


def _fetch(git: _Git, ref: str, commit: str, *, depth: int, tags: bool) -> None:
    fetch = ("-c", "protocol.version=2", "fetch", "--quiet", "--no-tags", "--prune", "origin")
    if depth <= 0:
        git(
            *fetch,
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
            *_pull(ref, commit),
        )
        if not commit or (git.has(commit) and not ref.startswith("refs/heads/")):
            return
        branch = ref.removeprefix("refs/heads/")
        if ref and git.has(f"origin/{branch}") and git("rev-parse", f"origin/{branch}") == commit:
            return
        git(*fetch, *_specification(ref, commit))
        return
    more = ("+refs/tags/*:refs/tags/*",) if tags else ()
    git(*fetch[:-1], f"--depth={depth}", "origin", *more, *_specification(ref, commit))


def _pull(ref: str, commit: str) -> tuple[str, ...]:
    if not ref.startswith("refs/pull/"):
        return ()
    return (f"+{commit or ref}:refs/remotes/pull/{ref.removeprefix('refs/pull/')}",)


def _specification(ref: str, commit: str) -> tuple[str, ...]:
    if ref.startswith("refs/pull/"):
        return _pull(ref, commit)
    if ref.startswith("refs/heads/"):
        return (f"+{commit or ref}:refs/remotes/origin/{ref.removeprefix('refs/heads/')}",)
    if ref.startswith("refs/tags/"):
        return (f"+{ref}:{ref}",)
    if commit:
        return (commit,)
    if ref.startswith("refs/"):
        return (f"+{ref}:{ref}",)
    heads = f"+refs/heads/{ref}*:refs/remotes/origin/{ref}*"
    return (heads, f"+refs/tags/{ref}*:refs/tags/{ref}*")


def _target(git: _Git, ref: str, commit: str) -> tuple[str, str]:
    """What to check out and, for a branch, where it starts."""
    if not ref:
        return commit, ""
    if ref.startswith("refs/pull/"):
        return f"refs/remotes/pull/{ref.removeprefix('refs/pull/')}", ""
    if ref.startswith("refs/heads/"):
        branch = ref.removeprefix("refs/heads/")
        return branch, f"refs/remotes/origin/{branch}"
    if ref.startswith("refs/"):
        return (ref if ref.startswith("refs/tags/") else commit or ref), ""
    if git.has(f"refs/remotes/origin/{ref}"):
        return ref, f"refs/remotes/origin/{ref}"
    if git.has(f"refs/tags/{ref}"):
        return f"refs/tags/{ref}", ""
    raise RefusedError(f"A branch or tag with the name '{ref}' could not be found")
