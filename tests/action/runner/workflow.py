"""Runs a workflow file for an event: which jobs, in which order, and what came out.

The language is GitHub's own (`language`), a single job is `job`'s. Refuses keys of a job that it
does not act on, because a test that passes over them would pass for the wrong reason.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ExpressionError, UnsupportedError, WorkflowError
from .event import Event, dispatch_inputs, starts
from .job import Planned, concurrency, plan_job, run_job
from .results import JobResult, Outcome, RunResult
from .settings import Fault, Settings

_JOB_KEYS = frozenset(
    {
        "name",
        "needs",
        "if",
        "permissions",
        "runs-on",
        "env",
        "defaults",
        "outputs",
        "strategy",
        "steps",
        "timeout-minutes",
        "concurrency",
    }
)
#: What a job, or a run, with several results counts as: the first of these that is among them.
_WORST_FIRST: tuple[Outcome, ...] = ("failure", "cancelled", "success")


class Runner:
    """Starts workflows on events; see the package for how it is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def start(
        self,
        path: Path,
        event: Event,
        *,
        run_id: int,
        attempt: int = 1,
        faults: Sequence[Fault] = (),
        previous: RunResult | None = None,
    ) -> RunResult | None:
        """The finished run, or None where the workflow does not start on the event.

        `previous`: the attempt whose failed and cancelled jobs run again, and those that need them;
        the results and outputs of the others, and all artifacts, are taken over.
        WorkflowError where GitHub refuses the file.
        """
        tree = self.settings.language.workflow(path)
        if not starts(tree["on"], event):
            return None
        for job_id, job in tree["jobs"].items():
            if unknown := set(job) - _JOB_KEYS:
                raise UnsupportedError(f"This runner does not act on {sorted(unknown)} of {job_id}")
        return _Run(
            self.settings, path, tree, event, run_id, attempt, tuple(faults), previous
        ).finish()


