"""Take out of GitHub's published description and payloads what our tests use. Run by hand.

    npm pack @octokit/openapi@23.0.2 @octokit/webhooks-examples@7.6.1     (and unpack both)
    python tests/github/extract.py FOLDER_OF_OPENAPI FOLDER_OF_WEBHOOKS_EXAMPLES

Both packages are under the MIT licence; the version is recorded in what is written. Prose is left
out; schemas, limits and examples stay as they were published. Equal input gives equal bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

DATA = Path(__file__).parent / "data"
ROOT = "/repos/{owner}/{repo}"
#: The operations that our client may use; another one is a request "not in the description".
OPERATIONS = (
    ("get", "/pulls/{pull_number}"),
    ("get", "/pulls"),
    ("get", "/commits/{commit_sha}/pulls"),
    ("get", "/actions/runs/{run_id}"),
    ("get", "/actions/workflows/{workflow_id}/runs"),
    ("post", "/actions/runs/{run_id}/rerun"),
    ("post", "/actions/runs/{run_id}/rerun-failed-jobs"),
    ("post", "/actions/runs/{run_id}/cancel"),
    ("get", "/actions/runs/{run_id}/artifacts"),
    ("get", "/actions/artifacts/{artifact_id}/{archive_format}"),
    ("get", "/compare/{basehead}"),
    ("get", "/commits/{ref}/statuses"),
    ("post", "/statuses/{sha}"),
    ("get", "/issues/{issue_number}/comments"),
    ("post", "/issues/{issue_number}/comments"),
    ("patch", "/issues/comments/{comment_id}"),
    ("post", "/issues/comments/{comment_id}/reactions"),
    ("get", "/issues"),
    ("post", "/issues"),
    ("get", "/issues/{issue_number}"),
    ("patch", "/issues/{issue_number}"),
    ("get", "/assignees/{assignee}"),
    ("get", "/commits/{ref}"),
    ("post", "/actions/workflows/{workflow_id}/dispatches"),
    ("get", "/collaborators/{username}/permission"),
    ("post", "/check-runs"),
)
#: Event -> its actions that our workflows start on, and those that tell how it ended.
EVENTS = {
    "pull_request": {"opened", "synchronize", "edited", "reopened", "closed"},
    "merge_group": {"checks_requested"},
    "workflow_run": {"requested", "in_progress", "completed"},
    "issue_comment": {"created", "edited"},
    "push": {None},
}
PROSE = {"description", "summary", "externalDocs", "tags"}


def main(openapi: Path, webhooks: Path) -> None:
    write("openapi.json.gz", description(openapi))
    write("events.json.gz", events(webhooks))


def write(name: str, value: object) -> None:
    text = json.dumps(value, indent=0, sort_keys=True, ensure_ascii=False)
    (DATA / name).write_bytes(gzip.compress(text.encode(), mtime=0))


def source(package: Path) -> dict[str, str]:
    about = json.loads((package / "package.json").read_text("utf-8"))
    return {"package": about["name"], "version": about["version"], "license": about["license"]}


def description(package: Path) -> object:
    whole = json.loads((package / "generated" / "api.github.com.json").read_text("utf-8"))
    paths: dict[str, dict[str, object]] = {}
    for verb, path in OPERATIONS:
        paths.setdefault(ROOT + path, {})[verb] = whole["paths"][ROOT + path][verb]
    found = {"source": source(package), "openapi": whole["openapi"], "paths": paths}
    wanted, done = references(paths), set[str]()
    while wanted - done:
        reference = min(wanted - done)
        done.add(reference)
        _, components, kind, name = reference.split("/")
        part = whole[components][kind][name]
        found.setdefault(components, {}).setdefault(kind, {})[name] = part
        wanted |= references(part)
    return without_prose(found)


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


def without_prose(value: object, *, named: bool = False) -> object:
    """`named`: the keys are names that the API chose, so `description` is one of them."""
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item
        if key in {"example", "examples", "value", "default", "enum", "required"} and not named
        else without_prose(item, named=key in {"properties", "examples", "schemas", "parameters"})
        for key, item in value.items()
        if named or not (key.startswith("x-") or key in PROSE)
    }


def events(package: Path) -> object:
    published = json.loads((package / "api.github.com" / "index.json").read_text("utf-8"))
    examples = {
        entry["name"]: [
            example
            for example in entry["examples"]
            if example.get("action") in EVENTS[entry["name"]]
        ]
        for entry in published
        if entry["name"] in EVENTS
    }
    return {"source": source(package), "examples": examples}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
