"""Lets the measuring process have no secret that the code it runs could read out of it.

A child's environment is made without secrets, but any process of the same user can read
/proc/PPID/environ, which shows what this process was *started* with, whatever it deletes later. So
it starts anew, once, without them. Refuses to reach further: the processes above, such as a
workflow's runner, are for who sets them up; there the rule is that no secret reaches the job.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterable, Mapping

from ailab_bot.errors import RunnerError

#: Variables by which the bot or GitHub hand over a secret. The user's own (HF_TOKEN, say) stay: a
#: workflow that is measured may need them, and who sets them for the job has decided that.
SECRETS = (
    *("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN"),
    *("AILAB_*TOKEN*", "AILAB_*SECRET*", "AILAB_*PASSWORD*", "AILAB_*KEY*"),
    *("ACTIONS_*TOKEN*", "ACTIONS_*SECRET*", "ACTIONS_*PASSWORD*"),
    *("INPUT_*TOKEN*", "INPUT_*SECRET*", "INPUT_*PASSWORD*", "INPUT_*KEY*"),
)
#: Holds the id of the process that has started anew: exec keeps it, a child has another.
_DONE = "AILAB_STARTED_CLEAN"


def secrets_in(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the variables' names that hold a secret."""
    return tuple(
        sorted(
            name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)
        )
    )


def drop_secrets() -> None:
    """Return at once where the environment holds no secret; else replace this process by itself.

    Call it first of all and from a process's entry point alone: what has been done so far is done
    again, and threads end. RunnerError where secrets are there a second time.
    """
    done = os.environ.pop(_DONE, "")
    secrets = secrets_in(os.environ)
    if not secrets:
        return
    if done == str(os.getpid()):
        raise RunnerError(
            "cannot start without secrets",
            why=f"{', '.join(secrets)} came back when this process started itself anew.",
            advice="See what sets them whenever Python starts, such as a sitecustomize or .pth "
            "file, and run `ailab` without them.",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # The interpreter by its path: a bare `python` would lose the virtual environment.
    words = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, words, _clean(os.environ, secrets))  # noqa: S606 - it is ourselves


def _clean(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    kept = {name: text for name, text in environ.items() if name not in secrets}
    return {**kept, _DONE: str(os.getpid())}
