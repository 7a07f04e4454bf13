"""Why did a scenario's TTFB move? The cheapest evidence: phases, and imports of one arm only.

Phases come from the timed trials. Imports come from one traced, untimed execution per arm, so
tracing costs the measurement nothing; their seconds are indications, not measurements.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.model.trial import PHASES, Arm, Outcome, Trial
from ailab_bot.model.verdict import Explanation, ImportChange, PhaseShift

#: An import faster than this explains nothing that a trial could measure.
SHORTEST_IMPORT_S = 0.001
#: Rows of a list of imports in a report.
MOST_IMPORTS = 8
#: A module of the project whose own imports hold this share of its time is not named beside them.
_EXPLAINED = 0.5


@dataclass(frozen=True)
class TracedImport:
    """One import: `file`, `line` and `by` (module) say whose statement asked for it first."""

    module: str
    seconds: float
    file: str
    line: int
    by: str


def explain(
    scenario: str,
    trials: Iterable[Trial],
    traces: Mapping[Arm, Sequence[TracedImport]],
    checkouts: Mapping[Arm, Path],
    note: str = "",
) -> Explanation:
    """Compare the arms' median phases and, where both were traced, their imports."""
    base, head = traces.get(Arm.BASE, ()), traces.get(Arm.HEAD, ())
    both = bool(base and head)
    return Explanation(
        scenario,
        phases=phase_shifts(trials),
        imports_added=_only_in(head, base, checkouts[Arm.HEAD]) if both else (),
        imports_removed=_only_in(base, head, checkouts[Arm.BASE]) if both else (),
        note=note,
    )


def read_trace(path: Path) -> tuple[TracedImport, ...]:
    """The first import of each module, in the order in which they finished."""
    found: dict[str, TracedImport] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    for line in lines:
        fields = line.split("\t")
        if len(fields) == 5 and fields[3].isdecimal():
            module, seconds, file, number, by = fields
            found.setdefault(module, TracedImport(module, float(seconds), file, int(number), by))
    return tuple(found.values())


def phase_shifts(trials: Iterable[Trial]) -> tuple[PhaseShift, ...]:
    """Median seconds of each phase in both arms, from the trials that have a value."""
    trials = [trial for trial in trials if trial.outcome is Outcome.OK]
    names = [*PHASES, *sorted({name for t in trials for name in t.phases} - set(PHASES))]
    shifts = []
    for name in names:
        seconds = {
            arm: [t.phases.get(name, 0.0) for t in trials if t.arm is arm and t.phases]
            for arm in Arm
        }
        if all(seconds.values()):
            medians = {arm: statistics.median(values) for arm, values in seconds.items()}
            shifts.append(PhaseShift(name, medians[Arm.BASE], medians[Arm.HEAD]))
    return tuple(shifts)


def _only_in(
    here: Sequence[TracedImport], there: Sequence[TracedImport], checkout: Path
) -> tuple[ImportChange, ...]:
    known = {item.module for item in there}
    new = [item for item in here if item.module not in known]
    new_names = {item.module for item in new}
    prefix = f"{checkout}/"
    # What a reader can act on: imports that the project's own lines ask for, and whatever else
    # was not asked for by another new module.
    heads = [item for item in new if item.file.startswith(prefix) or item.by not in new_names]
    heads = [item for item in heads if not _is_explained(item, heads)]
    best: dict[tuple[str, int], TracedImport] = {}
    for item in heads:  # `import a.b` imports a and a.b from one line: the longer holds the other
        place = (item.file, item.line)
        if place not in best or item.seconds > best[place].seconds:
            best[place] = item
    rows = sorted(best.values(), key=lambda item: -item.seconds)
    return tuple(
        ImportChange(
            item.module,
            item.seconds,
            _count_below(item.module, new),
            f"{_short(item.file, prefix)}:{item.line}",
        )
        for item in rows[:MOST_IMPORTS]
        if item.seconds >= SHORTEST_IMPORT_S
    )


def _is_explained(item: TracedImport, heads: Sequence[TracedImport]) -> bool:
    below = sum(other.seconds for other in heads if other.by == item.module and other is not item)
    return below > _EXPLAINED * item.seconds


def _count_below(module: str, new: Sequence[TracedImport]) -> int:
    by: dict[str, list[str]] = {}
    for item in new:
        by.setdefault(item.by, []).append(item.module)
    seen = {module}
    heap = [module]
    while heap:
        for below in by.get(heap.pop(), []):
            if below not in seen:
                seen.add(below)
                heap.append(below)
    return len(seen) - 1


def _short(file: str, prefix: str) -> str:
    if file.startswith(prefix):
        return file.removeprefix(prefix)
    return file.rpartition("site-packages/")[2]
