"""A stream of pull requests: false alarms a week, what is found, what it costs.

    python bench/stream.py [--changes 5000] [--seeds 10] [--verdicts-per-week 1800]

Each change measures 1 to 12 of 40 scenarios. A scenario has its own noise (0.3 to 1.5 times the
recorded one). 3 of 100 verdicts have a true effect of 2, 5, 10 or 20 %; every head has a bias of
its own build, normal with 0.5 %, that is no effect. A false alarm is an announced slowdown of a
verdict without effect. The defaults decide about 320,000 verdicts (half an hour on two cores);
`--changes 500 --seeds 2` is a quick look.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from peers import Mask, Peer, peers
from replay import Array, recorded_pairs, replays
from scipy import stats
from verdicts import POLICY, default_rule

from ailab_bot.stats.sequential import Direction, Sample, decide

EFFECTS = (0.02, 0.05, 0.10, 0.20)
SHARE_WITH_EFFECT, BIAS_SD = 0.03, 0.005
SCENARIOS, MOST_PER_CHANGE = 40, 12
TTFB_S = 1.13
#: A verdict of ours that sees no effect still costs a warm-up of both arms: a block.
WARM_UP_BLOCKS = 1
_CHUNK = 500


@dataclass(frozen=True)
class Outcome:
    """Per verdict: announced as slower, and blocks that it took."""

    announced: Mask
    blocks: Array


def draw(changes: int, seed: int) -> tuple[Array, Array]:
    """Seconds (verdicts, blocks, 2), true effects (verdicts,)."""
    random = np.random.default_rng(seed)
    pairs = recorded_pairs()
    noise = random.uniform(0.3, 1.5, SCENARIOS)
    verdicts = int(random.integers(1, MOST_PER_CHANGE + 1, changes).sum())
    scenario = random.integers(0, SCENARIOS, verdicts)
    effect = np.where(
        random.random(verdicts) < SHARE_WITH_EFFECT, random.choice(EFFECTS, verdicts), 0.0
    )
    bias = random.normal(0, BIAS_SD, verdicts)
    logs = np.log(replays(pairs, verdicts, POLICY.max_blocks, random))
    middle = np.median(np.log(pairs))
    logs = middle + (logs - middle) * noise[scenario][:, None, None]
    logs[..., 1] += (np.log1p(effect) + bias)[:, None]
    return np.exp(logs), effect


def ours(seconds: Array) -> Outcome:
    parts = [seconds[start : start + _CHUNK] for start in range(0, len(seconds), _CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_decide, parts))
    return Outcome(np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]))


def _decide(seconds: Array) -> tuple[Mask, Array]:
    decisions = decide([Sample(*row.T) for row in seconds], [default_rule()] * len(seconds))
    announced = np.array([decision.found is Direction.UP for decision in decisions])
    return announced, np.array([float(decision.blocks) for decision in decisions])


def rules() -> dict[str, Callable[[Array], Outcome]]:
    history = replays(recorded_pairs(), 2000, POLICY.max_blocks, np.random.default_rng(0))
    found: dict[str, Callable[[Array], Outcome]] = {"ailab judge": ours}
    return found | {peer.name: partial(by_peer, peer) for peer in peers(history)}


def by_peer(peer: Peer, seconds: Array) -> Outcome:
    announced = peer.decide(seconds[:, : peer.blocks])
    return Outcome(announced, np.full(len(seconds), float(peer.blocks)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--changes", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--verdicts-per-week", type=int, default=1800)
    arguments = parser.parse_args()
    false: dict[str, list[int]] = {name: [] for name in rules()}
    blocks: dict[str, list[float]] = {name: [] for name in false}
    hits = {name: {effect: [0, 0] for effect in EFFECTS} for name in false}
    verdicts = []
    for seed in range(arguments.seeds):
        seconds, effects = draw(arguments.changes, seed)
        verdicts.append(len(effects))
        for name, rule in rules().items():
            outcome = rule(seconds)
            false[name].append(int(outcome.announced[effects == 0].sum()))
            blocks[name].append(float(outcome.blocks.sum()))
            for effect in EFFECTS:
                hits[name][effect][0] += int(outcome.announced[effects == effect].sum())
                hits[name][effect][1] += int((effects == effect).sum())
    show(false, blocks, hits, verdicts, arguments)


def show(
    false: dict[str, list[int]],
    blocks: dict[str, list[float]],
    hits: dict[str, dict[float, list[int]]],
    verdicts: list[int],
    arguments: argparse.Namespace,
) -> None:
    changes = arguments.changes * arguments.seeds
    weeks = sum(verdicts) / arguments.verdicts_per_week
    print(f"{changes} changes, {sum(verdicts)} verdicts, {weeks:.0f} weeks of "
          f"{arguments.verdicts_per_week} verdicts, {arguments.seeds} seeds\n")  # fmt: skip
    recalls = " ".join(f"{f'+{effect:.0%}':>6}" for effect in EFFECTS)
    print(f"{'rule':18} {'false a week':>12} {'at most':>8} {'worst seed':>10} {recalls} "
          f"{'runner min a change':>20}")  # fmt: skip
    for name, counts in false.items():
        bound = stats.chi2.ppf(0.95, 2 * (sum(counts) + 1)) / 2 / weeks
        worst = max(
            count / (own / arguments.verdicts_per_week)
            for count, own in zip(counts, verdicts, strict=True)
        )
        recall = " ".join(f"{h / max(n, 1):6.2f}" for h, n in hits[name].values())
        minutes = (sum(blocks[name]) + WARM_UP_BLOCKS * sum(verdicts)) * 2 * TTFB_S / 60 / changes
        print(f"{name:18} {sum(counts) / weeks:12.2f} {bound:8.2f} {worst:10.2f} {recall} "
              f"{minutes:20.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
