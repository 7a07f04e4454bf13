"""What the workers of a search leave, and what of it counts: folders and artifacts -> evidence.

A parcel contributes times; which range, scenario and definition they belong to is known from the
search, and a parcel that contradicts it is not used. Putting parcels together is a pure function
of their order, so everybody who has the same parcels believes the same.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.ingest import SHORTEST_TTFB_S
from ailab_bot.flows.shard import write_whole
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Part, Quest, SeenBlock, WorkerResult
from ailab_bot.model.searchwire import (
    LARGEST_TRIALS_BYTES,
    RESULT,
    TRIALS,
    Line,
    line_of,
    lines_to_trials,
    result_from_json,
    result_to_json,
)
from ailab_bot.model.strictjson import BadJsonError
from ailab_bot.model.trial import Arm, Outcome, Trial

#: A trial is ended at its time-out, and seen to be a moment later.
_LATE = 1.1


@dataclass(frozen=True)
class Parcel:
    """What one worker left, read. `place` names its round and worker: parcels are sorted by it,
    and a machine is only the same machine within one. `lines`: its trials, in order."""

    place: str
    result: WorkerResult
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Asked:
    """What a parcel has to be about. `commits`: SHAs of the range; `definition`: the fingerprint
    of the scenario."""

    quest: Quest
    scenario: Scenario
    definition: str
    commits: Collection[str]

    @property
    def metric(self) -> str:
        return self.quest.metric or self.scenario.metrics[0]


class Sheet:
    """Writes a worker's parcel: a line for each trial as it comes, the result at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT).unlink(missing_ok=True)
        (folder / TRIALS).write_bytes(b"")

    def keep(self, part: Part, base: str, head: str, trials: Iterable[Trial]) -> None:
        with (self.folder / TRIALS).open("a", encoding="utf-8", errors="replace") as file:
            for trial in trials:
                file.write(line_of(part, base, head, trial) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def end(self, result: WorkerResult) -> None:
        write_whole(self.folder / RESULT, result_to_json(result))


def read_parcel(
    place: str, members: Mapping[str, bytes], asked: Asked
) -> tuple[Parcel | None, str]:
    """The parcel, or None and why nothing of it is used."""
    try:
        result = result_from_json(members[RESULT])
        if result.quest != asked.quest:
            return None, "it is of another search"
        if result.definition != asked.definition:
            return None, "the scenario's definition has changed since it was measured"
        parcel = Parcel(place, result, lines_to_trials(members[TRIALS], place))
    except (AilabError, BadJsonError) as error:
        return None, getattr(error, "why", "") or str(error)
    doubt = _doubt(parcel, asked)
    return (None, doubt) if doubt else (parcel, "")


def read_folders(folder: Path, asked: Asked) -> list[Parcel]:
    """Every parcel below `folder`, by the names of their folders. UserError for one that is of
    another search, or cannot be read: whoever names it wants it to count."""
    found = []
    for path in sorted(folder.rglob(RESULT)):
        place = str(path.parent.relative_to(folder))
        try:
            members = {RESULT: path.read_bytes(), TRIALS: _read(path.with_name(TRIALS))}
        except OSError as error:
            raise _unusable(path, str(error)) from error
        parcel, why = read_parcel(place, members, asked)
        if parcel is None:
            raise _unusable(path, why)
        found.append(parcel)
    if not found:
        raise _unusable(folder, f"No {RESULT} lies below it.")
    return found


def merge(parcels: Sequence[Parcel], asked: Asked) -> Evidence:
    """What all of them know together. A commit is skipped where nobody has measured it, and
    somebody could not."""
    blocks: list[SeenBlock] = []
    skipped: dict[str, str] = {}
    trials, spent_s = 0, 0.0
    for parcel in sorted(parcels, key=lambda each: each.place):
        blocks += blocks_in(parcel, asked)
        for sha, why in parcel.result.skipped.items():
            skipped.setdefault(sha, why)
        trials += len(parcel.lines)
        spent_s += parcel.result.spent_s
    measured = {block.sha for block in blocks}
    kept = {sha: why for sha, why in skipped.items() if sha not in measured}
    return Evidence(tuple(blocks), kept, trials, spent_s)


def joined(one: Evidence, other: Evidence) -> Evidence:
    """What was known before, then what was measured here."""
    return Evidence(
        (*one.blocks, *other.blocks),
        {**one.skipped, **other.skipped},
        one.trials + other.trials,
        one.spent_s + other.spent_s,
        (*one.refusals, *other.refusals),
    )


def blocks_in(parcel: Parcel, asked: Asked) -> Iterator[SeenBlock]:
    """Its whole blocks beside GOOD, in the order in which they ended."""
    waiting: dict[tuple[str, int], Trial] = {}
    for part, _, head, trial in parcel.lines:
        if part is not Part.RANGE:
            continue
        other = waiting.pop((head, trial.block), None)
        if other is None:
            waiting[head, trial.block] = trial
            continue
        arms = {trial.arm: trial, other.arm: other}
        good = arms[Arm.BASE].metrics.get(asked.metric)
        value = arms[Arm.HEAD].metrics.get(asked.metric)
        if good and value and good > 0 and value > 0:
            yield SeenBlock(head, good, value, f"{parcel.place}: {trial.machine}")


def checked_trials(parcel: Parcel, base: str, head: str, scenario: str) -> list[Trial]:
    """What it measured to confirm one comparison, for whoever judges it again."""
    return [
        trial
        for part, *pair, trial in parcel.lines
        if part is Part.CHECK and (*pair, trial.scenario) == (base, head, scenario)
    ]


def _doubt(parcel: Parcel, asked: Asked) -> str:
    """Why its times cannot be true; empty where they can."""
    strangers = set(parcel.result.skipped) - set(asked.commits)
    if strangers:
        return f"it skips {min(strangers)[:12]}, which is not in the range"
    for part, base, head, trial in parcel.lines:
        if part is Part.RANGE and (base != asked.quest.good or head not in asked.commits):
            return f"it compares {base[:12]} with {head[:12]}, which is not what was asked"
        if part is Part.RANGE and trial.scenario != asked.scenario.id:
            return "it measured another scenario"
        if trial.outcome is not Outcome.OK or trial.scenario != asked.scenario.id:
            continue
        ttfb_s = trial.metrics.get("ttfb_s")
        if ttfb_s is None:
            continue
        if ttfb_s <= SHORTEST_TTFB_S:
            return f"a trial of {ttfb_s:.4g} s is no measurement"
        if ttfb_s > asked.scenario.timeout_s * _LATE:
            return "a trial took longer than its time-out allows"
    return ""


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if len(data) > LARGEST_TRIALS_BYTES:
        raise OSError(f"{path.name} has {len(data)} bytes; at most {LARGEST_TRIALS_BYTES} are read")
    return data


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        f"no earlier measurement can be read in {path}",
        why=why,
        advice="Name a folder below which workers of this very search wrote (--out).",
    )
