"""Runs shipped workflow files on this machine, read by GitHub's own parser and evaluator.

    with Language() as language:                       # one node process; make it once per session
        site = Site("acme/models", git=bare_repository, api_url=standin.url)
        runner = Runner(Settings(language, site, folder=tmp_path,
            token_for=github.token_with,               # rights of a job -> its token
            save_artifact=github.keep_artifact,        # (name, zip) as soon as it is uploaded
            passed_on=pip_settings(os.environ),        # all of this environment that a step may see
            prepared=venv))                            # optional, see prepared_environment
        run = runner.start(path, event_of("pull_request", payload, site), run_id=7)

None where `on:` does not match; else a RunResult: `.conclusion`, `.job("measure/0")`, `.artifacts`,
`.of("measure")`, `.log`; a JobResult: `.outputs`, `.permissions`, `.runs_on`, `.matrix`, `.error`,
`.annotations`, `.step("Install")`; a StepResult: `.outcome`, `.log`, `.summary`, `.environment`.
`start(..., attempt=2, previous=run)` re-runs the failed jobs. `start(..., faults=[Fault("crash",
"measure/1", "Keep the trials")])` loses the runner before that step, `Fault("cancel", "plan",
after_s=1)` cancels the run a second into its first step; Settings(lost_artifacts=) loses uploads.

What GitHub would answer with a failed job is a failed job. WorkflowError: GitHub would refuse the
file, or warn about it. UnsupportedError: this runner cannot do it and does not pretend.
"""

from __future__ import annotations

from .errors import ExpressionError, RefusedError, UnsupportedError, WorkflowError
from .event import Event, Site, event_of, starts
from .language import NODE_MODULES, Language
from .prepare import prepared_environment
from .process import Grace
from .results import Annotation, JobResult, RunResult, StepResult
from .settings import Fault, Settings, pip_settings
from .workflow import Runner

__all__ = [
    "NODE_MODULES",
    "Annotation",
    "Event",
    "ExpressionError",
    "Fault",
    "Grace",
    "JobResult",
    "Language",
    "RefusedError",
    "RunResult",
    "Runner",
    "Settings",
    "Site",
    "StepResult",
    "UnsupportedError",
    "WorkflowError",
    "event_of",
    "pip_settings",
    "prepared_environment",
    "starts",
]
