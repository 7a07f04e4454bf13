"""Recall against cost: how much of what changes break is found for a part of the runner-seconds.

    python bench/selection.py [--seeds 5] [--first-seed 100] [--changes 4000] [--tangled]

A simulated stream (selection_stream.py). The weights set by hand were looked at with seeds 0 to 3,
so reports begin at seed 100. Models are trained on the first 60 % of the changes and
everything is counted on the rest. 100 % of the cost is every scenario for every change; "left" is
the cost of what elimination leaves, which is the harder half of the question.

How capacity is spent: `spread` takes what promises more per second than a limit that was set on the
first 60 %, so that cheap changes save for others (the headline; what it really cost stands beside);
`each` gives every change the same part of its own cost; `ranked` sorts the whole later stream in
hindsight. `oracle` knows the effects. Five seeds take about three minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from selection_rows import Row
from selection_stream import CHANGES, faulty_changes, stream

from ailab_bot.plan.examples import Example
from ailab_bot.plan.features import INDEX
from ailab_bot.plan.learn import learn
from ailab_bot.plan.predict import predict
from ailab_bot.stats.calibrate_probability import Bin, bins_of, brier, calibration_error

Array = NDArray[np.float64]
Cells = Mapping[tuple[str, str, float], float]
COSTS = (0.10, 0.25, 0.50)
TRAINED_PART = 0.6
POLICIES = ("random", "path overlap", "history only", "ours by hand, no history",
            "ours by hand", "ours learned", "oracle")  # fmt: skip
HOWS = ("spread", "each", "ranked")
_HISTORY = ("pair_history", "path_history", "scenario_history", "lately")


@dataclass(frozen=True)
class Table:
    """Of one history. Recall by (policy, way of spending, cost): pairs, faulty changes, and the
    cost that it really took; `left` as recall of pairs, with what elimination leaves as 100 %."""

    pairs: Cells
    faulty: Cells
    spent: Cells
    left: Cells
    left_spent: Cells
    brier: Mapping[str, float]
    error: Mapping[str, float]
    bins: Mapping[str, tuple[Bin, ...]]
    counts: Mapping[str, float]
    why: str = ""


@dataclass
class Columns:
    """Rows as columns; `score` by policy, as probabilities where it has some."""

    cost: Array
    affected: Array
    change: NDArray[np.int64]
    open: NDArray[np.bool_]
    score: dict[str, Array] = field(default_factory=dict)


def evaluate(rows: Sequence[Row], seed: int = 0) -> Table:
    """What each policy finds in the later part of a history, for parts of the cost."""
    cut = sorted({row.time for row in rows})
    border = cut[int(len(cut) * TRAINED_PART)]
    earlier = [row for row in rows if row.time < border]
    later = [row for row in rows if row.time >= border]
    model, report = learn(
        [
            Example(row.when, row.change, row.scenario, row.features, row.seen, row.cost_s)
            for row in earlier
            if row.seen is not None
        ]
    )
    random = np.random.default_rng([seed, 2])
    parts = []
    for part in (earlier, later):
        columns = _columns(part)
        plain = [_without_history(row.features) for row in part]
        columns.score = {
            "random": random.random(len(part)),
            "path overlap": np.array([float(len(row.paths)) for row in part]),
            "history only": _by_history(part),
            "ours by hand, no history": np.array(predict(plain)),
            "ours by hand": np.array(predict([row.features for row in part])),
            "ours learned": np.array(predict([row.features for row in part], model)),
            "oracle": columns.affected,
        }
        jitter = random.random(len(part))
        for name, values in columns.score.items():  # ties fall by chance, for all alike
            columns.score[name] = values * (1 + 1e-9 * jitter)
        parts.append(columns)
    first, last = parts
    pairs, faulty, spent, left, left_spent = {}, {}, {}, {}, {}
    for name in POLICIES:
        for how in HOWS:
            for cost in COSTS:
                taken = _taken(first, last, name, how, cost, np.ones(len(last.cost), dtype=bool))
                key = (name, how, cost)
                pairs[key] = float(last.affected[taken].sum() / last.affected.sum())
                faulty[key] = len(set(last.change[taken & (last.affected > 0)])) / len(
                    set(last.change[last.affected > 0])
                )
                spent[key] = float(last.cost[taken].sum() / last.cost.sum())
                inside = _taken(first, last, name, how, cost, last.open)
                left[key] = float(last.affected[inside].sum() / last.affected.sum())
                left_spent[key] = float(last.cost[inside].sum() / last.cost[last.open].sum())
    probable = ("ours by hand, no history", "ours by hand", "ours learned")
    open_ = {name: last.score[name][last.open] for name in probable}
    truth = last.affected[last.open]
    whole = np.ones(int(last.change.max()) + 1, dtype=bool)
    whole[last.change[last.open]] = False
    whole[np.setdiff1d(np.arange(len(whole)), last.change)] = False
    rate = float(np.array([row.affected for row in earlier if row.seen is not None]).mean())
    return Table(
        pairs, faulty, spent, left, left_spent,
        brier={name: brier(said, truth) for name, said in open_.items()}
        | {"the rate alone": brier(np.full(len(truth), rate), truth)},
        error={name: calibration_error(said, truth) for name, said in open_.items()},
        bins={name: bins_of(np.minimum(said, 1.0), truth) for name, said in open_.items()},
        counts={
            "changes": float(len(cut)),
            "faulty changes": float(faulty_changes(rows)),
            "faulty changes, later": float(faulty_changes(later)),
            "affected pairs, later": float(last.affected.sum()),
            "cost left by elimination": float(last.cost[last.open].sum() / last.cost.sum()),
            "changes skipped whole": float(whole.sum() / len(set(last.change))),
            "effects missed by elimination": float(last.affected[~last.open].sum()),
        },
        why=report.why,
    )  # fmt: skip


def _columns(rows: Sequence[Row]) -> Columns:
    numbers: dict[str, int] = {}
    return Columns(
        np.array([row.cost_s for row in rows]),
        np.array([float(row.affected) for row in rows]),
        np.array([numbers.setdefault(row.change, len(numbers)) for row in rows]),
        np.array([not row.relation.is_proof for row in rows]),
    )


def _without_history(features: tuple[float, ...]) -> tuple[float, ...]:
    values = list(features)
    for name in _HISTORY:
        values[INDEX[name]] = 0.0
    return tuple(values)


def _by_history(rows: Sequence[Row]) -> Array:
    """What changes of these files did before; no footprints."""
    values = np.array([[row.features[INDEX[name]] for name in _HISTORY] for row in rows])
    return np.exp(values @ np.array([1.0, 0.5, 0.5, 1.0]))


# --- spending ----------------------------------------------------------------------------------


def _taken(
    first: Columns, last: Columns, name: str, how: str, cost: float, inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The rows that a policy takes. `inside`: the rows whose cost is the whole; others are not
    taken. What scores nothing is not taken either."""
    worth = np.where(inside, last.score[name] / last.cost, 0.0)
    if how == "each":
        return _each(worth, last, cost, inside)
    if how == "ranked":
        limit = _limit(worth, last.cost, cost, inside)
    else:
        before = first.open if not inside.all() else np.ones(len(first.cost), dtype=bool)
        past = np.where(before, first.score[name] / first.cost, 0.0)
        limit = _limit(past, first.cost, cost, before)
    return (worth >= limit) & (worth > 0)


