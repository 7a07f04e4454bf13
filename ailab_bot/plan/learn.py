"""Learns from measured outcomes how to correct the weights set by hand, and whether that is better.

Trained on the past and compared on what came later, never on a mixture: a change's neighbours in
time know too much about it. Refuses to be used for planning: it takes seconds, and scipy's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ailab_bot.model.learned import CalibrationRow, Learned, RecallRow, TrainingReport
from ailab_bot.plan.examples import Example
from ailab_bot.plan.features import INDEX, NAMES, VERSION
from ailab_bot.plan.predict import LEAST, MOST, corrected, log_odds_by_hand, terms_of
from ailab_bot.stats.calibrate_probability import bins_of, brier, calibration_error
from ailab_bot.stats.logistic import fit_logistic, fit_platt, sigmoid

Array = NDArray[np.float64]

#: Fewer labelled pairs, or fewer with an effect, and the later part cannot tell which is better:
#: of 30 effects it holds about 8.
LEAST_LABELS, LEAST_MOVED = 200, 30
#: The later part of the labels is what models are compared on.
TESTED_PART = 0.25
#: The earlier part chooses how much to learn: trained up to each of these, tried up to the next.
_FOLDS = (0.4, 0.6, 0.8, 1.0)
#: Strengths of the ridge that are tried, in rows: standardised columns need no finer steps. With
#: _LEVEL nothing is learned but the calibration of the weights set by hand.
_RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_LEVEL = float("inf")
#: A column that is not 0 in fewer rows is not looked at.
_LEAST_ROWS = 15
#: A model has to be better by so many standard errors of the difference, which are taken over
#: changes: one change's scenarios are no independent witnesses. Without any true gain 16 of 100
#: trainings would pass; one that is worse by its own variance passes more seldom.
_BETTER_BY = 1.0
#: How much the error of calibration may exceed that of the weights set by hand: about its own error
#: with a hundred faulty changes.
_CALIBRATION_SLACK = 0.01
#: A label drawn with a small propensity stands for many, but for no more than these.
MOST_WEIGHT = 20.0
_COSTS = (0.1, 0.25, 0.5)
#: Beside the features: bends of the share's effect, and what may matter more in a hot place.
_MORE_TERMS = (
    "log_share>1", "log_share>2", "log_share>2.7", "log_share>3.3",
    "log_share*new_loop", "log_share*new_files", "log_share*module_body",
    "log_share*pair_history", "log_share*lately", "log_share*log_functions",
    "log_share*path_history", "log_share*scenario_history", "module_body*new_heavy_import",
    "dependency*scenario_history", "dependency*path_history", "dependency*pair_history",
    "content*pair_history", "share*share",
    "expected>1.5", "expected>2.5", "expected>3.5", "expected*pair_history", "expected*lately",
    "expected*scenario_history", "expected*counted_share",
)  # fmt: skip
_TERMS = (*(name for name in NAMES if name != "proved"), *_MORE_TERMS)


@dataclass(frozen=True)
class _Part:
    """Examples as columns, in time's order."""

    values: Array
    moved: Array
    weights: Array
    costs: Array
    changes: NDArray[np.int64]
    days: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.moved)

    def upto(self, end: int) -> _Part:
        return self._cut(slice(None, end))

    def since(self, start: int) -> _Part:
        return self._cut(slice(start, None))

    def _cut(self, rows: slice) -> _Part:
        return _Part(
            self.values[rows], self.moved[rows], self.weights[rows], self.costs[rows],
            self.changes[rows], self.days[rows],
        )  # fmt: skip

    def boundary(self, part: float) -> int:
        """Where about `part` of the rows lie before, and no change on both sides."""
        place = int(len(self) * part)
        while 0 < place < len(self) and self.changes[place] == self.changes[place - 1]:
            place += 1
        return place


