"""The only JSON codec. Reads trials as hostile input; writes the documents of the public contract.

Every refusal is one UserError that names the file, the line and the reason. Nothing unknown is
dropped silently: only `metrics` and `covariates` are open to new names.

What a claim of "signature": "equal" gains whoever forges it: NO_CHANGE asks for less evidence, and
nothing else moves. A regression needs what it always needs, and one of 10 % is as good as never
missed (docs/statistics.md has the rates). Who can forge it can as well forge times, or
leave trials out, which gains more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime

from ailab_bot.errors import UserError
from ailab_bot.model import strictjson
from ailab_bot.model.calibration import Calibration, Opinion
from ailab_bot.model.diagnosis import Diagnosis
from ailab_bot.model.policy import ERROR_IN_CHANGE
from ailab_bot.model.report import Report
from ailab_bot.model.signature import Likeness
from ailab_bot.model.strictjson import BadJsonError, Json, refuse
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.verdict import Conclusion, FailureSummary, Interval, Verdict

SCHEMA = 1
#: A longer line is no trial: real ones stay below 8 KiB.
LONGEST_LINE = 1 << 20
#: Bounds of a metric other than 0: a nanosecond and below, or a million years, is no measurement.
SMALLEST, LARGEST = 1e-9, 1e18
#: Of one file: 300 scenarios of 40 blocks have 24,000. Each costs a kilobyte of memory to read.
MOST_TRIALS = 100_000
#: Lines of output kept with a failure.
MOST_TAIL_LINES = 50

_REQUIRED = {"schema", "scenario", "block", "order", "arm", "outcome"}
_OPTIONAL = {
    "metrics", "phases", "covariates", "failure", "machine", "judged", "family", "signature",
}  # fmt: skip
#: Verdicts of one change, far beyond what anybody measures: more would only weaken every verdict.
MOST_FAMILY = 10**6


def trial_to_json(trial: Trial) -> str:
    """One line, without its end."""
    row: Json = {
        "schema": SCHEMA,
        "scenario": trial.scenario,
        "block": trial.block,
        "order": trial.order,
        "arm": trial.arm.value,
        "outcome": trial.outcome.value,
    }
    if trial.machine:
        row["machine"] = trial.machine
    if trial.judged:
        row["judged"] = list(trial.judged)
    if trial.family:
        row["family"] = trial.family
    if trial.signature is not None:
        row["signature"] = trial.signature.value
    if trial.outcome is Outcome.OK:
        row["metrics"] = dict(trial.metrics)
    if trial.phases:
        row["phases"] = dict(trial.phases)
    if trial.covariates:
        row["covariates"] = dict(trial.covariates)
    if trial.failure is not None:
        row["failure"] = {
            "reason": trial.failure.reason,
            "advice": trial.failure.advice,
            "output_tail": list(trial.failure.output_tail),
        }
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def parse_trials(lines: Iterable[str], source: str) -> list[Trial]:
    """Trials in file order; blank lines are skipped. UserError for the first bad line, and beyond
    MOST_TRIALS.
    """
    trials: list[Trial] = []
    blocks: dict[tuple[str, int], list[Trial]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(trials) == MOST_TRIALS:
            raise UserError(
                f"{source} holds too many trials",
                why=f"At most {MOST_TRIALS} of one file are read; line {number} is one more.",
                advice="Divide the file, a whole scenario into one part.",
            )
        try:
            trial = _parse_trial(line)
            for other in blocks.setdefault((trial.scenario, trial.block), []):
                _check_pair(trial, other)
        except BadJsonError as error:
            raise UserError(
                f"{source}:{number}: not a trial",
                why=str(error),
                advice="Each line must be one trial as the trials.jsonl of `ailab ab` has it.",
            ) from None
        blocks[trial.scenario, trial.block].append(trial)
        trials.append(trial)
    return trials


def _check_pair(trial: Trial, other: Trial) -> None:
    if trial.arm is other.arm:
        refuse(f"block {trial.block} has a second {trial.arm.value} trial")
    if trial.order == other.order:
        refuse(f"block {trial.block} has a second trial of order {trial.order}")
    if trial.machine != other.machine:
        refuse(f"block {trial.block} ran on two machines; its times cannot be compared")


def _parse_trial(line: str) -> Trial:
    if len(line) > LONGEST_LINE:
        refuse(f"the line is longer than {LONGEST_LINE} characters")
    row = strictjson.load_object(line, raw_texts=True)
    strictjson.keys(row, _REQUIRED, _OPTIONAL)
    strictjson.schema(row, SCHEMA)
    outcome = strictjson.one_of(row["outcome"], "outcome", Outcome)
    metrics = strictjson.numbers(row.get("metrics", {}), "metrics")
    if outcome is Outcome.OK and not metrics:
        refuse("the outcome is ok, but there are no metrics")
    if outcome is not Outcome.OK and metrics:
        refuse(f"the outcome is {outcome.value}, but there are metrics")
    for name, value in metrics.items():
        if value < 0 or (name == "ttfb_s" and value == 0):
            refuse(f"{name:.40} is {value:g}; it must be positive")
        if value and not SMALLEST <= value <= LARGEST:
            refuse(f"{name:.40} is {value:g}; no measurement is that small or large")
    if outcome is Outcome.OK and "failure" in row:
        refuse("the outcome is ok, but there is a failure")
    phases = strictjson.numbers(row.get("phases", {}), "phases")
    if any(seconds < 0 for seconds in phases.values()):
        refuse("a phase is negative")
    return Trial(
        scenario=strictjson.text(row["scenario"], "scenario"),
        block=strictjson.whole(row["block"], "block"),
        order=strictjson.whole(row["order"], "order", most=1),
        arm=strictjson.one_of(row["arm"], "arm", Arm),
        outcome=outcome,
        metrics=metrics,
        phases=phases,
        covariates=strictjson.numbers(row.get("covariates", {}), "covariates"),
        failure=_failure(row["failure"]) if "failure" in row else None,
        machine=strictjson.text(row["machine"], "machine") if "machine" in row else "",
        judged=strictjson.names(row["judged"], "judged") if "judged" in row else (),
        family=strictjson.whole(row.get("family", 0), "family", most=MOST_FAMILY),
        signature=strictjson.one_of(row["signature"], "signature", Likeness)
        if "signature" in row
        else None,
    )


def _failure(value: object) -> Failure:
    if not isinstance(value, dict) or set(value) - {"reason", "advice", "output_tail"}:
        refuse("failure must be an object with reason, advice and output_tail")
    tail = value.get("output_tail", [])
    if not isinstance(tail, list) or not all(isinstance(line, str) for line in tail):
        refuse("failure.output_tail must be a list of lines")
    texts = [value.get("reason", ""), value.get("advice", "")]
    if not all(isinstance(text, str) for text in texts):
        refuse("failure.reason and failure.advice must be texts")
    reason, advice, *lines = (_whole(text) for text in [*texts, *tail[-MOST_TAIL_LINES:]])
    return Failure(reason, advice, tuple(lines))


def _whole(text: str) -> str:
    """Text that any encoder takes: halves of characters, as in raw output, are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def results_to_json(
    verdicts: Sequence[Verdict],
    failures: Sequence[FailureSummary],
    conclusion: Conclusion,
    shadow: bool = False,
) -> Json:
    """The document of `ailab judge --json`. `shadow`: no verdict blocks anything yet."""
    return {
        "schema": SCHEMA,
        "results": [_verdict(verdict) for verdict in verdicts],
        "failures": [_failure_summary(failure) for failure in failures],
        "conclusion": conclusion.value,
        "shadow": shadow,
    }


