"""One of several workers of a search: it measures what tells most, as all of them do at once.

Knows what earlier rounds measured, and nothing of those who work beside it; what it leaves is put
together with theirs. Refuses to hold a token, and to blame: a finish gives what it confirmed to
whoever decides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.confirming import Confirmation
from ailab_bot.flows.finding import Subject, found_of, reproduce
from ailab_bot.flows.parcels import Sheet
from ailab_bot.flows.seeking import Range, Search
from ailab_bot.flows.stand import Stand, Work
from ailab_bot.model.culprit import Culprit, Ending
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.report import Commit
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Part, Phase, Quest, WorkerResult
from ailab_bot.report.progress import Progress


@dataclass(frozen=True)
class Place:
    """Which worker this is (`index` from 0) and what it may spend. `least`: blocks to measure
    however certain it is: whoever gave it the work knows more."""

    index: int = 0
    of: int = 1
    phase: Phase = Phase.SEARCH
    minutes: float | None = None
    least: int = 1


def run_worker(
    work: Work,
    quest: Quest,
    range_: Range,
    earlier: Evidence,
    place: Place,
    folders: tuple[Path, Path],
    progress: Progress,
    also: Sequence[Scenario] = (),
) -> WorkerResult:
    """Search, or finish; `folders`: where the parcel goes, and where to work. An error of the
    machine or of an end ends this worker, and is said in what it leaves."""
    out, folder = folders
    sheet = Sheet(out)
    begun_s = time.monotonic()
    deadline_s = None if place.minutes is None else begun_s + place.minutes * 60
    finishing = place.phase is Phase.FINISH
    share = range_.capacity
    if not finishing:  # all of them together may spend what is left
        left = max(range_.capacity - earlier.spent_blocks, 0)
        share = earlier.spent_blocks + max(-(-left // place.of), place.least)
    own = replace(range_, capacity=share)
    result = WorkerResult(quest, place.index, place.of, work.seed, fingerprint(work.scenario))
    with Stand(work, folder / "range", progress, partial(sheet.keep, Part.RANGE)) as stand:
        search = Search(
            own, stand, progress.note, earlier, place.of, place.index, deadline_s,
            least=0 if finishing else place.least,
        )  # fmt: skip
        failed, for_good = "", False
        try:
            belief = search.run()
        except AilabError as error:
            failed = ": ".join(filter(None, [error.what, error.why]))
            for_good = isinstance(error, UserError)
    if finishing and not failed and not search.interrupted:
        subject = Subject(
            work.scenario.id, work.metric, Commit(quest.good, quest.good),
            Commit(quest.bad, quest.bad), reproduce(quest.good, quest.bad, work.scenario.id),
        )  # fmt: skip
        found = found_of(subject, own, search.evidence, belief)
        confirmation = Confirmation(
            work, folder, progress, tuple(also), deadline_s=deadline_s, keep=sheet.keep,
            refusals=earlier.refusals,
        )  # fmt: skip
        found, failed = _confirmed(confirmation, found)
        result = replace(
            result, found=found, interrupted=found.ending is Ending.INTERRUPTED,
        )  # fmt: skip
    result = replace(
        result,
        skipped=dict(search.skipped),
        spent_s=round(time.monotonic() - begun_s, 3),
        interrupted=search.interrupted or result.interrupted,
        failed=failed,
        for_good=for_good,
    )
    sheet.end(result)
    return result


def _confirmed(confirmation: Confirmation, found: Culprit) -> tuple[Culprit, str]:
    """And why it could not be, where it could not."""
    try:
        return confirmation.run(found), ""
    except AilabError as error:
        why = ": ".join(filter(None, [error.what, error.why]))
        return found.nobody(Ending.INTERRUPTED, why), why
