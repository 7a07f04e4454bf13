"""`ailab demo`: the main job on a bundled repository. The same code path as `ailab ab`."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ailab_bot.demo.build import DemoRepository, build_demo_repository
from ailab_bot.errors import UserError
from ailab_bot.flows.ab import AbRequest
from ailab_bot.measure.environment import which_python

#: What the demo's training script imports.
_NEEDS = ("torch", "numpy", "pandas")


@contextlib.contextmanager
def demo_request(keep: Path | None, seed: int | None) -> Iterator[AbRequest]:
    """What `ailab ab` is asked in the demo. Without `keep` the repository is temporary."""
    python = which_python(None, None)
    _check_needs(python)
    with contextlib.ExitStack() as stack:
        if keep is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ailab-demo-")))
            keep = home / "trainkit"
        made: DemoRepository = build_demo_repository(keep.absolute())
        yield AbRequest(made.base, made.head, made.path, python=python, seed=seed)


def _check_needs(python: str) -> None:
    code = (
        "import importlib.util as u, sys\n"
        f"sys.exit(' '.join(n for n in {_NEEDS!r} if u.find_spec(n) is None) or None)"
    )
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(
            "the demo trains a real model, and its packages are missing",
            why=f"{python} has no {result.stderr.strip()}",
            advice="Install them: pip install 'ailab-bot[scenarios]' (README: the CPU build of "
            "torch), or run `make demo` in a clone.",
        )
