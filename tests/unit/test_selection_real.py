"""The benchmark on real histories: its storage gives back what was recorded, its figures add up."""

from __future__ import annotations

import numpy as np
import selection_real  # first: it makes the modules beside the histories importable
from confirm import chosen
from derive import of_row
from derive import to_row as commit_row
from footprints import apply, difference, from_row, signature_of, signature_row, to_row
from selection_real import (
    Rates,
    costs_of,
    pairs_of,
    recall,
    recall_by_change,
    recall_by_limit,
    timing_of,
)
from stored import history_of, moved_by

from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.plan.features import INDEX
from ailab_bot.plan.past import Outcome

SIGNATURE = Signature(100, 6000, 4000, 3, 5000, 0, "aa")
FOOTPRINT = Footprint(
    scenario="train", sha="1" * 40, python="3.11.7",
    files={"pkg/a.py": frozenset({Use.IMPORTED}), "b.yml": frozenset({Use.OPENED, Use.IMPORTED})},
    folders=frozenset({""}), missing=frozenset({"pkg/c.py"}), search=("",),
    modules=frozenset({"pkg", "pkg.a"}),
    functions={"pkg/a.py": {"<module>": Executed(1, 0.25), "C.f": Executed(7, 0.031)}},
    distributions={"numpy": "1.23.5"}, variables=frozenset({"HOME"}), signature=SIGNATURE,
)  # fmt: skip


def line(sha: str, scenario: str = "train", **more: object) -> dict[str, object]:
    return {"sha": sha, "scenario": scenario, **more}


def recorded(sha: str, calls: int, moved: dict[str, object]) -> dict[str, object]:
    row = [100, calls, 4000, 3, 5000, 0, f"{calls}"]
    return line(sha, outcome="ok", signature=row, moved=moved, ttfb_s=0.2)


def test_a_footprint_comes_back_from_its_row() -> None:
    row = to_row(FOOTPRINT)

    assert from_row(row, "train", "1" * 40, SIGNATURE) == FOOTPRINT
    assert signature_of(signature_row(SIGNATURE)) == SIGNATURE


def test_a_footprint_comes_back_from_what_differs_from_the_one_before() -> None:
    old, new = to_row(FOOTPRINT), to_row(FOOTPRINT)
    del new["files"]["b.yml"]
    new["functions"]["pkg/a.py:C.f"] = [8, 30]
    new["modules"]["pkg.d"] = 1

    moved = difference(old, new)

    assert apply(old, moved) == new
    assert set(moved) == {"files", "functions", "modules"}
    assert difference(new, new) == {}


def test_a_commit_that_was_not_run_has_what_the_one_before_did() -> None:
    history = history_of("r", [recorded("a", 6000, to_row(FOOTPRINT)), line("b", same=True)])

    assert history.signature("b", "train") == history.signature("a", "train")
    footprint = history.footprint("b", "train")
    assert footprint is not None
    assert footprint.sha == "b"
    assert not history.rows["b"]["train"].ran


def test_a_failure_has_no_signature_and_the_next_row_goes_on_from_the_last_footprint() -> None:
    rows = [
        recorded("a", 6000, to_row(FOOTPRINT)),
        line("b", outcome="crash", why=["no"]),
        recorded("c", 6000, {"modules": {"pkg.a": None}}),
    ]

    history = history_of("r", rows)

    assert history.signature("b", "train") is None
    footprint = history.footprint("c", "train")
    assert footprint is not None
    assert footprint.modules == {"pkg"}
    assert footprint.files == FOOTPRINT.files


def test_calls_into_c_and_into_python_are_counted_together() -> None:
    swapped = Signature(100, 4000, 6000, 3, 5000, 0, "bb")
    more = Signature(100, 6100, 4000, 3, 5000, 0, "cc")

    assert moved_by(SIGNATURE, swapped) == 0
    assert moved_by(SIGNATURE, more) == 0.01
    modules = Signature(103, 6000, 4000, 3, 5000, 0, "dd")
    assert moved_by(SIGNATURE, modules) == 0.03
    assert moved_by(SIGNATURE, modules, calls_alone=True) == 0


def test_recall_takes_what_is_worth_most_for_each_second_while_the_budget_lasts() -> None:
    moved, costs = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 1, 1])

    assert recall(np.array([0.9, 0.1, 0.2, 0.3]), moved, costs, 0.25) == 0.5
    assert recall(np.array([0.9, 0.1, 0.2, 0.3]), moved, costs, 0.5) == 1
    # Twice as dear, the first is worth less for each second than the last, and no longer fits.
    dear = np.array([3.0, 1, 1, 1])
    assert recall(np.array([0.8, 0.1, 0.2, 0.3]), moved, dear, 1 / 6) == 0.5


