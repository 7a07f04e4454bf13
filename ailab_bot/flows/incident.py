"""Keeps the incidents on GitHub in step with what is known: issue, assignee, labels, comments, the
search for the culprit, and the notification hook.

Everything here may be done twice: an issue is found again by its marker, a comment by its own.
Where GitHub refuses a part, the steps are kept, the other incidents have their turn, and the next
run brings the issue up to date. Refuses to read a state out of an issue: what people wrote there is
theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ailab_bot.errors import UserError
from ailab_bot.flows.desk import Desk, own_comment, put_comment, set_gate
from ailab_bot.flows.lifecycle import give_up, lead_of, needs_search, propose, reconcile
from ailab_bot.gh.actions import say
from ailab_bot.gh.client import (
    GitHubError,
    Issue,
    IssuesDisabledError,
    NotFoundError,
    OutOfTimeError,
    PullRequest,
    Run,
)
from ailab_bot.gh.hook import Hook, hook_from
from ailab_bot.model.incident import Incident, Step, What, incidents_of
from ailab_bot.model.incidentwire import incident_to_json
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report import incident as texts
from ailab_bot.report import status
from ailab_bot.report.incident import Surface

#: Not the pull requests' gate: a release branch's head can be one's head, too.
RELEASE = "ailab/release"
BISECT_FILE = "ailab-bisect.yml"
#: Scenarios that a search compares beside the one it looks at, those furthest above first. The
#: others are taken to come of the same culprit; the measured fix has to mend them, too.
MOST_ALSO = 20
#: What GitHub will not do for this one, however often it is asked: locked, gone, transferred.
_REFUSED = frozenset({301, 403, 404, 410, 422})
#: What GitHub itself takes for "this pull request closes that issue".
_CLOSING = r"(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)"
#: Steps that nobody has to be told of.
_SILENT = {What.FILED, What.SEARCHING, What.TOLD, What.WIDENED, What.CALM, What.SEEN}
#: Steps that chat tools are told of.
_TOLD = {
    What.DETECTED,
    What.ATTRIBUTED,
    What.UNATTRIBUTED,
    What.ACKNOWLEDGED,
    What.FIX_PROPOSED,
    What.FIX_MEASURED,
    What.ACCEPTED,
}


@dataclass
class Followed:
    """`steps`: what is new, for the ledger. `notes`: what could not be done, for the log."""

    incidents: tuple[Incident, ...]
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Watch:
    """With what incidents are followed. `bot_id`: whose issues and comments are ours; `run`: the
    one that this happens in; `default_branch`: where a search starts when an incident's own
    branch is gone."""

    desk: Desk
    bot_id: int
    run: Run
    default_branch: str
    hook: Hook | None
    sleep: Callable[[float], None]


def follow(watch: Watch, known: Sequence[Step], new: Sequence[Step], *, only: str = "") -> Followed:
    """Do what follows from all steps, of which `new` are not in the ledger yet. `only`: for this
    incident and no other."""
    found = Followed(incidents_of([*known, *new]), list(new))
    if not only:
        joined = reconcile(found.incidents, watch.desk.now(), watch.run.id)
        found = Followed(incidents_of([*known, *new, *joined]), [*new, *joined])
    live = [
        each
        for each in found.incidents
        if not each.has(What.CLOSED) and (not only or each.id == only)
    ]
    try:
        issues = _issues(watch, found) if live else None
        pulls = _pulls(watch, found) if live else ()
        for incident in live:
            try:
                _follow_one(watch, incident, found, issues, pulls)
            except OutOfTimeError:
                raise
            except GitHubError as error:
                found.notes.append(f"incident {incident.id}: {error.what}")
    except GitHubError as error:
        found.notes.append(f"incidents were left to the next run: {error.what}")
    _tell(watch, found)
    return found


def _add(found: Followed, incident: Incident, *steps: Step) -> Incident:
    """The incident with these steps, which are new."""
    found.steps += steps
    (after,) = incidents_of([*incident.steps, *steps])
    found.incidents = tuple(after if each.id == after.id else each for each in found.incidents)
    return after


def _follow_one(
    watch: Watch,
    incident: Incident,
    found: Followed,
    issues: Mapping[str, Issue] | None,
    pulls: Sequence[PullRequest],
) -> None:
    issue = None if issues is None else _issue_of(watch, incident, found, issues)
    incident = _current(found, incident)
    if issue is not None:
        incident = _heed_people(watch, incident, found, issue, pulls)
    incident = _add(found, incident, *give_up(incident, watch.desk.now(), watch.run.id))
    if needs_search(incident, watch.desk.now()):
        incident = _search(watch, incident, found)
    surface = surface_of(watch, incident, issue)
    closing = Step(incident.id, What.CLOSED, watch.desk.now(), run=watch.run.id)
    shown = incident if incident.is_open else replace(incident, steps=(*incident.steps, closing))
    if issue is not None:
        _bring_up_to_date(watch, shown, found, issue, surface)
    if incident.has(What.ACCEPTED) and shown is not incident:
        _lift(watch, incident, found)
    if shown is not incident:
        _add(found, incident, closing)
    if issue is not None and incident.untold:
        _remark(watch, incident, issue, surface, pulls)
        told = Step(incident.id, What.TOLD, watch.desk.now(), run=watch.run.id)
        if any(step.what not in _SILENT for step in incident.untold):
            _add(found, _current(found, incident), told)
    _comment_on_pull(watch, shown, found, surface)


def surface_of(watch: Watch, incident: Incident, issue: Issue | None) -> Surface:
    """What the texts must know beside the incident."""
    around = watch.desk.around
    blame = incident.blame
    assigned = (
        issue is not None and blame is not None and bool(blame.login)
        and blame.login.lower() in {each.lower() for each in issue.assignees}
    )  # fmt: skip
    return Surface(
        server_url=around.server_url,
        repository=around.repository,
        run_url=watch.run.url,
        revert_branch=revert_branch(incident),
        assigned=assigned,
        now=incident.steps[-1].at,
    )


def release_surface(watch: Watch) -> Surface:
    """For texts that are about no single incident."""
    around = watch.desk.around
    return Surface(
        server_url=around.server_url,
        repository=around.repository,
        run_url=watch.run.url,
        revert_branch="",
        assigned=False,
        now=watch.desk.now(),
    )


def revert_branch(incident: Incident) -> str:
    return f"ailab/revert-{incident.blame.sha[:12]}" if incident.blame else ""


def _current(found: Followed, incident: Incident) -> Incident:
    return next(each for each in found.incidents if each.id == incident.id)


# --- the issue ---------------------------------------------------------------------------------


#: As `texts.marker` writes it.
_MARKER = re.compile(r"<!-- ailab-incident:([0-9a-f]{12}) -->")


def incident_in(body: str) -> str:
    """The id of the incident whose issue has this text; empty where it is none."""
    match = _MARKER.match(body)
    return match[1] if match else ""


def _issues(watch: Watch, found: Followed) -> dict[str, Issue] | None:
    """Our own issues, by the incident's id; None where the repository has no issues. Of two with
    one marker, which a lost answer can leave, the older counts."""
    try:
        listed = watch.desk.github.issues(texts.LABEL)
    except IssuesDisabledError as error:
        found.notes.append(f"{error.what}: incidents are in the ledger and on pull requests alone")
        return None
    own = [each for each in listed if each.author.id == watch.bot_id]
    return {incident_in(each.body): each for each in sorted(own, key=lambda each: -each.number)}


def _issue_of(
    watch: Watch, incident: Incident, found: Followed, issues: Mapping[str, Issue]
) -> Issue | None:
    """The incident's issue, filed where there is none yet. One that somebody deleted stays so."""
    issue = issues.get(incident.id)
    if issue is None and incident.issue:  # deleted, or somebody took the label away
        try:
            return watch.desk.github.issue(incident.issue)
        except NotFoundError:
            return None
    if issue is None:
        if not incident.is_open:
            return None
        surface = surface_of(watch, incident, None)
        try:
            issue = watch.desk.github.create_issue(
                texts.issue_title(incident),
                texts.render_issue(incident, surface),
                texts.issue_labels(incident),
                (),
            )
        except IssuesDisabledError as error:
            found.notes.append(f"{error.what}: incident {incident.id} has no issue")
            return None
    if not incident.issue:
        filed = Step(
            incident.id, What.FILED, watch.desk.now(), run=watch.run.id, issue=issue.number
        )
        _add(found, incident, filed)
    return issue


