"""Write into every workflow and the README which commit of this repository it uses as the action.

python tests/action/pin.py SHA

SHA names a commit that holds action.yml. The commit that renews the pins comes after it: a commit
cannot hold its own name. Refuses a commit that is not there or holds no action.yml.
"""

from __future__ import annotations

import re
import subprocess
import sys

import shipped

#: Everything that a reader may copy.
PINNED = (*shipped.WORKFLOWS, shipped.ROOT / "README.md")
_PIN = re.compile(r"(?P<owner>[\w.-]+)/ailab-bot@(?P<sha>\S+) # v(?P<version>\S+)")


def pins() -> set[tuple[str, str]]:
    """Each commit that a workflow or the README names, with the version beside it."""
    texts = [path.read_text(encoding="utf-8") for path in PINNED]
    return {(pin["sha"], pin["version"]) for text in texts for pin in _PIN.finditer(text)}


def at(sha: str, path: str) -> str:
    """A file as that commit has it; CalledProcessError where there is no such commit or file."""
    return subprocess.run(
        ["git", "-C", str(shipped.ROOT), "show", f"{sha}:{path}"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout


def version_at(sha: str) -> str:
    match = re.search(r'__version__ = "([^"]+)"', at(sha, "ailab_bot/version.py"))
    if match is None:
        raise ValueError(f"{sha} has no version")
    return match[1]


def main() -> int:
    if len(sys.argv) != 2 or not re.fullmatch(r"[0-9a-f]{40}", sys.argv[1]):
        sys.stderr.write("usage: python tests/action/pin.py SHA   (40 hexadecimal digits)\n")
        return 2
    sha = sys.argv[1]
    try:
        at(sha, "action.yml")
        version = version_at(sha)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{sha} cannot be pinned: {error.stderr}")
        return 2
    for path in PINNED:
        text = path.read_text(encoding="utf-8")
        path.write_text(
            _PIN.sub(rf"\g<owner>/ailab-bot@{sha} # v{version}", text), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
