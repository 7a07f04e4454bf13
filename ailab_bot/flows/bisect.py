"""`ailab bisect`: which commit of a range made a scenario slower.

range -> blocks of the commit that tells most -> belief -> culprit -> inside its merge -> confirmed.
The search only suspects: nobody is named before the verdict engine has compared the suspect with
its parent on fresh blocks. What was measured is on disk and counts again with --resume.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ailab_bot.config import load_config, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.flows.ab import dirty_note, new_run_folder
from ailab_bot.flows.arms import Job, measure_arms
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.measurement import TrialLog
from ailab_bot.flows.policy import policy_of
from ailab_bot.flows.stand import Both, CannotMeasureError, Stand, Work
from ailab_bot.flows.suspicion import scores_of
from ailab_bot.judge import judge
from ailab_bot.measure.cores import choose_cores
from ailab_bot.measure.environment import interpreter, which_python
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.measure.ranges import read_inside, read_range, without
from ailab_bot.model import strictjson
from ailab_bot.model.culprit import Check, Culprit, Ending, Measured, RangeCommit
from ailab_bot.model.report import Commit
from ailab_bot.model.trial import Arm
from ailab_bot.model.verdict import Interval, Verdict, VerdictKind
from ailab_bot.report.culprit import step_line
from ailab_bot.report.progress import Progress
from ailab_bot.stats.attribution import (
    Attribution,
    Measurement,
    Outcome,
    Question,
    attribute,
    mixed_prior,
    next_commits,
)

#: Blocks of one search, unless said otherwise: the bench's ranges of 64 commits need 20 to 90.
CAPACITY_BLOCKS = 150
#: What checking a commit out and setting it up is taken to cost beside a block of one that is.
_NEW_COST, _KNOWN_COST = 1.5, 1.0
#: So often a block of a commit may fail, beside others that do not, before it is left out.
_MOST_FAILED_BLOCKS = 3
_STATE = "search.json"
_ENDINGS = {
    Outcome.CULPRIT: Ending.FOUND,
    Outcome.CULPRITS: Ending.SEVERAL,
    Outcome.INDISTINCT: Ending.AMBIGUOUS,
    Outcome.REINTRODUCED: Ending.REINTRODUCED,
    Outcome.REVERTED: Ending.REVERTED,
    Outcome.NO_CULPRIT: Ending.NO_CULPRIT,
    Outcome.CAPACITY: Ending.CAPACITY,
    Outcome.OPEN: Ending.INTERRUPTED,
}


@dataclass(frozen=True)
class BisectRequest:
    """What the user asked for. `resume`: the folder of a search that was interrupted."""

    good: str
    bad: str
    repo: Path
    scenario: str
    config: Path | None = None
    python: str | None = None
    seed: int | None = None
    blocks: int = CAPACITY_BLOCKS
    resume: Path | None = None
    check: bool = True


@dataclass
class Search:
    """One range under search. `commits`: oldest first; commit N of the statistics is N - 1 here."""

    commits: Sequence[RangeCommit]
    stand: Stand
    capacity: int
    tell: Callable[[str], None]
    prior: tuple[float, ...] = ()
    measurements: list[Measurement] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def run(self) -> Attribution:
        """Blocks until it is known, or the capacity is spent. UserError where GOOD does not run."""
        for number, commit in enumerate(self.commits, 1):  # what an earlier run measured counts
            for block in self.stand.blocks(commit.sha):
                self._note(number, block)
        found = self.belief()
        try:
            while found.outcome is Outcome.OPEN:
                number = self._choose()
                effect = self._measure(number)
                found = self.belief()
                if effect is not None:
                    sha, done = self.commits[number - 1].sha, len(self.measurements)
                    self.tell(step_line(done, sha, effect, found.posterior))
        except KeyboardInterrupt:
            self.interrupted = True
            found = self.belief()
        return found

    def question(self) -> Question:
        places = {each.sha: number for number, each in enumerate(self.commits, 1)}
        skipped = frozenset(places[sha] for sha in self.skipped)
        return Question(
            len(self.commits),
            self.stand.work.scale,
            prior=self.prior,
            skipped=skipped,
            capacity=self.capacity,
        )

    def belief(self) -> Attribution:
        return attribute(self.question(), self.measurements)

    def _choose(self) -> int:
        costs = [
            _KNOWN_COST if self.stand.is_prepared(each.sha) else _NEW_COST for each in self.commits
        ]
        return next_commits(self.question(), self.measurements, costs)[0]

    def _measure(self, number: int) -> float | None:
        """The block's effect; None where there was none, and the commit may be left out."""
        commit = self.commits[number - 1]
        try:
            effect = self.stand.block(commit.sha)
            if effect is None and self.stand.failed_blocks(commit.sha) >= _MOST_FAILED_BLOCKS:
                raise CannotMeasureError("its trials keep failing")
        except CannotMeasureError as error:
            self._skip(commit, str(error))
            return None
        if effect is not None:
            self._note(number, self.stand.blocks(commit.sha)[-1])
        return effect

    def _skip(self, commit: RangeCommit, why: str) -> None:
        if commit is self.commits[-1]:
            raise UserError(
                f"the scenario does not run at BAD ({commit.sha[:12]})",
                why=f"{commit.sha[:12]}: {why}.",
                advice="Take a BAD commit at which it runs.",
            )
        self.skipped[commit.sha] = why
        self.tell(f"{commit.sha[:9]} is left out: {why}")

    def _note(self, number: int, block: Both) -> None:
        self.measurements.append(Measurement(number, block.good, block.value, block.machine))


