"""Where the trusted jobs work: the client, the clone, and which change a measurement belongs to.

Identity comes from the event and the API. Refuses to run, unpack or check out anything of a pull
request's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from ailab_bot.flows.selection import Evidence
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
from ailab_bot.ledger.records import Record
from ailab_bot.model.report import GateMode, PullContext, Report
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report import status
from ailab_bot.report.comment import MARKER

MEASURE_FILE, QUEUE_FILE = "ailab-measure.yml", "ailab-merge-queue.yml"
_FOLDER = ".github/workflows/"
#: Which of our workflows may be started by which event: a file of the same name started by another
#: event did not measure a change as we mean it.
WORKFLOWS = {
    f"{_FOLDER}{MEASURE_FILE}": "pull_request",
    f"{_FOLDER}{QUEUE_FILE}": "merge_group",
}
_QUEUE_BRANCH = re.compile(r"gh-readonly-queue/(.+)/pr-(\d{1,9})-([0-9a-f]{40})")
#: HTTP's word for what GitHub will not do, however often it is asked.
FORBIDDEN = 403
#: Conclusions of runs in which no job ran.
NOT_MEASURED = ("skipped", "action_required")


@dataclass(frozen=True)
class Desk:
    """`definitions_of` gives the newest commit of a base branch; `public`: so is the repository.

    `ledger_tip`: the newest commit of the history's branch, in the workspace's clone; None where
    there is none, or it cannot be had now. `known_of`: what the ledger, as it was at that moment,
    says of the two commits and how long scenarios take.
    """

    github: GitHub
    around: Surroundings
    definitions_of: Callable[[str], Definitions]
    ledger_tip: Callable[[], str | None]
    repository_id: int
    public: bool
    now: Callable[[], datetime]
    known_of: Callable[[Definitions, str, str, datetime], Known]


@dataclass(frozen=True)
class Known:
    """`expected_s`: seconds by scenario. `evidence`: None where nothing tells scenarios apart."""

    expected_s: Mapping[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Published:
    """What was done. `conclusion` is the status's; None: nothing was posted, `why` says why not.

    `warning`: what could not be posted beside status and comment. `records`: what the ledger
    should keep of it. `summary`: Markdown for the run's page, above the report's own.
    """

    conclusion: Conclusion | None
    why: str = ""
    report: Report | None = None
    comment_url: str = ""
    warning: str = ""
    records: tuple[Record, ...] = ()
    summary: str = ""


@dataclass(frozen=True)
class Subject:
    """What a run of a measuring workflow is about. `pull` is None in a merge queue.

    `superseded_by`: the head that replaced the one it measured, else empty. `rivals`: open pull
    requests with the same head and other bases, of which a commit's status cannot speak at once.
    `queued`: number of a queue's last pull request, and `base_sha` what it is merged onto.
    """

    run: Run
    pull: PullRequest | None
    base_ref: str
    superseded_by: str = ""
    rivals: tuple[PullRequest, ...] = ()
    queued: int = 0
    base_sha: str = ""

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
    """The newest of our own."""
    return next(iter(gates_of(statuses, bot_id)), None)


def gates_of(statuses: tuple[CommitStatus, ...], bot_id: int) -> list[CommitStatus]:
    """Our own, newest first; anybody with write access can post one of the same name."""
    return [each for each in statuses if each.context == GATE and each.creator_id == bot_id]


def is_ours(desk: Desk, run: Run) -> bool:
    """Whether this run is a measurement of this repository's own workflow files."""
    return run.repository_id == desk.repository_id and WORKFLOWS.get(run.path) == run.event


def turn(run: Run) -> tuple[datetime, int, int]:
    """What orders a commit's measurements: an old run that is started again is the newest."""
    return run.started_at, run.id, run.attempt


def newest_run(desk: Desk, run: Run) -> Run:
    """The newest measurement of the same commit, in its latest attempt.

    A run all of whose jobs were skipped (the title of a pull request was edited) is none, nor is
    one that waits for a maintainer.
    """
    name = run.path.removeprefix(_FOLDER)
    known = [
        each
        for each in desk.github.runs(name, head_sha=run.head_sha)
        if is_ours(desk, each) and each.event == run.event and each.conclusion not in NOT_MEASURED
    ]
    return max(known, key=turn, default=run)