def report_to_json(report: Report) -> Json:
    """The document of `ailab ab --json`: the results and everything around them."""
    shadow = report.shadow_reason != ""
    return results_to_json(report.verdicts, report.failures, report.conclusion, shadow) | {
        "plan": {
            "scenarios": [asdict(choice) for choice in report.plan.choices],
            "basis": report.plan.basis,
            "seed": report.plan.seed,
            "capacity_s": report.plan.capacity_s,
        },
        "explanations": [
            {
                "scenario": item.scenario,
                "phases": {
                    shift.phase: {"base_s": shift.base_s, "head_s": shift.head_s}
                    for shift in item.phases
                },
                "imports_added": [vars(change) for change in item.imports_added],
                "imports_removed": [vars(change) for change in item.imports_removed],
                "note": item.note,
            }
            for item in report.explanations
        ],
        "machine": vars(report.machine),
        "commits": {"base": vars(report.base), "head": vars(report.head)},
        "policy": {
            "origin": report.policy.origin,
            "shadow": report.policy.shadow,
            "error": report.policy.error,
            "error_in_change": ERROR_IN_CHANGE,
            "max_blocks": report.policy.max_blocks,
        },
        "runner_seconds": round(report.runner_seconds, 3),
        "reproduce": report.reproduce,
        "notes": list(report.notes),
        "interrupted": report.interrupted,
    }