@dataclass
class _Run:
    settings: Settings
    path: Path
    tree: Mapping[str, Any]
    event: Event
    run_id: int
    attempt: int
    faults: tuple[Fault, ...]
    previous: RunResult | None
    jobs: dict[str, dict[str, JobResult]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    live: list[Planned] = field(default_factory=list)

    def finish(self) -> RunResult:
        contexts = self._contexts()
        group, cancels = concurrency(self.settings, self.tree.get("concurrency"), contexts)
        all_jobs: Mapping[str, Any] = self.tree["jobs"]
        kept = _kept(self.previous, all_jobs)
        waiting = list(all_jobs)
        with ThreadPoolExecutor(max(1, self.settings.parallel)) as pool:
            running: dict[Future[JobResult], Planned] = {}
            while waiting or running:
                ready = [
                    name for name in waiting if set(_needs(all_jobs[name])) <= set(self._done())
                ]
                for job_id in ready:
                    waiting.remove(job_id)
                    for planned in self._expand(job_id, contexts, kept.get(job_id)):
                        running[pool.submit(run_job, planned)] = planned
                if ready:
                    continue  # what is skipped may have made others ready
                if not running:
                    raise WorkflowError(f"No job can start: {waiting} need each other")
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._keep(running.pop(future), future.result())
        results = tuple(result for job_id in all_jobs for result in self.jobs[job_id].values())
        return RunResult(
            workflow=contexts["github"]["workflow"],
            path=str(self.path),
            event=self.event.name,
            run_id=self.run_id,
            attempt=self.attempt,
            conclusion=_together(results),
            jobs=results,
            group=group,
            cancel_in_progress=cancels,
            artifacts={**(self.previous.artifacts if self.previous else {}), **self.artifacts},
        )

    def _done(self) -> list[str]:
        open_ids = {planned.id for planned in self.live}
        return [job_id for job_id in self.jobs if job_id not in open_ids]

    def _keep(self, planned: Planned, result: JobResult) -> None:
        self.jobs[planned.id][planned.key] = result
        self.live.remove(planned)
        if result.conclusion == "failure" and planned.fail_fast:
            for other in self.live:
                if other.id == planned.id:
                    other.cancelled.set()

    def _expand(
        self, job_id: str, contexts: Mapping[str, Any], kept: Mapping[str, JobResult] | None
    ) -> list[Planned]:
        """The jobs to run for one id; what needs no running is in `jobs` when this returns."""
        job = self.tree["jobs"][job_id]
        self.jobs[job_id] = {}
        known = {**contexts, "needs": self._needs_context(job)}
        try:
            if not self.settings.language.holds(job["if"], known, self._status(job_id)):
                self.jobs[job_id][job_id] = JobResult(job_id, job_id, "skipped", name=job_id)
                return []
            planned = plan_job(self.settings, self.tree, job_id, known, event=self.event)
        except (ExpressionError, WorkflowError) as error:
            self.jobs[job_id][job_id] = JobResult(
                job_id, job_id, "failure", name=job_id, error=str(error)
            )
            return []
        for one in planned:
            # The place in the matrix is taken at once, so that results come in its order.
            self.jobs[job_id][one.key] = JobResult(one.key, job_id, "cancelled")
            one.artifacts, one.on_cancel = self.artifacts, self._cancel
            one.faults = tuple(fault for fault in self.faults if fault.job == one.key)
            one.folder = self.settings.folder / str(self.run_id) / str(self.attempt) / one.key
        again = [one for one in planned if one.key not in (kept or {})]
        self.jobs[job_id].update(
            {one.key: kept[one.key] for one in planned if kept and one.key in kept}
        )
        self.live += again
        return again

    def _cancel(self) -> None:
        """As the button does, or a newer run of the same group: every job of the run is told."""
        self.cancelled.set()
        for planned in list(self.live):
            planned.cancelled.set()

    def _status(self, job_id: str) -> dict[str, bool]:
        """What the status functions of a job's condition say: they ask about all its ancestors."""
        results = [self._result(other) for other in _ancestors(self.tree["jobs"], job_id)]
        cancelled = self.cancelled.is_set()
        return {
            "success": not cancelled and all(result == "success" for result in results),
            "failure": not cancelled and "failure" in results,
            "cancelled": cancelled,
            "always": True,
        }

    def _result(self, job_id: str) -> Outcome:
        return _together(tuple(self.jobs[job_id].values()))

    def _needs_context(self, job: Mapping[str, Any]) -> dict[str, Any]:
        # Of a matrix, the last job with an output of that name that is not empty gives it.
        return {
            need: {
                "result": self._result(need),
                "outputs": {
                    name: value
                    for result in self.jobs[need].values()
                    for name, value in result.outputs.items()
                },
            }
            for need in _needs(job)
        }

    def _contexts(self) -> dict[str, Any]:
        """What is known before any job is."""
        site, event = self.settings.site, self.event
        kind = "tag" if event.ref.startswith("refs/tags/") else "branch"
        name = event.ref.removeprefix("refs/").removeprefix("heads/").removeprefix("tags/")
        workflow_path = f".github/workflows/{self.path.name}"
        github = {
            "event_name": event.name,
            "event": event.payload,
            "repository": site.repository,
            "repository_id": str(site.repository_id),
            "repository_owner": site.repository.split("/")[0],
            "repository_owner_id": str(site.owner_id),
            "repositoryUrl": f"git://{site.server_url.split('//')[1]}/{site.repository}.git",
            "ref": event.ref,
            "ref_name": name.removeprefix("pull/"),
            "ref_type": kind,
            "ref_protected": False,
            "sha": event.sha,
            "head_ref": event.head_ref,
            "base_ref": event.base_ref,
            "run_id": str(self.run_id),
            "run_number": str(self.run_id),
            "run_attempt": str(self.attempt),
            "retention_days": "90",
            "actor": event.actor,
            "actor_id": str((event.payload.get("sender") or {}).get("id", 1)),
            "triggering_actor": event.actor,
            "workflow": self.tree.get("name") or workflow_path,
            "workflow_ref": f"{site.repository}/{workflow_path}@{event.ref}",
            "workflow_sha": event.sha,
            "server_url": site.server_url,
            "api_url": site.api_url,
            "graphql_url": f"{site.api_url}/graphql",
        }
        inputs = dispatch_inputs(self.tree["on"], event)
        return {"github": github, "inputs": inputs, "vars": dict(site.variables)}


def _needs(job: Mapping[str, Any]) -> Sequence[str]:
    needs = job.get("needs") or []
    return [needs] if isinstance(needs, str) else needs


def _ancestors(jobs: Mapping[str, Any], job_id: str) -> Iterator[str]:
    for need in _needs(jobs[job_id]):
        yield need
        yield from _ancestors(jobs, need)


def _together(results: Sequence[JobResult]) -> Outcome:
    """The result of a matrix or of a run: skipped only where nothing else is among them."""
    found = {result.conclusion for result in results}
    return next((outcome for outcome in _WORST_FIRST if outcome in found), "skipped")


def _failed(previous: RunResult | None, job_id: str) -> bool:
    return previous is not None and any(
        job.conclusion in ("failure", "cancelled") for job in previous.of(job_id)
    )


def _kept(previous: RunResult | None, jobs: Mapping[str, Any]) -> dict[str, dict[str, JobResult]]:
    """Of an earlier attempt, the results that a re-run of the failed jobs leaves as they are."""
    if previous is None:
        return {}
    return {
        job_id: {
            job.key: job
            for job in previous.of(job_id)
            if job.conclusion not in ("failure", "cancelled")
        }
        for job_id in jobs
        if not any(_failed(previous, other) for other in _ancestors(jobs, job_id))
    }
