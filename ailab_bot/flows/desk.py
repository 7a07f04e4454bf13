"""Where the trusted jobs work: the client, the clone, and which change a measurement belongs to.

Identity comes from the event and the API. Refuses to run, unpack or check out anything of a pull
request's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ailab_bot.errors import UserError
from ailab_bot.flows.change import (
    GATE,
    Acceptance,
    ChangePlan,
    Target,
    acceptance_in,
    plan_change,
    requests_in,
)
from ailab_bot.flows.definitions import Definitions
from ailab_bot.flows.history import expected_s
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.client import (
    Comment,
    CommitStatus,
    Comparison,
    GitHub,
    GitHubError,
    PullRequest,
    Run,
)
from ailab_bot.model.report import GateMode, PullContext, Report
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report.comment import MARKER

MEASURE_FILE, QUEUE_FILE = "ailab-measure.yml", "ailab-merge-queue.yml"
_FOLDER = ".github/workflows/"
#: Which of our workflows may be started by which event: a file of the same name started by another
#: event did not measure a change as we mean it.
WORKFLOWS = {
    f"{_FOLDER}{MEASURE_FILE}": "pull_request",
    f"{_FOLDER}{QUEUE_FILE}": "merge_group",
}
_QUEUE_BRANCH = "gh-readonly-queue/"


@dataclass(frozen=True)
class Desk:
    """`definitions_of` gives the newest commit of a base branch; `public`: so is the repository.

    `ledger_tip`: the newest commit of the history's branch, in the workspace's clone; None where
    there is none, or it cannot be had now.
    """

    github: GitHub
    around: Surroundings
    definitions_of: Callable[[str], Definitions]
    ledger_tip: Callable[[], str | None]
    repository_id: int
    public: bool
    now: Callable[[], datetime]


@dataclass(frozen=True)
class Published:
    """What was done. `conclusion` is the status's; None: nothing was posted, `why` says why not.

    `warning`: what could not be posted beside status and comment.
    """

    conclusion: Conclusion | None
    why: str = ""
    report: Report | None = None
    comment_url: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Subject:
    """What a run of a measuring workflow is about. `pull` is None in a merge queue.

    `superseded_by`: the head that replaced the one it measured, else empty.
    """

    run: Run
    pull: PullRequest | None
    base_ref: str
    superseded_by: str = ""

    @property
    def closed(self) -> bool:
        return self.pull is not None and not self.pull.open


@dataclass(frozen=True)
class Case:
    """Everything that is known of a subject before its artifacts are read."""

    subject: Subject
    definitions: Definitions
    comparison: Comparison
    statuses: tuple[CommitStatus, ...]
    change: ChangePlan
    acceptance: Acceptance | None

    @property
    def gate(self) -> CommitStatus | None:
        return gate_of(self.statuses, self.definitions.config.github.bot_id)


def gate_of(statuses: tuple[CommitStatus, ...], bot_id: int) -> CommitStatus | None:
    """The newest of our own; anybody with write access can post one of the same name."""
    own = (each for each in statuses if each.context == GATE and each.creator_id == bot_id)
    return next(own, None)


def is_ours(desk: Desk, run: Run) -> bool:
    """Whether this run is a measurement of this repository's own workflow files."""
    return run.repository_id == desk.repository_id and WORKFLOWS.get(run.path) == run.event


def newest_run(desk: Desk, run: Run) -> Run:
    """The newest measurement of the same commit, in its latest attempt.

    A run all of whose jobs were skipped (the title of a pull request was edited) is none.
    """
    name = run.path.removeprefix(_FOLDER)
    known = [
        each
        for each in desk.github.runs(name, head_sha=run.head_sha)
        if is_ours(desk, each) and each.event == run.event and each.conclusion != "skipped"
    ]
    return max([*known], key=lambda each: (each.id, each.attempt), default=run)


def resolve(desk: Desk, run: Run) -> Subject | None:
    """The change that a run measured, from the API; None: there is none any more."""
    if run.event == "merge_group":
        branch = run.head_branch or ""
        base = branch.removeprefix(_QUEUE_BRANCH).rpartition("/")[0]
        return Subject(run, None, base) if branch.startswith(_QUEUE_BRANCH) and base else None
    pulls: tuple[PullRequest, ...] = ()
    if run.head_owner and run.head_branch:
        pulls = desk.github.pulls_of_head(run.head_owner, run.head_branch)
    exact = [pull for pull in pulls if pull.head_sha == run.head_sha]
    if not exact and not pulls:
        # A deleted fork or branch has no head to ask for: the commit is all that is left.
        pulls = desk.github.pulls_with_commit(run.head_sha)
        pulls = tuple(p for p in pulls if p.base_repository_id == desk.repository_id)
        exact = [pull for pull in pulls if pull.head_sha == run.head_sha]
    if exact:
        # Two pull requests of one head: the older owns the commit's status.
        pull = min(exact, key=lambda each: (not each.open, each.number))
        return Subject(run, pull, pull.base_ref)
    if pulls:
        pull = min(pulls, key=lambda each: (not each.open, each.number))
        return Subject(run, pull, pull.base_ref, superseded_by=pull.head_sha)
    return None


