"""What each published operation does to the stand-in's state, by GitHub's operationId."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub import render
from hub.server import Redirect, RefusedError
from hub.state import (
    Account,
    Artifact,
    Check,
    Comment,
    Compared,
    ComparedFile,
    Issue,
    Json,
    Pull,
    Run,
    Status,
)

if TYPE_CHECKING:
    from standin import StandIn

MOST_COMPARED_FILES = 300
_STATUS = {"A": "added", "M": "modified", "D": "removed", "R": "renamed", "T": "changed"}


class Operations:
    def __init__(self, github: StandIn) -> None:
        self.github = github

    def act(
        self, operation: str, names: dict[str, str], query: dict[str, str], body: Any, who: Account
    ) -> tuple[int, Any]:
        repository = f"{names['owner']}/{names['repo']}"
        if repository != self.github.repository.full_name:
            raise RefusedError(404, "Not Found")
        return self._acts[operation](self, names, query, body, who)

    def blob(self, name: str) -> bytes | None:
        return next((a.data for _, a in self._artifacts() if str(a.id) == name), None)

    def _artifacts(self) -> list[tuple[Run, Artifact]]:
        return [(run, item) for run in self.github.runs.values() for item in run.artifacts]

    def _pull_json(self, pull: Pull, operation: str = "pulls/list") -> Json:
        template = render.example(operation)
        template = template[0] if isinstance(template, list) else template
        found = render.pull(pull, self.github.repository, template)
        return found if operation == "pulls/get" else {k: found[k] for k in found if k != "merged"}

    def get_pull(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        pull = self.github.pulls.get(int(names["pull_number"]))
        if pull is None:
            raise RefusedError(404, "Not Found")
        return 200, self._pull_json(pull, "pulls/get")

    def list_pulls(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        state, (owner, _, branch) = query.get("state", "open"), query.get("head", "").partition(":")
        found = [
            pull
            for pull in reversed(self.github.pulls.values())
            if state in {"all", pull.state}
            and (not branch or (pull.head_ref == branch and _owner(pull) == owner))
        ]
        return 200, [self._pull_json(pull) for pull in _page(found, query)]

    def pulls_of_commit(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        """Never closed ones; what is in the default branch already is of who brought it there."""
        home, forks_too = self.github.repository, self.github.finds_commits_of_forks
        found = [
            pull
            for pull in self.github.pulls.values()
            if names["commit_sha"] in pull.commits
            and (pull.merged or pull.state == "open")
            and (pull.merged or pull.head_repository is home or forks_too)
        ]
        there = [pull for pull in found if pull.merged and pull.base_ref == home.default_branch]
        found = there or found
        return 200, [self._pull_json(pull) for pull in _page(found, query)]

    def _run(self, names: Json) -> Run:
        run = self.github.runs.get(int(names["run_id"]))
        if run is None:
            raise RefusedError(404, "Not Found")
        return run

    def _run_json(self, run: Run) -> Json:
        template = render.example("actions/get-workflow-run")
        suffix = f"@{self.github.repository.default_branch}"  # as the published answer has it
        return render.run(run, self.github.repository, template, suffix)

    def get_run(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        return 200, self._run_json(self._run(names))

    def list_runs(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        if names["workflow_id"] not in self.github.workflows:
            raise RefusedError(404, "Not Found")
        since = re.fullmatch(r">=(.+)", query.get("created", ">=0001-01-01T00:00:00Z"))
        if since is None:
            raise RefusedError(422, "created: only >= is played here")
        first = datetime.fromisoformat(since[1])
        found = [
            run
            for run in reversed(self.github.runs.values())
            if run.workflow == names["workflow_id"]
            and query.get("head_sha") in {None, run.head_sha}
            and query.get("event") in {None, run.event}
            and query.get("status") in {None, run.status, run.conclusion}
            and run.created_at >= first
        ]
        shown = [self._run_json(run) for run in _page(found, query)]
        return 200, {"total_count": len(found), "workflow_runs": shown}

    def rerun(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        run = self._run(names)
        if run.status != "completed":
            raise RefusedError(403, "This workflow is already running")
        self.github.press_rerun(run, failed_only=False)
        return 201, {}

    def rerun_failed(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        run = self._run(names)
        if run.status != "completed":
            raise RefusedError(403, "This workflow is already running")
        if run.conclusion == "success":
            raise RefusedError(403, "This workflow run has no failed jobs")
        self.github.press_rerun(run, failed_only=True)
        return 201, {}

    def cancel(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        run = self._run(names)
        if run.status == "completed":
            raise RefusedError(409, "Cannot cancel a workflow run that is completed.")
        self.github.press_cancel(run)
        return 202, {}

    def artifacts(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        run = self._run(names)
        newest = list(reversed(run.artifacts))
        found = [a for a in newest if query.get("name") in {None, a.name}]
        url = f"{self.github.server.url}/repos/{self.github.repository.full_name}"
        shown = [render.artifact(item, run, url) for item in _page(found, query)]
        return 200, {"total_count": len(found), "artifacts": shown}

    def download(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        known = {str(item.id): item for _, item in self._artifacts()}
        artifact = known.get(names["artifact_id"])
        if artifact is None or names["archive_format"] != "zip":
            raise RefusedError(404, "Not Found")
        if artifact.expired:
            raise RefusedError(410, "Artifact has expired")
        return 302, Redirect(f"{self.github.server.blob_url}/{artifact.id}?sig=signed")

    def compare(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        base, _, head = names["basehead"].partition("...")
        found = self.github.compared.get((base, head))
        if found is None and self.github.git is not None:
            found = compare_in(self.github.git, base, head)
        if found is None:
            raise RefusedError(404, "Not Found")
        most = MOST_COMPARED_FILES if query.get("page", "1") == "1" else 0
        return 200, render.comparison(found, base, head, most)

    def statuses(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        return 200, [render.status(s) for s in _page(self.github.statuses(names["ref"]), query)]

    def create_status(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        if not re.fullmatch(r"[0-9a-f]{40}", names["sha"]):
            raise RefusedError(422, f"No commit found for SHA: {names['sha']}")
        status = Status(
            self.github._id(),
            names["sha"],
            body.get("context", "default"),
            body["state"],
            body.get("description"),
            body.get("target_url"),
            who,
            self.github._tick(),
        )
        self.github.all_statuses.append(status)
        return 201, render.status(status)

    def list_comments(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        number = self._conversation(names)
        found = [comment for comment in self.github.comments if comment.number == number]
        return 200, [self._comment_json(comment) for comment in _page(found, query)]

    def create_comment(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        """Without an event: what GITHUB_TOKEN does starts no workflow."""
        number, time = self._conversation(names), self.github._tick()
        comment = Comment(self.github._id(), number, who, body["body"], time, time)
        self.github.comments.append(comment)
        return 201, self._comment_json(comment)

    def update_comment(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        comment = self._comment(names)
        comment.body, comment.updated_at = body["body"], self.github._tick()
        return 200, self._comment_json(comment)

    def react(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        comment, given = self._comment(names), (who, body["content"])
        known = given in comment.reactions
        if not known:
            comment.reactions.append(given)
        return (200 if known else 201), render.reaction(who, body["content"], self.github._id())

    def permission(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        account = self.github.users.get(names["username"])
        if account is None:
            raise RefusedError(404, "Not Found")
        return 200, render.collaborator(account)

    def _issue(self, names: Json) -> Issue | Pull:
        """Whoever asks: GitHub first looks whether there are issues at all."""
        number = int(names["issue_number"])
        pull = self.github.pulls.get(number)
        if pull is not None:
            return pull
        if not self.github.has_issues:
            raise RefusedError(410, "Issues has been disabled in this repository.")
        if number in self.github.deleted_issues:
            raise RefusedError(410, "This issue was deleted")
        if number not in self.github.issues:
            raise RefusedError(404, "Not Found")
        return self.github.issues[number]

    def get_issue(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        return 200, render.whole_issue(self._issue(names), self.github.repository)

    def list_issues(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        """Newest first; pull requests are issues too."""
        if not self.github.has_issues:
            raise RefusedError(410, "Issues has been disabled in this repository.")
        state = query.get("state", "open")
        wanted = {each.lower() for each in query.get("labels", "").split(",") if each}
        every: list[Issue | Pull] = [*self.github.issues.values(), *self.github.pulls.values()]
        found = [
            each
            for each in sorted(every, key=lambda each: -each.number)
            if state in {"all", each.state} and wanted <= self._labels_of(each)
        ]
        template = render.example("issues/list-for-repo")[0]
        home = self.github.repository
        return 200, [render.issue(each, home, template) for each in _page(found, query)]

    def _labels_of(self, each: Issue | Pull) -> set[str]:
        labels = (
            each.labels
            if isinstance(each, Issue)
            else self.github.labels_of_pulls.get(each.number, ())
        )
        return {label.lower() for label in labels}

    def create_issue(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        """Without an event, as comments."""
        if not self.github.has_issues:
            raise RefusedError(410, "Issues are disabled for this repo")
        assignees = self._assignees(body)
        made = self.github.add_issue(who, body["title"], body.get("body"), body.get("labels", []))
        made.assignees = assignees
        return 201, render.whole_issue(made, self.github.repository)

    def update_issue(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        issue = self._issue(names)
        if isinstance(issue, Pull):
            raise RefusedError(422, "the stand-in changes no pull requests")
        if "assignees" in body:
            issue.assignees = self._assignees(body)
        for key in ("title", "body"):
            setattr(issue, key, body.get(key, getattr(issue, key)))
        issue.labels = list(dict.fromkeys(body.get("labels", issue.labels)))
        if body.get("state", issue.state) != issue.state:
            self.github.turn_issue(issue, body["state"], body.get("state_reason"), who)
        self.github._tick()
        return 200, render.whole_issue(issue, self.github.repository)

    def _assignees(self, body: Json) -> list[Account]:
        """One who cannot be assigned spoils the whole request, as GitHub has it."""
        found = []
        for login in body.get("assignees", ()):
            account = self._assignable(login)
            if account is None:
                raise RefusedError(422, f"Validation Failed: assignees: {login} is invalid")
            found.append(account)
        return found

    def _assignable(self, login: str) -> Account | None:
        known = {account.login.lower(): account for account in self.github.users.values()}
        account = known.get(login.lower())
        may = account is not None and account.permission in {"write", "admin"}
        return account if may else None

    def can_assign(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        if self._assignable(names["assignee"]) is None:
            raise RefusedError(404, "Not Found")
        return 204, None

    def get_commit(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        sha, github = names["ref"], self.github
        authors = {sha: pull.author for pull in github.pulls.values() for sha in pull.commits}
        known = {**dict.fromkeys([github.base_sha, *github.branches.values()]), **authors}
        known |= github.authors
        if sha not in known and not (github.git and is_in(github.git, sha)):
            raise RefusedError(422, f"No commit found for SHA: {sha}")
        return 200, render.commit(sha, known.get(sha))

    def dispatch(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        """With an event: GITHUB_TOKEN may start workflows like this, as it may run them again."""
        workflow, inputs = names["workflow_id"], body.get("inputs", {})
        if workflow not in self.github.workflows:
            raise RefusedError(404, "Not Found")
        if workflow not in self.github.startable:
            raise RefusedError(422, "Workflow does not have 'workflow_dispatch' trigger")
        unknown = sorted(inputs.keys() - self.github.startable[workflow])
        if unknown:
            raise RefusedError(422, f"Unexpected inputs provided: {unknown}")
        if self.github.tip_of(body["ref"]) is None:
            raise RefusedError(422, f"No ref found for: {body['ref']}")
        run = self.github.start_by_hand(workflow, body["ref"], inputs, who)
        if self.github.tells_dispatched:
            return 200, render.dispatched(run, self.github.repository)
        return 204, None

    def create_check(self, names: Json, query: Json, body: Any, who: Account) -> tuple[int, Any]:
        output = body.get("output", {})
        check = Check(
            self.github._id(),
            body["head_sha"],
            body["name"],
            body.get("conclusion"),
            output.get("title", ""),
            output.get("summary", ""),
            tuple(output.get("annotations", ())),
        )
        self.github.checks.append(check)
        return 201, render.check(check)

    def _conversation(self, names: Json) -> int:
        number = int(names["issue_number"])
        if number not in self.github.pulls and number not in self.github.issues:
            raise RefusedError(404, "Not Found")
        return number

    def _comment(self, names: Json) -> Comment:
        known = {str(comment.id): comment for comment in self.github.comments}
        if names["comment_id"] not in known:
            raise RefusedError(404, "Not Found")
        return known[names["comment_id"]]

    def _comment_json(self, comment: Comment) -> Json:
        return render.comment(
            comment, self.github.repository, render.example("issues/create-comment")
        )

    _acts: dict[str, Callable[..., tuple[int, Any]]] = {  # noqa: RUF012
        "pulls/get": get_pull,
        "pulls/list": list_pulls,
        "repos/list-pull-requests-associated-with-commit": pulls_of_commit,
        "actions/get-workflow-run": get_run,
        "actions/list-workflow-runs": list_runs,
        "actions/re-run-workflow": rerun,
        "actions/re-run-workflow-failed-jobs": rerun_failed,
        "actions/cancel-workflow-run": cancel,
        "actions/list-workflow-run-artifacts": artifacts,
        "actions/download-artifact": download,
        "repos/compare-commits-with-basehead": compare,
        "repos/list-commit-statuses-for-ref": statuses,
        "repos/create-commit-status": create_status,
        "issues/list-comments": list_comments,
        "issues/create-comment": create_comment,
        "issues/update-comment": update_comment,
        "reactions/create-for-issue-comment": react,
        "repos/get-collaborator-permission-level": permission,
        "checks/create": create_check,
        "issues/get": get_issue,
        "issues/list-for-repo": list_issues,
        "issues/create": create_issue,
        "issues/update": update_issue,
        "issues/check-user-can-be-assigned": can_assign,
        "repos/get-commit": get_commit,
        "actions/create-workflow-dispatch": dispatch,
    }


def _owner(pull: Pull) -> str | None:
    return pull.head_repository.owner.login if pull.head_repository else None


def _page(items: list[Any], query: Json) -> list[Any]:
    size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
    return items[(page - 1) * size : page * size]


def is_in(folder: Path, sha: str) -> bool:
    command = ["git", "-C", str(folder), "cat-file", "-e", f"{sha}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compare_in(folder: Path, base: str, head: str) -> Compared | None:
    """`base...head` of a real repository; None where it does not know one of them."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    try:
        root = git("merge-base", base, head).strip()
        behind, ahead = map(
            int, git("rev-list", "--left-right", "--count", f"{base}...{head}").split()
        )
        named = git("diff", "--name-status", "-M", "-z", root, head).split("\0")
    except subprocess.CalledProcessError:
        return None
    files, parts = [], iter(named)
    for letter in parts:
        if not letter:
            break
        previous = next(parts) if letter[0] == "R" else None
        path = next(parts)
        paths = [path] if previous is None else [previous, path]
        patch = git("diff", "-M", root, head, "--", *paths)
        body = patch[patch.index("@@") :].rstrip("\n") if "\n@@" in patch else None
        lines = (body or "").splitlines()
        files.append(
            ComparedFile(
                path,
                _STATUS[letter[0]],
                body,
                previous,
                sum(line.startswith("+") for line in lines),
                sum(line.startswith("-") for line in lines),
            )
        )
    return Compared(root, ahead, behind, tuple(files))
