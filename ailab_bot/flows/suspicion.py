"""Who is suspected before anything was measured: what selection says of each commit of a range.

A commit that cannot move the scenario by its footprint is less likely the culprit, and one that
adds calls where it runs is more likely. A prior and never a proof: every commit keeps a share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ailab_bot.errors import AilabError
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.here import known_here
from ailab_bot.flows.selection import select_scenarios
from ailab_bot.measure.git import Repository
from ailab_bot.model.culprit import RangeCommit
from ailab_bot.model.report import Choice, Why
from ailab_bot.model.scenario import Scenario

#: Longer ranges are not asked about: each commit takes a tenth of a second and more.
MOST_COMMITS = 300
#: More of them take longer than one waits without a word.
_MANY = 20


def scores_of(
    repository: Repository,
    definitions: Definitions,
    scenario: Scenario,
    commits: Sequence[RangeCommit],
    tell: Callable[[str], None] = lambda _: None,
    as_of: datetime | None = None,
) -> tuple[float, ...]:
    """Of each commit the probability that it moves the scenario; empty where nothing is known.
    `as_of`: as the ledger was then, the same for everybody who asks; None: as all is known here."""
    if len(commits) > MOST_COMMITS or not all(commit.parents for commit in commits):
        return ()
    now = datetime.now(UTC) if as_of is None else as_of
    known = known_here(repository, definitions, now, settled=as_of is not None)
    open_ = (Choice(scenario.id, taken=True, reason="", rule=Why.TIER),)
    scores: list[float] = []
    for commit in commits:
        try:
            evidence = known.evidence(commit.parents[0], commit.sha)
            if evidence is None:
                return ()
            if not scores and len(commits) > _MANY:
                tell(f"reading what {len(commits)} commits touch")
            (choice,) = select_scenarios(
                open_,
                definitions,
                evidence,
                capacity_s=None,
                seed=0,
                expected_s={},
                root=repository.root,
            ).choices
        except AilabError:  # a commit that is not wholly here, or a wrong `smoke`
            return ()
        scores.append(choice.probability or 0.0)
    return tuple(scores) if any(scores) else ()
