"""The stand-in's verbs, carried out at emulate: people open, comment and fork there for real.

What emulate has (HAS), it answers: pull requests, issues, comments, permissions, comparisons, check
runs, commits.
What it lacks, and what it cannot say (`_by`), stays with the stand-in, which also writes the
webhooks. Each job gets an installation token with the permissions of the shipped workflow.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator import BOT, OWNER, ROOT, Emulator, Node
from hub.faults import Fault
from hub.state import Account, Check, Comment, Event, Issue, Json, Pull, Run
from routing import EMULATE, STAND_IN, Proxy
from shipped_jobs import job_of, permissions_of_jobs
from standin import StandIn

from ailab_bot.gh.api import GitHubApi

PEOPLE = (OWNER, "alice", "bob", "maria", "rita", "mallory", "stranger")
#: Operations that emulate answers; test_emulate.py shows that it has no other of ours.
HAS = frozenset(
    {
        "pulls/get",
        "pulls/list",
        "repos/compare-commits-with-basehead",
        "issues/list-comments",
        "issues/create-comment",
        "issues/update-comment",
        "issues/get",
        "issues/list-for-repo",
        "issues/create",
        "issues/update",
        "repos/get-commit",
        "repos/get-collaborator-permission-level",
        "checks/create",
    }
)
_LEVELS = {"admin": "admin", "write": "push", "read": "pull"}


class EmulatedHub(StandIn):
    """A StandIn whose pull requests and comments live in `emulator`."""

    def __init__(self, emulator: Emulator, *, private: bool = False) -> None:
        self.emulator = emulator
        self.moved: set[int] = set()
        self.ids = {login: emulator.user_id(login) for login in PEOPLE}
        self.bot_id = emulator.user_id(BOT)
        super().__init__(private=private)
        self.repository.id = emulator.ask("GET", ROOT)["id"]
        for name, token in emulator.tokens.items():
            self.add_token(token, self.bot, may_write=name != "plan")
        self.proxy = Proxy(emulator.url, self.server.url, self._by, self._as_bot)

    def stop(self) -> None:
        self.proxy.close()
        super().stop()

    # People

    def user(self, login: str, permission: str | None = None, id: int | None = None) -> Account:  # noqa: A002
        known = login in self.users
        account = super().user(login, permission, self.ids.get(login) if id is None else id)
        if login != OWNER and (permission or (self.repository.private and not known)):
            level = {"permission": _LEVELS[account.permission]}
            self.emulator.ask("PUT", f"{ROOT}/collaborators/{login}", OWNER, level)
        return account

    def open_pull(
        self,
        author: str = "alice",
        *,
        head: str = "feature",
        sha: str | None = None,
        base: str = "main",
        base_sha: str | None = None,
        fork: bool = False,
        title: str = "Change the training",
        body: str | None = None,
    ) -> Pull:
        assert sha is not None, "emulate's commits are real"
        self.user(author)
        self._push_base()
        self._push(head, sha, author if fork else None)
        asked = {"title": title, "head": f"{author}:{head}" if fork else head, "base": base}
        told = {} if body is None else {"body": body}
        made = self.emulator.ask("POST", f"{ROOT}/pulls", author, {**asked, **told})
        pull = super().open_pull(
            author, head=head, sha=sha, base=base, base_sha=base_sha, fork=fork, title=title,
            body=body,
        )  # fmt: skip
        assert (made["number"], made["head"]["sha"]) == (pull.number, sha)
        if pull.head_repository is not self.repository:
            assert pull.head_repository is not None
            pull.head_repository.id = made["head"]["repo"]["id"]
        return pull

    def add_issue(
        self, author: Account, title: str, body: str | None, labels: Sequence[str]
    ) -> Issue:
        wanted = {"title": title, "body": body or "", "labels": [*labels]}
        made = self.emulator.ask("POST", f"{ROOT}/issues", author.login, wanted)
        issue = super().add_issue(author, title, body, labels)
        assert made["number"] == issue.number
        return issue

    def turn_issue(self, issue: Issue, state: str, reason: str | None, who: Account) -> None:
        super().turn_issue(issue, state, reason, who)
        change = {"state": state, "state_reason": issue.state_reason}
        self.emulator.ask("PATCH", f"{ROOT}/issues/{issue.number}", who.login, change)

    def push(self, pull: Pull, sha: str | None = None, *, force: bool = False) -> str:
        """emulate's branch moves, its pull request does not: the stand-in tells of it from now."""
        assert sha is not None, "emulate's commits are real"
        home = pull.head_repository
        own = home is None or home is self.repository
        self._push(pull.head_ref, sha, None if own else pull.author.login)
        self.moved.add(pull.number)
        return super().push(pull, sha, force=force)

    def press_update_branch(self, pull: Pull, git: Path) -> str:
        """The button below a pull request: emulate merges base into head, and git learns of it."""
        self.emulator.ask("PUT", f"{ROOT}/pulls/{pull.number}/update-branch", pull.author.login, {})
        sha = str(self.emulator.ask("GET", f"{ROOT}/pulls/{pull.number}")["head"]["sha"])
        self.emulator.bring(git, pull.head_ref, sha)
        super().push(pull, sha)
        return sha

    def retarget(self, pull: Pull, base: str, base_sha: str | None = None) -> None:
        assert base_sha is not None, "emulate's commits are real"
        self._push(base, base_sha)
        self._edit(pull, {"base": base})
        super().retarget(pull, base, base_sha)

    def edit(self, pull: Pull, title: str) -> None:
        self._edit(pull, {"title": title})
        super().edit(pull, title)

    def close(self, pull: Pull) -> None:
        self._edit(pull, {"state": "closed"})
        super().close(pull)

    def reopen(self, pull: Pull) -> None:
        self._edit(pull, {"state": "open"})
        super().reopen(pull)

    def delete_fork(self, pull: Pull) -> None:
        author = pull.author.login
        self.emulator.ask("DELETE", f"/repos/{author}/{self.repository.name}", author)
        super().delete_fork(pull)

    def comment(self, on: Any, author: str, body: str) -> Comment:
        account, time = self.user(author), self._tick()
        path = f"{ROOT}/issues/{on.number}/comments"
        made = self.emulator.ask("POST", path, author, {"body": body})
        assert made["user"]["id"] == account.id
        comment = Comment(made["id"], on.number, account, body, time, time)
        self.comments.append(comment)
        self._comment_event("created", on, comment)
        return comment

    def delete_comment(self, comment: Comment) -> None:
        self.emulator.ask("DELETE", f"{ROOT}/issues/comments/{comment.id}")
        self.comments = [each for each in self.comments if each.id != comment.id]

    # Read

    def environment(
        self,
        event: Event,
        folder: Path,
        *,
        token: str | None = None,
        run: Run | None = None,
        workspace: Path | None = None,
    ) -> dict[str, str]:
        """With the token that the shipped workflow gives to the job that this event starts."""
        self._push_base()
        token = self.emulator.tokens[job_of(event)] if token is None else token
        found = super().environment(event, folder, token=token, run=run, workspace=workspace)
        return {**found, "GITHUB_API_URL": self.proxy.url}

    def all_comments(self, on: Pull | Issue) -> list[Comment]:
        """As emulate lists them."""
        found = []
        for item in self.emulator.ask("GET", f"{ROOT}/issues/{on.number}/comments?per_page=100"):
            login = item["user"]["login"]
            author = self.bot if login == BOT else self.users[login]
            found.append(Comment(item["id"], on.number, author, item["body"], self.now, self.now))
        return found

    def bot_comments(self, on: Pull | Issue) -> list[Comment]:
        return [comment for comment in self.all_comments(on) if comment.author is self.bot]

    @property
    def checks(self) -> list[Check]:
        """Of all heads that a pull request has had."""
        shas = [sha for pull in self.pulls.values() for sha in pull.commits]
        return [check for sha in shas for check in self._checks_of(sha)]

    @checks.setter
    def checks(self, value: list[Check]) -> None:
        """The stand-in's own list, which stays empty here."""
        assert not value

    @property
    def violations(self) -> list[str]:
        return [*super().violations, *self.proxy.violations]

    def operations_by(self, whom: str) -> set[str]:
        """What was asked and who answered, of the jobs alone."""
        return {each.operation for each in self.proxy.served if each.by == whom}

    # Scripts

    def will(self, operation: str, *faults: Fault) -> None:
        """Only of what the stand-in serves: emulate does not fail at will."""
        assert operation not in HAS, f"{operation} is emulate's"
        super().will(operation, *faults)

    # What is routed where

    def _by(self, operation: str, names: Mapping[str, str]) -> str:
        if operation not in HAS:
            return STAND_IN
        if operation.startswith("pulls/") and self.moved:
            return STAND_IN  # emulate leaves a pull request where it was opened
        if operation == "repos/get-collaborator-permission-level":
            account = self.users.get(names["username"])
            if account is not None and account.permission == "write":
                return STAND_IN  # emulate says "push"
        return EMULATE

    def _as_bot(self, value: Any) -> Any:
        """The bot's number in emulate's answers, which counts accounts from 1, is the real one."""
        if isinstance(value, list):
            return [self._as_bot(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self._as_bot(item) for key, item in value.items()}
        if found.get("login") == BOT and found.get("id") == self.bot_id:
            found["id"] = self.bot.id
        return found

    def _edit(self, pull: Pull, body: Json) -> None:
        self.emulator.ask("PATCH", f"{ROOT}/pulls/{pull.number}", pull.author.login, body)

    def _push_base(self) -> None:
        assert self.git is not None
        self._push("main", self.base_sha)

    def _push(self, ref: str, sha: str, fork_of: str | None = None) -> None:
        """A fork's commits are given to both repositories: emulate's share no objects."""
        assert self.git is not None
        if fork_of is None:
            self.emulator.push(self.git, ref, sha)
            return
        self.emulator.store(self.git, sha)
        place = f"/repos/{fork_of}/{self.repository.name}"
        if fork_of not in {each["owner"]["login"] for each in self._forks()}:
            self.emulator.ask("POST", f"{ROOT}/forks", fork_of, {})
        self.emulator.push(self.git, ref, sha, root=place, who=fork_of)

    def _forks(self) -> list[Json]:
        found: list[Json] = self.emulator.ask("GET", f"{ROOT}/forks?per_page=100")
        return found

    def _checks_of(self, sha: str) -> list[Check]:
        found = []
        runs = self.emulator.ask("GET", f"{ROOT}/commits/{sha}/check-runs?filter=all")
        for item in runs["check_runs"]:
            place = f"{ROOT}/check-runs/{item['id']}/annotations?per_page=100"
            lines = self.emulator.ask("GET", place)["check_annotations"]
            shown, output = (item["id"], sha, item["name"], item["conclusion"]), item["output"]
            found.append(Check(*shown, output["title"], output["summary"], tuple(lines)))
        return found


@contextlib.contextmanager
def emulated(node: Node, *, private: bool = False) -> Iterator[EmulatedHub]:
    """As `running` of the stand-in: at the end nothing may have broken GitHub's description."""
    with node.started(PEOPLE, permissions_of_jobs(), private=private) as emulator:
        hub = EmulatedHub(emulator, private=private)
        try:
            yield hub
        finally:
            hub.stop()
        violations = hub.violations
        assert not violations, "not as GitHub describes it:\n" + "\n".join(violations)


def client_of(hub: EmulatedHub, job: str) -> GitHubApi:
    """The shipped client with the token of a shipped job."""
    return GitHubApi(
        hub.repository.full_name,
        hub.emulator.tokens[job],
        api_url=hub.proxy.url,
        deadline_s=time.monotonic() + 20,
        sleep=lambda _: None,
    )
