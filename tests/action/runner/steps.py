"""Runs a list of steps, of a job or of a composite action, with the runner's rules about failure.

Refuses actions that it does not know: with a step quietly left out, a test would say nothing.
"""

from __future__ import annotations

import re
import shlex
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import filecommands, process
from .artifacts import upload_artifact
from .checkout import checkout
from .draft import Draft, Scope
from .errors import ExpressionError, RefusedError, UnsupportedError, WorkflowError
from .jobstate import CrashedError, JobState
from .results import Outcome, StepResult

_PINNED = re.compile(
    r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(?P<folder>/[^@]+)?@(?P<ref>[0-9a-f]{40})"
)
_SHELLS = {
    "": "bash -e {0}",
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "sh": "sh -e {0}",
    "python": "python {0}",
}
_STAND_INS = {"actions/checkout": checkout, "actions/upload-artifact": upload_artifact}
#: As deep as GitHub lets composite actions use one another.
_MOST_NESTING = 10


def run_steps(job: JobState, scope: Scope, steps: Sequence[Mapping[str, Any]]) -> list[StepResult]:
    """All steps in turn. CrashedError, with what the step had brought, where the runner is lost."""
    results: list[StepResult] = []
    for step in steps:
        result = _run_step(job, scope, step)
        results.append(result)
        if not scope.action:
            job.finished.append(result)
        scope.steps[step["id"]] = {
            "outputs": dict(result.outputs),
            "outcome": result.outcome,
            "conclusion": result.conclusion,
        }
        scope.status = _worse(scope.status, result.conclusion)
        if not scope.action:
            job.status = _worse(job.status, result.conclusion)
    return results


def _worse(one: Outcome, other: Outcome) -> Outcome:
    for outcome in ("cancelled", "failure"):
        if outcome in (one, other):
            return outcome
    return "success"


def _run_step(job: JobState, scope: Scope, step: Mapping[str, Any]) -> StepResult:
    job.notice_cancellation()
    language = job.settings.language
    started = time.monotonic()
    github = {**job.github, **scope.github, "action": step["id"]}
    if scope.action:
        github["action_status"] = scope.status
    draft = Draft()
    name = str(step.get("uses") or step["id"])
    contexts = {
        **job.contexts(),
        **scope.contexts,
        "github": github,
        "steps": scope.steps,
        "env": {**job.env, **scope.env},
    }
    going_on = False
    try:
        draft.env = {**scope.env, **language.texts(step.get("env"), contexts)}
        contexts["env"] = {**job.env, **draft.env}
        if step.get("name") is not None:
            name = language.text(step["name"], contexts)
        if not language.holds(step["if"], contexts, _status(job, scope)):
            return StepResult(step["id"], name, "skipped", "skipped")
        job.meet_fault(step["id"], name)
        going_on = language.text(step.get("continue-on-error"), contexts) == "true"
        if "run" in step:
            _run_script(job, scope, step, contexts, draft)
        else:
            _use(job, scope, step, contexts, draft)
    except (ExpressionError, RefusedError) as error:
        draft.fail(str(error))
    except CrashedError as crash:
        if crash.partial is not None:
            draft.add(crash.partial)
        draft.outcome = "cancelled"
        raise CrashedError(draft.result(step["id"], name, started, going_on=False)) from crash
    return draft.result(step["id"], name, started, going_on=going_on)


def _status(job: JobState, scope: Scope) -> dict[str, bool]:
    # Inside an action, success() and failure() ask about the action's own steps.
    status = scope.status if scope.action else job.status
    return {
        "success": status == "success" and job.status != "cancelled",
        "failure": status == "failure" and job.status != "cancelled",
        "cancelled": job.status == "cancelled",
        "always": True,
    }


def _run_script(
    job: JobState, scope: Scope, step: Mapping[str, Any], contexts: dict[str, Any], draft: Draft
) -> None:
    language = job.settings.language
    defaults: Mapping[str, str] = {} if scope.action else job.defaults
    shell = language.text(step.get("shell", defaults.get("shell")), contexts)
    folder = language.text(
        step.get("working-directory", defaults.get("working-directory")), contexts
    )
    script = job.temp / f"{uuid.uuid4()}.sh"
    script.write_text(language.text(step["run"], contexts), encoding="utf-8")
    command = _SHELLS.get(shell, shell)
    if "{0}" not in command:
        raise UnsupportedError(f"This runner has no shell '{shell}'")
    files = _new_files(job)
    draft.environment = job.environment(contexts["env"], contexts["github"], files)
    argv = shlex.split(command.replace("{0}", shlex.quote(str(script))))
    limit = language.text(step.get("timeout-minutes"), contexts)
    ends_at = time.monotonic() + float(limit) * 60 if limit else float("inf")

    def stop() -> process.Stop | None:
        return job.stop() or ("timeout" if time.monotonic() >= ends_at else None)

    cwd = job.workspace / folder
    if not cwd.is_dir():
        raise RefusedError(f"An error occurred trying to start process: no such directory {cwd}")
    ended = process.run(
        argv,
        environment=draft.environment,
        folder=cwd,
        log=job.temp / f"{uuid.uuid4()}.log",
        grace=job.settings.grace,
        stop=stop,
    )
    draft.log += ended.log
    if ended.stopped == "crash":
        raise CrashedError
    _read_files(job, files, draft)
    draft.annotations += filecommands.annotations_of(ended.log)
    if ended.stopped == "timeout" and time.monotonic() >= ends_at:
        draft.fail(f"The action has timed out after {limit} minutes.")
    elif ended.stopped is not None:
        draft.outcome = "cancelled"
        job.notice_cancellation()
    elif ended.status:
        draft.fail(f"Process completed with exit code {ended.status}.")


