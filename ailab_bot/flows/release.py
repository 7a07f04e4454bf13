"""The report of a protected branch: from the artifacts of its own run to its commit's status.

Runs in the workflow that measured, after its shards, and knows no pull request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ailab_bot.flows.assemble import assemble
from ailab_bot.flows.desk import Published, gate_state, set_gate
from ailab_bot.flows.hosted import Clock, plan_here
from ailab_bot.flows.ingest import ingest
from ailab_bot.flows.policy import policy_notes
from ailab_bot.flows.publish import chosen_artifacts, is_incomplete, parcels_of
from ailab_bot.flows.trusted import open_desk
from ailab_bot.gh.actions import Surroundings
from ailab_bot.model.report import Commit
from ailab_bot.report import status

#: Not the pull requests' gate: a release branch's head can be one's head, too.
RELEASE = "ailab/release"


def report_here(around: Surroundings, environ: Mapping[str, str], clock: Clock) -> Published:
    """The report of a protected branch's measurement, from the artifacts of this very run."""
    desk = open_desk(around, environ, around.event().repository, clock)
    run = desk.github.run(around.run_id)
    found = plan_here(around, desk.github.statuses, lambda: run.created_at)
    if found is None:
        return Published(None, "nothing to compare with")
    change, definitions = found
    findings, lost = ingest(parcels_of(desk.github, chosen_artifacts(desk.github, run)), change)
    names = [scenario.id for scenario in change.expected]
    notes = [*policy_notes(definitions.policy, names), *findings.notes]
    notes += [f"{name} has no result: {loss.reason}" for name, loss in lost.items()]
    report = assemble(
        Commit("base", change.target.base),
        Commit("head", change.target.head),
        change.plan,
        change.expected,
        definitions.policy,
        replace(findings, notes=notes),
        f"ailab ab {change.target.base[:12]} {change.target.head[:12]} --seed {change.plan.seed}",
    )
    mode = definitions.config.github.mode
    state = gate_state(
        report.conclusion, mode, accepted=False, incomplete=is_incomplete(report, change, lost)
    )
    text = status.description(report)
    set_gate(desk, change.target.head, state, text, run.url, context=RELEASE)
    return Published(state, text, report)