def open_case(desk: Desk, subject: Subject, capacity_s: float | None = None) -> Case:
    """Definitions of the base branch as it is now, the comparison, and the plan they give."""
    definitions = desk.definitions_of(subject.base_ref)
    run = subject.run
    comparison = desk.github.compare(definitions.sha, run.head_sha)
    statuses = desk.github.statuses(run.head_sha)
    bot_id = definitions.config.github.bot_id
    change = plan_change(
        definitions,
        Target(comparison.merge_base_sha, run.head_sha, run.id, run.attempt),
        requests_in(statuses, bot_id, run.id),
        public=desk.public,
        in_queue=subject.pull is None,
        capacity_s=capacity_s,
        expected_s=_expected_s(desk, definitions),
    )
    return Case(subject, definitions, comparison, statuses, change, acceptance_in(statuses, bot_id))


def _expected_s(desk: Desk, definitions: Definitions) -> dict[str, float]:
    """What the planning job knew, or a little more: it decides no more than shards and words."""
    if not definitions.config.github.history:
        return {}
    names = [scenario.id for scenario in definitions.scenarios]
    return expected_s(desk.around.workspace, desk.ledger_tip(), names)


def context_of(
    desk: Desk, case: Case, state: Conclusion, infra: tuple[tuple[str, str], ...] = ()
) -> PullContext:
    """What the texts of a report say about the pull request around it."""
    subject, change = case.subject, case.change
    changed = [file.path for file in case.comparison.files]
    changed += [f.previous_path for f in case.comparison.files if f.previous_path]
    acceptance = case.acceptance
    return PullContext(
        number=subject.pull.number if subject.pull else 0,
        head_sha=subject.run.head_sha,
        base_ref=subject.base_ref,
        run_url=subject.run.url,
        attempt=subject.run.attempt,
        mode=case.definitions.config.github.mode,
        gate_state=state,
        server_url=desk.around.server_url,
        repository=desk.around.repository,
        accepted_by=acceptance.login if acceptance else "",
        accepted_reason=acceptance.reason if acceptance else "",
        pull_edits_definitions=case.definitions.edited_by(changed),
        infra=infra,
        shards=len(change.shards),
    )


def gate_state(
    conclusion: Conclusion, mode: GateMode, *, accepted: bool, incomplete: bool
) -> Conclusion:
    """What the status says of a conclusion. Missing data is an error in every mode but off."""
    if mode is GateMode.OFF:
        return Conclusion.SUCCESS
    if conclusion is Conclusion.FAILURE and (mode is GateMode.ADVISORY or accepted):
        return Conclusion.ERROR if incomplete else Conclusion.SUCCESS
    return conclusion


def set_gate(desk: Desk, sha: str, state: Conclusion, description: str, url: str) -> None:
    desk.github.create_status(
        sha, context=GATE, state=state.value, description=description, url=url
    )


def own_comment(desk: Desk, number: int, bot_id: int) -> Comment | None:
    """The bot's one comment: posted by its own user, and marked."""
    for comment in desk.github.comments(number):
        if comment.author.id == bot_id and comment.body.startswith(MARKER):
            return comment
    return None


def put_comment(
    desk: Desk, number: int, body: str, bot_id: int, known: Comment | None = None
) -> Comment:
    """Edit the bot's comment in place, or post it where there is none (any more).

    A post whose answer is lost is looked for before another: there is never a second comment.
    """
    comment = known or own_comment(desk, number, bot_id)
    last: GitHubError | None = None
    for _ in range(3):
        try:
            if comment is not None:
                if comment.body == body:
                    return comment
                return desk.github.update_comment(comment.id, body)
            return desk.github.create_comment(number, body)
        except GitHubError as error:
            if error.status in {401, 403, 422}:
                raise
            last = error
        comment = own_comment(desk, number, bot_id)
    raise last or UserError("the comment could not be posted")
