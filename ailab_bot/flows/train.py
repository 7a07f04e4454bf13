"""`ailab train`: what the ledger teaches about which scenarios a change moves.

records -> labelled pairs -> model -> compared on what came later with the weights set by hand.
Releases and nightly runs are truth. What a pull request measured was chosen by the plan itself, so
it counts by the propensity that the plan logged, and not at all where it logged none. The same
records give the same model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.ledger.records import BASELINE_ORIGINS, Kind, Origin, Record
from ailab_bot.ledger.store import Store
from ailab_bot.model.learned import Learned, TrainingReport, Written, learned_to_json
from ailab_bot.plan.examples import Example
from ailab_bot.plan.past import Outcome, Past
from ailab_bot.plan.planlog import LoggedChoice, choices_of
from ailab_bot.plan.value import Logged, Value, value_of

#: Where the model lies in the repository that it was trained for.
NAME = "selection.json"
#: The metric that decides whether a scenario was moved; others only add movements.
_FIRST_METRIC = "ttfb_s"
#: Truth from a pull request is used down to this propensity; below it one label would stand for
#: more pairs than it can.
_LEAST_PROPENSITY = 0.02


@dataclass(frozen=True)
class Labels:
    """What the records hold. `passed_over`: how many measurements taught nothing, by reason."""

    examples: tuple[Example, ...]
    outcomes: tuple[Outcome, ...]
    log: tuple[Logged, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """`model` is None where the weights set by hand stay. `value`: what the plans of pull requests
    found of what there was, estimated."""

    model: Learned | None
    report: TrainingReport
    past: Past
    value: Value


def train(records: Iterable[Record]) -> Trained:
    """Records of kinds PLAN and VERDICT, in any order; others are passed over."""
    from ailab_bot.plan.learn import learn  # noqa: PLC0415 - numpy, and plans read labels too

    labels = labels_of(records)
    model, report = learn(labels.examples)
    notes = [f"{n} measurements {why}." for why, n in sorted(labels.passed_over.items())]
    value = value_of(labels.log)
    if value.recall is not None and value.error is not None:
        notes.append(
            f"Plans of pull requests found {value.recall:.0%} (±{2 * value.error:.0%}) of the "
            f"relevant effects, by {value.measured} measurements and their propensities."
        )
    past = Past().with_outcomes(labels.outcomes)
    return Trained(model, replace(report, notes=(*report.notes, *notes)), past, value)


def read_and_train(store: Store) -> tuple[Trained, Mapping[str, int]]:
    """From all plans and verdicts of the ledger; and what of it could not be read, by reason."""
    skipped: Counter[str] = Counter()
    trained = train(store.read(skipped, (Kind.PLAN, Kind.VERDICT)))
    return trained, dict(skipped)


def labels_of(records: Iterable[Record]) -> Labels:
    """Plans and verdicts of one run and scenario, brought together."""
    plans: dict[tuple[str, str, int], tuple[int, dict[str, LoggedChoice]]] = {}
    measured: dict[tuple[str, str, int, str], Record] = {}
    for record in records:
        key = (record.sha, record.base, record.run)
        if record.kind is Kind.PLAN:
            known = plans.get(key)
            if known is None or known[0] <= record.attempt:
                plans[key] = (record.attempt, {c.scenario: c for c in choices_of(record.body)})
        elif record.kind is Kind.VERDICT and record.scenario:
            before = measured.get((*key, record.scenario))
            if before is None or before.attempt <= record.attempt:
                measured[*key, record.scenario] = record
    examples, outcomes, log = [], [], []
    passed_over: Counter[str] = Counter()
    for record in sorted(measured.values(), key=_order):
        if record.origin is Origin.LOCAL:
            passed_over["were made at a desk, and teach nothing"] += 1
            continue
        moved = _moved(record.verdicts)
        choice = plans.get((record.sha, record.base, record.run), (0, {}))[1].get(record.scenario)
        if record.origin is Origin.PULL_REQUEST and choice is not None and choice.propensity:
            log.append(Logged(record.sha, record.scenario, choice.propensity, moved))
        if moved is None:
            passed_over["ended without a clear verdict"] += 1
            continue
        outcomes.append(
            Outcome(
                record.sha, record.when, choice.paths if choice else (), record.scenario, moved,
                record.runner_seconds or None, origin=record.origin.value,
            )
        )  # fmt: skip
        if choice is None or not choice.features:
            passed_over["have no plan with today's features"] += 1
            continue
        weight = _weight(record, choice)
        if weight is None:
            passed_over["of pull requests have no usable propensity"] += 1
            continue
        cost_s = choice.cost_s or record.runner_seconds or 1.0
        examples.append(
            Example(
                record.when, f"{record.base}..{record.sha}", record.scenario, choice.features,
                moved, cost_s, weight,
            )
        )  # fmt: skip
    return Labels(tuple(examples), tuple(outcomes), tuple(log), dict(passed_over))


def _order(record: Record) -> tuple[object, ...]:
    return (record.when, record.sha, record.base, record.run, record.scenario)


def _moved(verdicts: Sequence[Mapping[str, object]]) -> bool | None:
    """Whether any metric has a confirmed effect; None where nobody knows."""
    words = {str(each.get("metric")): each for each in verdicts}
    for each in words.values():
        if each.get("verdict") in {"REGRESSION", "IMPROVEMENT"} and each.get("confirmed") is True:
            return True
    first = words.get(_FIRST_METRIC) or next(iter(words.values()), {})
    return False if first.get("verdict") == "NO_CHANGE" else None


def _weight(record: Record, choice: LoggedChoice) -> float | None:
    if record.origin in BASELINE_ORIGINS:
        return 1.0
    if choice.propensity is None or choice.propensity < _LEAST_PROPENSITY:
        return None
    return 1.0 / choice.propensity


def write_model(trained: Trained, path: Path) -> Written:
    """UserError where the file cannot be written.

    A model that is no better any more is removed; where labels were too few to tell, it stays.
    """
    try:
        there = path.exists()
        if trained.model is None:
            if there and trained.report.tested:
                path.unlink()
                return Written.REMOVED
            return Written.NOTHING
        text = learned_to_json(trained.model)
        if there and path.read_bytes() == text.encode():
            return Written.UNCHANGED
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}", why=str(error), advice="Name another file with --out."
        ) from error
    return Written.NEW