def learn(examples: Sequence[Example]) -> tuple[Learned | None, TrainingReport]:
    """A model where it is better than the weights set by hand, and in any case the report."""
    proofs = [each for each in examples if each.features[INDEX["proved"]] > 0]
    part = _columns([each for each in examples if each.features[INDEX["proved"]] <= 0])
    notes = _notes(proofs)
    labels, moved = len(part), int(part.moved.sum())
    if labels < LEAST_LABELS or moved < LEAST_MOVED:
        why = (
            f"{labels} labelled pairs with {moved} relevant effects are too few to learn from; "
            f"{LEAST_LABELS} with {LEAST_MOVED} are needed. The weights set by hand stay."
        )
        return None, TrainingReport(labels, moved, 0, 0, False, why, *_days(part), notes=notes)
    cut = part.boundary(1 - TESTED_PART)
    earlier, later = part.upto(cut), part.since(cut)
    if not 0 < later.moved.sum() < len(later) or not 0 < earlier.moved.sum() < cut:
        why = "The later part of the labels has no effect, or nothing else. The weights stay."
        return None, TrainingReport(labels, moved, len(later), int(later.moved.sum()), False, why,
                                    *_days(part), notes=notes)  # fmt: skip
    ridge = _tune(earlier)
    by_hand = _chances(log_odds_by_hand(later.values))
    said = _chances(_log_odds(later, _fit(earlier, ridge)))
    chosen = _is_better(said, by_hand, later) and (
        calibration_error(said, later.moved, later.weights)
        <= calibration_error(by_hand, later.moved, later.weights) + _CALIBRATION_SLACK
    )
    score = round(brier(said, later.moved, later.weights), 6)
    score_by_hand = round(brier(by_hand, later.moved, later.weights), 6)
    report = TrainingReport(
        labels, moved, len(later), int(later.moved.sum()), chosen, _why(chosen, ridge),
        *_days(part),
        brier=score, brier_by_hand=score_by_hand,
        calibration_error=round(calibration_error(said, later.moved, later.weights), 6),
        calibration_error_by_hand=round(
            calibration_error(by_hand, later.moved, later.weights), 6
        ),
        recall=tuple(
            RecallRow(cost, _recall(by_hand, later, cost), _recall(said, later, cost))
            for cost in _COSTS
        ),
        calibration=tuple(
            CalibrationRow(
                each.low, each.high, each.count, round(each.said, 6), round(each.happened, 6)
            )
            for each in bins_of(said, later.moved, later.weights)
        ),
        notes=notes,
    )  # fmt: skip
    if not chosen:
        return None, report
    # What is used afterwards knows the latest labels, too.
    return replace(_fit(part, ridge), brier=score, brier_by_hand=score_by_hand), report


def fitted(examples: Sequence[Example]) -> Learned:
    """A model of all of these, whether it is better or not: for benchmarks."""
    part = _columns([each for each in examples if each.features[INDEX["proved"]] <= 0])
    return _fit(part, _tune(part))


def _why(chosen: bool, ridge: float) -> str:
    what = "the weights set by hand, recalibrated," if ridge == _LEVEL else "learned weights"
    if chosen:
        return f"On labels that came later {what} predict better than the weights set by hand."
    return (
        "On labels that came later nothing learned predicts better than the weights set by hand, "
        "by more than chance does: they stay."
    )


def _notes(proofs: Sequence[Example]) -> tuple[str, ...]:
    wrong = sorted({each.scenario for each in proofs if each.moved})
    if not proofs:
        return ()
    if not wrong:
        return (f"{len(proofs)} measurements checked proofs, and none found an effect.",)
    found = sum(each.moved for each in proofs)
    note = (
        f"{found} of {len(proofs)} measurements that checked a proof found an effect: "
        f"false alarms, or the elimination misses something ({', '.join(wrong[:5])})."
    )
    return (note,)


def _columns(examples: Sequence[Example]) -> _Part:
    """A change stands where its first label came: a later attempt gives some of its scenarios a
    later time, and with that alone it would be both learned from and tested on."""
    begun: dict[str, datetime] = {}
    for each in examples:
        begun[each.change] = min(each.when, begun.get(each.change, each.when))
    rows = sorted(examples, key=lambda each: (begun[each.change], each.change, each.scenario))
    numbers: dict[str, int] = {}
    return _Part(
        np.array([each.features for each in rows], dtype=np.float64).reshape(-1, len(NAMES)),
        np.array([float(each.moved) for each in rows]),
        np.array([min(max(each.weight, 0.0), MOST_WEIGHT) for each in rows]),
        np.array([max(each.cost_s, 1e-3) for each in rows]),
        np.array([numbers.setdefault(each.change, len(numbers)) for each in rows], dtype=np.int64),
        tuple(begun[each.change].date().isoformat() for each in rows),
    )