def _new_files(job: JobState) -> dict[str, Path]:
    folder = job.temp / "_runner_file_commands"
    folder.mkdir(exist_ok=True)
    files = {name: folder / f"{stem}_{uuid.uuid4()}" for name, stem in filecommands.FILES.items()}
    for path in files.values():
        path.touch()
    return files


def _read_files(job: JobState, files: Mapping[str, Path], draft: Draft) -> None:
    try:
        draft.outputs.update(filecommands.read_pairs(files["GITHUB_OUTPUT"], "output"))
        job.env.update(filecommands.read_pairs(files["GITHUB_ENV"], "env"))
    except WorkflowError as error:
        draft.fail(str(error))
    job.paths[:0] = filecommands.read_paths(files["GITHUB_PATH"])
    draft.summary, complaints = filecommands.read_summary(files["GITHUB_STEP_SUMMARY"])
    draft.annotations += complaints


def _use(
    job: JobState, scope: Scope, step: Mapping[str, Any], contexts: dict[str, Any], draft: Draft
) -> None:
    given = job.settings.language.texts(step.get("with"), contexts)
    uses = step["uses"]
    if uses.startswith("./"):
        if scope.action:
            raise UnsupportedError(f"A local action inside an action: {uses}")
        return _use_composite(job, scope, job.workspace / uses, {}, given, contexts, draft)
    match = _PINNED.fullmatch(uses)
    if match is None:
        raise UnsupportedError(f"This runner knows actions pinned to a full SHA, not '{uses}'")
    if stand_in := _STAND_INS.get(f"{match['owner']}/{match['name']}"):
        if match["folder"]:
            raise UnsupportedError(f"This runner has nothing for '{uses}'")
        draft.outputs, log, complaints = stand_in(job, contexts, given)
        draft.log += log
        draft.annotations += complaints
        return None
    root = job.settings.actions.get(match["name"])
    if root is None:
        raise UnsupportedError(f"This runner has nothing for '{uses}'")
    about = {
        "action_path": str(root / (match["folder"] or "").lstrip("/")),
        "action_repository": f"{match['owner']}/{match['name']}",
        "action_ref": match["ref"],
    }
    return _use_composite(job, scope, Path(about["action_path"]), about, given, contexts, draft)


def _use_composite(
    job: JobState,
    scope: Scope,
    folder: Path,
    about: Mapping[str, str],
    given: Mapping[str, str],
    contexts: dict[str, Any],
    draft: Draft,
) -> None:
    if scope.depth >= _MOST_NESTING:
        raise WorkflowError(f"Composite actions are nested deeper than {_MOST_NESTING}: {folder}")
    language = job.settings.language
    try:
        action = language.action(folder / "action.yml")
    except FileNotFoundError as error:
        raise RefusedError(f"Can't find 'action.yml' under '{folder}'") from error
    github = {**contexts["github"], "action_path": str(folder), **about}
    declared = action.get("inputs") or {}
    if unknown := [name for name in given if name.lower() not in map(str.lower, declared)]:
        # GitHub only warns; a shipped workflow that does this is broken.
        raise WorkflowError(f"Unexpected input(s) {unknown}, valid inputs are {sorted(declared)}")
    lowered = {name.lower(): value for name, value in given.items()}
    inputs = {
        name: lowered[name.lower()]
        if name.lower() in lowered
        else language.text((about_input or {}).get("default"), {**contexts, "github": github})
        for name, about_input in declared.items()
    }
    inner = Scope(
        contexts={"inputs": inputs},
        github=github,
        env=draft.env,
        action=True,
        depth=scope.depth + 1,
    )
    _inner_steps(job, inner, action["runs"]["steps"], draft)
    final = {**contexts, "inputs": inputs, "github": github, "steps": inner.steps}
    for name, output in (action.get("outputs") or {}).items():
        if text := language.text(output.get("value"), final):
            draft.outputs[name] = text
    draft.outcome = inner.status


def _inner_steps(
    job: JobState, inner: Scope, steps: Sequence[Mapping[str, Any]], draft: Draft
) -> None:
    """One by one, so that what has run is known also when the machine is lost on the way."""
    for step in steps:
        for result in run_steps(job, inner, [step]):
            draft.add(result)
