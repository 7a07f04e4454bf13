"""The report of a protected branch: from the artifacts of its own run to its commit's status.

Runs in the workflow that measured, after its shards, and knows no pull request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ailab_bot.errors import AilabError
from ailab_bot.flows.assemble import assemble
from ailab_bot.flows.change import ChangePlan
from ailab_bot.flows.desk import Published, gate_state, set_gate
from ailab_bot.flows.history import records_of
from ailab_bot.flows.hosted import Clock, plan_here
from ailab_bot.flows.ingest import MEMBERS, Parcel, ingest
from ailab_bot.flows.knowledge import footprint_body
from ailab_bot.flows.policy import policy_notes
from ailab_bot.flows.publish import chosen_artifacts, is_incomplete, parcels_of
from ailab_bot.flows.trusted import open_desk
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.fetch import bring_if_there
from ailab_bot.ledger.records import Origin, Record
from ailab_bot.model import strictjson
from ailab_bot.model.exchange import FOOTPRINTS, fingerprint
from ailab_bot.model.footprintwire import footprint_from_json
from ailab_bot.model.report import Commit
from ailab_bot.report import status

#: Not the pull requests' gate: a release branch's head can be one's head, too.
RELEASE = "ailab/release"
#: Footprints of one shard: 64 scenarios of 300 KiB.
LARGEST_FOOTPRINTS_BYTES = 64 << 20


def report_here(around: Surroundings, environ: Mapping[str, str], clock: Clock) -> Published:
    """The report of a protected branch's measurement, from the artifacts of this very run."""
    desk = open_desk(around, environ, around.event().repository, clock)
    run = desk.github.run(around.run_id)

    def bring(sha: str) -> None:
        token = environ.get("AILAB_TOKEN", "")
        bring_if_there(around.workspace, sha, token, around.server_url)

    found = plan_here(around, desk.github.statuses, lambda: run.created_at, bring)
    if found is None:
        return Published(None, "nothing to compare with")
    change, definitions = found
    told = any(shard.footprints for shard in change.shards)
    members = {**MEMBERS, FOOTPRINTS: LARGEST_FOOTPRINTS_BYTES} if told else MEMBERS
    parcels = parcels_of(desk.github, chosen_artifacts(desk.github, run), members)
    findings, lost = ingest(parcels, change)
    footprints, damaged = read_footprints(parcels, change) if told else ((), 0)
    names = [scenario.id for scenario in change.expected]
    notes = [*policy_notes(definitions.policy, names), *findings.notes]
    notes += [f"{name} has no result: {loss.reason}" for name, loss in lost.items()]
    if damaged:
        notes.append(f"{damaged} footprints could not be read, and are not recorded.")
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
    records: tuple[Record, ...] = ()
    if definitions.config.github.history:
        records = records_of(report, run, change.body(), Origin.RELEASE, footprints)
    return Published(state, text, report, records=records)


def read_footprints(
    parcels: Sequence[Parcel], change: ChangePlan
) -> tuple[tuple[tuple[str, dict[str, object]], ...], int]:
    """By scenario the body of its record, and how many lines are none.

    What cannot be opened has been told by `ingest`. A footprint counts only for the head that was
    measured and a scenario of the plan; of several attempts the latest.
    """
    definitions = {scenario.id: fingerprint(scenario) for scenario in change.expected}
    found: dict[str, dict[str, object]] = {}
    damaged = 0
    for parcel in sorted(parcels, key=lambda each: (-each.attempt, each.index)):
        try:
            lines = parcel.open()[FOOTPRINTS].decode("utf-8", "replace").splitlines()
        except AilabError:
            continue
        for line in lines:
            try:
                each = footprint_from_json(strictjson.load(line))
            except strictjson.BadJsonError:
                damaged += 1
                continue
            if each.sha == change.target.head and each.scenario in definitions:
                body = footprint_body(each, definitions[each.scenario])
                found.setdefault(each.scenario, body)
    return tuple(sorted(found.items())), damaged
