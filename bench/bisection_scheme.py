"""What a trial tells of a commit when several commits share one trial of the good end.

    python bench/bisection_scheme.py

Groups of 1 + k neighbouring recorded trials, the first of them the good end's. Per measured commit:
the mean log likelihood ratio, in nats, for a commit that is slower by the effect, and for one that
is not; then the same per block (two trials), with the good end's trial paid for.
"""

from __future__ import annotations

import numpy as np
from replay import Array, recorded_pairs

from ailab_bot.stats import attribution_noise as noise

SCALE = 0.05


def ratios(trials: Array, commits: int, shift: float) -> Array:
    """Log likelihood ratios, (measured, 2): slower and not. All in scales."""
    found = []
    for offset in range(commits + 1):
        rows = len(trials[offset:]) // (commits + 1)
        groups = trials[offset : offset + rows * (commits + 1)].reshape(rows, commits + 1)
        level = noise.first_level(groups[:1, 0])
        for good, *values in groups:
            after = level
            for value in values:
                there = np.array([good])
                slow, _ = noise.absorb(
                    level, there, np.array([value + shift]), np.array([0, shift])
                )
                same, after = noise.absorb(level, there, np.array([value]), np.array([0, shift]))
                found.append((slow[0, 1] - slow[0, 0], same[0, 0] - same[0, 1]))
            level = after
    return np.array(found)


def main() -> None:
    trials = np.log(recorded_pairs()).ravel() / SCALE
    print("effect  commits per good end   nats a measured commit   nats a block")
    for effect in (0.05, 0.10):
        for commits in (1, 2, 4, 6):
            slow, same = ratios(trials, commits, np.log1p(effect) / SCALE).mean(axis=0)
            paid = 2 * commits / (commits + 1)
            print(f"{effect:6.0%} {commits:21} {slow:17.2f} {same:6.2f} "
                  f"{paid * slow:14.2f} {paid * same:6.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
