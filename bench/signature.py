"""What equal signatures save, and what a wrong "equal" costs.

    python bench/signature.py [--replays 20000] [--seed 1]
    python bench/signature.py --real tabular-mlp recsys-embeddings [--times 10]

The same replays are decided twice, as if nothing were known of what the arms do, and as if their
counts were equal. Without an effect: blocks used, their ratio, and false announcements. With one,
which counts did not show (a `sleep` that sleeps longer): how often it is called NO_CHANGE, and how
often it is announced all the same. "slow in 30 %": head is 40 % slower in three of ten trials.

`--real` records a scenario again and again, twice the same commit, and prints how often the two are
called different, by how much each count varies, and what recording costs in plain trials.

20,000 replays take about 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from real_ab import build
from replay import Array, sources, with_effect
from verdicts import default_rule, to_trials, upper_bound

from ailab_bot.config import load_scenario
from ailab_bot.flows.footprint import record_footprint
from ailab_bot.flows.measurement import Bench
from ailab_bot.flows.signature import compare_footprints
from ailab_bot.judge import judge
from ailab_bot.measure.environment import compile_probe, interpreter
from ailab_bot.measure.execute import execute
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.worktree import open_workplace
from ailab_bot.model.footprint import Footprint, Signature
from ailab_bot.model.policy import EQUAL_BLOCKS, EQUAL_ODDS, Policy
from ailab_bot.model.signature import Likeness
from ailab_bot.model.trial import Arm
from ailab_bot.stats.sequential import Decision, Direction, Rule, Sample, decide

POLICY = Policy()
#: Effects that no count shows. 0: the arms are the same.
EFFECTS = (0.0, 0.011, 0.02, 0.05, 0.10, 0.20)
#: A head that is slower by this factor in this share of its trials.
SLOW_FACTOR, SLOW_SHARE = 1.4, 0.3
#: Replays decided in one process at a time, and whose verdicts are checked against `judge`.
_CHUNK, _CHECKED = 250, 5


def rule_of(equal: bool) -> Rule:
    blocks = POLICY.max_blocks if equal else 0
    return replace(
        default_rule(), equal_blocks=blocks, equal_odds=POLICY.equal_odds, equal_least=EQUAL_BLOCKS
    )


def slow_in_some(null: Array, random: np.random.Generator) -> Array:
    slow = random.random(null.shape[:2]) < SLOW_SHARE
    factor = np.stack([np.ones_like(slow, float), np.where(slow, SLOW_FACTOR, 1.0)], axis=2)
    slowed: Array = null * factor
    return slowed


@dataclass(frozen=True)
class Tally:
    """Shares of replays, and mean blocks of all and of those that end as NO_CHANGE."""

    regression: float
    improvement: float
    no_change: float
    blocks: float
    clean_blocks: float


def decided(seconds: Array, equal: bool, pool: ProcessPoolExecutor) -> list[Decision]:
    parts = [seconds[start : start + _CHUNK] for start in range(0, len(seconds), _CHUNK)]
    found = [one for part in pool.map(partial(_decide, equal=equal), parts) for one in part]
    for row, decision in list(zip(seconds, found, strict=True))[:_CHECKED]:
        likeness = Likeness.EQUAL if equal else None
        trials = [replace(trial, signature=likeness) for trial in to_trials(row)]
        (verdict,) = judge(trials, POLICY)
        if (verdict.blocks_used, verdict.confirmed) != (decision.blocks, decision.announced):
            raise AssertionError("the batch and the judge disagree")
    return found


def _decide(seconds: Array, equal: bool) -> list[Decision]:
    return decide([Sample(*row.T) for row in seconds], [rule_of(equal)] * len(seconds))


def tally(found: Sequence[Decision]) -> Tally:
    def share(direction: Direction) -> float:
        return sum(each.found is direction for each in found) / len(found)

    clean = [each.blocks for each in found if each.found is Direction.CLEAN]
    return Tally(
        share(Direction.UP),
        share(Direction.DOWN),
        share(Direction.CLEAN),
        float(np.mean([each.blocks for each in found])),
        float(np.mean(clean)) if clean else float("nan"),
    )


def compare(many: int, seed: int) -> None:
    print(f"{many} replays, seed {seed}; equal counts: evidence divided by {EQUAL_ODDS:g}, "
          f"at least {EQUAL_BLOCKS} blocks")  # fmt: skip
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, draw in sources().items():
            random = np.random.default_rng(seed)
            null = draw(many, POLICY.max_blocks, random)
            cases = {f"{effect:+.1%}": with_effect(null, effect) for effect in EFFECTS}
            cases["slow in 30 %"] = slow_in_some(null, random)
            print(f"\n{name}\n{'':13} {'blocks':>13} {'':6} {'NO_CHANGE':>15} {'':6} "
                  f"{'announced':>15} {'new announcements':>18}\n{'head':13} {'plain':>6} "
                  f"{'equal':>6} {'ratio':>6} {'plain':>7} {'equal':>7} {'ratio':>6} {'plain':>7} "
                  f"{'equal':>7}")  # fmt: skip
            for title, seconds in cases.items():
                show(title, decided(seconds, False, pool), decided(seconds, True, pool))


def show(title: str, plain: list[Decision], equal: list[Decision]) -> None:
    """One line; `new`: announced with equal counts, and not by the very same replay without."""
    before, after = tally(plain), tally(equal)
    new = sum(b.announced and not a.announced for a, b in zip(plain, equal, strict=True))
    wrong = after.no_change / before.no_change if before.no_change else float("nan")
    announced = [each.regression + each.improvement for each in (before, after)]
    none = title.startswith("+0.0")
    bound = f" (at most {upper_bound(announced[1], len(equal)):.5f} at 95 %)" if none else ""
    ratio = after.blocks / before.blocks
    print(f"{title:13} {before.blocks:6.1f} {after.blocks:6.1f} {ratio:6.2f} "
          f"{before.no_change:7.4f} {after.no_change:7.4f} {wrong:6.2f} {announced[0]:7.4f} "
          f"{announced[1]:7.4f} {new:18}{bound}", flush=True)  # fmt: skip


def record(scenario: str, times: int) -> None:
    """`times` recordings of each arm of one commit, compared pair by pair and with the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, scenario, 0.0, None)
        repository = open_repository(folder)
        sha = repository.git("rev-parse", "HEAD~1").strip()
        definition = load_scenario(folder / ".ailab" / "scenarios" / scenario / "scenario.yml")
        python = dict.fromkeys(Arm, interpreter(sys.executable))
        with open_workplace(repository, dict.fromkeys(Arm, sha)) as place:
            compile_probe(place.probe, python[Arm.BASE].python)
            bench = Bench(definition, python, place, 1, POLICY, 1)
            plain_s, recorded_s, pairs = [], [], []
            execute(bench.launch(Arm.BASE, hash_seed=1))
            execute(bench.launch(Arm.HEAD, hash_seed=1))
            for _ in range(times):
                started = time.monotonic()
                execute(bench.launch(Arm.BASE, hash_seed=1))
                plain_s.append(time.monotonic() - started)
                started = time.monotonic()
                found = [record_footprint(bench, arm, sha) for arm in Arm]
                recorded_s.append((time.monotonic() - started) / 2)
                pairs.append([each for each in found if each is not None])
    show_recorded(scenario, pairs, statistics.median(recorded_s) / statistics.median(plain_s))


