"""The document of `ailab bisect --json`."""

from __future__ import annotations

import math

from ailab_bot.model.culprit import Check, Culprit, RangeCommit
from ailab_bot.model.strictjson import Json


def culprit_to_json(found: Culprit) -> Json:
    """`culprit` is a SHA or null, `posterior` has a number for every commit of the range."""
    interval = found.interval
    return {
        "culprit": found.culprit.sha if found.culprit else None,
        "posterior": {sha: round(chance, 6) for sha, chance in found.posterior.items()},
        "trials": found.trials,
        "runner_seconds": round(found.runner_seconds, 3),
        "effect": _rounded(found.effect),
        "interval": [_rounded(interval.low), _rounded(interval.high)] if interval else None,
        "skipped": list(found.skipped),
        "scenario": found.scenario,
        "metric": found.metric,
        "good": found.good.sha,
        "bad": found.bad.sha,
        "ending": found.ending.value,
        "reason": found.reason,
        "author": _author(found.culprit),
        "subject": found.culprit.subject if found.culprit else None,
        "inside_merge": found.inside.sha if found.inside else None,
        "suspects": [each.sha for each in found.suspects],
        "also": [{"sha": commit.sha, "effect": _rounded(effect)} for commit, effect in found.also],
        "tested": [
            {"sha": each.sha, "effects": [_rounded(math.expm1(value)) for value in each.effects]}
            for each in found.tested
        ],
        "why_skipped": dict(found.skipped),
        "checks": [_check(each) for each in found.checks],
        "notes": list(found.notes),
        "reproduce": found.reproduce,
    }


def _author(commit: RangeCommit | None) -> Json | None:
    return None if commit is None else {"name": commit.author, "email": commit.email}


def _check(check: Check) -> Json:
    verdict = check.verdict
    return {
        "what": check.what,
        "base": check.base,
        "head": check.head,
        "held": check.held,
        "verdict": verdict.kind.value if verdict else None,
        "effect": _rounded(verdict.effect) if verdict else None,
        "blocks": verdict.blocks_used if verdict else 0,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