def _days(part: _Part) -> tuple[str, str]:
    return (part.days[0], part.days[-1]) if part.days else ("", "")


def _tune(earlier: _Part) -> float:
    """The ridge under which what came next was likeliest, time after time."""
    cuts = [earlier.boundary(part) for part in _FOLDS]
    losses = dict.fromkeys((_LEVEL, *reversed(_RIDGES)), 0.0)
    for end, until in pairwise(cuts):
        first, following = earlier.upto(end), earlier.upto(until).since(end)
        for ridge in losses:
            log_odds = _log_odds(following, _fit(first, ridge))
            loss = np.logaddexp(0.0, log_odds) - following.moved * log_odds
            losses[ridge] += float(following.weights @ loss)
    return min(losses, key=lambda ridge: losses[ridge])  # of equals the one that learns least


def _fit(part: _Part, ridge: float) -> Learned:
    """Scenarios of one change are no independent witnesses: each counts the less the more there
    are, by the root of their number."""
    per_change = np.bincount(part.changes)[part.changes]
    witness = part.weights / np.sqrt(per_change)
    witness *= part.weights.sum() / max(float(witness.sum()), 1e-12)
    by_hand = log_odds_by_hand(part.values)
    about = (len(part), int(part.moved.sum()), *_days(part), 0.0, 0.0)
    if ridge == _LEVEL:
        slope, shift = _short(np.array(fit_platt(by_hand, part.moved, part.weights)))
        return Learned(VERSION, NAMES, (), (), (), (), 0.0, slope, shift, *about)
    columns = terms_of(part.values, _TERMS)
    often = ((columns != 0).sum(axis=0) >= _LEAST_ROWS) & (columns.std(axis=0) > 0)
    used = [number for number in range(len(_TERMS)) if often[number]]
    columns = columns[:, used]
    total = max(float(part.weights.sum()), 1e-12)
    means = part.weights @ columns / total
    scales = np.sqrt(part.weights @ (columns - means) ** 2 / total)
    scales = np.where(scales > 1e-6, scales, 1.0)
    intercept, weights = fit_logistic(
        (columns - means) / scales, part.moved, weights=witness, offset=by_hand, ridge=ridge
    )
    terms = tuple(_TERMS[number] for number in used)
    (shift,) = _short(np.array([intercept]))
    return Learned(
        VERSION, NAMES, terms, _short(means), _short(scales), _short(weights), shift, 1.0, 0.0,
        *about,
    )  # fmt: skip


def _short(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{each:.6g}") for each in values)


def _log_odds(part: _Part, model: Learned) -> Array:
    return corrected(log_odds_by_hand(part.values), part.values, model)


def _chances(log_odds: Array) -> Array:
    return np.clip(sigmoid(log_odds), LEAST, MOST)


def _is_better(one: Array, two: Array, part: _Part) -> bool:
    """Whether `one` has smaller squared errors than `two`, by more than chance does."""
    gain = part.weights * ((two - part.moved) ** 2 - (one - part.moved) ** 2)
    by_change = np.bincount(part.changes - part.changes.min(), weights=gain)
    error = float(np.sqrt((by_change**2).sum()))
    return float(by_change.sum()) > _BETTER_BY * error


def _recall(said: Array, part: _Part, cost: float) -> float:
    """Ranked by probability per second over the whole part; ties by row."""
    order = np.argsort(-np.round(said / part.costs, 12), kind="stable")
    spent = np.cumsum((part.costs * part.weights)[order])
    taken = order[spent <= cost * spent[-1] * (1 + 1e-12)]
    found = float((part.weights * part.moved)[taken].sum())
    return round(found / float(part.weights @ part.moved), 4)
