"""Inside a GitHub workflow that decides: what its jobs work with, and the report of a release.

Runs the default branch's code with a token that writes. Refuses to check out or run anything that
a pull request brought.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import replace

from ailab_bot.flows.assemble import assemble
from ailab_bot.flows.definitions import Definitions, read_definitions
from ailab_bot.flows.desk import Desk, gate_state, set_gate
from ailab_bot.flows.history import BRANCH
from ailab_bot.flows.hosted import Clock, fresh_folder, plan_here
from ailab_bot.flows.ingest import ingest
from ailab_bot.flows.policy import policy_notes
from ailab_bot.flows.publish import Published, chosen_artifacts, parcels_of
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.api import client_from
from ailab_bot.gh.client import GitHubError
from ailab_bot.gh.event import Repository
from ailab_bot.gh.fetch import fetch_tip
from ailab_bot.measure.git import open_repository
from ailab_bot.model.report import Commit
from ailab_bot.report import status

#: Of a trusted job's 15 minutes: what is left when GitHub makes us wait.
JOB_S = 12 * 60.0


def open_desk(
    around: Surroundings,
    environ: Mapping[str, str],
    repository: Repository,
    clock: Clock,
) -> Desk:
    """What a trusted job works with. UserError where its token or its clone is missing."""
    github = client_from(environ, deadline_s=time.monotonic() + JOB_S, sleep=clock.sleep)
    known: dict[str, Definitions] = {}

    def definitions_of(branch: str) -> Definitions:
        if branch not in known:
            clone = open_repository(around.workspace)
            token = environ.get("AILAB_TOKEN", "")
            sha = fetch_tip(clone.root, branch, token, around.server_url)
            folder = fresh_folder(around, f"definitions-{len(known)}")
            known[branch] = read_definitions(clone, sha, folder, around.config)
        return known[branch]

    @functools.cache
    def ledger_tip() -> str | None:
        token = environ.get("AILAB_TOKEN", "")
        try:
            return fetch_tip(around.workspace, BRANCH, token, around.server_url)
        except GitHubError:
            return None

    return Desk(
        github=github,
        around=around,
        definitions_of=definitions_of,
        ledger_tip=ledger_tip,
        repository_id=repository.id,
        public=repository.public,
        now=clock.now,
    )


def report_here(around: Surroundings, environ: Mapping[str, str], clock: Clock) -> Published:
    """The report of a protected branch's measurement, from the artifacts of this very run."""
    desk = open_desk(around, environ, around.event().repository, clock)
    found = plan_here(around, desk.github.statuses, clock.now())
    if found is None:
        return Published(None, "nothing to compare with")
    change, definitions = found
    run = desk.github.run(around.run_id)
    findings, lost = ingest(parcels_of(desk.github, chosen_artifacts(desk.github, run)), change)
    names = [scenario.id for scenario in change.expected]
    notes = [*policy_notes(definitions.policy, names), *findings.notes]
    notes += [f"{name} has no result: {why}" for name, why in lost.items()]
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
    state = gate_state(report.conclusion, mode, accepted=False, incomplete=bool(lost))
    text = status.description(report)
    set_gate(desk, change.target.head, state, text, run.url)
    return Published(state, text, report)