def find_culprit(request: BisectRequest, progress: Progress) -> tuple[Culprit, Path]:
    """Search, confirm, and say what was found. Returns it and the folder of every trial.

    Raises UserError or RunnerError where nothing can be searched. An interruption ends the search;
    what it knows until then is returned.
    """
    repository = open_repository(request.repo)
    good, bad = repository.resolve(request.good), repository.resolve(request.bad)
    commits = read_range(repository, good.sha, bad.sha)
    definitions = _definitions(request, repository)
    work = _work(request, repository, definitions, good.sha)
    folder, seed = _begin(request, good, bad, work)
    work = replace(work, seed=seed)
    prior = _prior(work, definitions, commits, progress)
    with Stand(work, folder / "range", progress) as stand:
        search = Search(commits, stand, request.blocks, progress.note, prior)
        belief = search.run()
        found = _culprit(request, good, bad, search, belief)
    if search.interrupted or not found.ending.names_one or found.culprit is None:
        return found, folder
    try:
        found = _inside(found, work, folder, request.blocks, progress)
        if request.check:
            found = _confirmed(found, work, folder, progress)
    except KeyboardInterrupt:
        found = replace(found, ending=Ending.INTERRUPTED, reason=_UNCHECKED)
    return found, folder


_UNCHECKED = "Interrupted before the suspect was compared with its parent: it is only a suspect."


def _definitions(request: BisectRequest, repository: Repository) -> Definitions:
    config = load_config(request.config, repository.root)
    return Definitions("", (), config, load_scenarios(config), policy_of(config))


def _prior(
    work: Work, definitions: Definitions, commits: Sequence[RangeCommit], progress: Progress
) -> tuple[float, ...]:
    """Of what footprints say of each commit; empty, which is all alike, where there are none."""
    scores = scores_of(work.repository, definitions, work.scenario, commits)
    if not scores:
        return ()
    apart = sum(score <= 0 for score in scores)
    progress.note(
        f"by its footprint {apart} of {len(scores)} commits cannot move {work.scenario.id}: the "
        "others are suspected first"
    )
    return mixed_prior(scores)


def _work(
    request: BisectRequest, repository: Repository, definitions: Definitions, good: str
) -> Work:
    config = definitions.config
    scenarios = {scenario.id: scenario for scenario in definitions.scenarios}
    if request.scenario not in scenarios:
        raise UserError(
            f"there is no scenario `{request.scenario:.80}`",
            why=f"The scenarios: {', '.join(sorted(scenarios)[:10]) or 'none'}.",
            advice="Name one of them with --scenario.",
        )
    return Work(
        repository,
        good,
        scenarios[request.scenario],
        interpreter(which_python(request.python, config.python)),
        definitions.policy,
        config.noise,
        0,
        choose_cores(config.noise.pin),
    )


