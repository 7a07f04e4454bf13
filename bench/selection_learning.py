"""How often learning passes with nothing to learn, and how often it finds what there is.

    python bench/selection_learning.py [--null 200] [--power 40]

Labels of 150 or 400 changes with 8 scenarios are drawn from the weights set by hand: with nothing
more, a model that passes is an error; where loops are worth more, one that does not is a miss.
A model that passes by chance should say nearly what the weights by hand say: the mean and the
largest difference in the Brier score stand beside. Half a minute.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

import numpy as np

from ailab_bot.plan.examples import Example
from ailab_bot.plan.features import INDEX, NAMES
from ailab_bot.plan.learn import learn
from ailab_bot.plan.predict import log_odds_by_hand
from ailab_bot.stats.logistic import sigmoid

START = datetime(2026, 1, 1, tzinfo=UTC)
SCENARIOS, NULL_CHANGES, POWER_CHANGES = 8, 150, 400
#: What a new loop adds to the log odds, beyond the weight set by hand.
MORE = (0.5, 1.0, 2.0)


def history(seed: int, changes: int, more: float) -> list[Example]:
    """Labels in time's order, 8 to a change."""
    random = np.random.default_rng(seed)
    rows = changes * SCENARIOS
    values = np.zeros((rows, len(NAMES)))
    values[:, INDEX["code"]] = 1
    values[:, INDEX["share"]] = 0.02
    values[:, INDEX["log_touching"]] = 1
    values[:, INDEX["log_share"]] = random.uniform(0, 4, rows)
    values[:, INDEX["new_loop"]] = random.random(rows) < 0.3
    values[:, INDEX["pair_history"]] = random.normal(size=rows)
    values[:, INDEX["new_sleep"]] = np.repeat(random.random(changes) < 0.2, SCENARIOS)
    chance = sigmoid(log_odds_by_hand(values) + more * values[:, INDEX["new_loop"]])
    moved = random.random(rows) < chance
    return [
        Example(
            START + timedelta(hours=row // SCENARIOS), f"c{row // SCENARIOS:05d}",
            f"s{row % SCENARIOS}", tuple(values[row]), bool(moved[row]), 100.0,
        )
        for row in range(rows)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--null", type=int, default=200)
    parser.add_argument("--power", type=int, default=40)
    arguments = parser.parse_args()
    found = [learn(history(seed, NULL_CHANGES, 0.0)) for seed in range(arguments.null)]
    gains = [
        abs(report.brier - report.brier_by_hand)
        for model, report in found
        if model is not None and report.brier is not None and report.brier_by_hand is not None
    ]
    print(f"nothing to learn: a model passes in {len(gains)} of {len(found)}")
    if gains:
        print(f"  Brier differs by {np.mean(gains):.4f} on average, {max(gains):.4f} at most")
    for more in MORE:
        models = [learn(history(seed, POWER_CHANGES, more))[0] for seed in range(arguments.power)]
        passed = sum(model is not None for model in models)
        print(f"loops worth {more} more: a model passes in {passed} of {len(models)}")


if __name__ == "__main__":
    main()
