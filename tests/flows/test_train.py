"""`ailab train`: which records teach, what is compared, and what becomes of the file."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from ailab_bot.errors import UserError
from ailab_bot.flows.train import Trained, labels_of, train, write_model
from ailab_bot.ledger.records import Kind, Origin, Record, read_record, record_to_json
from ailab_bot.model.learned import Written, learned_from_json, report_to_row
from ailab_bot.model.report import Choice, Plan, Why
from ailab_bot.plan.features import INDEX, NAMES, Features
from ailab_bot.plan.planlog import body_of
from ailab_bot.plan.predict import predict
from ailab_bot.plan.relation import Finding, How, Relation, Touch
from ailab_bot.report.train import print_training

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FINDING = Finding(Relation.TOUCHED, "", (Touch("m.py", How.CODE, ("f",), 0.1),))


def features(**values: float) -> Features:
    found = [0.0] * len(NAMES)
    for name, value in values.items():
        found[INDEX[name]] = value
    return tuple(found)


def pair(
    number: int = 0,
    verdict: str = "NO_CHANGE",
    *,
    scenario: str = "a",
    propensity: float = 1.0,
    origin: Origin = Origin.RELEASE,
    seen: Features | None = None,
    confirmed: bool = True,
    attempt: int = 1,
) -> list[Record]:
    """The plan's record and the verdict's, as two jobs of one run write them."""
    values = features(code=1, log_share=2) if seen is None else seen
    choice = Choice(scenario, True, "r", Why.PREDICTED, 0.1, propensity, 100.0)
    body = body_of(Plan((choice,), 7), {scenario: values} if values else {}, {scenario: FINDING})
    common = Record(
        f"{number:040x}", "f" * 40, "", number + 1, attempt, NOON + timedelta(hours=number),
        origin=origin,
    )  # fmt: skip
    measured = {"metric": "ttfb_s", "verdict": verdict, "confirmed": confirmed}
    return [
        replace(common, kind=Kind.PLAN, body=body),
        replace(common, scenario=scenario, verdicts=(measured,), runner_seconds=90.0),
    ]


def nightly(seed: int, count: int = 1600) -> Iterator[Record]:
    """Loops decide here, which the hand-set weights do not believe."""
    dice = random.Random(seed)
    for number in range(count):
        loop = float(dice.random() < 0.3)
        seen = features(code=1, log_share=dice.uniform(0, 3), new_loop=loop)
        moved = dice.random() < (0.35 if loop else 0.01)
        yield from pair(number, "REGRESSION" if moved else "NO_CHANGE", seen=seen)


def test_a_release_is_truth_and_counts_once() -> None:
    labels = labels_of(pair(verdict="REGRESSION"))
    (example,) = labels.examples
    assert (example.moved, example.weight, example.cost_s) == (True, 1.0, 100.0)
    (outcome,) = labels.outcomes
    assert (outcome.paths, outcome.cost_s, outcome.origin) == (("m.py",), 90.0, "release")


@pytest.mark.parametrize(
    ("verdict", "confirmed", "moved"),
    [("REGRESSION", True, True), ("IMPROVEMENT", True, True), ("NO_CHANGE", False, False),
     ("REGRESSION", False, None), ("INCONCLUSIVE", False, None), ("FASTER", True, None)],
)  # fmt: skip
def test_only_clear_verdicts_are_labels(verdict: str, confirmed: bool, moved: bool | None) -> None:
    labels = labels_of(pair(verdict=verdict, confirmed=confirmed))
    assert [each.moved for each in labels.examples] == ([] if moved is None else [moved])
    assert bool(labels.passed_over) == (moved is None)


def test_a_pull_request_counts_by_its_propensity_and_never_as_truth_of_the_past() -> None:
    labels = labels_of(pair(verdict="REGRESSION", propensity=0.25, origin=Origin.PULL_REQUEST))
    assert labels.examples[0].weight == 4.0
    trained = train(pair(verdict="REGRESSION", propensity=0.25, origin=Origin.PULL_REQUEST))
    assert trained.past.expected_s("a") == 90
    assert not trained.past.scenarios
    assert not trained.past.pairs


def test_a_pull_request_without_a_propensity_teaches_no_probability() -> None:
    for propensity in (0.0, 0.001):
        rows = pair(verdict="REGRESSION", propensity=propensity, origin=Origin.PULL_REQUEST)
        assert labels_of(rows).examples == ()
    assert labels_of(pair(origin=Origin.LOCAL)).examples == ()


def test_a_verdict_without_a_plan_teaches_rates_but_no_weights() -> None:
    labels = labels_of(pair(verdict="REGRESSION")[1:])
    assert labels.examples == ()
    assert len(labels.outcomes) == 1
    assert labels.passed_over == {"have no plan with today's features": 1}


def test_features_of_another_version_are_passed_over() -> None:
    plan, verdict = pair()
    old = replace(plan, body={**plan.body, "features": 0})
    assert labels_of([old, verdict]).examples == ()


def test_of_two_attempts_the_later_one_counts_in_any_order() -> None:
    rows = [*pair(verdict="NO_CHANGE"), *pair(verdict="REGRESSION", attempt=2)]
    for order in (rows, rows[::-1]):
        (example,) = labels_of(order).examples
        assert example.moved
    later_plan = pair(attempt=2, seen=features(code=1, share=0.5))
    for order in ([*pair(), *later_plan], [*later_plan, *pair()]):
        (example,) = labels_of(order).examples
        assert example.features[INDEX["share"]] == 0.5


def test_what_was_logged_survives_the_ledger() -> None:
    rows = [read_record(record_to_json(each).encode()) for each in pair(verdict="REGRESSION")]
    assert labels_of(rows).examples == labels_of(pair(verdict="REGRESSION")).examples


def test_an_empty_ledger_is_a_clear_message() -> None:
    trained = train([])
    assert trained.model is None
    assert "0 labelled pairs" in trained.report.why
    assert "200 with 30 are needed" in " ".join(shown(trained, Written.NOTHING).split())


def test_what_nights_teach_is_used_afterwards(tmp_path: Path) -> None:
    trained = train(nightly(1))
    assert trained.report.chosen
    where = tmp_path / ".ailab" / "selection.json"
    assert write_model(trained, where) is Written.NEW
    model = learned_from_json(where.read_text())
    loop, plain = predict([features(code=1, new_loop=1), features(code=1)], model)
    assert loop > 5 * plain
    assert trained.report.recall[1].learned > trained.report.recall[1].by_hand


def test_training_again_changes_nothing(tmp_path: Path) -> None:
    where = tmp_path / "selection.json"
    write_model(train(nightly(1)), where)
    before = where.read_bytes()
    mixed = list(nightly(1))
    random.Random(3).shuffle(mixed)
    assert write_model(train(mixed), where) is Written.UNCHANGED
    assert where.read_bytes() == before


def test_a_model_that_is_no_better_any_more_is_removed_but_not_for_want_of_labels(
    tmp_path: Path,
) -> None:
    where = tmp_path / "selection.json"
    trained = train(nightly(1))
    write_model(trained, where)
    assert write_model(train([]), where) is Written.NOTHING
    assert where.exists()
    worse = Trained(None, replace(trained.report, chosen=False), trained.past, trained.value)
    assert write_model(worse, where) is Written.REMOVED
    assert not where.exists()


def test_a_place_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_model(train(nightly(1)), tmp_path / "file" / "selection.json")


def test_what_plans_found_is_estimated_from_propensities() -> None:
    rows = []
    for number in range(40):
        often = number % 4 != 0
        rows += pair(
            number, "REGRESSION", propensity=1.0 if often else 0.25, origin=Origin.PULL_REQUEST
        )
    trained = train(rows)
    # 30 sure ones, and 10 that stand for 40.
    assert trained.value.recall == pytest.approx(40 / 70)
    assert any("Plans of pull requests found 57%" in note for note in trained.report.notes)


def shown(trained: Trained, written: Written) -> str:
    console = Console(file=io.StringIO(), width=90, color_system=None)
    print_training(trained.report, Path("selection.json"), written, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_people_see_both_predictors_and_what_is_used() -> None:
    trained = train(nightly(1))
    text = shown(trained, Written.NEW)
    assert "1600 labelled pairs" in text
    assert "found at 25% of the cost" in text
    assert "Brier score" in text
    assert "learned weights predict better" in text
    assert "Written to selection.json" in text
    assert "removed" in shown(trained, Written.REMOVED)


def test_the_report_is_plain_json() -> None:
    row = report_to_row(train(nightly(1)).report)
    assert row["schema"] == 1
    assert row["chosen"] is True
    assert {"brier", "brier_by_hand", "recall", "calibration", "why"} <= set(row)