# --- a search that can be taken up again -------------------------------------------------------


def _begin(request: BisectRequest, good: Commit, bad: Commit, work: Work) -> tuple[Path, int]:
    """A new run's folder and seed, or those to go on with; UserError where that was another
    search."""
    asked = {"good": good.sha, "bad": bad.sha, "scenario": work.scenario.id}
    if request.resume is None:
        folder = new_run_folder()
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        (folder / _STATE).write_text(json.dumps({**asked, "seed": seed}) + "\n", encoding="utf-8")
        return folder, seed
    try:
        before = strictjson.load_object((request.resume / _STATE).read_text(encoding="utf-8"))
        seed = strictjson.whole(before.get("seed"), "seed")
    except (OSError, ValueError, strictjson.BadJsonError) as error:
        raise UserError(
            f"no search can be taken up in {request.resume}",
            why=str(error),
            advice="Name the folder that the interrupted search told, or start without --resume.",
        ) from error
    differs = [name for name, value in asked.items() if before.get(name) != value]
    if differs:
        raise UserError(
            f"the search in {request.resume} was another one",
            why=f"Its {differs[0]} is {before.get(differs[0])}, not {asked[differs[0]]}.",
            advice="Give the same GOOD, BAD and --scenario, or start without --resume.",
        )
    return request.resume, seed


# --- what was found ----------------------------------------------------------------------------


def _culprit(
    request: BisectRequest, good: Commit, bad: Commit, search: Search, belief: Attribution
) -> Culprit:
    commits, stand = search.commits, search.stand
    ending = _ENDINGS[belief.outcome]
    groups = [[commits[number - 1] for number in each.commits] for each in belief.suspects]
    culprit = groups[0][0] if groups and ending.names_one else None
    also = tuple(
        (commits[each.commits[0] - 1], each.effect)
        for each in belief.suspects[1:]
        if ending is Ending.SEVERAL
    )
    interval = belief.suspects[0].interval if belief.suspects else None
    return Culprit(
        scenario=stand.work.scenario.id,
        metric=stand.work.metric,
        good=good,
        bad=bad,
        ending=ending,
        reason=_reason(ending, belief, search),
        culprit=culprit,
        suspects=tuple(groups[0]) if groups and ending is Ending.AMBIGUOUS else (),
        reverted=tuple(commits[group[0] - 1] for group in belief.reverted if group),
        also=also,
        posterior={
            each.sha: chance for each, chance in zip(commits, belief.posterior, strict=True)
        },
        tested=tuple(
            Measured(each.sha, effects) for each in commits if (effects := stand.effects(each.sha))
        ),
        skipped=dict(search.skipped),
        effect=belief.tip_effect,
        interval=Interval(*interval) if interval else None,
        trials=stand.trials,
        runner_seconds=stand.spent_s,
        notes=tuple(dirty_note(stand.work.repository)),
        reproduce=_reproduce(request, good, bad, stand.work.seed),
    )


def _reason(ending: Ending, belief: Attribution, search: Search) -> str:
    count = f"{belief.blocks:g}"
    blocks = "1 block" if count == "1" else f"{count} blocks"
    if ending is Ending.NO_CULPRIT:
        return (
            f"After {blocks} BAD is as fast as GOOD on this machine with today's dependencies "
            f"({belief.nobody:.0%} sure). If it was slower elsewhere, look there for the cause: at "
            "the dependencies, the image or the runner."
        )
    if ending is Ending.CAPACITY:
        return f"The limit was {blocks} (--blocks); the likeliest commits are below."
    if ending is Ending.INTERRUPTED:
        return f"Stopped after {blocks}; --resume goes on with what was measured."
    if ending is Ending.AMBIGUOUS:
        return (
            f"After {blocks}: commits beside it could not be measured "
            f"({len(search.skipped)} left out), so nothing tells these apart."
        )
    return f"After {blocks}: {belief.outcome.words}."


