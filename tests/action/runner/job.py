"""One job: what it is before it starts (rights, runner, matrix, limits), and its run as a whole.

Refuses to start what GitHub would not: the error becomes the result of the job, in GitHub's words.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .draft import Scope
from .errors import ExpressionError
from .event import Event
from .jobstate import CrashedError, JobState
from .matrix import combinations, display_name
from .permissions import token_rights
from .results import Annotation, JobResult, Outcome
from .settings import Fault, Settings
from .steps import run_steps

#: Where a job says nothing.
_USUAL_TIMEOUT_MINUTES = 360.0
#: All outputs of one job together.
_MOST_OUTPUT_BYTES = 1024 * 1024


@dataclass
class Planned:
    """A job that is to run. The last fields are the run's, which knows of the other jobs."""

    settings: Settings
    tree: Mapping[str, Any]
    id: str
    key: str
    name: str
    contexts: Mapping[str, Any]
    permissions: Mapping[str, str]
    runs_on: tuple[str, ...]
    timeout_minutes: float
    group: tuple[str, bool]
    matrix: Mapping[str, Any] | None
    fail_fast: bool
    cancelled: threading.Event = field(default_factory=threading.Event)
    faults: tuple[Fault, ...] = ()
    folder: Path = Path()
    artifacts: dict[str, bytes] = field(default_factory=dict)
    on_cancel: Callable[[], None] = lambda: None

    @property
    def job(self) -> Mapping[str, Any]:
        job: Mapping[str, Any] = self.tree["jobs"][self.id]
        return job


def plan_job(
    settings: Settings,
    tree: Mapping[str, Any],
    job_id: str,
    contexts: Mapping[str, Any],
    *,
    event: Event,
) -> list[Planned]:
    """The job once, or once for each combination of its matrix. WorkflowError, ExpressionError."""
    job = tree["jobs"][job_id]
    language = settings.language
    strategy = language.value(job.get("strategy"), contexts) or {}
    matrix = combinations(strategy["matrix"]) if "matrix" in strategy else [None]
    fail_fast = strategy.get("fail-fast", True)
    planned = []
    for index, combination in enumerate(matrix):
        known = {
            **contexts,
            "matrix": combination,
            "strategy": {
                "fail-fast": fail_fast,
                "job-index": index,
                "job-total": len(matrix),
                "max-parallel": strategy.get("max-parallel", len(matrix)),
            },
        }
        group = concurrency(settings, job.get("concurrency"), known)
        usual = job_id if combination is None else display_name(job_id, combination)
        planned.append(
            Planned(
                settings,
                tree,
                id=job_id,
                key=job_id if combination is None else f"{job_id}/{index}",
                name=language.text(job.get("name"), known) or usual,
                contexts=known,
                permissions=token_rights(
                    tree.get("permissions"),
                    job.get("permissions"),
                    settings.site.default_permissions,
                    from_fork=event.from_fork,
                ),
                runs_on=_labels(language.value(job.get("runs-on"), known)),
                timeout_minutes=_minutes(language.value(job.get("timeout-minutes"), known)),
                group=group,
                matrix=combination,
                fail_fast=bool(fail_fast) and combination is not None,
            )
        )
    return planned


def concurrency(settings: Settings, written: Any, contexts: Mapping[str, Any]) -> tuple[str, bool]:
    """The group and whether a newer run cancels; an empty group where none is written."""
    if written is None:
        return "", False
    value = settings.language.value(written, contexts)
    if isinstance(value, str):
        return value, False
    return str(value["group"]), bool(value.get("cancel-in-progress", False))


def _labels(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        group = (f"group: {value['group']}",) if "group" in value else ()
        return group + _labels(value.get("labels", []))
    labels = (value,) if isinstance(value, str) else tuple(value or ())
    if not labels and not isinstance(value, list | tuple):
        raise ExpressionError(f"Unexpected value '{value}' for runs-on")
    return labels


def _minutes(value: Any) -> float:
    if value is None:
        return _USUAL_TIMEOUT_MINUTES
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ExpressionError(f"Unexpected value '{value}' for timeout-minutes") from error


def run_job(planned: Planned) -> JobResult:
    """The job from its first step to its last, whatever happens to it on the way."""
    started = time.monotonic()
    if planned.cancelled.is_set():
        return _result(planned, "cancelled", started, error="cancelled before it started")
    language = planned.settings.language
    token = planned.settings.token_for(planned.permissions)
    job = JobState(
        planned.settings,
        planned.key,
        planned.folder,
        github={**planned.contexts["github"], "job": planned.id},
        inputs=planned.contexts["inputs"],
        needs=planned.contexts["needs"],
        matrix=planned.matrix,
        strategy=planned.contexts["strategy"],
        token=token,
        permissions=planned.permissions,
        artifacts=planned.artifacts,
        faults=planned.faults,
        cancelled=planned.cancelled,
        on_cancel=planned.on_cancel,
    )
    job.ends_at = started + min(planned.timeout_minutes * 60, planned.settings.limit_s)
    outputs: dict[str, str] = {}
    lost, error = False, ""
    try:
        known = job.contexts(env={})
        job.env.update(language.texts(planned.tree.get("env"), known))
        job.env.update(language.texts(planned.job.get("env"), {**known, "env": job.env}))
        for level in (planned.tree, planned.job):
            written = (level.get("defaults") or {}).get("run")
            job.defaults = {**job.defaults, **language.texts(written, job.contexts())}
        scope = Scope()
        run_steps(job, scope, planned.job["steps"])
        job.notice_cancellation()
        final = job.contexts(steps=scope.steps)
        outputs = _outputs(job, language.texts(planned.job.get("outputs"), final))
    except CrashedError as crash:
        lost, error = True, "The runner has lost communication with the server"
        if crash.partial is not None:
            job.finished.append(crash.partial)
    except ExpressionError as wrong:
        job.status, error = "failure", str(wrong)
    finally:
        job.end()
    conclusion: Outcome = "failure" if lost else job.status
    return _result(planned, conclusion, started, error=error, job=job, outputs=outputs)


def _outputs(job: JobState, outputs: Mapping[str, str]) -> dict[str, str]:
    """What other jobs get to see: nothing empty, and nothing that holds the token."""
    kept = {name: text for name, text in outputs.items() if text and job.token not in text}
    for name in outputs.keys() - kept.keys():
        if outputs[name]:
            message = f"Skip output '{name}' since it may contain secret."
            job.annotations.append(Annotation("warning", message))
    if sum(len(text.encode()) for text in kept.values()) > _MOST_OUTPUT_BYTES:
        raise ExpressionError("The job's outputs are larger than 1 MB together")
    return kept


def _result(
    planned: Planned,
    conclusion: Outcome,
    started: float,
    *,
    error: str = "",
    job: JobState | None = None,
    outputs: Mapping[str, str] | None = None,
) -> JobResult:
    steps = tuple(job.finished) if job else ()
    own = tuple(job.annotations) if job else ()
    return JobResult(
        planned.key,
        planned.id,
        conclusion,
        name=planned.name,
        outputs=outputs or {},
        steps=steps,
        permissions=planned.permissions,
        runs_on=planned.runs_on,
        timeout_minutes=planned.timeout_minutes,
        group=planned.group[0],
        cancel_in_progress=planned.group[1],
        matrix=planned.matrix,
        seconds=time.monotonic() - started,
        error=error,
        annotations=(*own, *(note for step in steps for note in step.annotations)),
    )
