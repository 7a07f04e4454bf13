"""Remarks on the changed lines that make a workflow import more before its first batch.

Only on lines that the change itself added: a remark elsewhere would blame who did not do it. Diffs
are read strictly; one that is missing (GitHub leaves large ones out) or malformed gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ailab_bot.model.report import Annotation
from ailab_bot.model.verdict import Explanation, ImportChange
from ailab_bot.report.words import clean, seconds

#: GitHub takes this many in one request, and more would bury the diff.
MOST_ANNOTATIONS = 50
#: A patch beyond this is not read (characters); GitHub's own limit is far below it.
_LONGEST_PATCH = 4_000_000
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: .*)?", re.DOTALL)
_IMPORTER = re.compile(r"(?P<path>.{1,1000}):(?P<line>[1-9]\d{0,8})", re.DOTALL)


def annotate(
    explanations: Iterable[Explanation], patches: Mapping[str, str | None]
) -> tuple[Annotation, ...]:
    """At most MOST_ANNOTATIONS, the slowest imports first.

    `patches` has the hunks of each changed file by its path in head, as GitHub's API gives them;
    None where it gives none.
    """
    found: dict[tuple[str, int], list[tuple[str, ImportChange]]] = {}
    added: dict[str, frozenset[int]] = {}
    for explanation in explanations:
        for change in explanation.imports_added:
            place = _IMPORTER.fullmatch(change.importer)
            if place is None or place["path"] not in patches:
                continue
            path, line = place["path"], int(place["line"])
            if path not in added:
                added[path] = added_lines(patches[path])
            if line in added[path]:
                found.setdefault((path, line), []).append((explanation.scenario, change))
    ordered = sorted(found.items(), key=lambda item: (-_slowest(item[1]).seconds, item[0]))
    return tuple(_annotation(*place, causes) for place, causes in ordered[:MOST_ANNOTATIONS])


def added_lines(patch: str | None) -> frozenset[int]:
    """Numbers, in head, of the lines that a file's patch adds; none where it is not a patch."""
    if not patch or len(patch) > _LONGEST_PATCH:
        return frozenset()
    found: set[int] = set()
    number = base_left = head_left = last = 0
    lines = patch.split("\n")
    if lines[-1] == "":
        lines.pop()
    for line in lines:
        if base_left == head_left == 0 and not line.startswith("\\"):
            hunk = _HUNK.fullmatch(line)
            if hunk is None:
                return frozenset()
            base_left, head_left = int(hunk[2] or 1), int(hunk[4] or 1)
            # A hunk without lines of head names the line before it.
            number = int(hunk[3]) + (head_left == 0)
            if number < last:
                return frozenset()
            continue
        sign = line[:1]
        if sign == "\\":
            continue
        if sign not in {" ", "+", "-"}:
            return frozenset()
        base_left -= sign != "+"
        head_left -= sign != "-"
        if base_left < 0 or head_left < 0:
            return frozenset()
        if sign == "+":
            found.add(number)
        number += sign != "-"
        last = number
    return frozenset(found) if base_left == head_left == 0 else frozenset()


def _slowest(causes: list[tuple[str, ImportChange]]) -> ImportChange:
    return max((change for _, change in causes), key=lambda change: change.seconds)


def _annotation(path: str, line: int, causes: list[tuple[str, ImportChange]]) -> Annotation:
    worst = _slowest(causes)
    scenarios = list(dict.fromkeys(scenario for scenario, _ in causes))
    others = f" and {len(scenarios) - 1} more" if len(scenarios) > 1 else ""
    modules = f" with {worst.submodules} further modules" if worst.submodules else ""
    return Annotation(
        path,
        line,
        "warning",
        f"{clean(worst.module)} is now imported before the first batch",
        f"{clean(scenarios[0])}{others}: about {seconds(worst.seconds)} more to first batch, as "
        f"this line now imports {clean(worst.module)}{modules}. Import it where it is used, or "
        "after the first batch, if the workflow does not need it to start.",
    )
