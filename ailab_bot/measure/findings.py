"""What each property of a machine costs where it cannot be had.

A kind of cost and never a figure: how much it is depends on the machine, and `noise` in a report
shows it. docs/noise.md has the sources.
"""

from __future__ import annotations

from ailab_bot.model.diagnosis import Finding, Level

COSTS = {
    "cores": (
        "With a single core, a trial, the supervisor and all other work take turns: more "
        "noise, so more blocks."
    ),
    "hyper-threads": (
        "Two threads of one core share its units, so work on the one slows the other without "
        "taking its time: noise in both arms, so more blocks."
    ),
    "clock governor": (
        "The clock follows the load with a delay, so a trial's speed depends on what ran "
        "before it: noise and drift, so more blocks."
    ),
    "turbo": (
        "The highest clock depends on heat and on how many cores are busy: drift, which "
        "interleaved blocks share between the arms, so more blocks."
    ),
    "address layout": (
        "With one fixed layout, how well it happens to suit an arm looks like an effect of "
        "the change: bias to one arm, which no number of blocks averages out."
    ),
    "instruction counter": (
        "The covariate `instructions` is missing, which tells more work from slower work. "
        "Verdicts do not need it."
    ),
    "clock source": (
        "Reading the time becomes a slow system call, and programs that log do it often: "
        "longer trials, in both arms."
    ),
    "stolen time": (
        "A trial stands still while the hypervisor runs other guests: jumps in whichever arm "
        "is running, so more blocks. A block is measured again when it is too much."
    ),
    "other work": (
        "It takes cores, caches and disk from trials: noise in whichever arm is running, so "
        "more blocks. A block is measured again when it is too much."
    ),
    "CPU quota": (
        "Once it is used up, all processes stand still until the next period: jumps in TTFB. "
        "And programs see more cores than they may use, so they start too many threads."
    ),
    "swap": (
        "What was moved out comes back from disk in the middle of a trial: jumps in whichever "
        "arm is running, so more blocks."
    ),
    "huge pages": (
        "Whether memory comes in huge pages depends on how fragmented it is, and with it "
        "speed and peak memory: drift over the machine's uptime, in both arms."
    ),
    "page cache": (
        "What one arm reads pushes the other arm's files out of memory, so trials read from "
        "disk: more noise, and bias to the arm whose files stay."
    ),
}


def found(
    name: str, state: str, level: Level = Level.OK, advice: str = "", cost: str = ""
) -> Finding:
    """A finding with the cost of its name, unless it has one of its own."""
    return Finding(name, state, level, cost or COSTS[name], advice)