def _bring_up_to_date(
    watch: Watch, incident: Incident, found: Followed, issue: Issue, surface: Surface
) -> None:
    """Title, text, labels, assignee and whether it is open, in one request if any differs."""
    blamed_now = any(step.what is What.ATTRIBUTED for step in incident.untold)
    login = incident.blame.login if incident.blame and blamed_now else ""
    if login and login.lower() not in {each.lower() for each in issue.assignees}:
        if watch.desk.github.can_assign(login):
            # By itself: of one who cannot be assigned any more GitHub refuses the whole request.
            assignees = (*issue.assignees, login)
            watch.desk.github.update_issue(issue.number, assignees=assignees)
            surface = replace(surface, assigned=True)
        else:
            found.notes.append(f"incident {incident.id}: {login} cannot be assigned")
    title, body = texts.issue_title(incident), texts.render_issue(incident, surface)
    foreign = tuple(
        each
        for each in issue.labels
        if each != texts.LABEL and not each.startswith(texts.STATE_LABEL)
    )
    labels = (*foreign, *texts.issue_labels(incident))
    ended = not incident.is_open
    closes = ended and issue.open
    seen = incident.last(What.SEEN)
    reopens = not ended and not issue.open and seen is not None and seen in found.steps
    changes: dict[str, object] = {}
    if title != issue.title:
        changes["title"] = title
    if body != issue.body.replace("\r\n", "\n"):
        changes["body"] = body
    if set(labels) != set(issue.labels):
        changes["labels"] = labels
    if closes:
        fixed = incident.has(What.FIX_MEASURED)
        changes |= {"state": "closed", "state_reason": "completed" if fixed else "not_planned"}
    elif reopens:
        changes |= {"state": "open", "state_reason": "reopened"}
    if changes:
        watch.desk.github.update_issue(issue.number, **changes)  # type: ignore[arg-type]


