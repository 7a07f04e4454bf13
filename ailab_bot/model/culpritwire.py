"""The document of `ailab bisect --json`, and what a later job reads of it.

Reads it strictly: a search's last job may have run what it blames. A verdict comes back with what
people are shown of it, and no more.
"""

from __future__ import annotations

import math

from ailab_bot.model import strictjson as read
from ailab_bot.model.culprit import Check, Culprit, Ending, Measured, RangeCommit
from ailab_bot.model.exchange import explanation_from_row, explanation_to_row
from ailab_bot.model.report import Commit
from ailab_bot.model.strictjson import Json
from ailab_bot.model.verdict import Interval, Stopped, Verdict, VerdictKind

_MOST_COMMITS = 4000
_MOST_BLOCKS = 5000
_LONGEST, _KEPT_START = 2000, 300
_DOCUMENT = {
    "culprit", "posterior", "trials", "runner_seconds", "effect", "interval", "skipped", "scenario",
    "metric", "good", "bad", "ending", "reason", "author", "parents", "subject", "inside_merge",
    "suspects", "reverted", "also", "tested", "why_skipped", "checks", "others", "explanations",
    "notes", "reproduce",
}  # fmt: skip
_CHECK = {
    "what", "scenario", "base", "head", "held", "verdict", "metric", "confirmed", "effect",
    "interval", "level", "threshold", "blocks", "why_not",
}  # fmt: skip


def culprit_to_json(found: Culprit) -> Json:
    """`culprit` is a SHA or null, `posterior` has a number for every commit of the range."""
    return {
        "culprit": found.culprit.sha if found.culprit else None,
        "posterior": {sha: round(chance, 6) for sha, chance in found.posterior.items()},
        "trials": found.trials,
        "runner_seconds": round(found.runner_seconds, 3),
        "effect": _rounded(found.effect),
        "interval": _interval(found.interval),
        "skipped": list(found.skipped),
        "scenario": found.scenario,
        "metric": found.metric,
        "good": found.good.sha,
        "bad": found.bad.sha,
        "ending": found.ending.value,
        "reason": _cut(found.reason),
        "author": _author(found.culprit),
        "parents": list(found.culprit.parents) if found.culprit else [],
        "subject": found.culprit.subject if found.culprit else None,
        "inside_merge": found.inside.sha if found.inside else None,
        "suspects": [each.sha for each in found.suspects],
        "reverted": [each.sha for each in found.reverted],
        "also": [{"sha": commit.sha, "effect": _rounded(effect)} for commit, effect in found.also],
        "tested": [
            {"sha": each.sha, "effects": [_rounded(math.expm1(value)) for value in each.effects]}
            for each in found.tested
        ],
        "why_skipped": {sha: _cut(why) for sha, why in found.skipped.items()},
        "checks": [_check(each) for each in found.checks],
        "others": [_check(each) for each in found.others],
        "explanations": [explanation_to_row(each) for each in found.explanations],
        "notes": [_cut(note) for note in found.notes],
        "reproduce": _cut(found.reproduce),
    }


def culprit_from_json(text: str) -> Culprit:
    """What `culprit_to_json` wrote; BadJsonError where it is something else."""
    return culprit_from_row(read.load(text))


def culprit_from_row(value: object) -> Culprit:
    """As much as the document holds: other commits than the culprit come back as their SHAs."""
    row = read.mapping(value, "the culprit", _DOCUMENT)
    skipped = _texts(row["why_skipped"], "why_skipped")
    ending = read.one_of(row["ending"], "ending", Ending)
    if row["culprit"] is not None and not ending.names_one:
        read.refuse(f"a search that ended {ending} names nobody")
    return Culprit(
        scenario=read.text(row["scenario"], "scenario"),
        metric=read.text(row["metric"], "metric", least=0),
        good=Commit("", read.sha(row["good"], "good")),
        bad=Commit("", read.sha(row["bad"], "bad")),
        ending=ending,
        reason=read.text(row["reason"], "reason", least=0, most=_LONGEST),
        culprit=_commit(row),
        inside=None if row["inside_merge"] is None else _bare(row["inside_merge"], "inside_merge"),
        suspects=_commits(row["suspects"], "suspects"),
        reverted=_commits(row["reverted"], "reverted"),
        also=tuple(_also(each) for each in read.items(row["also"], "also")),
        posterior=_chances(row["posterior"]),
        tested=tuple(
            _tested(each) for each in read.items(row["tested"], "tested", most=_MOST_COMMITS)
        ),
        skipped=skipped,
        effect=_effect(row["effect"], "effect"),
        interval=_read_interval(row["interval"]),
        checks=tuple(_read_check(each) for each in read.items(row["checks"], "checks")),
        others=tuple(_read_check(each) for each in read.items(row["others"], "others")),
        explanations=tuple(
            explanation_from_row(each) for each in read.items(row["explanations"], "explanations")
        ),
        trials=read.whole(row["trials"], "trials"),
        runner_seconds=read.number(row["runner_seconds"], "runner_seconds"),
        notes=tuple(
            read.text(each, "a note", least=0, most=_LONGEST)
            for each in read.items(row["notes"], "notes")
        ),
        reproduce=read.text(row["reproduce"], "reproduce", least=0, most=_LONGEST),
    )


