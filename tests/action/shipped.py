"""The workflow files that we ship, and the bad ones that each linter has to refuse."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
ACTION = ROOT / "action.yml"
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))
CONTROL = sorted((ROOT / "examples" / "control-repository").glob("*.yml"))
OWN = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = [*EXAMPLES, *CONTROL, *OWN]

_BAD = Path(__file__).parent / "fixtures"
BAD_WORKFLOWS = sorted(_BAD.glob("bad-*.yml"))
BAD_ACTIONS = sorted(_BAD.glob("bad-*/action.yml"))


def expected(path: Path, linter: str) -> set[str]:
    """What a bad file says of itself at its top: `# expect LINTER: RULE RULE`."""
    start = f"# expect {linter}: "
    lines = path.read_text(encoding="utf-8").splitlines()
    return {rule for line in lines if line.startswith(start) for rule in line[len(start) :].split()}


def name_of(path: Path) -> str:
    """Where it lies, for the names of tests."""
    return path.relative_to(ROOT).as_posix()
