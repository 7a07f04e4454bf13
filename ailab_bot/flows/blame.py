"""The end of a search for a culprit -> what an incident says of it.

The search's job leaves a document; who wrote the commit, and which pull request brought it, is
asked of GitHub. Refuses to blame anybody whom fresh blocks against the commit's parent have not
confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ailab_bot.errors import UserError
from ailab_bot.flows.lifecycle import Searched
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.client import GitHub, NotFoundError
from ailab_bot.model import strictjson
from ailab_bot.model.culprit import Check, Culprit, Ending
from ailab_bot.model.culpritwire import culprit_from_row
from ailab_bot.model.incident import Blame, Incident, Moved, Proof
from ailab_bot.model.verdict import Explanation
from ailab_bot.report.words import seconds

FILE = "culprit.json"
#: A range has at most some hundred commits, each with its blocks.
LARGEST_BYTES = 4 << 20
_MOST_IMPORTS = 3


@dataclass(frozen=True)
class Ended:
    """`incident`: the id of the one that the search was for, empty where somebody searched by
    hand."""

    incident: str
    found: Culprit


def read_ended(around: Surroundings) -> Ended | None:
    """What an earlier step of this job has left; None where the search goes on."""
    path = around.out() / FILE
    if not path.exists():
        return None
    try:
        row = strictjson.load_bytes(path.read_bytes(), most=LARGEST_BYTES)
        if not isinstance(row, dict):
            strictjson.refuse("not a JSON object")
        incident = strictjson.text(row.pop("incident", ""), "incident", least=0)
        return Ended(incident, culprit_from_row(row))
    except (OSError, strictjson.BadJsonError) as error:
        raise UserError(
            f"{path} does not say how a search ended",
            why=str(error),
            advice="Run the search again.",
        ) from error


def answers(incident: Incident, found: Culprit) -> bool:
    """Whether the search was on what the incident is about now: a range that was widened since, or
    another one that somebody searched by hand, says nothing of it. One that failed has no range."""
    if found.ending is Ending.FAILED:
        return True
    asked = (incident.good, incident.bad) == (found.good.sha, found.bad.sha)
    return asked and found.scenario in incident.scenarios


def searched(github: GitHub, incident: Incident, found: Culprit) -> Searched:
    """Blame where a commit was confirmed, and what of the incident it moves."""
    own = next(iter(found.checks), None)
    commit = found.culprit
    if commit is None or own is None or not own.held or not found.ending.names_one:
        return Searched(found.ending, found.reason, None)
    author = _author(github, commit.sha)
    blame = Blame(
        sha=commit.sha,
        subject=commit.subject,
        author=commit.author,
        login=author,
        pull=_pull(github, commit.sha),
        probability=min(1.0, found.posterior.get((found.inside or commit).sha, 0.0)),
        ending=found.ending.value,
        inside=found.inside.sha if found.inside else "",
        also=tuple(each.sha for each, _ in found.also),
        proofs=tuple(_proof(each) for each in (*found.checks, *found.others)),
        why=tuple(_sentences(found.explanations)),
        trials=found.trials,
        runner_seconds=found.runner_seconds,
        reproduce=found.reproduce,
    )
    before = {each.key: each for each in incident.moved}
    checks = {
        (scenario, check.verdict.metric): check
        for scenario, check in [(found.scenario, own), *((e.scenario, e) for e in found.others)]
        if check.verdict is not None
    }
    confirmed = [
        _moved(check, *key, before.get(key)) for key, check in checks.items() if check.held
    ]
    # What was not compared is taken to come of it, too: the measured fix has to mend it.
    refuted = {key for key, check in checks.items() if not check.held}
    known = {*(each.key for each in confirmed), *refuted}
    confirmed += [each for each in incident.moved if each.key not in known]
    other = tuple(each for each in incident.moved if each.key in refuted)
    return Searched(found.ending, found.reason, blame, tuple(confirmed), other)


def _author(github: GitHub, sha: str) -> str:
    """Empty where GitHub knows nobody by the commit's address, or nobody any more."""
    try:
        author = github.commit_author(sha)
    except NotFoundError:
        return ""
    return author.login if author is not None else ""


def _pull(github: GitHub, sha: str) -> int:
    """The merged pull request that brought the commit; 0 where it was pushed without one."""
    try:
        pulls = github.pulls_with_commit(sha)
    except NotFoundError:
        return 0
    return next((each.number for each in pulls if each.merged), 0)


def _proof(check: Check) -> Proof:
    verdict = check.verdict
    what = f"{check.scenario}: {check.what}" if check.scenario else check.what
    if verdict is None:
        return Proof(what, check.held)
    return Proof(what, check.held, verdict.effect, verdict.interval, verdict.blocks_used)


def _moved(check: Check, scenario: str, metric: str, before: Moved | None) -> Moved:
    verdict = check.verdict
    assert verdict is not None, "a check that held has its verdict"
    return Moved(
        scenario,
        metric,
        verdict.effect or 0.0,
        verdict.interval,
        blocks=verdict.blocks_used,
        threshold=before.threshold if before else 0.0,
    )


def _sentences(explanations: Sequence[Explanation]) -> list[str]:
    found = []
    for each in explanations:
        for change in sorted(each.imports_added, key=lambda c: -c.seconds)[:_MOST_IMPORTS]:
            at = f" at {change.importer}" if change.importer else ""
            cost = seconds(change.seconds)
            found.append(f"{each.scenario} now imports {change.module}{at}: {cost} of it")
    return found