def resolve(desk: Desk, run: Run) -> Subject | None:
    """The change that a run measured, from the API; None: there is none any more."""
    if run.event == "merge_group":
        match = _QUEUE_BRANCH.fullmatch(run.head_branch or "")
        if match is None:
            return None
        return Subject(run, None, match[1], queued=int(match[2]), base_sha=match[3])
    pulls = desk.github.open_pulls()
    same = [pull for pull in pulls if pull.head_sha == run.head_sha]
    if same:
        # The run's own pull request, if it can be told; the oldest of those that are alike.
        pull = min(same, key=lambda each: (not _is_head_of(run, each), each.number))
        rivals = tuple(each for each in same if each.base_ref != pull.base_ref)
        return Subject(run, pull, pull.base_ref, rivals=rivals)
    moved = [pull for pull in pulls if _is_head_of(run, pull)]
    if moved:
        pull = min(moved, key=lambda each: each.number)
        return Subject(run, pull, pull.base_ref, superseded_by=pull.head_sha)
    # Merged or closed meanwhile: the commit is all that is left.
    for pull in desk.github.pulls_with_commit(run.head_sha):
        if pull.base_repository_id == desk.repository_id and pull.head_sha == run.head_sha:
            return Subject(run, pull, pull.base_ref)
    return None


def _is_head_of(run: Run, pull: PullRequest) -> bool:
    return (run.head_repository_id, run.head_branch) == (pull.head_repository_id, pull.head_ref)


def heads_authors(desk: Desk, pull: PullRequest) -> set[int]:
    """Everybody who has a pull request open with this head: each is its author."""
    same = [each for each in desk.github.open_pulls() if each.head_sha == pull.head_sha]
    return {each.author.id for each in same} | {pull.author.id}


def own_runs(desk: Desk, pull: PullRequest) -> list[Run]:
    """Measurements that this pull request started, newest first; not one of the same head's."""
    runs = desk.github.runs(MEASURE_FILE, head_sha=pull.head_sha)
    own = [r for r in runs if is_ours(desk, r) and r.conclusion != "skipped"]
    return sorted(
        (run for run in own if _is_head_of(run, pull)),
        key=lambda run: (run.id, run.attempt),
        reverse=True,
    )


def open_case(desk: Desk, subject: Subject, capacity_s: float | None = None) -> Case:
    """Definitions of the base branch as it is now, the comparison, and the plan they give."""
    definitions = desk.definitions_of(subject.base_ref)
    run = subject.run
    comparison = desk.github.compare(subject.base_sha or definitions.sha, run.head_sha)
    statuses = desk.github.statuses(run.head_sha)
    bot_id = definitions.config.github.bot_id
    known = desk.known_of(definitions, comparison.merge_base_sha, run.head_sha, run.created_at)
    change = plan_change(
        definitions,
        Target(comparison.merge_base_sha, run.head_sha, run.id, run.attempt),
        requests_in(statuses, bot_id, run.id),
        public=desk.public,
        in_queue=subject.pull is None,
        capacity_s=capacity_s,
        expected_s=known.expected_s,
        evidence=known.evidence,
    )
    return Case(subject, definitions, comparison, statuses, change, acceptance_in(statuses, bot_id))


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


def set_gate(
    desk: Desk,
    sha: str,
    state: Conclusion,
    description: str,
    url: str,
    *,
    bot_id: int | None = None,
    context: str = GATE,
) -> None:
    """Post the status. UserError where somebody else than `bot_id` turns out to have posted it."""
    made = desk.github.create_status(
        sha, context=context, state=state.value, description=description, url=url
    )
    if bot_id is not None and made.creator_id not in {None, bot_id}:
        raise UserError(
            f"bot_id is {bot_id}, and the token's own is {made.creator_id}",
            why="The bot knows its statuses and its comment by that number.",
            advice=f"Set `github: {{bot_id: {made.creator_id}}}` in .ailab/config.yml.",
        )


def refuse_rivals(desk: Desk, subject: Subject) -> Published:
    """One status cannot speak of two bases: success against the one would open the other."""
    assert subject.pull is not None
    numbers = [subject.pull.number, *(rival.number for rival in subject.rivals)]
    text = status.rivals(numbers)
    set_gate(desk, subject.run.head_sha, Conclusion.ERROR, text, subject.run.url)
    return Published(Conclusion.ERROR, text)


def own_comment(desk: Desk, number: int, bot_id: int, mark: str = MARKER) -> Comment | None:
    """The bot's one comment: posted by its own user, and marked. A reply has a mark of its own."""
    for comment in desk.github.comments(number):
        if comment.author.id == bot_id and comment.body.startswith(mark):
            return comment
    return None


def put_comment(
    desk: Desk,
    number: int,
    body: str,
    bot_id: int,
    known: Comment | None = None,
    mark: str = MARKER,
) -> Comment:
    """Edit the bot's comment in place, or post it where there is none (any more).

    A post whose answer is lost is looked for before another: there is never a second comment.
    """
    comment = known or own_comment(desk, number, bot_id, mark)
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
        comment = own_comment(desk, number, bot_id, mark)
    raise last or UserError("the comment could not be posted")
