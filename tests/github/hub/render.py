"""State as GitHub's JSON: published examples, filled. Keys that we do not fill stay as published.

The same filling serves the API's answers and the webhooks' payloads, whose objects are alike.
"""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

from hub.published import operations, payload_examples
from hub.state import (
    Account,
    Artifact,
    Check,
    Comment,
    Compared,
    ComparedFile,
    Issue,
    Json,
    MergeGroup,
    Pull,
    Repository,
    Run,
    Status,
)

WEB = "https://github.com"


def text_of(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def example(operation: str) -> Any:
    return operations()[operation].example()


def user(account: Account) -> Json:
    found = example("repos/create-commit-status")["creator"]
    text = json.dumps(found).replace("octocat", quote(account.login))
    return {
        **json.loads(text),
        "login": account.login,
        "id": account.id,
        "type": account.kind,
        "html_url": f"{WEB}/{quote(account.login)}",
    }


def collaborator(account: Account) -> Json:
    permission = account.permission
    allowed = {
        "pull": permission in {"read", "write", "admin"},
        "triage": permission in {"write", "admin"},
        "push": permission in {"write", "admin"},
        "maintain": permission == "admin",
        "admin": permission == "admin",
    }
    return {
        "permission": permission,
        "role_name": permission,
        "user": {**user(account), "permissions": allowed, "role_name": permission},
    }


def repository(filled: Repository, template: Json) -> Json:
    """`template`: a published repository object of any size."""
    text = json.dumps(template).replace(template["full_name"], filled.full_name)
    return {
        **json.loads(text),
        "id": filled.id,
        "name": filled.name,
        "full_name": filled.full_name,
        "private": filled.private,
        "fork": filled.fork,
        "owner": user(filled.owner),
        "html_url": f"{WEB}/{filled.full_name}",
    } | ({"default_branch": filled.default_branch} if "default_branch" in template else {})


def pull(filled: Pull, home: Repository, template: Json) -> Json:
    fork = filled.head_repository
    owner = fork.owner.login if fork else "unknown"
    whole = template["base"]["repo"]
    return {
        **template,
        "number": filled.number,
        "state": filled.state,
        "title": filled.title,
        "user": user(filled.author),
        "url": f"{template['url'].rpartition('/')[0]}/{filled.number}",
        "html_url": f"{WEB}/{home.full_name}/pull/{filled.number}",
        "body": filled.body,
        "merged": filled.merged,
        "merged_at": text_of(filled.updated_at or filled.created_at) if filled.merged else None,
        "created_at": text_of(filled.created_at),
        "updated_at": text_of(filled.updated_at or filled.created_at),
        "closed_at": None if filled.state == "open" else text_of(filled.created_at),
        "requested_teams": [],
        "head": {
            "label": f"{owner}:{filled.head_ref}",
            "ref": filled.head_ref,
            "sha": filled.head_sha,
            "user": user(fork.owner) if fork else None,
            "repo": repository(fork, whole) if fork else None,
        },
        "base": {
            "label": f"{home.owner.login}:{filled.base_ref}",
            "ref": filled.base_ref,
            "sha": filled.base_sha,
            "user": user(home.owner),
            "repo": repository(home, whole),
        },
    }


def run(filled: Run, home: Repository, template: Json, path_suffix: str = "") -> Json:
    fork = filled.head_repository
    repositories = {
        "repository": repository(home, template["repository"]),
        "head_repository": repository(fork, template["repository"]) if fork else None,
    }
    times = {"created_at": filled.created_at, "run_started_at": filled.started_at}
    return {
        **template,
        **repositories,
        **{key: text_of(time) for key, time in times.items()},
        "updated_at": text_of(filled.updated_at),
        "id": filled.id,
        "run_attempt": filled.attempt,
        "name": filled.workflow.removesuffix(".yml"),
        "event": filled.event,
        "path": f".github/workflows/{filled.workflow}{path_suffix}",
        "status": filled.status,
        "conclusion": filled.conclusion,
        "head_sha": filled.head_sha,
        "head_branch": filled.head_branch,
        "html_url": f"{WEB}/{home.full_name}/actions/runs/{filled.id}",
        "actor": user(filled.actor),
        "triggering_actor": user(filled.actor),
        "pull_requests": _pulls_of_run(filled, home),
    }


def _pulls_of_run(filled: Run, home: Repository) -> list[Json]:
    """Empty for pull requests from forks, as GitHub leaves it."""
    found = filled.pull
    if found is None or found.head_repository is not home or found.state != "open":
        return []
    at = {"id": home.id, "url": f"https://api.github.com/repos/{home.full_name}", "name": home.name}
    return [
        {
            "id": found.number,
            "number": found.number,
            "url": f"{at['url']}/pulls/{found.number}",
            "head": {"ref": found.head_ref, "sha": found.head_sha, "repo": at},
            "base": {"ref": found.base_ref, "sha": found.base_sha, "repo": at},
        }
    ]


def comment(filled: Comment, home: Repository, template: Json) -> Json:
    page = f"{WEB}/{home.full_name}/issues/{filled.number}"
    return {
        **template,
        "id": filled.id,
        "body": filled.body,
        "user": user(filled.author),
        "html_url": f"{page}#issuecomment-{filled.id}",
        "created_at": text_of(filled.created_at),
        "updated_at": text_of(filled.updated_at),
    }


def issue(filled: Issue | Pull, home: Repository, template: Json) -> Json:
    """As lists and webhooks show it: without `closed_by`."""
    kind = "pull" if isinstance(filled, Pull) else "issues"
    place = f"{home.full_name}/{kind}/{filled.number}"
    found = {
        **template,
        "number": filled.number,
        "title": filled.title,
        "body": filled.body,
        "state": filled.state,
        "user": user(filled.author) if filled.author else None,
        "html_url": f"{WEB}/{place}",
        "created_at": text_of(filled.created_at),
        "closed_at": None if filled.state == "open" else text_of(filled.created_at),
    }
    for key in ("pull_request", "closed_by", "pinned_comment"):
        found.pop(key, None)
    if isinstance(filled, Issue):
        assignees = [user(account) for account in filled.assignees]
        found |= {
            "labels": [label(name) for name in filled.labels],
            "assignees": assignees,
            "assignee": assignees[0] if assignees else None,
            "state_reason": filled.state_reason,
        }
    else:
        found["pull_request"] = {
            "url": f"https://api.github.com/repos/{home.full_name}/pulls/{filled.number}",
            "html_url": f"{WEB}/{place}",
            "diff_url": f"{WEB}/{place}.diff",
            "patch_url": f"{WEB}/{place}.patch",
            "merged_at": None,
        }
    return found


def whole_issue(filled: Issue | Pull, home: Repository) -> Json:
    """As it is shown by itself."""
    closed_by = filled.closed_by if isinstance(filled, Issue) else None
    found = issue(filled, home, example("issues/get"))
    return {**found, "closed_by": user(closed_by) if closed_by else None}


def label(name: str) -> Json:
    """Of those that come to be by being used."""
    place = f"https://api.github.com/repos/octocat/Hello-World/labels/{quote(name)}"
    return {
        "id": 208_045_946,
        "node_id": "MDU6TGFiZWwyMDgwNDU5NDY=",
        "url": place,
        "name": name,
        "description": None,
        "color": "ededed",
        "default": False,
    }


def commit(sha: str, author: Account | None) -> Json:
    """`author` None: no account has the e-mail that stands in the commit."""
    found = example("repos/get-commit")
    place = "https://api.github.com/repos/octocat/Hello-World/contents"
    # The published files lack what the published schema requires of them.
    files = [
        {**each, "sha": found["sha"], "contents_url": f"{place}/{each['filename']}"}
        for each in found["files"]
    ]
    return {**found, "sha": sha, "author": user(author) if author else None, "files": files}


def dispatched(filled: Run, home: Repository) -> Json:
    return {
        "workflow_run_id": filled.id,
        "run_url": f"https://api.github.com/repos/{home.full_name}/actions/runs/{filled.id}",
        "html_url": f"{WEB}/{home.full_name}/actions/runs/{filled.id}",
    }


def status(filled: Status) -> Json:
    return {
        **example("repos/create-commit-status"),
        "id": filled.id,
        "context": filled.context,
        "state": filled.state,
        "description": filled.description,
        "target_url": filled.url,
        "creator": user(filled.creator),
        "created_at": text_of(filled.created_at),
        "updated_at": text_of(filled.created_at),
    }


def artifact(filled: Artifact, owner: Run, url: str) -> Json:
    found = copy.deepcopy(example("actions/list-workflow-run-artifacts")["artifacts"][0])
    return {
        **found,
        "id": filled.id,
        "name": filled.name,
        "size_in_bytes": len(filled.data),
        "expired": filled.expired,
        "archive_download_url": f"{url}/actions/artifacts/{filled.id}/zip",
        "created_at": text_of(filled.created_at),
        "updated_at": text_of(filled.created_at),
        "workflow_run": {
            **found["workflow_run"],
            "id": owner.id,
            "head_sha": owner.head_sha,
            "head_branch": owner.head_branch,
        },
    }


def reaction(account: Account, content: str, number: int) -> Json:
    found = example("reactions/create-for-issue-comment")
    return {**found, "id": number, "user": user(account), "content": content}


def check(filled: Check) -> Json:
    found = example("checks/create")
    return {
        **found,
        "id": filled.id,
        "head_sha": filled.sha,
        "name": filled.name,
        "conclusion": filled.conclusion,
        "output": {
            **found["output"],
            "title": filled.title,
            "summary": filled.summary,
            "annotations_count": len(filled.annotations),
        },
    }


def comparison(filled: Compared, base: str, head: str, most_files: int) -> Json:
    found = example("repos/compare-commits-with-basehead")
    kind = {(True, False): "ahead", (False, True): "behind", (True, True): "diverged"}
    return {
        **found,
        "base_commit": {**found["base_commit"], "sha": base},
        "merge_base_commit": {**found["merge_base_commit"], "sha": filled.merge_base},
        "status": kind.get((filled.ahead > 0, filled.behind > 0), "identical"),
        "ahead_by": filled.ahead,
        "behind_by": filled.behind,
        "total_commits": filled.ahead,
        "files": [_file(item, found["files"][0], head) for item in filled.files[:most_files]],
    }


def _file(filled: ComparedFile, template: Json, head: str) -> Json:
    found = {
        **template,
        "sha": head,
        "filename": filled.path,
        "status": filled.status,
        "additions": filled.additions,
        "deletions": filled.deletions,
        "changes": filled.additions + filled.deletions,
        "patch": filled.patch,
        "previous_filename": filled.previous_path,
    }
    return {key: value for key, value in found.items() if value is not None}


def payload(event: str, action: str | None, home: Repository, sender: Account) -> Json:
    """A published payload with our repository and sender; its subject is the caller's to fill.

    Published are no `pull_request.edited` and no `workflow_run.in_progress`: the former is
    `opened` plus `changes`, the latter `requested`, as their documentation describes them.
    """
    stem = {"edited": "opened", "in_progress": "requested"}.get(action or "", action)
    published = payload_examples(event)
    fitting = [item for item in published if item.get("action") == action] or [
        item for item in published if item.get("action") == stem
    ]
    # The largest is the newest: earlier ones lack keys that GitHub sends today.
    found = copy.deepcopy(max(fitting, key=lambda item: len(json.dumps(item))))
    found["repository"] = repository(home, found["repository"])
    found["sender"] = user(sender)
    for key in ("organization", "installation", "enterprise"):
        found.pop(key, None)
    return cast(Json, {**found, "action": action} if action else found)


def merge_group(filled: MergeGroup, template: Json) -> Json:
    return {
        **template,
        "head_sha": filled.head_sha,
        "head_ref": filled.head_ref,
        "base_sha": filled.base_sha,
        "base_ref": f"refs/heads/{filled.base_ref}",
    }
