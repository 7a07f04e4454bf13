"""The environment that the action makes, made by the action once and kept for tests that follow.

Refuses to make it in another way: a story that starts from it starts from what is shipped.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from .event import event_of
from .settings import Settings
from .workflow import Runner

_INSTALL = Path(__file__).parent / "samples" / "install.yml"
#: Beside the tests' own packages, so that `make clean` removes it.
_CACHE = Path(sys.prefix) / "ailab-action"


def prepared_environment(settings: Settings, cache: Path = _CACHE) -> Path:
    """For Settings.prepared. Takes as long as an installation when the lock or the action changed.

    `settings`: with `passed_on` for pip; the runs' folder is used for the installation.
    """
    action = settings.actions["ailab-bot"]
    known = hashlib.sha256(sys.version.encode())
    for name in ("action.yml", "requirements/action.txt"):
        known.update((action / name).read_bytes())
    target = cache / known.hexdigest()[:16]
    if target.exists():
        return target
    alone = replace(settings, prepared=None, folder=settings.folder / "install")
    payload = {"ref": "refs/heads/main", "after": settings.site.sha_of("HEAD")}
    run = Runner(alone).start(_INSTALL, event_of("push", payload, settings.site), run_id=0)
    assert run is not None
    job = run.job("plan")
    if job.step("Install").outcome != "success":
        raise AssertionError(f"The action could not install what it needs:\n{job.log}")
    made = alone.folder / "0" / "1" / "plan" / "work" / "_temp" / "ailab"
    shutil.rmtree(cache, ignore_errors=True)  # those of earlier locks
    cache.mkdir(parents=True)
    shutil.move(made, target)
    return target
