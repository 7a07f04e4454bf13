"""What crosses a job's boundary in a search: a task, what earlier rounds measured, a result.

A result comes from a job that ran other people's code: it is read as hostile input, field by
field. A line of its trials says which two commits it compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ailab_bot.errors import UserError
from ailab_bot.model import strictjson as read
from ailab_bot.model.culpritwire import culprit_from_row, culprit_to_json
from ailab_bot.model.search import (
    Evidence,
    Part,
    Phase,
    Quest,
    Refusal,
    SeenBlock,
    Task,
    WorkerResult,
)
from ailab_bot.model.strictjson import Json
from ailab_bot.model.trial import Trial
from ailab_bot.model.wire import parse_trials, trial_to_json

#: The two files that a worker leaves.
RESULT, TRIALS = "search.json", "trials.jsonl"
LARGEST_RESULT_BYTES = 4 << 20
#: A finish holds the checks of a whole group: 64 scenarios of 40 blocks take 8 MB.
LARGEST_TRIALS_BYTES = 64 << 20
#: What a worker's artifact holds, each of them exactly once, and its bytes.
MEMBERS = {RESULT: LARGEST_RESULT_BYTES, TRIALS: LARGEST_TRIALS_BYTES}
#: A search's blocks, those of workers that went on beyond its capacity counted.
_MOST_BLOCKS = 5000
_MOST_MACHINES = 1000
#: Commits that cannot be measured, and characters of each reason.
MOST_SKIPPED, LONGEST_REASON = 2000, 300
#: A trial's own, after its worker's place.
_LONGEST_MACHINE = 300
#: Suspects that were refused, and commits of which each asks more blocks.
_MOST_REFUSALS, _MOST_NEEDED = 200, 8
_MOST_ALSO = 200
#: Why it was measured, base and head, and the trial.
Line = tuple[Part, str, str, Trial]
_QUEST = {"good", "bad", "scenario", "metric"}
_TASK = {
    "phase", "index", "of", "round", "labels", "timeout_minutes", "minutes", "quest", "also",
    "seed", "definitions",
}  # fmt: skip
_RESULT = {
    "schema", "quest", "index", "of", "seed", "definition", "skipped", "spent_s", "interrupted",
    "failed", "for_good", "found",
}  # fmt: skip
_EVIDENCE = {"machines", "blocks", "skipped", "trials", "spent_s", "refusals"}


def tasks_to_json(tasks: Sequence[Task]) -> str:
    """The matrix of a round's workers, one line."""
    return json.dumps([asdict(task) for task in tasks])


def task_from_json(text: str, source: str) -> Task:
    """One entry of the matrix; UserError where it is none."""
    try:
        row = read.mapping(read.load(text), "the task", _TASK)
        return Task(
            phase=read.one_of(row["phase"], "phase", Phase),
            index=read.whole(row["index"], "index", most=1000),
            of=read.whole(row["of"], "of", least=1, most=1000),
            round=read.whole(row["round"], "round", least=1, most=1000),
            labels=read.names(row["labels"], "labels"),
            timeout_minutes=read.whole(row["timeout_minutes"], "timeout_minutes", least=1),
            minutes=read.whole(row["minutes"], "minutes", least=1),
            quest=_quest(row["quest"]),
            also=read.names(row["also"], "also", least=0, most=_MOST_ALSO),
            seed=read.whole(row["seed"], "seed", most=2**31),
            definitions=read.sha(row["definitions"], "definitions"),
        )
    except read.BadJsonError as error:
        raise UserError(
            f"{source} holds no task of a search",
            why=str(error),
            advice="It must be one entry of the matrix that `ailab search-plan` puts out.",
        ) from None


def evidence_to_json(evidence: Evidence) -> str:
    """One line: what all workers of earlier rounds measured, for those of the next."""
    return json.dumps(evidence_to_row(evidence), ensure_ascii=False)


def evidence_to_row(evidence: Evidence) -> Json:
    machines = list(dict.fromkeys(block.machine for block in evidence.blocks))
    places = {machine: place for place, machine in enumerate(machines)}
    return {
        "machines": machines,
        "blocks": [
            [each.sha, each.good, each.value, places[each.machine]] for each in evidence.blocks
        ],
        "skipped": dict(evidence.skipped),
        "trials": evidence.trials,
        "spent_s": round(evidence.spent_s, 3),
        "refusals": [[each.sha, each.blocks, dict(each.needed)] for each in evidence.refusals],
    }


