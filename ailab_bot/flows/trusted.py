"""Inside a GitHub workflow that decides: what its jobs work with.

Runs the default branch's code with a token that writes. Refuses to check out or run anything that
a pull request brought: its commit is fetched as data, to compare files and compiled code.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from datetime import datetime

from ailab_bot.flows.definitions import Definitions, read_definitions
from ailab_bot.flows.desk import Desk, Known
from ailab_bot.flows.history import BRANCH, expected_s
from ailab_bot.flows.hosted import Clock, fresh_folder
from ailab_bot.flows.knowledge import Knowledge, read_knowledge
from ailab_bot.flows.selection import gather_if_known, origins_of
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.api import client_from
from ailab_bot.gh.client import GitHubError
from ailab_bot.gh.event import Repository
from ailab_bot.gh.fetch import MISSING, bring_if_there, fetch_before, fetch_commits, fetch_tip
from ailab_bot.ledger.reading import SETTLED
from ailab_bot.measure.git import open_repository

#: Of a trusted job's time, by its workflow: what is left when GitHub makes us wait.
GATE_S, COMMAND_S, PUBLISH_S = 4 * 60.0, 8 * 60.0, 12 * 60.0


def open_desk(
    around: Surroundings,
    environ: Mapping[str, str],
    repository: Repository,
    clock: Clock,
    limit_s: float = PUBLISH_S,
) -> Desk:
    """What a trusted job works with. UserError where its token or its clone is missing."""
    github = client_from(environ, deadline_s=time.monotonic() + limit_s, sleep=clock.sleep)
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

    def known_of(definitions: Definitions, base: str, head: str, when: datetime) -> Known:
        if not definitions.config.github.history:
            return Known()
        token = environ.get("AILAB_TOKEN", "")
        clone = open_repository(around.workspace)
        try:
            tip = fetch_before(clone.root, BRANCH, when - SETTLED, token, around.server_url)
        except GitHubError as error:
            if MISSING not in error.why:
                raise  # the job that planned had it, so nothing can be said without it
            return Known()
        names = [scenario.id for scenario in definitions.scenarios]
        expected = expected_s(clone.root, tip, names)
        known = read_knowledge(clone.root, tip, when) if tip else Knowledge()
        if known.is_empty or not definitions.config.selection.footprints:
            return Known(expected)
        fetch_commits(clone.root, [base, head], token, around.server_url)
        for sha in origins_of(known, base):
            bring_if_there(clone.root, sha, token, around.server_url)
        return Known(expected, gather_if_known(clone, base, head, known, when))

    return Desk(
        github=github,
        around=around,
        definitions_of=definitions_of,
        ledger_tip=ledger_tip,
        repository_id=repository.id,
        public=repository.public,
        now=clock.now,
        known_of=known_of,
    )
