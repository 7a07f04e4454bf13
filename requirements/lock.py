"""Write requirements/action.txt: what the action installs, by exact version and hash. `make lock`.

From the dependencies of pyproject.toml without extras, so without torch; with the versions of
constraints.txt, which the tests passed with, where it names one; for every Python from 3.11 on.
Versions that are locked already stay; delete the file to move them all. Refuses to keep the address
of an index: hashes are what is trusted, so any mirror serves.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "action.txt"
HEADER = "# What action.yml installs. Written by `make lock`; do not edit.\n"


def main() -> int:
    """Exit status of uv; the file is written only when it is 0."""
    words = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"]
    words += ["--universal", "--python-version", "3.11", "--generate-hashes"]
    words += ["--constraint", "constraints.txt", "--only-binary", ":all:"]
    words += ["--no-emit-index-url", "--no-header", "--no-annotate"]
    words += ["--output-file", str(LOCK)]
    status = subprocess.run(words, cwd=HERE.parent, check=False).returncode
    if status == 0:
        text = "".join(
            line
            for line in LOCK.read_text(encoding="utf-8").splitlines(keepends=True)
            if not line.startswith("#")
        )
        LOCK.write_text(HEADER + text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
