"""A job's `strategy`, already evaluated, becomes the list of its combinations.

Refuses what GitHub refuses: a matrix without entries, one of more than 256 jobs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import WorkflowError

#: Jobs that one matrix may make.
MOST_JOBS = 256


def combinations(matrix: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The combinations in GitHub's order: the last vector runs fastest, `include` comes last.

    WorkflowError for what GitHub refuses. `matrix` must not be empty text or a missing mapping.
    """
    if not isinstance(matrix, Mapping):
        raise WorkflowError(f"the matrix is no mapping: {matrix!r}")
    vectors = {key: value for key, value in matrix.items() if key not in ("include", "exclude")}
    for key, vector in vectors.items():
        if not isinstance(vector, list):
            raise WorkflowError(f"Matrix vector '{key}' is no sequence")
        if not vector:
            raise WorkflowError(f"Matrix vector '{key}' does not contain any values")
    include, exclude = (_entries(matrix, key) for key in ("include", "exclude"))
    made = [
        dict(zip(vectors, values, strict=True)) for values in itertools.product(*vectors.values())
    ]
    made = [one for one in made if vectors and not any(_agrees(drop, one) for drop in exclude)]
    originals = [dict(one) for one in made]
    for entry in include:
        # An entry extends every combination whose original values it does not overwrite.
        shared = {key: value for key, value in entry.items() if key in vectors}
        matching = [i for i, one in enumerate(originals) if _agrees(shared, one)]
        for index in matching:
            made[index].update(entry)
        if not matching:
            made.append(dict(entry))
    if not made:
        raise WorkflowError("Matrix must define at least one vector")
    if len(made) > MOST_JOBS:
        raise WorkflowError(f"The matrix makes {len(made)} jobs; GitHub starts at most {MOST_JOBS}")
    return made


def _entries(matrix: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries = matrix.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise WorkflowError(f"Matrix '{key}' is no sequence of mappings")
    return entries


def _agrees(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    return all(key in whole and whole[key] == value for key, value in part.items())


def display_name(job_id: str, combination: Mapping[str, Any]) -> str:
    """How GitHub names a matrix job without a `name`: the id and the scalars of its combination."""
    return f"{job_id} ({', '.join(_scalars(combination))})"


def _scalars(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _scalars(item)]
    if isinstance(value, list):
        return [text for item in value for text in _scalars(item)]
    return [str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)]