def _cut(text: str) -> str:
    """What its reader takes. Of a set-up that fails the end says most."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_KEPT_START]} … {text[-(_LONGEST - _KEPT_START - 3) :]}"


# --- writing -----------------------------------------------------------------------------------


def _author(commit: RangeCommit | None) -> Json | None:
    return None if commit is None else {"name": commit.author, "email": commit.email}


def _check(check: Check) -> Json:
    verdict = check.verdict
    return {
        "what": check.what,
        "scenario": check.scenario,
        "base": check.base,
        "head": check.head,
        "held": check.held,
        "verdict": verdict.kind.value if verdict else None,
        "metric": verdict.metric if verdict else None,
        "confirmed": verdict.confirmed if verdict else False,
        "effect": _rounded(verdict.effect) if verdict else None,
        "interval": _interval(verdict.interval) if verdict else None,
        "level": _rounded(verdict.level) if verdict else None,
        "threshold": _rounded(verdict.threshold) if verdict else None,
        "blocks": verdict.blocks_used if verdict else 0,
        "why_not": _cut(check.why_not),
    }


def _interval(interval: Interval | None) -> list[float | None] | None:
    return [_rounded(interval.low), _rounded(interval.high)] if interval else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# --- reading -----------------------------------------------------------------------------------


def _commit(row: Json) -> RangeCommit | None:
    if row["culprit"] is None:
        return None
    author = read.mapping(row["author"], "author", {"name", "email"})
    return RangeCommit(
        read.sha(row["culprit"], "culprit"),
        tuple(read.sha(each, "a parent") for each in read.items(row["parents"], "parents")),
        read.text(author["name"], "author.name", least=0, most=_LONGEST),
        read.text(author["email"], "author.email", least=0, most=_LONGEST),
        read.text(row["subject"], "subject", least=0, most=_LONGEST * 10),
    )


def _bare(value: object, name: str) -> RangeCommit:
    return RangeCommit(read.sha(value, name), (), "", "", "")


def _commits(value: object, name: str) -> tuple[RangeCommit, ...]:
    return tuple(_bare(each, name) for each in read.items(value, name, most=_MOST_COMMITS))


def _also(value: object) -> tuple[RangeCommit, float]:
    row = read.mapping(value, "also", {"sha", "effect"})
    return _bare(row["sha"], "also.sha"), _effect(row["effect"], "also.effect") or 0.0


def _chances(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > _MOST_COMMITS:
        read.refuse(f"posterior must be an object of at most {_MOST_COMMITS} numbers")
    return {
        read.sha(sha, "a commit in posterior"): read.number(chance, "a probability", most=1.001)
        for sha, chance in value.items()
    }


def _tested(value: object) -> Measured:
    row = read.mapping(value, "tested", {"sha", "effects"})
    effects = read.items(row["effects"], "tested.effects", most=_MOST_BLOCKS)
    return Measured(
        read.sha(row["sha"], "tested.sha"),
        tuple(
            math.log1p(read.number(each, "an effect", least=-0.999999, most=1e9))
            for each in effects
        ),
    )


def _texts(value: object, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MOST_COMMITS:
        read.refuse(f"{name} must be an object of at most {_MOST_COMMITS} texts")
    return {
        read.sha(sha, f"a commit in {name}"): read.text(why, name, least=0, most=_LONGEST)
        for sha, why in value.items()
    }


def _read_check(value: object) -> Check:
    row = read.mapping(value, "a check", _CHECK)
    scenario = read.text(row["scenario"], "check.scenario", least=0)
    verdict = None
    if row["verdict"] is not None:
        blocks = read.whole(row["blocks"], "check.blocks", most=100_000)
        verdict = Verdict(
            scenario=scenario,
            metric=read.text(row["metric"], "check.metric"),
            kind=read.one_of(row["verdict"], "check.verdict", VerdictKind),
            confirmed=read.flag(row["confirmed"], "check.confirmed"),
            effect=_effect(row["effect"], "check.effect"),
            interval=_read_interval(row["interval"]),
            level=read.number(row["level"], "check.level", most=1),
            threshold=read.number(row["threshold"], "check.threshold", most=1e6),
            blocks_used=blocks,
            blocks_available=blocks,
            stopped=Stopped.DECIDED,
            reason="",
        )
    return Check(
        what=read.text(row["what"], "check.what"),
        base=read.sha(row["base"], "check.base"),
        head=read.sha(row["head"], "check.head"),
        held=read.flag(row["held"], "check.held") and verdict is not None,
        verdict=verdict,
        why_not=read.text(row["why_not"], "check.why_not", least=0, most=_LONGEST),
        scenario=scenario,
    )


def _read_interval(value: object) -> Interval | None:
    if value is None:
        return None
    low, high = read.items(value, "interval", least=2, most=2)
    return Interval(
        read.number(low, "interval.low", least=-1, most=1e9),
        read.number(high, "interval.high", least=-1, most=1e9),
    )


def _effect(value: object, name: str) -> float | None:
    return None if value is None else read.number(value, name, least=-1, most=1e9)