def diagnosis_to_json(diagnosis: Diagnosis) -> Json:
    """The document of `ailab doctor --json`. `fit`: nothing is in the way of measuring."""
    return {
        "schema": SCHEMA,
        "fit": diagnosis.fit,
        "sections": [
            {
                "title": section.title,
                "findings": [vars(f) | {"level": f.level.value} for f in section.findings],
            }
            for section in diagnosis.sections
        ],
    }


def calibration_to_json(calibration: Calibration) -> Json:
    """The document of `ailab calibrate --json`."""
    row = _jsonable(calibration)
    assert isinstance(row, dict)
    return {"schema": SCHEMA, **row, "too_noisy": sorted(calibration.too_noisy)}


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _jsonable(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_jsonable(each) for each in value]
    if is_dataclass(value):
        return {each.name: _jsonable(getattr(value, each.name)) for each in fields(value)}
    return value


def _verdict(verdict: Verdict) -> Json:
    return {
        "scenario": verdict.scenario,
        "metric": verdict.metric,
        "verdict": verdict.kind.value,
        "confirmed": verdict.confirmed,
        "effect": verdict.effect,
        "interval": _interval(verdict.interval),
        "level": verdict.level,
        "threshold": verdict.threshold,
        "blocks_used": verdict.blocks_used,
        "blocks_available": verdict.blocks_available,
        "stopped": verdict.stopped.value,
        "reason": verdict.reason,
        "confirmation_blocks": verdict.confirmation_blocks,
        "base_median": verdict.base_median,
        "head_median": verdict.head_median,
        "noise": verdict.noise,
        "p_value": verdict.p_value,
        "gates": verdict.gates,
        "margin": verdict.margin,
        "evidence": verdict.evidence,
        "pattern": verdict.pattern.value,
    }


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _failure_summary(failure: FailureSummary) -> Json:
    fields: Mapping[str, object] = vars(failure)
    return {**fields, "outcome": failure.outcome.value, "output_tail": list(failure.output_tail)}


_VERDICT_NAME = re.compile(r"[^\W_][\w.-]{0,63}:[A-Za-z_]\w{0,63}@[\w.-]{4,64}")
_OPINION = {"schema", "when", "verdict", "right", "note"}


def is_verdict_name(text: str) -> bool:
    """Whether `text` is `<scenario>:<metric>@<head or report>`."""
    return _VERDICT_NAME.fullmatch(text) is not None


def opinion_to_json(opinion: Opinion) -> str:
    """One line, without its end."""
    row: Json = {
        "schema": SCHEMA,
        "when": opinion.when.isoformat(timespec="seconds"),
        "verdict": opinion.verdict,
        "right": opinion.right,
    }
    if opinion.note:
        row["note"] = opinion.note
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def parse_opinions(lines: Iterable[str], source: str) -> tuple[Opinion, ...]:
    """Opinions in file order; blank lines are skipped. UserError for the first bad line."""
    opinions = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            opinions.append(_parse_opinion(strictjson.load_object(line, raw_texts=True)))
        except BadJsonError as error:
            raise UserError(
                f"{source}:{number}: not an opinion",
                why=str(error),
                advice="Each line must be one that `ailab feedback` wrote; delete what is not.",
            ) from None
    return tuple(opinions)


def _parse_opinion(row: Json) -> Opinion:
    strictjson.keys(row, _OPINION - {"note"}, {"note"})
    strictjson.schema(row, SCHEMA)
    right = strictjson.flag(row["right"], "right")
    name, note = strictjson.text(row["verdict"], "verdict"), row.get("note", "")
    if not is_verdict_name(name):
        refuse(f"{name!r:.80} names no verdict")
    if not isinstance(note, str):
        refuse("note must be a text")
    try:
        when = datetime.fromisoformat(strictjson.text(row["when"], "when"))
    except ValueError:
        refuse("when is not a time such as 2026-01-31T12:00:00+00:00")
    if when.tzinfo is None:
        refuse("when has no time zone")
    return Opinion(when, name, right, _whole(note))
