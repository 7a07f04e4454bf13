"""How often the judge is wrong, and what knowing costs: replays of recorded and synthetic noise.

    python bench/verdicts.py [--replays 2000] [--seed 1]

Beside it, on the same replays, a paired t-test on log ratios and Welch's t-test on seconds, each
twice (20 blocks, then 20 fresh ones) at the error level of our stages: the fixed-size plans that
the sequential judge has to beat.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
from replay import Array, heavy_tailed, recorded_pairs, replay
from scipy import stats

from ailab_bot.judge import judge
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.model.verdict import VerdictKind

EFFECTS = (0.0, 0.02, 0.05, 0.10, 0.20)
POLICY = Policy()


def to_trials(seconds: Array) -> list[Trial]:
    return [
        Trial("replay", block, order, arm, metrics={"ttfb_s": float(value)})
        for block, row in enumerate(seconds)
        for order, (arm, value) in enumerate(zip(Arm, row, strict=True))
    ]


def by_judge(seconds: Array) -> tuple[str, int]:
    verdict = judge(to_trials(seconds), POLICY)[0]
    found = verdict.kind.value if verdict.confirmed or not _moved(verdict.kind) else "?"
    return found, verdict.blocks_used


def _moved(kind: VerdictKind) -> bool:
    return kind in {VerdictKind.REGRESSION, VerdictKind.IMPROVEMENT}


def by_two_tests(p_value: Callable[[Array], float]) -> Callable[[Array], tuple[str, int]]:
    def decide(seconds: Array) -> tuple[str, int]:
        half = POLICY.max_blocks // 2
        if p_value(seconds[:half]) >= POLICY.stage_error:
            return "NO_CHANGE", half
        confirmed = p_value(seconds[half:]) < POLICY.stage_error
        return ("REGRESSION" if confirmed else "NO_CHANGE"), POLICY.max_blocks

    return decide


def paired(seconds: Array) -> float:
    ratios = np.log(seconds[:, 1] / seconds[:, 0])
    return float(stats.ttest_1samp(ratios, 0.0, alternative="greater").pvalue)


def welch(seconds: Array) -> float:
    base, head = seconds.T
    return float(stats.ttest_ind(head, base, equal_var=False, alternative="greater").pvalue)


PROCEDURES = {
    "judge": by_judge,
    "paired t twice": by_two_tests(paired),
    "Welch t twice": by_two_tests(welch),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replays", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    pairs = recorded_pairs()
    ratios = np.log(pairs[:, 1] / pairs[:, 0])
    robust = 1.4826 * np.median(np.abs(ratios - np.median(ratios)))
    print(f"recording: {len(pairs)} blocks, sd {ratios.std(ddof=1):.3f}, robust sd {robust:.3f}")
    print(f"policy: threshold {POLICY.threshold}, margin {POLICY.margin}, "
          f"at most {POLICY.max_blocks} blocks; {arguments.replays} replays\n")  # fmt: skip
    print(f"{'noise':10} {'procedure':15} {'effect':>6}  {'REGRESSION':>10} {'NO_CHANGE':>9} "
          f"{'INCONCL.':>9} {'IMPROV.':>8} {'blocks':>6}")  # fmt: skip
    sources: dict[str, Callable[[float, np.random.Generator], Array]] = {
        "recorded": lambda e, r: replay(pairs, POLICY.max_blocks, e, r),
        "synthetic": lambda e, r: heavy_tailed(POLICY.max_blocks, e, r),
    }
    for source, draw in sources.items():
        for effect in EFFECTS:
            random = np.random.default_rng(arguments.seed)
            drawn = [draw(effect, random) for _ in range(arguments.replays)]
            for name, decide in PROCEDURES.items():
                decisions = [decide(seconds) for seconds in drawn]
                kinds = Counter(kind for kind, _ in decisions)
                blocks = np.mean([used for _, used in decisions])
                shares = [kinds[kind.value] / len(decisions) for kind in
                          (VerdictKind.REGRESSION, VerdictKind.NO_CHANGE,
                           VerdictKind.INCONCLUSIVE, VerdictKind.IMPROVEMENT)]  # fmt: skip
                print(f"{source:10} {name:15} {effect:6.0%}  {shares[0]:10.4f} {shares[1]:9.3f} "
                      f"{shares[2]:9.3f} {shares[3]:8.4f} {blocks:6.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