def show_recorded(scenario: str, pairs: Sequence[Sequence[Footprint]], slower: float) -> None:
    whole = [pair for pair in pairs if len(pair) == len(Arm)]
    found = [compare_footprints(dict(zip(Arm, pair, strict=True))) for pair in whole]
    different = sum(f is not None and f.likeness is Likeness.DIFFERENT for f in found)
    print(f"\n{scenario}: {different} of {len(pairs)} equal pairs called different, "
          f"{len(pairs) - sum(f is not None for f in found)} not known; a recorded trial takes "
          f"{slower:.1f} times as long as a plain one")  # fmt: skip
    signatures = [f.signature for pair in whole for f in pair if f.signature is not None]
    for field in fields(Signature) if signatures else ():
        values = [getattr(signature, field.name) for signature in signatures]
        kinds = len(set(values))
        spread = "" if field.name == "exact" else f", {min(values)} to {max(values)}"
        print(f"  {field.name:14} {kinds} of {len(values)} differ from each other{spread}"
              if kinds > 1 else f"  {field.name:14} always {values[0]!s:.20}")  # fmt: skip
    for reason in sorted({text for pair in whole for f in pair for text in f.unseen}):
        print(f"  not seen: {reason}")
    if len(signatures) < 2 * len(pairs):
        print(
            f"  without counts: {2 * len(pairs) - len(signatures)} of {2 * len(pairs)} recordings"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replays", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", nargs="+", help="names of scenarios, to be recorded")
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    for scenario in arguments.real or ():
        record(scenario, arguments.times)
    if arguments.real:
        return
    compare(arguments.replays, arguments.seed)


if __name__ == "__main__":
    main()