def test_what_scores_the_same_is_found_as_often_as_chance_finds_it() -> None:
    moved = np.array([1.0] * 10 + [0] * 90)

    assert abs(recall(np.zeros(100), moved, np.ones(100), 0.25) - 0.25) < 0.08


def test_a_budget_for_each_change_cannot_be_spent_on_another() -> None:
    moved = np.array([1.0, 1, 0, 0])
    scores, costs = np.array([0.9, 0.8, 0.1, 0.1]), np.ones(4)

    assert recall(scores, moved, costs, 0.5) == 1
    assert recall_by_change(scores, moved, costs, ["a", "a", "b", "b"], 0.5) == 0.5


def test_history_alone_ranks_by_what_the_changed_files_did_to_the_scenario() -> None:
    rates, when = Rates(), selection_real._DAY_ZERO
    outcomes = [
        (Outcome("s", when, (), "train", moved), (path,))
        for path, moved in [("a.py", True), ("a.py", True), ("b.py", False), ("b.py", False)]
    ]

    rates.learn(outcomes)

    assert rates.of(["a.py"], "train") > rates.of(["new.py"], "train") > rates.of(["b.py"], "train")
    assert rates.of(["b.py", "a.py"], "train") == rates.of(["a.py"], "train")


def test_a_pair_is_affected_by_its_counts_and_judged_with_the_footprint_before() -> None:
    rows = [recorded("a" * 40, 6000, to_row(FOOTPRINT)), recorded("b" * 40, 6200, {})]
    history = history_of("r", rows)
    commit = of_row(
        {
            "sha": "b" * 40, "parent": "a" * 40, "when": 0, "paths": ["pkg/a.py"], "lines": 3,
            "tokens": {"pkg/a.py": [{"<module>": ["import"]}, [], ["json"]]},
            "counted": {"pkg/a.py": ["C.f"]},
            "fresh": [
                {"train": ["touched", "", [["pkg/a.py", "code", ["C.f"], 0.03, ""]]]},
                {"train": 0.01},
            ],
            "nightly": [{"train": ["stale", "", []]}, {}],
        }
    )  # fmt: skip

    (pair,) = pairs_of(history, [commit], 0.01)

    assert pair.moved_by == 0.02
    assert pair.overlap == 1
    assert pair.cold[INDEX["expected"]] == 3.0
    assert not pair.proved
    assert costs_of(history) == {"train": 0.2}
    assert of_row(commit_row(commit)) == commit


def test_a_timing_is_real_where_all_but_one_block_agree() -> None:
    def trials(*cpu_s: float) -> list[list[float]]:
        return [[9.0, 0.5, each] for each in cpu_s]

    base = trials(*[1.0] * 9)
    slower = timing_of({"kind": "changed", "trials": [base, trials(*[1.1] * 8, 0.9)]})
    unclear = timing_of({"kind": "same", "trials": [base, trials(*[1.1] * 7, 0.9, 0.9)]})

    assert slower is not None
    assert slower.is_real
    assert unclear is not None
    assert not unclear.is_real
    assert timing_of({"kind": "same", "trials": []}) is None


def test_pairs_to_time_ran_and_differ_as_their_kind_says() -> None:
    shas = [each * 40 for each in "abcd"]
    rows = [
        recorded(shas[0], 6000, to_row(FOOTPRINT)),
        recorded(shas[1], 6300, {}),
        recorded(shas[2], 6300, {}),
        line(shas[3], same=True),
    ]

    found = {(sha, kind) for _, sha, _, kind in chosen(history_of("r", rows), 10, 10)}

    assert found == {(shas[1], "changed"), (shas[2], "same")}


def test_a_limit_is_set_on_the_past_and_spends_what_the_future_asks_for() -> None:
    past = (np.array([0.9, 0.5, 0.2, 0.1]), np.ones(4))
    moved, costs = np.array([1.0, 1, 0, 0]), np.ones(4)

    # Of the past the two best fit; of the future three are worth as much.
    found, spent = recall_by_limit(past, np.array([0.8, 0.6, 0.7, 0.1]), moved, costs, 0.5)

    assert (found, spent) == (1, 0.75)
