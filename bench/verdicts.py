"""How often the judge is wrong, and what knowing costs, beside the rules of others.

    python bench/verdicts.py [--replays 20000] [--seed 1] [--equal]

All rules see the same replays, of recorded and of synthetic noise, with and without an effect. For
ours also: how often the interval covers the effect at the block where the measurement stopped,
announcements of the wrong sign, and the announced size minus the true one. `--equal` tunes the
others to our rate of false alarms: what they then find with our blocks, and the blocks that each
needs for our power.

20,000 replays take about half an hour on two cores; the default of 2,000 a few minutes.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from peers import (
    Array,
    Peer,
    fixed_designs,
    mann_whitney,
    paired_t,
    peers,
    perfherder,
    welch,
)
from replay import sources, with_effect
from scipy import stats

from ailab_bot.judge import judge
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.stats.sequential import Decision, Direction, Rule, Sample, decide

#: 1.1 and 1.5 % are what layout and caches do to an arm: the margin's duty is not to announce them.
EFFECTS = (0.0, 0.011, 0.015, 0.02, 0.05, 0.10, 0.20)
POLICY = Policy()
#: Replays decided in one process at a time, and whose verdicts are checked against `judge`.
_CHUNK, _CHECKED = 500, 5


def default_rule(policy: Policy = POLICY) -> Rule:
    limits = policy.limits("replay", "ttfb_s")
    return Rule(
        threshold=limits.threshold,
        margin=limits.margin,
        error=policy.error,
        stage_error=policy.stage_error,
        interval_error=policy.interval_error,
        scale=limits.scale,
    )


def to_trials(seconds: Array) -> list[Trial]:
    return [
        Trial("replay", block, order, arm, metrics={"ttfb_s": float(value)})
        for block, row in enumerate(seconds)
        for order, (arm, value) in enumerate(zip(Arm, row, strict=True))
    ]


def by_judge(seconds: Array) -> list[Decision]:
    """Our decisions, in batches and on all cores; some are compared with what `judge` says."""
    parts = [seconds[start : start + _CHUNK] for start in range(0, len(seconds), _CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        decisions = [decision for part in pool.map(_decide, parts) for decision in part]
    for row, decision in list(zip(seconds, decisions, strict=True))[:_CHECKED]:
        (verdict,) = judge(to_trials(row), POLICY)
        if (verdict.blocks_used, verdict.confirmed) != (decision.blocks, decision.announced):
            raise AssertionError("the batch and the judge disagree")
    return decisions


def _decide(seconds: Array) -> list[Decision]:
    return decide([Sample(*row.T) for row in seconds], [default_rule()] * len(seconds))


@dataclass(frozen=True)
class Tally:
    """Shares of replays, and the mean number of blocks. None: the rule has no such answer."""

    name: str
    regression: float
    blocks: float
    no_change: float | None = None
    inconclusive: float | None = None
    improvement: float | None = None
    covered: float | None = None
    size_bias: float | None = None


def tally_ours(decisions: list[Decision], effect: float) -> Tally:
    found = [decision.found for decision in decisions]
    sizes = [d.effect - effect for d in decisions if d.found is Direction.UP]

    def share(direction: Direction | None) -> float:
        return sum(each is direction for each in found) / len(found)

    return Tally(
        "ailab judge",
        share(Direction.UP),
        float(np.mean([decision.blocks for decision in decisions])),
        share(Direction.CLEAN),
        share(None),
        share(Direction.DOWN),
        float(np.mean([d.low <= effect <= d.high for d in decisions])),
        float(np.median(sizes)) if len(sizes) > 0.01 * len(decisions) else None,
    )


def tally_others(seconds: Array, rules: list[Peer]) -> list[Tally]:
    tallies = [
        Tally(p.name, float(p.decide(seconds[:, : p.blocks]).mean()), p.blocks) for p in rules
    ]
    half = POLICY.max_blocks // 2
    for name, design in fixed_designs(0.02, half).items():
        announced, used = design(seconds)
        tallies.append(Tally(name, float(announced.mean()), float(used.mean())))
    return tallies


def upper_bound(rate: float, many: int) -> float:
    """Of a rate, at 95 %: Clopper and Pearson's."""
    return float(stats.beta.ppf(0.95, round(rate * many) + 1, many - round(rate * many)))


def show(tally: Tally, effect: float, many: int) -> None:
    rest = (tally.no_change, tally.inconclusive, tally.improvement, tally.covered)
    cells = [f"{share:9.4f}" if share is not None else f"{'-':>9}" for share in rest]
    bias = f"{tally.size_bias:+9.4f}" if tally.size_bias is not None else f"{'-':>9}"
    bound = f" (at most {upper_bound(tally.regression, many):.5f})" if effect == 0 else ""
    print(f"{effect:6.1%} {tally.name:22} {tally.regression:10.4f} {' '.join(cells)} {bias} "
          f"{tally.blocks:7.1f}{bound}", flush=True)  # fmt: skip


