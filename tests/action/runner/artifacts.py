"""What stands in for actions/upload-artifact: a real zip, handed to the caller of the runner.

An input that is not known here is refused, and so is a value whose meaning is not built.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import RefusedError, UnsupportedError
from .inputs import Brought, only, with_usual
from .jobstate import JobState
from .results import Annotation

#: Characters that the real action refuses in the name of an artifact.
_FORBIDDEN = re.compile(r'[":<>|*?\r\n\\/]')
_MOST_RETENTION_DAYS = 90


def upload_artifact(
    job: JobState, contexts: Mapping[str, Any], given: Mapping[str, str]
) -> Brought:
    """A real zip of the files under `path`, given to the settings' save_artifact."""
    usual = {
        "name": "artifact",
        "path": "",
        "if-no-files-found": "warn",
        "retention-days": "0",
        "compression-level": "6",
        "overwrite": "false",
        "include-hidden-files": "false",
        "archive": "true",
    }
    inputs = with_usual(given, usual)
    only(inputs, "archive", "true")
    if not inputs["path"].strip():
        raise RefusedError("Input required and not supplied: path")
    if inputs["if-no-files-found"] not in ("warn", "error", "ignore"):
        raise RefusedError(f"Unrecognized if-no-files-found input: {inputs['if-no-files-found']}")
    name = inputs["name"]
    if not name or _FORBIDDEN.search(name):
        raise RefusedError(f"The artifact name is not valid: {name}")
    if not 0 <= int(inputs["retention-days"]) <= _MOST_RETENTION_DAYS:
        raise RefusedError(f"retention-days must be from 1 to 90: {inputs['retention-days']}")
    root, files = _found(
        job.workspace, inputs["path"], hidden=inputs["include-hidden-files"] == "true"
    )
    if not files:
        message = (
            f"No files were found with the provided path: {inputs['path']}. "
            "No artifacts will be uploaded."
        )
        if inputs["if-no-files-found"] == "error":
            raise RefusedError(message)
        warns = inputs["if-no-files-found"] == "warn"
        return {}, f"{message}\n", [Annotation("warning", message)] if warns else []
    data = _zipped(root, files, level=int(inputs["compression-level"]))
    if name in job.artifacts and inputs["overwrite"] != "true":
        raise RefusedError(
            "Failed to CreateArtifact: (409) Conflict: an artifact with this name already exists"
        )
    if name not in job.settings.lost_artifacts:
        job.artifacts[name] = data
        job.settings.save_artifact(name, data)
    outputs = {
        "artifact-id": str(1000 + len(job.artifacts)),
        "artifact-digest": hashlib.sha256(data).hexdigest(),
    }
    return outputs, f"Artifact {name} has been successfully uploaded: {len(data)} bytes\n", []


def _found(workspace: Path, patterns: str, *, hidden: bool) -> tuple[Path, list[Path]]:
    """The folder that names in the zip are relative to, and the files; links are followed."""
    lines = [line.strip() for line in patterns.splitlines() if line.strip()]
    if len(lines) != 1 or re.search(r"[*?\[!~]", lines[0]):
        raise UnsupportedError(f"This runner uploads one folder or file, not a pattern: {lines}")
    path = workspace / lines[0]
    if path.is_file():
        return path.parent, [path]
    files: list[Path] = []
    for folder, below, names in os.walk(path, followlinks=True):
        below[:] = sorted(name for name in below if hidden or not name.startswith("."))
        files += [Path(folder) / name for name in names if hidden or not name.startswith(".")]
    return path, sorted(file for file in files if file.is_file())


def _zipped(root: Path, files: list[Path], *, level: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for file in files:
            archive.write(file, file.relative_to(root).as_posix())
    return buffer.getvalue()