def _remark(
    watch: Watch,
    incident: Incident,
    issue: Issue,
    surface: Surface,
    pulls: Sequence[PullRequest],
) -> None:
    """What a step deserves to be said in the issue's conversation, once. That it is still slow is
    no news while the fix is not merged."""
    waits = any(pull.number == incident.fix for pull in pulls)
    for step in incident.untold:
        text = texts.render_remark(incident, step, surface)
        if not text or (waits and step.what is What.SEEN):
            continue
        mark = texts.remark_mark(step)
        if own_comment(watch.desk, issue.number, watch.bot_id, mark) is None:
            watch.desk.github.create_comment(issue.number, text)


def _comment_on_pull(watch: Watch, incident: Incident, found: Followed, surface: Surface) -> None:
    """The one comment on the pull request that brought the culprit, edited in place. Where it may
    not be commented on, as a locked one, the incident goes on without."""
    blame = incident.blame
    if blame is None or not blame.pull:
        return
    body = texts.render_pull_comment(incident, surface)
    try:
        put_comment(watch.desk, blame.pull, body, watch.bot_id, mark=texts.marker(incident))
    except GitHubError as error:
        if error.status not in _REFUSED:
            raise
        found.notes.append(f"incident {incident.id}: #{blame.pull} was not told: {error.what}")


def _lift(watch: Watch, incident: Incident, found: Followed) -> None:
    """The last release that only this incident stood against is go, as it may stay. A status that
    says anything else, or that not all was measured, is left to the next measurement."""
    last = incident.last(What.DETECTED, What.SEEN)
    assert last is not None
    standing = any(each.is_open and each.branch == incident.branch for each in found.incidents)
    known = next(
        (
            each
            for each in watch.desk.github.statuses(last.sha)
            if each.context == RELEASE and each.creator_id == watch.bot_id
        ),
        None,
    )
    if standing or known is None or not known.description.startswith(status.NO_GO):
        return
    if status.INCOMPLETE in known.description:
        return
    taken = incident.last(What.ACCEPTED)
    text = status.release_accepted(incident.scenarios, taken.by if taken else "")
    set_gate(watch.desk, last.sha, Conclusion.SUCCESS, text, known.url, context=RELEASE)


# --- people ------------------------------------------------------------------------------------


def _pulls(watch: Watch, found: Followed) -> tuple[PullRequest, ...]:
    try:
        return watch.desk.github.open_pulls()
    except OutOfTimeError:
        raise
    except GitHubError as error:
        found.notes.append(f"proposed fixes were not looked for: {error.what}")
        return ()


def _heed_people(
    watch: Watch,
    incident: Incident,
    found: Followed,
    issue: Issue,
    pulls: Sequence[PullRequest],
) -> Incident:
    """What people did: a pull request that names the issue, or the issue closed as not planned."""
    if not incident.is_open:
        return incident
    now, run = watch.desk.now(), watch.run.id
    closing = re.compile(rf"\b{_CLOSING}:?\s+#{issue.number}\b", re.IGNORECASE)
    fixes = {
        pull.number: pull.author.login
        # A stranger's says so as easily as anybody's: this repository's own come last, and win.
        for pull in sorted(pulls, key=lambda pull: (not pull.from_fork, pull.number))
        if closing.search(f"{pull.title}\n{pull.body}")
        or (pull.head_ref == revert_branch(incident) and not pull.from_fork)
    }
    dropped = set()
    if incident.fix and incident.fix not in {pull.number for pull in pulls}:
        pull = watch.desk.github.pull(incident.fix)
        if not pull.open and not pull.merged:
            dropped.add(pull.number)
    incident = _add(found, incident, *propose(incident, fixes, dropped, now, run))
    if not issue.open and issue.state_reason == "not_planned":
        who = watch.desk.github.issue(issue.number).closed_by
        if who is None or who.id == watch.bot_id:
            return incident
        if who.id in _causers(watch, incident):
            found.notes.append(f"incident {incident.id}: nobody accepts a regression of their own")
        elif _may_write(watch, who.login, who.id):
            text = "The issue was closed as not planned."
            step = Step(incident.id, What.ACCEPTED, now, run=run, by=who.login, text=text)
            incident = _add(found, incident, step)
    return incident


