"""Confirms who is suspected, with the engine of `ailab ab` and on fresh blocks.

Inside a guilty merge its own commit is looked for; then the suspect has to hold against its parent,
BAD has to be faster without it, and the scenarios that got slower together are compared at the
same two commits. Refuses to blame a commit that its parent does not clear.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ailab_bot.errors import AilabError
from ailab_bot.flows.arms import Job, measure_arms
from ailab_bot.flows.finding import ENDINGS
from ailab_bot.flows.measurement import TrialLog
from ailab_bot.flows.refusal import again, is_settled
from ailab_bot.flows.seeking import CAPACITY_BLOCKS, Range, Search
from ailab_bot.flows.stand import Stand, Work, read_trials
from ailab_bot.judge import judge
from ailab_bot.measure.ranges import DEEPEST, read_inside, without
from ailab_bot.model.culprit import Check, Culprit, Ending
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Part, Refusal
from ailab_bot.model.trial import Arm, Trial
from ailab_bot.model.verdict import Explanation, Verdict, VerdictKind
from ailab_bot.report.progress import Progress

PARENT, TIP = "against its parent", "BAD without it"
UNCHECKED = "Interrupted before the suspect was compared with its parent: it is only a suspect."
UNFINISHED = (
    "Interrupted while the suspect was being confirmed: what was decided of it so far is below."
)
NOT_CHECKED = "Nothing was confirmed (--no-check): it was not compared with its parent."
#: However late it is, a comparison gets this long: less decides nothing.
_LEAST_S = 120.0


#: Why they were measured, base, head, and the trials.
KeepPart = Callable[[Part, str, str, Sequence[Trial]], None]


def _keep_nothing(part: Part, base: str, head: str, trials: Sequence[Trial]) -> None:
    """One's own folder is enough."""


