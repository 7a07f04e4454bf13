"""What our workflows must keep to beyond what public linters ask: one function a rule.

T0 runs a pull request's code: no secret, no right to write, no cache. T1 decides and publishes: it
checks out nothing of a pull request. Refuses to guess: a file that is no workflow and no action is
an error, and a rule reads the parsed file wherever the text could lie.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from shell_words import unquoted_variables

#: Triggers whose jobs run with the pull request's copy of the workflow, or measure its code.
T0 = {"pull_request", "merge_group"}
#: Triggers that run the default branch's code with rights, because of what others did.
T1 = {"pull_request_target", "workflow_run", "issue_comment", "schedule"}
BOT = re.compile(r"[\w.-]+/ailab-bot@")
_PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
_USES = re.compile(r"^\s*(?:-\s+)?uses:\s*(\S+)(?:\s+#\s*(\S+))?\s*$")
_VERSION = re.compile(r"^v\d+(\.\d+)*$")


@dataclass(frozen=True)
class Finding:
    rule: str
    where: str
    said: str


@dataclass(frozen=True)
class File:
    """A workflow or an action: `text` as it lies there, `data` with every scalar as a string."""

    name: str
    text: str
    data: dict[str, Any]

    @property
    def triggers(self) -> set[str]:
        on = self.data.get("on", {})
        return {on} if isinstance(on, str) else set(on)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        return dict(self.data.get("jobs", {}))

    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each step with the name of its job; an action's with an empty name."""
        for job, body in self.jobs.items():
            for step in body.get("steps", ()):
                yield job, step
        for step in self.data.get("runs", {}).get("steps", ()):
            yield "", step


def read(path: Path) -> File:
    """ValueError for a file that is neither a workflow nor an action."""
    text = path.read_text(encoding="utf-8")
    # BaseLoader: scalars stay strings, so that `on` is no boolean and `false` can be told from "".
    data = yaml.load(text, Loader=yaml.BaseLoader)
    if not isinstance(data, dict) or not ({"jobs", "runs"} & set(data)):
        raise ValueError(f"{path} is no workflow and no action")
    return File(path.name, text, data)


def expression_in_run(file: File) -> Iterator[str]:
    for _, step in file.steps():
        if "${{" in step.get("run", ""):
            yield f"`{step['run'].strip().splitlines()[0]}` … holds an expression; use `env:`"


def unpinned_uses(file: File) -> Iterator[str]:
    for line in file.text.splitlines():
        if re.match(r"^\s*(-\s+)?uses:", line):
            match = _USES.match(line)
            if not match or not _PINNED.match(match[1]) or not _VERSION.match(match[2] or ""):
                yield f"`{line.strip()}` names no full commit with its version behind"
    in_lines = sum(1 for line in file.text.splitlines() if _USES.match(line))
    if in_lines != sum(1 for _, step in file.steps() if "uses" in step):
        yield "a `uses` is written in a way that is not checked: one a line, unquoted"


def permissions_on_top(file: File) -> Iterator[str]:
    if file.jobs and file.data.get("permissions") != {}:
        yield "`permissions: {}` is missing at the top"
    for name, job in file.jobs.items():
        if not isinstance(job.get("permissions"), dict):
            yield f"job {name} does not list its permissions"


def no_timeout(file: File) -> Iterator[str]:
    for name, job in file.jobs.items():
        if "timeout-minutes" not in job:
            yield f"job {name} may run for six hours"


def persisted_credentials(file: File) -> Iterator[str]:
    for _, step in _checkouts(file):
        if step.get("with", {}).get("persist-credentials") != "false":
            yield "a checkout leaves its token in .git/config"


def secret_in_t0(file: File) -> Iterator[str]:
    if not file.triggers & T0:
        return
    if re.search(r"\bsecrets\b\s*[.\[:]", _without_comments(file.text)):
        yield "a pull request's copy of this file could use the secret"
    for name, job in file.jobs.items():
        if "environment" in job:
            yield f"job {name} has an environment, whose secrets a pull request's code could use"


def write_in_t0(file: File) -> Iterator[str]:
    if file.triggers & T0:
        for name, job in file.jobs.items():
            rights = job.get("permissions") or {}
            granted = rights.values() if isinstance(rights, dict) else [str(rights)]
            if any("write" in right for right in granted):
                yield f"job {name} may write"


def cache_in_t0(file: File) -> Iterator[str]:
    if file.triggers & T0:
        for job, step in file.steps():
            options = step.get("with", {})
            if step.get("uses", "").startswith("actions/cache") or "cache" in options:
                yield f"job {job} fills a cache that trusted runs may read"


def token_beside_measured_code(file: File) -> Iterator[str]:
    """A job that measures names no token and no secret; nor does an action's step that measures."""
    for name, job in file.jobs.items():
        if any(_measures(step) for step in job.get("steps", ())):
            said = yaml.dump(job)
            if re.search(r"github\.token|GITHUB_TOKEN|github-token|secrets\b|environment:", said):
                yield f"job {name} measures and names a token, a secret or an environment"
    for _, step in file.steps():
        measures = re.search(r"ailab_bot (measure|search)\b(?!-)", step.get("run", ""))
        if measures and "token" in yaml.dump(step).lower():
            yield "the step that measures names a token"


def pull_request_ref_in_t1(file: File) -> Iterator[str]:
    if not file.triggers & T1:
        return
    for job, step in _checkouts(file):
        if {"ref", "repository", "allow-unsafe-pr-checkout"} & set(step.get("with", {})):
            yield f"job {job} checks out something else than the default branch"
    for job, step in file.steps():
        if re.search(r"gh pr checkout|git (fetch|checkout|pull|clone|switch)", step.get("run", "")):
            yield f"job {job} fetches with git; the bot fetches what it needs, checked"


def unquoted_event_text(file: File) -> Iterator[str]:
    """Variables that a step's `env` fills are quoted wherever its shell uses them."""
    for _, step in file.steps():
        loose = set(step.get("env", {})) & unquoted_variables(step.get("run", ""))
        for name in sorted(loose):
            yield f"${name} is not in double quotes"


def shared_group(file: File) -> Iterator[str]:
    """A group of several T1 runs drops the ones that wait; T0 needs one that ends older pushes."""
    if not file.jobs:
        return
    group = file.data.get("concurrency", {})
    said = group.get("group", "") if isinstance(group, dict) else str(group)
    if not said:
        yield "no `concurrency`: superseded runs go on"
    elif file.triggers & T1 and not file.triggers & {"push"}:
        if "github.run_id" not in said or "github.run_attempt" not in said:
            yield "runs share a group, so one that waits can be dropped"
        if group.get("cancel-in-progress") != "false":
            yield "a run may be cancelled before its status is final"


RULES: dict[str, Callable[[File], Iterator[str]]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        expression_in_run,
        unpinned_uses,
        permissions_on_top,
        no_timeout,
        persisted_credentials,
        secret_in_t0,
        write_in_t0,
        cache_in_t0,
        token_beside_measured_code,
        pull_request_ref_in_t1,
        unquoted_event_text,
        shared_group,
    )
}


def lint(file: File) -> list[Finding]:
    return [Finding(name, file.name, said) for name, rule in RULES.items() for said in rule(file)]


def _checkouts(file: File) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, step in file.steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            yield job, step


def _measures(step: dict[str, Any]) -> bool:
    is_bot = BOT.match(step.get("uses", "")) is not None
    return is_bot and step.get("with", {}).get("command") in {"measure", "search"}


def _without_comments(text: str) -> str:
    return re.sub(r"(^|\s)#.*", "", text)
