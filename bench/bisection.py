"""How often the culprit of a range is found, who is blamed in vain, and what it costs.

    python bench/bisection.py [--quick] [--commits 16 64 256] [--effect 5 10 20] [--ranges 300]
                              [--seed 1] [--noise recorded] [--bias 0] [--jump 0] [--ours]

Ranges of commits with one culprit, none, two, one that was reverted, and one that came back, on
resampled recorded noise; every rule sees the same ranges and the same blocks. A block is two trials
(one of a commit and one of the good end, as in `ailab ab`; Pinpoint's trials count half a block).
The ends are counted. Per rule:

    right    exactly those were named who explain the bad end (nobody, where it is as the good end)
    partly   at least one of them was named, and nobody else
    blamed   somebody was named who does not explain it
    blocks   the mean, then the 90th percentile

Of the reverted ranges ours is asked in two ways: by default, where "nobody" is right and enough,
and "slow inside", where a history of slow points raises the prior of a reversion; then `right` asks
for both commits. The last lines hold the figures against their bars (exit status 1: one is missed).
--bias gives every build, the good end's too, a shift of its own with this standard deviation in per
cent, and ours the knowledge of it. --jump makes the machine slower by so many per cent from one of
the first twenty blocks on, as another host or throttling would. --quick: 60 ranges of 64 commits at
10 %, about a minute; the default about two hours.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from bisection_peers import ENDS, facf, pinpoint, plain, rates
from bisection_ranges import (
    KINDS,
    Array,
    Found,
    Ranges,
    by_posterior,
    ranges_of,
    with_bias,
    with_jump,
)
from replay import recorded_pairs, sources

from ailab_bot.stats.attribution_model import Families, Question
from ailab_bot.stats.compare import robust_deviation

#: Blocks that ours may use; others have what they ask for.
CAPACITY = 200
_STREAM = 2000
#: Pinpoint takes so many trials that it sees a part of the ranges.
_PINPOINT_SHARE = 5
#: (commits, effect in per cent): least share that is right, most blocks.
BARS = {(64, 10): (0.97, 36.0), (64, 5): (0.95, 90.0)}
NOBODY_BAR = 0.98


@dataclass(frozen=True)
class Row:
    """Of one rule on some ranges."""

    rule: str
    many: int
    right: float
    partly: float
    blamed: float
    blocks: float
    most: float
    outcomes: str


def score(rule: str, ranges: Ranges, found: Found) -> Row:
    pairs = list(zip(found.named, ranges.culprits, strict=False))
    return Row(
        rule,
        len(pairs),
        float(np.mean([named == true for named, true in pairs])),
        float(np.mean([bool(named & true) and named <= true for named, true in pairs])),
        float(np.mean([bool(named - true) for named, true in pairs])),
        float(found.blocks.mean()),
        float(np.quantile(found.blocks, 0.9)),
        ", ".join(f"{word} {count}" for word, count in Counter(found.outcomes).most_common(4)),
    )


def ours(ranges: Ranges, logs: Array, question: Question) -> list[Row]:
    rows = [score("posterior", ranges, by_posterior(ranges, logs, question))]
    if ranges.kind == "reverted":
        inside = replace(question, families=Families(none=0.2, single=0.4, reverted=0.3))
        found = by_posterior(ranges, logs, inside)
        row = score("posterior, slow inside", ranges, found)
        both = [
            back == (int(change[0]), int(change[1]))
            for back, change in zip(found.taken_back, ranges.changes, strict=True)
        ]
        rows.append(replace(row, right=float(np.mean(both))))
    return rows


def others(ranges: Ranges, logs: Array, effect: float, null: dict[int, Array]) -> list[Row]:
    rows = [
        score(f"bisect, {name} of {repeats}", ranges, plain(ranges, logs, repeats, center))
        for name, center in (("mean", np.mean), ("median", np.median))
        for repeats in (5, 10)
    ]
    for repeats in (1, 5):
        for two_sided in (False, True):
            name = f"FACF{' two-sided' if two_sided else ''}, {repeats} a run"
            found = facf(
                ranges, logs[:, : CAPACITY + ENDS], null[repeats], repeats, 0.99, two_sided
            )
            rows.append(score(name, ranges, found))
    few = max(len(logs) // _PINPOINT_SHARE, 1)
    part = Ranges(ranges.kind, ranges.shifts[:few], ranges.changes[:few])
    rows.append(score("Pinpoint", part, pinpoint(part, logs[:few], effect)))
    return rows


def show(commits: int, kind: str, effect: int, row: Row) -> None:
    print(f"{commits:4} {kind:12} {effect:3}% {row.rule:22} {row.many:5} {row.right:6.3f} "
          f"{row.partly:6.3f} {row.blamed:6.3f} {row.blocks:7.1f} {row.most:6.0f}  {row.outcomes}",
          flush=True)  # fmt: skip


def bars(table: dict[tuple[int, str, int], Row]) -> bool:
    """Prints each figure beside its bar; False if one is missed."""
    held = True
    for (commits, effect), (least, most) in BARS.items():
        row = table.get((commits, "one culprit", effect))
        if row is None:
            continue
        ok = row.right >= least and row.blocks <= most
        held &= ok
        print(f"{'holds' if ok else 'MISSED'}: {commits} commits at +{effect} %: {row.right:.3f} "
              f"right (bar {least}), {row.blocks:.1f} blocks (bar {most:.0f})")  # fmt: skip
    nobody = [row for (_, kind, _), row in table.items() if kind == "no culprit"]
    for row in nobody:
        ok = 1 - row.blamed >= NOBODY_BAR
        held &= ok
        print(f"{'holds' if ok else 'MISSED'}: nobody blamed in {1 - row.blamed:.3f} of {row.many} "
              f"ranges without a culprit (bar {NOBODY_BAR})")  # fmt: skip
    return held


def simulate(arguments: argparse.Namespace) -> bool:
    source = sources()[arguments.noise]
    table: dict[tuple[int, str, int], Row] = {}
    pairs = recorded_pairs()
    if arguments.noise != "recorded":
        pairs = source(200, 20, np.random.default_rng(arguments.seed)).reshape(-1, 2)
    scale = 0.05  # what the policy expects of an unknown scenario; the recording has 0.050
    if arguments.noise != "recorded":
        scale = robust_deviation(np.log(pairs[:, 1] / pairs[:, 0]))
    null = {k: rates(pairs, k, np.random.default_rng(arguments.seed)) for k in (1, 5)}
    print(f"{'n':>4} {'range':12} {'size':>4} {'rule':22} {'many':>5} {'right':>6} {'partly':>6} "
          f"{'blamed':>6} {'blocks':>7} {'90%':>6}  outcomes")  # fmt: skip
    for commits in arguments.commits:
        for kind in KINDS:
            effects = arguments.effect[:1] if kind == "no culprit" else arguments.effect
            for effect in effects:
                random = np.random.default_rng([arguments.seed, commits, KINDS.index(kind), effect])
                ranges = ranges_of(kind, arguments.ranges, commits, effect / 100, random)
                blocks = CAPACITY if arguments.ours else _STREAM
                logs = np.log(source(arguments.ranges, blocks, random))
                if arguments.jump:
                    logs = with_jump(logs, arguments.jump / 100, random)
                ranges = with_bias(ranges, arguments.bias / 100, random)
                bias = max(arguments.bias / 100, Question.bias_sd)
                question = Question(commits, scale, bias, capacity=CAPACITY)
                rows = ours(ranges, logs[:, :CAPACITY], question)
                table[commits, kind, effect] = rows[0]
                for row in rows:
                    show(commits, kind, effect, row)
                if not arguments.ours:
                    for row in others(ranges, logs, effect / 100, null):
                        show(commits, kind, effect, row)
    if arguments.noise != "recorded" or arguments.bias or arguments.jump:
        return True  # the bars are about the recorded noise as it is
    return bars(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commits", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--effect", type=int, nargs="+", default=[5, 10, 20], help="per cent")
    parser.add_argument("--ranges", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", choices=list(sources()), default="recorded")
    parser.add_argument("--bias", type=float, default=0.0, help="of builds, per cent")
    parser.add_argument("--jump", type=float, default=0.0, help="of the machine, per cent")
    parser.add_argument("--ours", action="store_true", help="without the peers")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.commits, arguments.effect, arguments.ranges = [64], [10], 60
    started = time.perf_counter()
    held = simulate(arguments)
    print(f"{time.perf_counter() - started:.0f} s, seed {arguments.seed}, noise: {arguments.noise}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
