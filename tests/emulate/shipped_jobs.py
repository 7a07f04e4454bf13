"""Which job of the shipped workflows answers an event, and what its token may do."""

from __future__ import annotations

from pathlib import Path

import yaml
from hub.state import Event

WORKFLOWS = Path(__file__).parents[2] / "examples"
#: Event -> the shipped workflow and its job that answers it.
JOBS = {
    ("pull_request", None): ("ailab-measure.yml", "plan"),
    ("workflow_run", "in_progress"): ("ailab-report.yml", "gate"),
    ("workflow_run", "completed"): ("ailab-report.yml", "publish"),
    ("issue_comment", "created"): ("ailab-command.yml", "command"),
    ("schedule", None): ("ailab-sweep.yml", "sweep"),
}


def job_of(event: Event) -> str:
    """KeyError for an event that starts no job of ours."""
    action = None if event.name == "pull_request" else event.action
    return JOBS[event.name, action][1]


def permissions_of_jobs() -> dict[str, dict[str, str]]:
    """Job -> its `permissions` in the shipped workflow."""
    found = {}
    for file, job in JOBS.values():
        workflow = yaml.safe_load((WORKFLOWS / file).read_text(encoding="utf-8"))
        found[job] = dict(workflow["jobs"][job]["permissions"])
    return found
