"""Measures one shard: the part of the job that runs a pull request's code.

Refuses to hold a token, and to judge for others: it writes trials, and what it saw.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.flows.arms import Job, measure_arms
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.measurement import TrialLog
from ailab_bot.measure.environment import interpreter, which_python
from ailab_bot.measure.git import Repository
from ailab_bot.measure.machine import describe_machine
from ailab_bot.model.exchange import (
    FOOTPRINTS,
    RESULT,
    TRIALS,
    fingerprint,
    result_to_json,
)
from ailab_bot.model.footprintwire import footprint_to_json
from ailab_bot.model.report import Choice, Plan
from ailab_bot.model.shard import MOST_NOTES, Shard, ShardResult
from ailab_bot.model.trial import Arm
from ailab_bot.report.progress import Progress


def measure_shard(
    shard: Shard,
    repository: Repository,
    definitions: Definitions,
    out: Path,
    progress: Progress,
    python: str | None = None,
) -> ShardResult:
    """Measure the shard's scenarios; TRIALS grows in `out`, RESULT is written whole at the end.

    One scenario's error costs that scenario. UserError where the definitions lack a scenario or the
    repository a commit.
    """
    scenarios = definitions.chosen(shard.scenarios)
    missing = set(shard.scenarios) - {scenario.id for scenario in scenarios}
    if missing:
        raise UserError(
            f"no scenario `{min(missing)}` in the definitions",
            why="The plan names it, and the commit that the plan was made from does not have it.",
            advice="Make plan and measurement from the same commit; run the workflow again.",
        )
    for sha in (shard.base, shard.head):
        if not repository.has(sha):
            raise UserError(
                f"the commit {sha[:12]} is not in this repository",
                why="The plan names it: it is another repository's, or this clone lacks it.",
                advice="Measure where the plan was made, or fetch the commit.",
            )
    arms = interpreter(which_python(python, definitions.config.python))
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULT).unlink(missing_ok=True)
    (out / TRIALS).write_bytes(b"")
    (out / FOOTPRINTS).unlink(missing_ok=True)
    choices = tuple(Choice(scenario.id, True, "in this shard") for scenario in scenarios)
    progress.start(Plan(choices, shard.seed, shard.capacity_s))
    job = Job(
        repository=repository,
        shas={Arm.BASE: shard.base, Arm.HEAD: shard.head},
        scenarios=scenarios,
        python=arms,
        seed=shard.seed,
        family=shard.family,
        capacity_s=shard.capacity_s,
        policy=definitions.policy,
        noise=definitions.config.noise,
        all_or_nothing=False,
        signature=definitions.config.signature,
    )
    # The folder is handed over as it is, and its reader takes these two files and no other.
    log = TrialLog(out / TRIALS, record=out.with_name(f"{out.name}-discarded.jsonl"))
    measured = measure_arms(job, log, progress)
    result = ShardResult(
        index=shard.index,
        base=shard.base,
        head=shard.head,
        seed=shard.seed,
        machine=describe_machine(arms.version),
        spent_s=round(measured.spent_s, 3),
        definitions={scenario.id: fingerprint(scenario) for scenario in scenarios},
        explanations=tuple(measured.explanations),
        lost=measured.lost,
        notes=tuple(measured.notes[:MOST_NOTES]),
        interrupted=measured.interrupted,
    )
    if shard.footprints:
        rows = [footprint_to_json(each) for each in measured.footprints.values()]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_whole(out / FOOTPRINTS, "".join(lines))
    write_whole(out / RESULT, result_to_json(result))
    return result


def write_whole(path: Path, text: str) -> None:
    """A reader sees the whole file or none. Halves of characters, as in names of files that are
    not UTF-8, are replaced.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
