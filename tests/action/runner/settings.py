"""What a runner is set up with, and the faults that a test plans. Checks them, and does no more."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .errors import UnsupportedError
from .event import Site
from .language import Language
from .process import Grace

_ROOT = Path(__file__).parents[3]
#: The only variables of the caller that may reach a step: how this machine reaches package indexes.
_PASSABLE = re.compile(
    r"PIP_[A-Z_]+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(HTTPS?|NO)_PROXY",
    re.IGNORECASE,
)


def pip_settings(environ: Mapping[str, str], home: Path | None = None) -> dict[str, str]:
    """Of an environment, what pip needs to reach its index: to be passed on to a runner.

    A job has a home of its own; pip's settings in the user's are therefore named by a variable.
    """
    settings = {name: value for name, value in environ.items() if _PASSABLE.fullmatch(name)}
    own = (home or Path.home()) / ".config" / "pip" / "pip.conf"
    if own.exists():
        settings.setdefault("PIP_CONFIG_FILE", str(own))
    return settings


@dataclass(frozen=True)
class Fault:
    """The job ends at a step: before it, or `after_s` seconds into it.

    `job`: its key. `step`: id or name of the step, also of one inside an action; when empty the
    first step that runs. `crash`: the runner is gone, nothing more of the job runs or is kept.
    `cancel`: the run is cancelled, as by the button or a newer push: in every job signals in turn,
    then the steps with `if: always()`.
    """

    kind: Literal["crash", "cancel"]
    job: str
    step: str = ""
    after_s: float | None = None


def _usual_path() -> tuple[str, ...]:
    usual = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return (f"{sys.base_prefix}/bin", *usual)


@dataclass(frozen=True)
class Settings:
    """`token_for`: rights -> the token of a job with them. `save_artifact`: name and zip, at once.

    `actions`: folder of each action by its repository's name, whoever owns it. `passed_on`: see
    pip_settings. `prepared`: a virtual environment, put at $RUNNER_TEMP/ailab of each job.
    `lost_artifacts`: names that an upload seems to store and that are never seen again.
    `limit_s`: ends a job whatever its timeout-minutes say. `parallel`: jobs at one time.
    """

    language: Language
    site: Site
    folder: Path
    token_for: Callable[[Mapping[str, str]], str]
    save_artifact: Callable[[str, bytes], None] = lambda name, data: None
    actions: Mapping[str, Path] = field(default_factory=lambda: {"ailab-bot": _ROOT})
    passed_on: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = field(default_factory=_usual_path)
    prepared: Path | None = None
    lost_artifacts: frozenset[str] = frozenset()
    grace: Grace = field(default_factory=Grace)
    limit_s: float = 600.0
    parallel: int = 1

    def __post_init__(self) -> None:
        if refused := [name for name in self.passed_on if not _PASSABLE.fullmatch(name)]:
            raise UnsupportedError(
                f"Nothing of the caller reaches a step but pip's settings: {refused}"
            )


def place(prepared: Path, target: Path) -> None:
    """A copy of a virtual environment in which large files are shared, so that it takes no time.

    What an installation may rewrite in place is copied; a file that is replaced harms nothing.
    """
    for folder, _, names in os.walk(prepared):
        to = target / Path(folder).relative_to(prepared)
        to.mkdir(parents=True, exist_ok=True)
        for name in names:
            source = Path(folder) / name
            if source.is_symlink():
                (to / name).symlink_to(source.readlink())
            elif source.suffix in {".py", ".pyc", ".so", ".pyi"}:
                os.link(source, to / name)
            else:
                (to / name).write_bytes(source.read_bytes())
                (to / name).chmod(source.stat().st_mode)
