"""What a step says back: the files GITHUB_OUTPUT, GITHUB_ENV, GITHUB_PATH and the `::` lines.

Refuses malformed files with the runner's own words; on GitHub they fail the step, and here too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast

from .errors import WorkflowError
from .results import Annotation

#: The variable that names a file, and the file's own name, as the runner has them.
FILES = {
    "GITHUB_OUTPUT": "set_output",
    "GITHUB_ENV": "set_env",
    "GITHUB_PATH": "add_path",
    "GITHUB_STEP_SUMMARY": "step_summary",
    "GITHUB_STATE": "save_state",
}
#: A larger summary is not kept and the step gets an error annotation.
MOST_SUMMARY_BYTES = 1024 * 1024
_COMMAND = re.compile(r"^::(error|warning|notice)(?: ([^:]*(?::(?!:)[^:]*)*))?::(.*)$")
_GONE = re.compile(r"^::(set-output|save-state|set-env|add-path) ")


def read_pairs(path: Path, command: str) -> dict[str, str]:
    """`name=value` lines and `name<<END` blocks. WorkflowError as the runner words it."""
    pairs: dict[str, str] = {}
    lines = iter(_lines(path))
    for line in lines:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, value = line.split("=", 1)
        elif heredoc >= 0:
            name, end = line.split("<<", 1)
            block: list[str] = []
            for inner in lines:
                if inner == end:
                    break
                block.append(inner)
            else:
                raise _failed(command, f"Invalid value. Matching delimiter not found '{end}'")
            value = "\n".join(block)
            if not end:
                raise _failed(command, "Invalid format. Delimiter must not be empty")
        else:
            raise _failed(command, f"Invalid format '{line}'")
        if not name:
            raise _failed(command, f"Invalid format '{line}'. Name must not be empty")
        pairs[name] = value
    if command == "env" and "NODE_OPTIONS" in {name.upper() for name in pairs}:
        raise _failed(command, "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV'")
    return pairs


def _failed(command: str, why: str) -> WorkflowError:
    return WorkflowError(f"Unable to process file command '{command}' successfully. {why}")


def read_paths(path: Path) -> list[str]:
    """Folders that later steps find on PATH, the last line first."""
    return [line for line in _lines(path) if line][::-1]


def _lines(path: Path) -> list[str]:
    # Not splitlines: it also splits at U+2028 and its kin, which the runner leaves alone.
    return path.read_text(encoding="utf-8").replace("\r\n", "\n").split("\n")


def read_summary(path: Path) -> tuple[str, tuple[Annotation, ...]]:
    """The step's summary; empty, with the runner's complaint, where it is larger than 1 MiB."""
    size = path.stat().st_size
    if size <= MOST_SUMMARY_BYTES:
        return path.read_text(encoding="utf-8"), ()
    message = (
        f"$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of "
        f"{MOST_SUMMARY_BYTES // 1024}k, got {size // 1024}k."
    )
    return "", (Annotation("error", message),)


def annotations_of(log: str) -> tuple[Annotation, ...]:
    """The `::error::` lines and their kin. Commands that GitHub has switched off are an error."""
    found: list[Annotation] = []
    end = ""
    for line in log.split("\n"):
        if end:
            end = "" if line == f"::{end}::" else end
        elif line.startswith("::stop-commands::"):
            end = line.removeprefix("::stop-commands::")
        elif _GONE.match(line):
            raise WorkflowError(f"GitHub has switched this command off: {line}")
        elif match := _COMMAND.match(line):
            found.append(_annotation(match))
    return tuple(found)


def _annotation(match: re.Match[str]) -> Annotation:
    level = cast(Literal["error", "warning", "notice"], match[1])
    pairs = (pair.split("=", 1) for pair in (match[2] or "").split(",") if "=" in pair)
    about = {key.strip(): _unescaped(value, properties=True) for key, value in pairs}
    return Annotation(
        level,
        _unescaped(match[3]),
        title=about.get("title", ""),
        file=about.get("file", ""),
        line=about.get("line", ""),
    )


def _unescaped(text: str, *, properties: bool = False) -> str:
    for code, character in (("%3A", ":"), ("%2C", ",")) if properties else ():
        text = text.replace(code, character)
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