def evidence_from_row(value: object) -> Evidence:
    """BadJsonError where it is none."""
    row = read.mapping(value, "the evidence", _EVIDENCE)
    rows = read.items(row["machines"], "machines", most=_MOST_MACHINES)
    machines = [read.text(each, "a machine", least=0, most=_LONGEST_MACHINE) for each in rows]
    blocks = []
    for each in read.items(row["blocks"], "blocks", most=_MOST_BLOCKS):
        sha, good, seconds, place = read.items(each, "a block", least=4, most=4)
        at = read.whole(place, "a block's machine", most=len(machines) - 1)
        blocks.append(
            SeenBlock(
                read.sha(sha, "a block's commit"),
                _positive(good, "a block's time at GOOD"),
                _positive(seconds, "a block's time"),
                machines[at],
            )
        )
    return Evidence(
        tuple(blocks),
        _skipped(row["skipped"]),
        read.whole(row["trials"], "trials"),
        read.number(row["spent_s"], "spent_s"),
        tuple(
            _refusal(each) for each in read.items(row["refusals"], "refusals", most=_MOST_REFUSALS)
        ),
    )


def result_to_json(result: WorkerResult) -> str:
    """The text of search.json."""
    row: Json = {"schema": 1, **asdict(result)}
    row["found"] = culprit_to_json(result.found) if result.found is not None else None
    row["skipped"] = {sha: why[:LONGEST_REASON] for sha, why in result.skipped.items()}
    row["failed"] = result.failed[:LONGEST_REASON]
    return json.dumps(row, ensure_ascii=False, indent=1) + "\n"


def result_from_json(data: bytes) -> WorkerResult:
    """A hostile search.json; BadJsonError with the reason where it is not one."""
    value = read.load_bytes(data, most=LARGEST_RESULT_BYTES)
    row = read.mapping(value, "search.json", _RESULT)
    read.schema(row, 1)
    return WorkerResult(
        quest=_quest(row["quest"]),
        index=read.whole(row["index"], "index", most=1000),
        of=read.whole(row["of"], "of", least=1, most=1000),
        seed=read.whole(row["seed"], "seed", most=2**31),
        definition=read.text(row["definition"], "definition", least=0),
        skipped=_skipped(row["skipped"]),
        spent_s=read.number(row["spent_s"], "spent_s", most=1e7),
        interrupted=read.flag(row["interrupted"], "interrupted"),
        failed=read.text(row["failed"], "failed", least=0, most=LONGEST_REASON),
        for_good=read.flag(row["for_good"], "for_good"),
        found=None if row["found"] is None else culprit_from_row(row["found"]),
    )


def line_of(part: Part, base: str, head: str, trial: Trial) -> str:
    """One line of a worker's trials, without its end."""
    pair = f'"part": "{part}", "base": "{base}", "head": "{head}"'
    return f'{{{pair}, "trial": {trial_to_json(trial)}}}'


def lines_to_trials(data: bytes, source: str) -> tuple[Line, ...]:
    """What each line holds, in order; a last line that was cut off is none.

    BadJsonError or UserError for the first that is bad.
    """
    keys: list[tuple[Part, str, str]] = []
    texts: dict[tuple[Part, str, str], list[str]] = {}
    whole = data[: data.rfind(b"\n") + 1].decode("utf-8", "replace")
    for number, line in enumerate(whole.split("\n")[:-1], 1):
        name = f"{source}:{number}"
        row = read.mapping(read.load(line, raw_texts=True), name, {"part", "base", "head", "trial"})
        key = (
            read.one_of(row["part"], "part", Part),
            read.sha(row["base"], "base"),
            read.sha(row["head"], "head"),
        )
        keys.append(key)
        texts.setdefault(key, []).append(json.dumps(row["trial"]))
    trials = {key: iter(parse_trials(own, source)) for key, own in texts.items()}
    return tuple((*key, next(trials[key])) for key in keys)


def _quest(value: object) -> Quest:
    row = read.mapping(value, "quest", _QUEST)
    return Quest(
        read.sha(row["good"], "good"),
        read.sha(row["bad"], "bad"),
        read.text(row["scenario"], "scenario"),
        read.text(row["metric"], "metric", least=0),
    )


def _refusal(value: object) -> Refusal:
    sha, blocks, needed = read.items(value, "a refusal", least=3, most=3)
    if not isinstance(needed, dict) or len(needed) > _MOST_NEEDED:
        read.refuse(f"what a refusal needs must be an object of at most {_MOST_NEEDED} commits")
    return Refusal(
        read.sha(sha, "a refusal's commit"),
        read.whole(blocks, "a refusal's blocks", most=_MOST_BLOCKS),
        {
            read.sha(each, "a doubted commit"): read.whole(count, "its blocks", most=_MOST_BLOCKS)
            for each, count in needed.items()
        },
    )


def _skipped(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_SKIPPED:
        read.refuse(f"skipped must be an object of at most {MOST_SKIPPED} commits")
    return {
        read.sha(sha, "a commit in skipped"): read.text(why, "a reason", most=LONGEST_REASON)
        for sha, why in value.items()
    }


def _positive(value: object, name: str) -> float:
    return read.number(value, name, least=1e-9)
