"""From raw trials to the posted status: 64 scenarios of 40 blocks in 16 artifacts, and the promise.

python bench/publish.py [--runs 7] [--python PATH]

Three scenarios are slower and one is faster; the trials have the metrics, phases and covariates of
real ones. Each run is another pull request's.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from job_cost import (
    NAMES,
    SCENARIOS,
    SHARDS,
    Cost,
    cost_of,
    fresh_copy,
    office,
    options,
    show,
    show_base,
)
from office import MACHINE, Office, Run, zipped
from standin import running

from ailab_bot.gh.actions import artifact_name
from ailab_bot.model.shard import Shard, ShardResult
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.verdict import Explanation, ImportChange
from ailab_bot.plan.schedule import arms_of_block

#: CPU seconds until the status; requests and writes of a pull request: issue "On GitHub".
PROMISED_S, PROMISED_REQUESTS, PROMISED_WRITES = 2.0, 40, 10
BLOCKS = 40
EFFECTS = {NAMES[3]: 0.2, NAMES[20]: 0.1, NAMES[41]: 0.05, NAMES[60]: -0.1}
PHASES = ("interpreter", "import", "config", "data", "model")
IMPORTS = ["ailab_bot.flows.jobs", "ailab_bot.flows.publish", "ailab_bot.flows.trusted",
           "ailab_bot.gh.api", "ailab_bot.report.summary", "ailab_bot.model.wire"]  # fmt: skip


def drawn(scenario: str, seed: int, rng: random.Random) -> list[Trial]:
    """Trials of about a second, in the order that the seed gives."""
    effect = math.log1p(EFFECTS.get(scenario, 0.0))
    trials = []
    for block in range(BLOCKS):
        for order, arm in enumerate(arms_of_block(seed, scenario, block)):
            slow = effect if arm is Arm.HEAD else 0.0
            ttfb_s = round(math.exp(slow + rng.gauss(0, 0.02) + rng.expovariate(50)), 6)
            phases = {phase: round(ttfb_s * rng.uniform(0.05, 0.15), 6) for phase in PHASES}
            phases["first_batch"] = round(ttfb_s - sum(phases.values()), 6)
            covariates = {"run_delay_s": 0.011, "steal_s": 0.0, "nivcsw": 12, "majflt": 0}
            trials.append(
                Trial(
                    scenario, block, order, arm, Outcome.OK,
                    metrics={"ttfb_s": ttfb_s, "cpu_s": ttfb_s, "peak_rss_bytes": 241e6},
                    phases=phases, covariates=covariates, machine="bench", judged=("ttfb_s",),
                )
            )  # fmt: skip
    return trials


def parcels(place: Office, run: Run, shards: Sequence[Shard], many: int) -> dict[str, bytes]:
    """What the measuring jobs leave, by the artifact's name."""
    rng = random.Random(many)
    made = {}
    for shard in shards:
        trials = [trial for name in shard.scenarios for trial in drawn(name, shard.seed, rng)]
        cause = (ImportChange("torch", 0.2, 900, "train.py:2"),)
        result = ShardResult(
            shard.index, shard.base, shard.head, shard.seed, MACHINE, 60.0,
            {name: place.fingerprint(name) for name in shard.scenarios},
            tuple(Explanation(n, imports_added=cause) for n in shard.scenarios if n in EFFECTS),
        )  # fmt: skip
        made[artifact_name(run.attempt, shard.index)] = zipped(trials, result)
    return made


def publish(place: Office, folder: Path, number: int, python: str) -> tuple[Cost, Cost]:
    """The costs of `gate` and `publish` for a new pull request."""
    github = place.github
    pull = place.open_pull(
        {"train.py": f"import os\nimport torch  # {number}\n"}, head=f"h{number}"
    )
    run = github.start_run(pull)
    began = github.event("workflow_run", "in_progress")
    shards = place.plan(run)
    assert len(shards) == SHARDS
    costs = []
    for command in ("gate", "publish"):
        here = folder / f"{command}-{number}"
        here.mkdir()
        if command == "publish":
            github.finish_run(run, artifacts=parcels(place, run, shards, number))
        event = began if command == "gate" else github.event("workflow_run", "completed")
        env = github.environment(event, here, workspace=place.clone)
        env["PYTHONPATH"] = str(fresh_copy(folder))
        words = ["-m", "ailab_bot", command, "--github"]
        costs.append(cost_of(python, words, env, github))
    assert place.gate(pull).state == "failure"
    assert len(github.bot_comments(pull)) == 1
    return costs[0], costs[1]


def main() -> None:
    given = options(__doc__)
    runs = given.runs
    with tempfile.TemporaryDirectory() as name, running() as github:
        folder = Path(name)
        place = office(folder / "office", github)
        both = [publish(place, folder, number, given.python) for number in range(runs)]
        gates, costs = [gate for gate, _ in both], [cost for _, cost in both]
        size = f"{SCENARIOS} scenarios of {BLOCKS} blocks in {SHARDS} artifacts"
        print(f"{size}, {runs} runs; median (range) of CPU time")
        show_base(folder, IMPORTS, given)
        show("ailab publish --github, until the status", costs, lambda cost: cost.to_status_s)
        show("  until its end", costs, lambda cost: cost.own_s)
        show("  its git", costs, lambda cost: cost.children_s)
        show("  of the clock, all in all", costs, lambda cost: cost.wall_s)
        show("ailab gate --github, before", gates, lambda cost: cost.own_s)
        print(f"promised: at most {PROMISED_S} s of its own until the status")
        verbs = [*gates[-1].verbs, *costs[-1].verbs]
        writes = sum(verb != "GET" for verb in verbs)
        print(f"requests of both jobs: {len(verbs)} (promised: at most {PROMISED_REQUESTS}), "
              f"{writes} of them writes (at most {PROMISED_WRITES})")  # fmt: skip


if __name__ == "__main__":
    main()
