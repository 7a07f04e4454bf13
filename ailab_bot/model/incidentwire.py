"""Steps of incidents as plain JSON: the body of their records, and what the hook sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ailab_bot.model import strictjson as read
from ailab_bot.model.incident import Blame, Incident, Moved, Proof, Step, What
from ailab_bot.model.strictjson import Json
from ailab_bot.model.verdict import Interval

SCHEMA = 1
_MOST = 1000
#: Of a subject, a reason or an explanation; what is longer is cut when it is written.
_LONGEST = 4000
#: Of a name: a login, a scenario, an author.
_LONGEST_NAME = 200
_STEP = {
    *("what", "at", "run", "by", "sha", "branch", "baseline", "good", "issue", "pull", "other"),
    *("moved", "blame", "text"),
}
_MOVED = {
    *("scenario", "metric", "effect", "interval", "base_median", "head_median", "blocks"),
    "threshold",
}
_BLAME = {
    *("sha", "subject", "author", "login", "pull", "probability", "ending", "inside", "also"),
    *("proofs", "why", "trials", "runner_seconds", "reproduce"),
}
_PROOF = {"what", "held", "effect", "interval", "blocks"}


def steps_to_body(incident: str, steps: Sequence[Step]) -> Json:
    """The body of one record: steps of one incident that one run took."""
    return {"schema": SCHEMA, "incident": incident, "steps": [_step_row(each) for each in steps]}


def steps_from_body(body: Mapping[str, object]) -> tuple[Step, ...]:
    """BadJsonError where it is none of ours."""
    row = read.mapping(dict(body), "the body", {"schema", "incident", "steps"})
    read.schema(row, SCHEMA)
    name = read.text(row["incident"], "incident")
    return tuple(_step(name, each) for each in read.items(row["steps"], "steps", most=_MOST))


def incident_to_json(incident: Incident) -> Json:
    """What is told of an incident to other programs. Times are ISO 8601 in UTC."""
    blame = incident.blame
    return {
        "id": incident.id,
        "state": incident.state.value,
        "branch": incident.branch,
        "baseline": incident.baseline,
        "good": incident.good,
        "bad": incident.bad,
        "issue": incident.issue or None,
        "fix": incident.fix or None,
        "acknowledged_by": incident.acknowledged_by or None,
        "moved": [_moved_row(each) for each in incident.moved],
        "culprit": None if blame is None else _blame_row(blame),
        "times": {state.value: at.isoformat() for state, at in incident.times.items()},
    }


def _step_row(step: Step) -> Json:
    return {
        "what": step.what.value,
        "at": step.at.isoformat(),
        "run": step.run,
        "by": step.by[:_LONGEST_NAME],
        "sha": step.sha,
        "branch": step.branch[:_LONGEST],
        "baseline": step.baseline,
        "good": step.good,
        "issue": step.issue,
        "pull": step.pull,
        "other": step.other,
        "moved": [_moved_row(each) for each in step.moved[:_MOST]],
        "blame": None if step.blame is None else _blame_row(step.blame),
        "text": step.text[:_LONGEST],
    }


def _moved_row(moved: Moved) -> Json:
    return {
        "scenario": moved.scenario,
        "metric": moved.metric,
        "effect": moved.effect,
        "interval": _pair(moved.interval),
        "base_median": moved.base_median,
        "head_median": moved.head_median,
        "blocks": moved.blocks,
        "threshold": moved.threshold,
    }


def _blame_row(blame: Blame) -> Json:
    return {
        "sha": blame.sha,
        "subject": blame.subject[:_LONGEST],
        "author": blame.author[:_LONGEST],
        "login": blame.login,
        "pull": blame.pull,
        "probability": blame.probability,
        "ending": blame.ending,
        "inside": blame.inside,
        "also": list(blame.also[:_MOST]),
        "proofs": [
            {
                "what": proof.what[:_LONGEST_NAME],
                "held": proof.held,
                "effect": proof.effect,
                "interval": _pair(proof.interval),
                "blocks": proof.blocks,
            }
            for proof in blame.proofs[:_MOST]
        ],
        "why": [each[:_LONGEST] for each in blame.why[:_MOST]],
        "trials": blame.trials,
        "runner_seconds": blame.runner_seconds,
        "reproduce": blame.reproduce[:_LONGEST],
    }


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _step(incident: str, value: object) -> Step:
    row = read.mapping(value, "a step", _STEP)
    return Step(
        incident=incident,
        what=read.one_of(row["what"], "what", What),
        at=_time(row["at"]),
        run=read.whole(row["run"], "run", most=10**15),
        by=read.text(row["by"], "by", least=0),
        sha=_sha(row["sha"], "sha"),
        branch=read.text(row["branch"], "branch", least=0, most=_LONGEST),
        baseline=_sha(row["baseline"], "baseline"),
        good=_sha(row["good"], "good"),
        issue=read.whole(row["issue"], "issue"),
        pull=read.whole(row["pull"], "pull"),
        other=read.text(row["other"], "other", least=0),
        moved=tuple(_moved(each) for each in read.items(row["moved"], "moved", most=_MOST)),
        blame=None if row["blame"] is None else _blame(row["blame"]),
        text=read.text(row["text"], "text", least=0, most=_LONGEST),
    )


def _moved(value: object) -> Moved:
    row = read.mapping(value, "moved", _MOVED)
    return Moved(
        scenario=read.text(row["scenario"], "scenario"),
        metric=read.text(row["metric"], "metric"),
        effect=read.number(row["effect"], "effect", least=-1.0),
        interval=_interval(row["interval"]),
        base_median=_maybe(row["base_median"], "base_median"),
        head_median=_maybe(row["head_median"], "head_median"),
        blocks=read.whole(row["blocks"], "blocks"),
        threshold=read.number(row["threshold"], "threshold"),
    )


def _blame(value: object) -> Blame:
    row = read.mapping(value, "blame", _BLAME)
    return Blame(
        sha=read.sha(row["sha"], "blame.sha"),
        subject=read.text(row["subject"], "subject", least=0, most=_LONGEST),
        author=read.text(row["author"], "author", least=0, most=_LONGEST),
        login=read.text(row["login"], "login", least=0),
        pull=read.whole(row["pull"], "pull"),
        probability=read.number(row["probability"], "probability", most=1.0),
        ending=read.text(row["ending"], "ending"),
        inside=_sha(row["inside"], "inside"),
        also=tuple(read.sha(each, "also") for each in read.items(row["also"], "also", most=_MOST)),
        proofs=tuple(_proof(each) for each in read.items(row["proofs"], "proofs", most=_MOST)),
        why=tuple(
            read.text(each, "why", least=0, most=_LONGEST)
            for each in read.items(row["why"], "why", most=_MOST)
        ),
        trials=read.whole(row["trials"], "trials"),
        runner_seconds=read.number(row["runner_seconds"], "runner_seconds"),
        reproduce=read.text(row["reproduce"], "reproduce", least=0, most=_LONGEST),
    )


def _proof(value: object) -> Proof:
    row = read.mapping(value, "a proof", _PROOF)
    return Proof(
        what=read.text(row["what"], "what"),
        held=read.flag(row["held"], "held"),
        effect=None if row["effect"] is None else read.number(row["effect"], "effect", least=-1.0),
        interval=_interval(row["interval"]),
        blocks=read.whole(row["blocks"], "blocks"),
    )


def _interval(value: object) -> Interval | None:
    if value is None:
        return None
    low, high = read.items(value, "interval", least=2, most=2)
    return Interval(
        read.number(low, "interval", least=-1.0), read.number(high, "interval", least=-1.0)
    )


def _maybe(value: object, name: str) -> float | None:
    return None if value is None else read.number(value, name)


def _sha(value: object, name: str) -> str:
    return "" if value == "" else read.sha(value, name)


def _time(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(read.text(value, "at"))
    except ValueError:
        read.refuse("at is not a time such as 2026-01-31T12:00:00+00:00")
    if at.tzinfo is None:
        read.refuse("at has no time zone")
    return at
