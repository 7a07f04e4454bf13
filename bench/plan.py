"""What the planning job does itself, for 64 scenarios on 16 shards, against what is promised.

python bench/plan.py [--runs 7] [--python PATH]
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from job_cost import SCENARIOS, SHARDS, cost_of, fresh_copy, office, options, show, show_base
from office import outputs
from repositories import git
from standin import running

#: CPU seconds: issue "On GitHub".
PROMISED_S = 1.0


def main() -> None:
    given = options(__doc__)
    runs = given.runs
    with tempfile.TemporaryDirectory() as name, running() as github:
        folder = Path(name)
        place = office(folder / "office", github)
        pull = place.open_pull()
        opened = github.event("pull_request", "opened")
        run = github.start_run(pull)
        costs = {}
        for attempt in (1, 2):  # the second one asks GitHub for what slash commands asked for
            run.attempt = attempt
            costs[attempt] = []
            for number in range(runs):
                here = folder / f"plan-{attempt}-{number}"
                here.mkdir()
                clone = here / "clone"
                git(here, "clone", "--quiet", "--depth=1", place.origin.as_uri(), str(clone))
                env = github.environment(opened, here, run=run, workspace=clone)
                env["PYTHONPATH"] = str(fresh_copy(folder))
                words = ["-m", "ailab_bot", "plan", "--github"]
                costs[attempt].append(cost_of(given.python, words, env, github))
                matrix = json.loads(outputs(here / "output")["matrix"])
                assert len(matrix) == SHARDS
                assert sum(len(shard["scenarios"]) for shard in matrix) == SCENARIOS
        print(f"{SCENARIOS} scenarios, {SHARDS} shards, {runs} runs; median (range) of CPU time")
        show_base(folder, ["ailab_bot.flows.jobs", "ailab_bot.report.plan"], given)
        show("ailab plan --github", costs[1], lambda cost: cost.own_s)
        show("  its git, which also fetches and unpacks", costs[1], lambda cost: cost.children_s)
        show("  of the clock, all in all", costs[1], lambda cost: cost.wall_s)
        show("ailab plan --github, second attempt", costs[2], lambda cost: cost.own_s)
        print(f"promised: at most {PROMISED_S} s of its own")
        print(f"requests to GitHub: {len(costs[1][0].verbs)}, then {len(costs[2][0].verbs)}")


if __name__ == "__main__":
    main()