def _reproduce(request: BisectRequest, good: Commit, bad: Commit, seed: int) -> str:
    words = ["ailab", "bisect", good.sha[:12], bad.sha[:12], "--scenario", request.scenario]
    words += ["--seed", str(seed)]
    if request.config is not None:
        words += ["--config", str(request.config)]
    return shlex.join(words)


# --- inside a merge ----------------------------------------------------------------------------


def _inside(found: Culprit, work: Work, folder: Path, capacity: int, progress: Progress) -> Culprit:
    """Of a guilty merge, the commit of its branch; the merge itself where none of them is slow."""
    merge = found.culprit
    brought = read_inside(work.repository, merge) if merge else None
    if merge is None or brought is None:
        return found
    start, commits = brought
    progress.note(f"the culprit is a merge of {len(commits)} commits; searching inside")
    own = replace(work, good=start)
    with Stand(own, folder / f"inside-{merge.sha[:12]}", progress) as stand:
        search = Search(commits, stand, capacity, progress.note)
        try:
            belief = search.run()
        except UserError as error:
            note = f"Inside the merge nothing could be measured: {error.what}."
            return replace(found, notes=(*found.notes, note))
    if search.interrupted:
        raise KeyboardInterrupt
    more = replace(
        found, trials=found.trials + stand.trials,
        runner_seconds=found.runner_seconds + stand.spent_s,
    )  # fmt: skip
    if _ENDINGS[belief.outcome].names_one and belief.suspects:
        culprit = commits[belief.suspects[0].commits[0] - 1]
        return replace(more, culprit=culprit, inside=merge)
    note = (
        "No single commit of the merge's branch explains it: it may come of the branch together "
        "with what was there before."
    )
    return replace(more, notes=(*found.notes, note))


# --- confirmed by the ordinary engine ----------------------------------------------------------


def _confirmed(found: Culprit, work: Work, folder: Path, progress: Progress) -> Culprit:
    """The suspect against its parent, and the tip without it, as `ailab ab` would compare them."""
    suspect = found.culprit
    if suspect is None or not suspect.parents:
        return found
    first = _check(
        "against its parent", suspect.parents[0], suspect.sha, VerdictKind.REGRESSION, work,
        folder, progress,
    )  # fmt: skip
    checks = [first]
    if first.held and suspect.sha != found.bad.sha:
        if (tip := without(work.repository, suspect, found.bad.sha)) is not None:
            checks.append(
                _check(
                    "BAD without it", found.bad.sha, tip, VerdictKind.IMPROVEMENT, work, folder,
                    progress,
                )
            )  # fmt: skip
        else:
            note = "It cannot be taken back at BAD without conflicts, so that was not measured."
            found = replace(found, notes=(*found.notes, note))
    found = replace(found, checks=tuple(checks))
    if first.held:
        return found
    seen = first.verdict.kind.value if first.verdict else f"nothing ({first.why_not or 'no block'})"
    reason = (
        f"Commit {suspect.sha[:12]} was suspected, but fresh blocks against its parent say {seen}: "
        "nobody is blamed."
    )
    return replace(found, ending=Ending.UNCONFIRMED, reason=reason)


def _check(
    what: str,
    base: str,
    head: str,
    expected: VerdictKind,
    work: Work,
    folder: Path,
    progress: Progress,
) -> Check:
    log = TrialLog(folder / f"check-{base[:12]}-{head[:12]}.jsonl")
    job = Job(
        repository=work.repository, shas={Arm.BASE: base, Arm.HEAD: head},
        scenarios=[work.scenario], python=work.python, seed=work.seed, family=1, capacity_s=None,
        policy=work.policy, noise=work.noise, signature=False,
    )  # fmt: skip
    measured = measure_arms(job, log, progress)
    if measured.interrupted:
        raise KeyboardInterrupt
    verdict = _verdict(log, work)
    held = verdict is not None and verdict.confirmed and verdict.kind is expected
    lost = measured.lost.get(work.scenario.id)
    return Check(what, base, head, held, verdict, lost.reason if lost else "")


def _verdict(log: TrialLog, work: Work) -> Verdict | None:
    own = {work.scenario.id: work.scenario.metrics}
    found = judge(log.trials, work.policy, own, 1)
    return next((each for each in found if each.metric == work.metric), None)
