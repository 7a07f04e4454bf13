"""One job while it runs: its folders, what its steps have set, and how it is to end.

Builds the contexts and the environment of a step from nothing; refuses to read the caller's.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .process import TRACKING, Stop, end_orphans
from .results import Annotation, Outcome, StepResult
from .settings import Fault, Settings, place

#: Of the github context, what the runner puts into the environment as GITHUB_*. Never the token.
_EXPORTED = (
    "actor",
    "actor_id",
    "api_url",
    "base_ref",
    "event_name",
    "event_path",
    "graphql_url",
    "head_ref",
    "job",
    "ref",
    "ref_name",
    "ref_protected",
    "ref_type",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "retention_days",
    "run_attempt",
    "run_id",
    "run_number",
    "server_url",
    "sha",
    "triggering_actor",
    "workflow",
    "workflow_ref",
    "workflow_sha",
    "workspace",
    "action",
    "action_path",
    "action_ref",
    "action_repository",
)


class CrashedError(Exception):
    """The machine of the job is gone. `partial`: what the step that ran had brought until then."""

    def __init__(self, partial: StepResult | None = None) -> None:
        super().__init__("the runner is lost")
        self.partial = partial


@dataclass
class JobState:
    """`github`, `needs` and so on: contexts. `env`: workflow's and job's, then GITHUB_ENV's."""

    settings: Settings
    key: str
    folder: Path
    github: dict[str, Any]
    inputs: Mapping[str, Any]
    needs: Mapping[str, Any]
    matrix: Mapping[str, Any] | None
    strategy: Mapping[str, Any]
    token: str
    permissions: Mapping[str, str]
    artifacts: dict[str, bytes]
    faults: tuple[Fault, ...] = ()
    cancelled: threading.Event = field(default_factory=threading.Event)
    on_cancel: Callable[[], None] = lambda: None
    status: Outcome = "success"
    env: dict[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    tracking: str = field(default_factory=lambda: f"github_{uuid.uuid4()}")
    ends_at: float = float("inf")
    annotations: list[Annotation] = field(default_factory=list)
    fault_at: tuple[float, Fault] | None = None
    finished: list[StepResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = self.settings.site.repository.split("/")[1]
        self.work = self.folder / "work"
        self.workspace = self.work / name / name
        self.temp = self.work / "_temp"
        self.home = self.folder / "home"
        self.tools = self.folder / "tools"
        for folder in (self.workspace, self.temp, self.home, self.tools):
            folder.mkdir(parents=True)
        event_path = self.temp / "_github_workflow" / "event.json"
        event_path.parent.mkdir()
        event_path.write_text(json.dumps(self.github["event"], indent=2), encoding="utf-8")
        self.github = {
            **self.github,
            "token": self.token,
            "workspace": str(self.workspace),
            "event_path": str(event_path),
        }
        if self.settings.prepared is not None:
            place(self.settings.prepared, self.temp / "ailab")

    @property
    def runner(self) -> dict[str, str]:
        return {
            "os": "Linux",
            "arch": "X64",
            "name": "runner-for-tests",
            "environment": "github-hosted",
            "temp": str(self.temp),
            "tool_cache": str(self.tools),
            "workspace": str(self.work / self.workspace.name),
        }

    def contexts(self, **more: Any) -> dict[str, Any]:
        """The contexts of a job's step; `more` adds or replaces some, `env` above all."""
        return {
            "github": self.github,
            "needs": self.needs,
            "matrix": self.matrix,
            "strategy": self.strategy,
            "inputs": self.inputs,
            "vars": self.settings.site.variables,
            "secrets": {"GITHUB_TOKEN": self.token},
            "env": self.env,
            "job": {"status": self.status},
            "runner": self.runner,
            **more,
        }

    def environment(
        self, env: Mapping[str, str], github: Mapping[str, Any], files: Mapping[str, Path]
    ) -> dict[str, str]:
        """All that a step's process gets. What the runner sets cannot be set by a workflow."""
        exported = {f"GITHUB_{name.upper()}": github.get(name) for name in _EXPORTED}
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "USER": "runner",
            **self.settings.passed_on,
            **env,
            "CI": env.get("CI", "true"),
            "PATH": ":".join([*self.paths, env.get("PATH", ":".join(self.settings.path))]),
            **{name: _text(value) for name, value in exported.items() if value is not None},
            **{f"RUNNER_{name.upper()}": value for name, value in self.runner.items()},
            **{name: str(path) for name, path in files.items()},
            "GITHUB_ACTIONS": "true",
            TRACKING: self.tracking,
        }

    def meet_fault(self, *names: str) -> None:
        """Called when a step with these names begins: the faults planned for here come true."""
        for fault in self.faults:
            if fault.job != self.key or (fault.step and fault.step not in names):
                continue
            if fault.after_s is not None:
                self.fault_at = (time.monotonic() + fault.after_s, fault)
            elif fault.kind == "crash":
                raise CrashedError
            else:
                self._cancel()
            self.faults = tuple(other for other in self.faults if other is not fault)
            return

    def _cancel(self) -> None:
        self.cancelled.set()
        self.on_cancel()

    def stop(self) -> Stop | None:
        """How the process that runs now is to end, if it is."""
        if self.fault_at is not None and time.monotonic() >= self.fault_at[0]:
            kind, self.fault_at = self.fault_at[1].kind, None
            if kind == "crash":
                return "crash"
            self._cancel()
        if self.status == "cancelled":
            return None  # steps with `if: always()` run to their end
        if self.cancelled.is_set():
            return "cancel"
        return "timeout" if time.monotonic() >= self.ends_at else None

    def notice_cancellation(self) -> None:
        """Between steps: the job's status says what has been asked for meanwhile."""
        if self.cancelled.is_set():
            self.status = "cancelled"
        elif time.monotonic() >= self.ends_at and self.status != "cancelled":
            self.status = "cancelled"
            text = "The job has exceeded the maximum execution time"
            self.annotations.append(Annotation("error", text))

    def end(self) -> None:
        """Nothing that the job started outlives it."""
        end_orphans(self.tracking)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
