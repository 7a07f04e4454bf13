"""Are two of the rules restated in `peers` those of their packages? Asks the packages themselves.

    pip install -c constraints.txt -e '.[bench]'
    python bench/peer_packages.py [--replays 500]

pyperf and asv publish their comparison as a function of two lists of seconds; the other peers'
rules live inside services (treeherder, rustc-perf), or are a spreadsheet's. Exit status 1 where a
restated rule and its package disagree in more than 2 of 100 replays: asv computes its p-values
exactly and pyperf takes its quantiles from a coarse table, where `peers` does the opposite. The
default takes about two minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pyperf
from asv import _stats as asv_stats
from peers import asv_rule, pyperf_rule
from pyperf import _utils as pyperf_utils
from replay import Array, sources, with_effect

BLOCKS = 20
EFFECTS = (0.0, 0.05, 0.10, 0.20)
MOST_DISAGREEMENT = 0.02
Seconds = Sequence[float]


def by_pyperf(base: Seconds, head: Seconds) -> bool:
    """`pyperf compare_to`: significant, and the mean is larger."""
    significant, _ = pyperf_utils.is_significant(list(base), list(head))
    return bool(significant) and statistics.fmean(head) > statistics.fmean(base)


def by_asv(base: Seconds, head: Seconds) -> bool:
    """`asv continuous` at its default factor of 1.1."""
    worse = statistics.median(head) > 1.1 * statistics.median(base)
    return worse and bool(asv_stats.is_different(list(base), list(head), None, None))


RULES: dict[str, tuple[Callable[[Array], Array], Callable[[Seconds, Seconds], bool]]] = {
    f"pyperf {pyperf.__version__}": (pyperf_rule, by_pyperf),
    "asv": (asv_rule, by_asv),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replays", type=int, default=500)
    arguments = parser.parse_args()
    print(f"{'noise':20} {'effect':>6} {'rule':14} {'package':>8} {'restated':>9} {'differ':>7}")
    worst = 0.0
    for name, draw in sources().items():
        null = draw(arguments.replays, BLOCKS, np.random.default_rng(1))
        for effect in EFFECTS:
            seconds = with_effect(null, effect)
            for rule, (restated, package) in RULES.items():
                ours = restated(seconds)
                theirs = np.array([package(*row.T.tolist()) for row in seconds])
                differ = float((ours != theirs).mean())
                worst = max(worst, differ)
                print(f"{name:20} {effect:6.0%} {rule:14} {theirs.mean():8.4f} "
                      f"{ours.mean():9.4f} {differ:7.4f}", flush=True)  # fmt: skip
    return int(worst > MOST_DISAGREEMENT)


if __name__ == "__main__":
    sys.exit(main())
