"""`ailab bisect`: which commit of a range made a scenario slower.

range -> blocks of the commit that tells most -> belief -> culprit -> inside its merge -> confirmed.
The search only suspects: nobody is named before the verdict engine has compared the suspect with
its parent on fresh blocks. What was measured is on disk and counts again with --resume; several
machines measure with --worker, and what they leave counts with --earlier.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ailab_bot.config import load_config, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.flows.ab import dirty_note, new_run_folder
from ailab_bot.flows.confirming import UNCHECKED, Confirmation
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.finding import Subject, found_of, reproduce
from ailab_bot.flows.parcels import Asked, merge, read_folders
from ailab_bot.flows.policy import policy_of
from ailab_bot.flows.refusal import refusal_of
from ailab_bot.flows.search_folder import STATE, SearchFolder, begin, locked, take_up
from ailab_bot.flows.seeking import CAPACITY_BLOCKS, Range, Search
from ailab_bot.flows.stand import Stand, Work
from ailab_bot.flows.suspicion import scores_of
from ailab_bot.flows.worker import Place, run_worker
from ailab_bot.measure.cores import choose_cores
from ailab_bot.measure.environment import interpreter, which_python
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.ranges import read_range
from ailab_bot.model.culprit import Check, Culprit, Ending, RangeCommit
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.report import Commit
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Quest, WorkerResult
from ailab_bot.report.progress import Progress
from ailab_bot.stats.attribution import mixed_prior

__all__ = ["CAPACITY_BLOCKS", "BisectRequest", "find_culprit", "prior_of", "search_as_worker"]


@dataclass(frozen=True)
class BisectRequest:
    """What the user asked for. `resume`: the folder of a search that was interrupted; `earlier`:
    one below which workers left what they measured. `worker`: which, from 1, of how many; it
    leaves what it measured in `out`. `also`: other scenarios to compare at the culprit.
    """

    good: str
    bad: str
    repo: Path
    scenario: str
    metric: str = ""
    config: Path | None = None
    python: str | None = None
    seed: int | None = None
    blocks: int = CAPACITY_BLOCKS
    resume: Path | None = None
    check: bool = True
    also: tuple[str, ...] = ()
    worker: tuple[int, int] | None = None
    earlier: Path | None = None
    minutes: float | None = None
    out: Path | None = None


@dataclass(frozen=True)
class _Question:
    """The request, looked up: `work` has no seed yet."""

    good: Commit
    bad: Commit
    commits: Sequence[RangeCommit]
    definitions: Definitions
    work: Work
    also: tuple[Scenario, ...]
    earlier: Evidence

    @property
    def quest(self) -> Quest:
        return Quest(self.good.sha, self.bad.sha, self.work.scenario.id, self.work.metric)


def find_culprit(request: BisectRequest, progress: Progress) -> tuple[Culprit, Path]:
    """Search, confirm, and say what was found. Returns it and the folder of every trial.

    Raises UserError or RunnerError where nothing can be searched. An interruption ends the search;
    what it knows until then is returned.
    """
    question = _look_up(request)
    if request.resume is None:
        folder = begin(question.work, question.quest, request.seed, question.earlier)
    else:
        folder = take_up(request.resume, question.work, question.quest, request.seed)
    with locked(folder.path):
        return _find(request, question, folder, progress), folder.path


def _find(
    request: BisectRequest, question: _Question, folder: SearchFolder, progress: Progress
) -> Culprit:
    """Who is refused is not the end: the search goes on while it has blocks left."""
    progress.note(f"every trial goes to {folder.path}; --resume goes on from there")
    work = replace(question.work, seed=folder.seed)
    deadline_s = None if request.minutes is None else time.monotonic() + request.minutes * 60
    prior = prior_of(work, question.definitions, question.commits, progress)
    range_ = Range(question.commits, work.limits, prior, request.blocks)
    command = _reproduce(request, work, folder.seed)
    subject = Subject(work.scenario.id, work.metric, question.good, question.bad, command)
    earlier, refused = folder.earlier, dict[str, tuple[Check, ...]]()
    while True:
        with Stand(work, folder.path / "range", progress) as stand:
            search = Search(range_, stand, progress.note, earlier, deadline_s=deadline_s)
            belief = search.run()
        found = _noted(found_of(subject, range_, search.evidence, belief), work)
        if search.late and range_.goes_on(search.evidence, belief):
            count = f"{belief.blocks:g} blocks"
            reason = f"The time was up (--minutes) after {count}; --resume goes on."
            found = found.nobody(Ending.CAPACITY, reason)
        if search.interrupted and found.ending.names_one:
            found = found.nobody(Ending.INTERRUPTED, UNCHECKED)
        confirmation = Confirmation(
            work, folder.path, progress, question.also, request.blocks, deadline_s,
            refusals=earlier.refusals,
        )  # fmt: skip
        found = confirmation.run(found, check=request.check)
        measured = confirmation.inside + Counter(each.sha for each in search.evidence.blocks)
        refusal = refusal_of(found, work.policy, measured)
        if refusal is None:
            suspect = found.suspects[0].sha if found.suspects else ""
            return found if found.checks else replace(found, checks=refused.get(suspect, ()))
        refused[refusal.sha] = found.checks
        earlier = replace(earlier, spent_s=found.runner_seconds).refusing(refusal)
        folder.refused(earlier.refusals)
        if replace(search.evidence, refusals=earlier.refusals).spent_blocks >= request.blocks:
            return found
        progress.note(
            f"{refusal.sha[:9]} was suspected, but {refusal.blocks} fresh blocks against its "
            "parent did not confirm it; searching on"
        )


def _noted(found: Culprit, work: Work) -> Culprit:
    return replace(found, notes=(*dirty_note(work.repository), *found.notes))


def search_as_worker(request: BisectRequest, progress: Progress) -> tuple[WorkerResult, Path]:
    """Measure as one of several; returns what it says and the folder that it left."""
    number, of = request.worker or (1, 1)
    question = _look_up(request)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed + number
    work = replace(question.work, seed=seed % 2**31)
    prior = prior_of(work, question.definitions, question.commits, progress)
    range_ = Range(question.commits, work.limits, prior, request.blocks)
    out = request.out or Path(f"ailab-search-{number}").absolute()
    if (out / STATE).exists():
        raise UserError(
            f"{out} holds what a worker measured",
            why="It would be written over, and would not count any more.",
            advice="Name another folder with --out, and one around this one with --earlier.",
        )
    place = Place(number - 1, of, minutes=request.minutes)
    folders = out, new_run_folder()
    result = run_worker(work, question.quest, range_, question.earlier, place, folders, progress)
    return result, out


def prior_of(
    work: Work, definitions: Definitions, commits: Sequence[RangeCommit], progress: Progress
) -> tuple[float, ...]:
    """Of what footprints say of each commit; empty, which is all alike, where there are none."""
    scores = scores_of(work.repository, definitions, work.scenario, commits, progress.note)
    if not scores:
        return ()
    apart = sum(score <= 0 for score in scores)
    progress.note(
        f"by its footprint {apart} of {len(scores)} commits cannot move {work.scenario.id}: the "
        "others are suspected first"
    )
    return mixed_prior(scores)


def _look_up(request: BisectRequest) -> _Question:
    if request.resume is not None and request.earlier is not None:
        raise UserError(
            "--resume and --earlier were both given",
            why="A search that is taken up has what it knew from the start.",
            advice="Start another one with --earlier, or go on with --resume alone.",
        )
    repository = open_repository(request.repo)
    good, bad = repository.resolve(request.good), repository.resolve(request.bad)
    commits = read_range(repository, good.sha, bad.sha)
    config = load_config(request.config, repository.root)
    definitions = Definitions("", (), config, load_scenarios(config), policy_of(config))
    scenario = _scenario(definitions, request.scenario, "--scenario")
    names = [name for name in dict.fromkeys(request.also) if name != scenario.id]
    also = tuple(_scenario(definitions, name, "--also") for name in names)
    if request.metric and request.metric not in scenario.metrics:
        raise UserError(
            f"`{scenario.id}` does not measure `{request.metric:.80}`",
            why=f"Its metrics: {', '.join(scenario.metrics)}.",
            advice="Name one of them with --metric.",
        )
    work = Work(
        repository,
        good.sha,
        scenario,
        interpreter(_python(request.python, config.python)),
        definitions.policy,
        config.noise,
        0,
        choose_cores(config.noise.pin),
        request.metric or scenario.metrics[0],
    )
    question = _Question(good, bad, commits, definitions, work, also, Evidence())
    if request.earlier is None:
        return question
    asked = Asked(question.quest, scenario, fingerprint(scenario), {each.sha for each in commits})
    return replace(question, earlier=merge(read_folders(request.earlier, asked), asked))


def _scenario(definitions: Definitions, name: str, option: str) -> Scenario:
    scenarios = {scenario.id: scenario for scenario in definitions.scenarios}
    if name not in scenarios:
        raise UserError(
            f"there is no scenario `{name:.80}`",
            why=f"The scenarios: {', '.join(sorted(scenarios)[:10]) or 'none'}.",
            advice=f"Name one of them with {option}.",
        )
    return scenarios[name]


def _python(asked: str | None, configured: str | None) -> str:
    """Commits are checked out elsewhere: a path is meant from where the user stands."""
    if asked is None or "/" not in asked:
        return which_python(asked, configured)
    path = Path(asked).expanduser()
    if not path.exists():
        raise UserError(
            f"there is no interpreter at {asked:.200}",
            why=f"--python was looked for from {Path.cwd()}.",
            advice="Name a Python that is there, or leave --python out.",
        )
    return str(path.absolute())


def _reproduce(request: BisectRequest, work: Work, seed: int) -> str:
    more = ["--seed", str(seed)]
    if request.metric:
        more += ["--metric", request.metric]
    if request.blocks != CAPACITY_BLOCKS:
        more += ["--blocks", str(request.blocks)]
    if request.python is not None:
        more += ["--python", request.python]
    if request.config is not None:
        more += ["--config", str(request.config)]
    bad = work.repository.resolve(request.bad).sha
    return reproduce(work.good, bad, request.scenario, *more)