def _causers(watch: Watch, incident: Incident) -> set[int]:
    """The numbers of whom the culprit comes from: its author, and who opened its pull request."""
    blame = incident.blame
    if blame is None:
        return set()
    found = set()
    try:
        author = watch.desk.github.commit_author(blame.sha)
        found |= {author.id} if author is not None else set()
        found |= {watch.desk.github.pull(blame.pull).author.id} if blame.pull else set()
    except NotFoundError:
        pass
    return found


def _may_write(watch: Watch, login: str, user_id: int) -> bool:
    """False where GitHub does not say."""
    try:
        permission = watch.desk.github.permission(login)
    except NotFoundError:
        return False
    return permission.user.id == user_id and permission.may_write


# --- the search --------------------------------------------------------------------------------


def _search(watch: Watch, incident: Incident, found: Followed) -> Incident:
    """Start the search for the culprit. Where its workflow is not installed the incident stays as
    it was detected."""
    if incident.has(What.SEARCHING) and _is_searching(watch):
        return incident
    lead = lead_of(incident)
    order = sorted(incident.moved, key=lambda each: each.threshold - each.effect)
    names = dict.fromkeys(each.scenario for each in order)
    also = [each for each in names if each != lead.scenario][:MOST_ALSO]
    inputs = {
        "incident": incident.id,
        "good": incident.good,
        "bad": incident.bad,
        "scenario": lead.scenario,
        "metric": lead.metric,
        "also": " ".join(also),
        "rounds": "",
    }
    refs = dict.fromkeys(each for each in (incident.branch, watch.default_branch) if each)
    for ref in refs:
        try:
            watch.desk.github.dispatch(BISECT_FILE, ref, inputs)
        except GitHubError as error:
            if error.status in {404, 422}:
                why = error.what
                continue
            # It may have begun all the same; a second search of the same would cost runners.
            found.notes.append(f"whether the search for {incident.id} began is not known")
        step = Step(incident.id, What.SEARCHING, watch.desk.now(), run=watch.run.id)
        return _add(found, incident, step)
    found.notes.append(f"the search for incident {incident.id} was not started: {why}")
    return incident


def _is_searching(watch: Watch) -> bool:
    """Whether a search is still at work, which may be this incident's: it has many rounds."""
    since = watch.desk.now() - timedelta(days=2)
    try:
        runs = watch.desk.github.runs(BISECT_FILE, since=since)
    except NotFoundError:
        return False
    return any(run.status != "completed" and run.id != watch.run.id for run in runs)


# --- the hook ----------------------------------------------------------------------------------


def hook_of(environ: Mapping[str, str]) -> Hook | None:
    """The hook that the environment names. One that is not usable is said, and holds nothing up."""
    try:
        return hook_from(environ)
    except UserError as error:
        say("warning", f"{error.why} {error.advice}", error.what)
        return None


def _tell(watch: Watch, found: Followed) -> None:
    """Chat tools, of each new step; whatever comes of it, nothing else depends on it."""
    if watch.hook is None:
        return
    around = watch.desk.around
    by_id = {each.id: each for each in found.incidents}
    for step in found.steps:
        incident = by_id.get(step.incident)
        if step.what not in _TOLD or incident is None:
            continue
        url = f"{around.server_url}/{around.repository}"
        document = {
            "schema": 1,
            "event": f"incident.{step.what.name.lower()}",
            "text": texts.hook_text(incident, step.what),
            "at": step.at.isoformat(),
            "repository": around.repository,
            "url": f"{url}/issues/{incident.issue}" if incident.issue else watch.run.url,
            "incident": incident_to_json(incident),
        }
        about = step.pull or step.by or step.sha[:12] or step.run
        delivery = f"{incident.id}-{step.what.name.lower()}-{about}-{step.at:%Y%m%d%H%M%S}"
        why_not = watch.hook.send(document, delivery=delivery, sleep=watch.sleep)
        if why_not:
            found.notes.append(f"the hook was not told of {step.what}, nor of later: {why_not}")
            return  # what does not answer once will not now, and the job has other things to do