@dataclass(frozen=True)
class Confirmation:
    """What confirming needs. `also`: other scenarios that regressed together. `deadline_s`: by
    time.monotonic(), None: no limit. `keep` gets every trial with the commits that it compares.
    `refusals`: of suspects that did not hold before. `inside`: counts blocks of a merge's commits.
    """

    work: Work
    folder: Path
    progress: Progress
    also: tuple[Scenario, ...] = ()
    blocks: int = CAPACITY_BLOCKS
    deadline_s: float | None = None
    keep: KeepPart = field(default=_keep_nothing)
    refusals: tuple[Refusal, ...] = ()
    inside: Counter[str] = field(default_factory=Counter)

    def run(self, found: Culprit, *, check: bool = True) -> Culprit:
        """The same, with the merge's own commit, the checks and what they say."""
        if not found.ending.names_one or found.culprit is None:
            return found
        try:
            found = self._inside(found)
        except KeyboardInterrupt:
            return found.nobody(Ending.INTERRUPTED, UNCHECKED)
        return self._confirmed(found) if check else _noted(found, NOT_CHECKED)

    # --- inside a merge ------------------------------------------------------------------------

    def _inside(self, found: Culprit) -> Culprit:
        """Of a guilty merge, the commit of its branch; itself where none of them is slow. A merge
        that was merged is looked into as well."""
        merge = found.culprit
        for _ in range(DEEPEST):
            before = found.culprit
            found = self._one_inside(found)
            if found.culprit is before:
                break
            found = replace(found, inside=merge)
        return found

    def _one_inside(self, found: Culprit) -> Culprit:
        merge = found.culprit
        if merge is None or not merge.is_merge:
            return found
        brought = read_inside(self.work.repository, merge)
        if brought is None:
            note = f"Merge {merge.sha[:12]} is of several branches, or of one without a beginning "
            return _noted(found, note + "here: nothing tells its commits apart.")
        start, commits = brought
        self.progress.note(f"the culprit is a merge of {len(commits)} commits; searching inside")
        own = replace(self.work, good=start)
        folder = self.folder / f"inside-{merge.sha[:12]}"
        with Stand(own, folder, self.progress, partial(self.keep, Part.INSIDE)) as stand:
            range_ = Range(commits, own.limits, capacity=self.blocks)
            earlier = Evidence(refusals=self.refusals)
            search = Search(range_, stand, self.progress.note, earlier, deadline_s=self._half_way())
            try:
                belief = search.run()
            except AilabError as error:
                return _noted(found, f"Inside the merge nothing could be measured: {error.what}.")
        self.inside.update(block.sha for block in stand.in_order())
        if search.interrupted:
            raise KeyboardInterrupt
        found = replace(
            found, trials=found.trials + stand.trials,
            runner_seconds=found.runner_seconds + stand.spent_s,
        )  # fmt: skip
        ending = ENDINGS[belief.outcome]
        blocks = f"{belief.blocks:g} blocks inside merge {merge.sha[:12]}"
        if ending.names_one and belief.suspects:
            culprit = commits[belief.suspects[0].commits[0] - 1]
            chance = belief.suspects[0].probability
            return _noted(replace(found, culprit=culprit), f"{blocks}: {chance:.1%} sure.")
        if search.late:
            return _noted(found, f"{blocks}: the time was up before one commit was certain.")
        if ending is Ending.NO_CULPRIT:
            return _noted(
                found,
                f"{blocks}: no single commit of its branch explains it. It may come of the branch "
                "together with what was there before.",
            )
        return _noted(found, f"{blocks}: {belief.outcome.words}; the merge keeps the blame.")

    def _half_way(self) -> float | None:
        """The search inside a merge leaves as much time for the comparisons."""
        if self.deadline_s is None:
            return None
        now = time.monotonic()
        return now + max(self.deadline_s - now, 0.0) / 2

    # --- confirmed by the ordinary engine ------------------------------------------------------

    def _confirmed(self, found: Culprit) -> Culprit:
        """The suspect against its parent, and the tip without it, as `ailab ab` compares them."""
        suspect = found.culprit
        if suspect is None or not suspect.parents:
            return found.nobody(Ending.UNCONFIRMED, "It has no parent to be compared with.")
        if suspect.sha in {each.sha for each in self.refusals}:
            return again(found)
        parent, own = suspect.parents[0], (self.work.scenario,)
        try:
            checks, explained, found = self._compare(
                found, PARENT, parent, suspect.sha, VerdictKind.REGRESSION, own
            )
            found = replace(found, checks=checks, explanations=explained)
            if not checks[0].held:
                return concluded(found)
            tip = self._tip_without(found)
            if isinstance(tip, str):
                more, _, found = self._compare(
                    found, TIP, found.bad.sha, tip, VerdictKind.IMPROVEMENT, own
                )
                found = replace(found, checks=(*checks, *more))
            elif suspect.sha != found.bad.sha:
                note = "It cannot be taken back at BAD without conflicts, or nothing of it is left "
                found = _noted(found, note + "there, so that was not measured.")
            if self.also:
                others, why, found = self._compare(
                    found, PARENT, parent, suspect.sha, VerdictKind.REGRESSION, self.also,
                    named=True,
                )  # fmt: skip
                found = replace(found, others=others, explanations=(*explained, *why))
        except KeyboardInterrupt:
            reason = UNFINISHED if found.checks else UNCHECKED
            return found.nobody(Ending.INTERRUPTED, reason)
        return concluded(found)

    def _tip_without(self, found: Culprit) -> str | None:
        """BAD without the commit, or without the whole merge that brought it."""
        repository, tip = self.work.repository, found.bad.sha
        for commit in (found.culprit, found.inside):
            if commit is None or commit.sha == tip:
                continue
            without_it = without(repository, commit, tip)
            if without_it is not None:
                return without_it
        return None

    def _compare(
        self,
        found: Culprit,
        what: str,
        base: str,
        head: str,
        expected: VerdictKind,
        scenarios: Sequence[Scenario],
        *,
        named: bool = False,
    ) -> tuple[tuple[Check, ...], tuple[Explanation, ...], Culprit]:
        """A check of each scenario, what explains them, and `found` with what it cost. What an
        earlier run decided stands: to ask again until it holds would prove nothing."""
        name = f"check-{base[:12]}-{head[:12]}{'-others' if named else ''}"

        def checks_of(trials: Sequence[Trial], lost: Mapping[str, str]) -> tuple[Check, ...]:
            return tuple(
                check_of(
                    what, base, head, expected, [t for t in trials if t.scenario == each.id], each,
                    self.work.policy, metric=self.work.metric, named=named,
                    why_not=lost.get(each.id, ""),
                )
                for each in scenarios
            )  # fmt: skip

        known = sorted(self.folder.glob(f"{name}*.jsonl"))
        for path in known:
            trials = read_trials(path)
            before = checks_of(trials, {})
            if all(each.verdict and is_settled(each.verdict, self.work.policy) for each in before):
                return before, (), replace(found, trials=found.trials + len(trials))
        whom = f"{head[:9]} " if what == PARENT else ""
        self.progress.note(f"fresh blocks: {whom}{what} (base {base[:9]})")
        log = TrialLog(self.folder / f"{name}{f'-{len(known) + 1}' if known else ''}.jsonl")
        lost, explanations, spent_s = self._measure(log, base, head, scenarios, alone=not named)
        spent = replace(
            found, trials=found.trials + len(log.trials),
            runner_seconds=found.runner_seconds + spent_s,
        )  # fmt: skip
        return checks_of(log.trials, lost), explanations, spent

    def _measure(
        self, log: TrialLog, base: str, head: str, scenarios: Sequence[Scenario], *, alone: bool
    ) -> tuple[Mapping[str, str], tuple[Explanation, ...], float]:
        """Why scenarios have no end, what explains the others, and the seconds it took. A set-up
        that fails is no verdict, and costs nothing of what was found before."""
        work = self.work
        left_s = None
        if self.deadline_s is not None:
            left_s = max(self.deadline_s - time.monotonic(), _LEAST_S)
        job = Job(
            repository=work.repository, shas={Arm.BASE: base, Arm.HEAD: head},
            scenarios=scenarios, python=work.python, seed=work.seed, family=1,
            capacity_s=left_s, policy=work.policy, noise=work.noise,
            all_or_nothing=alone, signature=False,
        )  # fmt: skip
        try:
            measured = measure_arms(job, log, self.progress)
        except AilabError as error:
            why = ": ".join(filter(None, [error.what, error.why]))
            return {each.id: why for each in scenarios}, (), 0.0
        finally:
            self.keep(Part.CHECK, base, head, log.trials)
        if measured.interrupted:
            raise KeyboardInterrupt
        lost = {name: loss.reason for name, loss in measured.lost.items()}
        return lost, tuple(measured.explanations), measured.spent_s