def _limit(worth: Array, costs: Array, cost: float, inside: NDArray[np.bool_]) -> float:
    order = np.argsort(-worth, kind="stable")
    spent = np.cumsum(np.where(inside, costs, 0.0)[order])
    kept = order[spent <= cost * spent[-1]]
    return float(worth[kept[-1]]) if len(kept) else np.inf


def _each(worth: Array, last: Columns, cost: float, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    taken = np.zeros(len(worth), dtype=bool)
    room = np.bincount(last.change, weights=np.where(inside, last.cost, 0.0)) * cost + 1e-9
    for row in np.argsort(-worth, kind="stable"):
        if worth[row] <= 0:
            break
        if last.cost[row] <= room[last.change[row]]:
            room[last.change[row]] -= last.cost[row]
            taken[row] = True
    return taken


# --- printing ----------------------------------------------------------------------------------


def show(tables: Sequence[Table]) -> None:
    """Means over the histories, with the least and the most."""
    counts = tables[0].counts
    print("of each history (mean, range):")
    for name in counts:
        print(f"  {name:32} {_range([t.counts[name] for t in tables], 3)}")
    for title, pick, cost_of in (
        ("Affected pairs found, 100 % = every scenario for every change", "pairs", "spent"),
        ("Faulty changes found (any affected pair of them)", "faulty", "spent"),
        ("Affected pairs found, 100 % = what elimination leaves", "left", "left_spent"),
    ):
        for how in HOWS:
            found = [getattr(table, pick) for table in tables]
            spent = [getattr(table, cost_of) for table in tables]
            _recalls(f"{title}; {how}", found, spent if how == "spread" else (), how)
    print("\nPredictions of what elimination leaves, later part")
    for name in tables[0].brier:
        error = [t.error[name] for t in tables if name in t.error]
        print(f"  {name:26} Brier {_range([t.brier[name] for t in tables], 4)}"
              + (f"   calibration error {_range(error, 4)}" if error else ""))  # fmt: skip
    for name in tables[0].bins:
        print(f"\nCalibration, {name}: said, happened (pairs), all histories together")
        _calibration([each for table in tables for each in table.bins[name]])
    for text in dict.fromkeys(table.why for table in tables):
        print(f"\n{sum(t.why == text for t in tables)} of {len(tables)}: {text}")


def _recalls(title: str, found: Sequence[Cells], spent: Sequence[Cells], how: str) -> None:
    """`@` is the part of the cost that it really took, where the limit was set on the past."""
    costs = "".join(f"{f'{cost:.0%} of the cost':>31}" for cost in COSTS)
    print(f"\n{title}\n{'':26}{costs}")
    for name in POLICIES:
        cells = []
        for cost in COSTS:
            cell = _range([each[name, how, cost] for each in found], 3)
            if spent:
                cell += f" @{np.mean([each[name, how, cost] for each in spent]):.2f}"
            cells.append(f"{cell:>31}")
        print(f"{name:26}{''.join(cells)}")


def _calibration(bins: Sequence[Bin]) -> None:
    for high in sorted({each.high for each in bins}):
        own = [each for each in bins if each.high == high]
        count = sum(each.count for each in own)
        said = sum(each.said * each.count for each in own) / count
        happened = sum(each.happened * each.count for each in own) / count
        print(f"  {own[0].low:5.3f} to {high:5.3f}   {said:6.4f}   {happened:6.4f}   ({count})")


def _range(values: Sequence[float], digits: int) -> str:
    def text(value: float) -> str:
        return f"{value:.0f}" if abs(value) >= 10 else f"{value:.{digits}f}"

    if len(values) == 1:
        return text(values[0])
    return f"{text(float(np.mean(values)))} [{text(min(values))}, {text(max(values))}]"


def simulated(seed: int, changes: int, tangled: bool) -> Table:
    return evaluate(stream(seed, changes, tangled), seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--tangled", action="store_true", help="everything imports everything")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        work = partial(simulated, changes=arguments.changes, tangled=arguments.tangled)
        tables = list(
            pool.map(work, range(arguments.first_seed, arguments.first_seed + arguments.seeds))
        )
    kind = "a tangled repository" if arguments.tangled else "simulated"
    print(f"{kind}: {arguments.seeds} seeds of {arguments.changes} changes x 40 scenarios")
    show(tables)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