def compare(many: int, seed: int) -> None:
    for name, draw in sources().items():
        random = np.random.default_rng(seed)
        null = draw(many, POLICY.max_blocks, random)
        history = draw(2000, POLICY.max_blocks, random)
        heads = ("NO_CHANGE", "INCONCL.", "IMPROV.", "covered", "size")
        print(f"\n{name}\n{'effect':>6} {'rule':22} {'REGRESSION':>10} "
              f"{' '.join(f'{head:>9}' for head in heads)} {'blocks':>7}")  # fmt: skip
        for effect in EFFECTS:
            seconds = with_effect(null, effect)
            show(tally_ours(by_judge(seconds), effect), effect, many)
            if effect in {0.0, 0.05, 0.10, 0.20}:
                for tally in tally_others(seconds, peers(history)):
                    show(tally, effect, many)


#: Statistics that a critical value can be tuned for, and the numbers of blocks tried.
TUNABLE = {
    "Welch's t": welch,
    "paired t": paired_t,
    "Mann-Whitney": mann_whitney,
    "Perfherder's t": perfherder,
}
LENGTHS = (10, 12, 14, 16, 18, 20, 22, 24, 27, 30, 35, 40, 50, 60, 80, 100, 140, 200)

#: What a rule may announce this rarely: nothing, or a bias as layout and caches make it.
BIASES = (0.0, 0.011)
#: The others' critical values come from so many times as many replays as our rate.
TUNING_FACTOR = 5


def compare_equal(many: int, seed: int) -> None:
    """At our rate of false alarms: power with our blocks and with 40, blocks for our power.

    The critical values of the others come from other replays than the power. The rate is the one
    at which ours announces the same replays (1 in them where it announces none): for no effect,
    then for a bias.
    """
    for name, draw in sources().items():
        random = np.random.default_rng(seed)
        tuning = draw(many * TUNING_FACTOR, LENGTHS[-1], random)
        fresh = draw(many // 4, LENGTHS[-1], random)
        shifted = {effect: with_effect(fresh, effect) for effect in (0.05, 0.10)}
        ours = {
            effect: tally_ours(by_judge(seconds[:, : POLICY.max_blocks]), effect)
            for effect, seconds in shifted.items()
        }
        for bias in BIASES:
            null = with_effect(tuning, bias)
            announced = tally_ours(by_judge(null[:many, : POLICY.max_blocks]), bias).regression
            rate = max(announced, 1 / many)
            print(f"\n{name}, announcing {f'a bias of {bias:.1%}' if bias else 'no effect'} in "
                  f"{rate:.3%} (ours: {round(announced * many)} of {many})\n{'effect':>6} "
                  f"{'rule':16} {'blocks':>7} {'power':>6} {'at 40':>6} "
                  f"{'blocks for our power':>21}")  # fmt: skip
            critical = {
                rule: {n: np.quantile(statistic(null[:, :n]), 1 - rate) for n in LENGTHS}
                for rule, statistic in TUNABLE.items()
            }
            for effect, seconds in shifted.items():
                show_equal(effect, seconds, ours[effect], critical)


def show_equal(
    effect: float, seconds: Array, ours: Tally, critical: dict[str, dict[int, float]]
) -> None:
    print(f"{effect:6.0%} {'ailab judge':16} {ours.blocks:7.1f} {ours.regression:6.3f}")
    as_many = next(n for n in LENGTHS if n >= ours.blocks)
    for rule, limits in critical.items():
        statistic = TUNABLE[rule]
        power = {n: float((statistic(seconds[:, :n]) > limits[n]).mean()) for n in LENGTHS}
        enough = [str(n) for n in LENGTHS if power[n] >= ours.regression]
        shown = enough[0] if enough else f"more than {LENGTHS[-1]}"
        print(f"{effect:6.0%} {rule:16} {as_many:7} {power[as_many]:6.3f} {power[40]:6.3f} "
              f"{shown:>21}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replays", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--equal", action="store_true", help="others tuned to our false alarms")
    arguments = parser.parse_args()
    print(f"policy: error {POLICY.error}, threshold {POLICY.threshold}, margin {POLICY.margin}, "
          f"interval at {POLICY.level:.0%}, at most {POLICY.max_blocks} blocks; "
          f"{arguments.replays} replays, seed {arguments.seed}")  # fmt: skip
    run = compare_equal if arguments.equal else compare
    run(arguments.replays, arguments.seed)


if __name__ == "__main__":
    main()
