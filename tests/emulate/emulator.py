"""emulate's GitHub as a process: started, asked as a person, given real git objects, ended.

A third party's reading of GitHub (npm package `emulate`, locked in tests/node). Refuses an answer
that is an error, and a git object whose SHA is not the one that git computed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import node_tools

ROOT = "/repos/acme/models"
OWNER, BOT = "acme", "github-actions[bot]"
#: GitHub Actions is an App; its slug makes the bot's login. Its number is the real one.
APP = {"app_id": 15_368, "slug": "github-actions", "name": "GitHub Actions"}
_SERVE = Path(__file__).with_name("serve.mjs")


@dataclass
class Emulator:
    """`tokens`: name of a job -> the installation token that has this job's permissions."""

    url: str
    tokens: Mapping[str, str]
    client: httpx.Client
    known: set[tuple[str, str]] = field(default_factory=set)

    def send(self, verb: str, path: str, who: str, body: object = None) -> httpx.Response:
        """As a person, whatever the answer is."""
        headers = {"Authorization": f"Bearer {_token(who)}"}
        return self.client.request(verb, path, json=body, headers=headers)

    def ask(self, verb: str, path: str, who: str = OWNER, body: object = None) -> Any:
        """As a person; AssertionError for an answer that is an error."""
        answer = self.send(verb, path, who, body)
        assert answer.is_success, f"{verb} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def user_id(self, login: str) -> int:
        return int(self.ask("GET", f"/users/{quote(login)}")["id"])

    def push(self, git: Path, ref: str, sha: str, *, root: str = ROOT, who: str = OWNER) -> None:
        """The commit and all below it, and the branch `ref` on it; moved by force where it is."""
        self.store(git, sha, root=root, who=who)
        place = f"{root}/git/refs"
        names = {item["ref"] for item in self.ask("GET", f"{root}/git/matching-refs/heads/", who)}
        if f"refs/heads/{ref}" in names:
            self.ask("PATCH", f"{place}/heads/{ref}", who, {"sha": sha, "force": True})
        else:
            self.ask("POST", place, who, {"ref": f"refs/heads/{ref}", "sha": sha})

    def store(self, git: Path, sha: str, *, root: str = ROOT, who: str = OWNER) -> None:
        """The objects of a real repository, each under the name that git gave it."""
        for commit in _git(git, "rev-list", "--reverse", sha).decode().split():
            if (root, commit) not in self.known:
                self.known.add((root, commit))
                self._store_commit(git, commit, root, who)

    def bring(self, git: Path, ref: str, sha: str) -> None:
        """A merge that emulate made becomes a commit of the real repository, and of its branch."""
        made = self.ask("GET", f"{ROOT}/git/commits/{sha}")
        names = {}
        for who in ("author", "committer"):
            for key, value in made[who].items():
                names[f"GIT_{who.upper()}_{key.upper()}"] = value
        parents = [word for each in made["parents"] for word in ("-p", each["sha"])]
        arguments = ("commit-tree", made["tree"]["sha"], *parents, "-m", made["message"])
        assert _git(git, *arguments, env=names).decode().strip() == sha, "the commit is another one"
        _git(git, "branch", "--quiet", "--force", ref, sha)
        self.known.add((ROOT, sha))

    def _store_commit(self, git: Path, sha: str, root: str, who: str) -> None:
        tree = []
        for line in _git(git, "ls-tree", "-r", "-z", sha).decode().split("\0")[:-1]:
            about, _, path = line.partition("\t")
            mode, kind, blob = about.split()
            if (root, blob) not in self.known:
                self.known.add((root, blob))
                data = base64.b64encode(_git(git, "cat-file", "blob", blob)).decode()
                content = {"content": data, "encoding": "base64"}
                made = self.ask("POST", f"{root}/git/blobs", who, content)
                assert made["sha"] == blob, path
            tree.append({"path": path, "mode": mode, "type": kind, "sha": blob})
        form = "%T%n%P%n%an%n%ae%n%aI%n%cn%n%ce%n%cI%n%B"
        text = _git(git, "show", "--no-patch", f"--format={form}", sha).decode()
        whole, parents, *people, message = text.split("\n", 8)
        made = self.ask("POST", f"{root}/git/trees", who, {"tree": tree})
        assert made["sha"] == whole, "the tree is another one"
        body = {
            "message": message.rstrip("\n"),
            "tree": whole,
            "parents": parents.split(),
            "author": dict(zip(("name", "email", "date"), people[:3], strict=True)),
            "committer": dict(zip(("name", "email", "date"), people[3:], strict=True)),
        }
        made = self.ask("POST", f"{root}/git/commits", who, body)
        assert made["sha"] == sha, "the commit is another one"


def _token(login: str) -> str:
    return f"token-of-{login}"


def _git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    names = {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, check=True, env=names).stdout


class Node:
    """One process of Node for many emulators, one at a time; `close` ends it.

    FileNotFoundError where Node or the package is missing, and says how to get them.
    """

    def __init__(self) -> None:
        command = [str(node_tools.node()), str(_SERVE), str(node_tools.modules())]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    @contextlib.contextmanager
    def started(
        self, people: Collection[str], jobs: Mapping[str, Mapping[str, str]], *, private: bool
    ) -> Iterator[Emulator]:
        """A new emulate; `jobs`: name -> permissions as a workflow spells them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps(_order(people, jobs, private=private))
        print(order, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "emulate did not start; its reason is on standard error"
        found = json.loads(answer)
        with httpx.Client(base_url=found["url"], timeout=20, trust_env=False) as client:
            yield Emulator(found["url"], found["tokens"], client)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def _order(
    people: Collection[str], jobs: Mapping[str, Mapping[str, str]], *, private: bool
) -> dict[str, object]:
    """What serve.mjs reads: an empty repository, its people, and the App that the bot is."""
    logins = [*people, BOT]
    repository = {"owner": OWNER, "name": "models", "private": private, "auto_init": False}
    installation = {"installation_id": 1, "account": OWNER, "repository_selection": "all"}
    rights = {name: _spelt_for_api(wanted) for name, wanted in jobs.items()}
    granted = {permission: "write" for wanted in rights.values() for permission in wanted}
    return {
        "seed": {
            "tokens": {_token(login): {"login": login} for login in logins},
            "github": {"users": [{"login": login} for login in logins], "repos": [repository]},
        },
        "app": {**APP, "permissions": granted, "installations": [installation]},
        "permissions": rights,
    }


def _spelt_for_api(permissions: Mapping[str, str]) -> dict[str, str]:
    """`pull-requests: write` of a workflow is `pull_requests: write` in the API."""
    return {name.replace("-", "_"): level for name, level in permissions.items()}