def concluded(found: Culprit) -> Culprit:
    """What the checks say of the suspicion; nobody is blamed where fresh blocks do not say so."""
    first = found.checks[0] if found.checks else None
    suspect = found.culprit.sha[:12] if found.culprit else ""
    if first is None or not first.held:
        verdict = first.verdict if first is not None else None
        why = first.why_not if first is not None else ""
        seen = verdict.kind.value if verdict else f"nothing ({why or 'no block'})"
        reason = (
            f"Commit {suspect} was suspected, but fresh blocks against its parent say {seen}: "
            "nobody is blamed."
        )
        return found.nobody(Ending.UNCONFIRMED, reason)
    tip = next((check for check in found.checks[1:] if check.verdict and not check.held), None)
    if tip is not None:
        note = f"{suspect} made it slower, but BAD was not measured to be faster without it: "
        return _noted(found, note + "something else may make it slow, too.")
    return found


def _noted(found: Culprit, note: str) -> Culprit:
    return replace(found, notes=(*found.notes, note))


def check_of(
    what: str,
    base: str,
    head: str,
    expected: VerdictKind,
    trials: Sequence[Trial],
    scenario: Scenario,
    policy: Policy,
    *,
    metric: str = "",
    named: bool = False,
    why_not: str = "",
) -> Check:
    """What the engine says of these trials; also for whoever reads them later."""
    metric = metric if metric in scenario.metrics else scenario.metrics[0]
    verdict = _verdict(trials, scenario, policy, metric)
    held = verdict is not None and verdict.confirmed and verdict.kind is expected
    return Check(what, base, head, held, verdict, why_not, scenario.id if named else "")


def _verdict(
    trials: Sequence[Trial], scenario: Scenario, policy: Policy, metric: str
) -> Verdict | None:
    found = judge(trials, policy, {scenario.id: scenario.metrics}, 1)
    return next((each for each in found if each.metric == metric), None)
