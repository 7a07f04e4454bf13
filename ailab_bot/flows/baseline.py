"""What a release branch's commit is compared with: the last good release.

The newest tag, or a later commit that made something faster and spoilt nothing; until there is one,
the commit that measurements began with, so that what creeps in night by night adds up instead of
being forgiven each morning. Pure but for questions to git about the clone. Two jobs of one run ask
at different times: what has come to be since the run began is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from ailab_bot.flows.releases import Release, ancestors
from ailab_bot.measure.git import Repository
from ailab_bot.model.incident import Incident, What

#: The commit that measurements began with is looked for in so many days: a branch that nobody has
#: measured for longer begins anew.
ANCHOR = timedelta(days=90)
#: Commits of which the distance to head is asked for, one question to git each.
_MOST_ASKED = 20


@dataclass(frozen=True)
class Baseline:
    """`name`: a tag, or the beginning of the SHA. `why`: a sentence for people."""

    sha: str
    name: str
    why: str


@dataclass(frozen=True)
class Spoiled:
    """From `since` on the branch is slower; `cured`: the commit that was measured to be mended,
    empty while there is none."""

    since: str
    cured: str

    def spoils(self, clone: Repository, sha: str) -> bool:
        mended = bool(self.cured) and clone.contains(self.cured, sha)
        return clone.contains(self.since, sha) and not mended


def spoiled_by(incidents: Iterable[Incident]) -> tuple[Spoiled, ...]:
    """Of what was accepted, or is looked after by another incident, nothing is."""
    found = []
    for each in incidents:
        fixed = each.last(What.FIX_MEASURED)
        if each.is_open or fixed is not None:
            since = each.blame.sha if each.blame else each.bad
            found.append(Spoiled(since, fixed.sha if fixed is not None else ""))
    return tuple(found)


@dataclass(frozen=True)
class Tag:
    """`when`: its own time, or its commit's where it is a mere name."""

    name: str
    sha: str
    when: datetime


def baseline_of(
    clone: Repository,
    head: str,
    releases: Sequence[Release],
    patterns: Sequence[str],
    begun: datetime,
    spoiled: Sequence[Spoiled] = (),
) -> Baseline | None:
    """The commit before `head` that counts as good; None where neither a tag nor the ledger names
    one. `releases` as `read_releases` has them; `patterns` of tags' names; `begun`: when the run
    was made. `spoiled`: what incidents are about: who has that, and not its fix, is not good,
    whatever its own measurement said, as a fix could not be measured against it. Of several the
    one with the fewest commits between it and head.

    A tag counts unless its own measurement failed. A name without a time of its own is as old as
    its commit: where somebody gives an old commit such a name while a run goes on, the jobs of the
    run may differ, and the report then refuses the results.
    """

    def good(sha: str) -> bool:
        return not any(each.spoils(clone, sha) for each in spoiled)

    found = [
        *_tagged(clone, head, releases, patterns, begun, good),
        *_improved(clone, head, releases, good),
    ]
    if found:
        return min(found, key=lambda each: (_between(clone, each.sha, head), each.sha))
    return _anchor(clone, head, releases, begun)


def _tagged(
    clone: Repository,
    head: str,
    releases: Sequence[Release],
    patterns: Sequence[str],
    begun: datetime,
    good: Callable[[str], bool],
) -> list[Baseline]:
    failed = {each.sha: each.failed for each in releases}  # the latest measurement counts
    for tag in tags(clone, head):
        known = any(fnmatchcase(tag.name, pattern) for pattern in patterns)
        if not known or tag.sha == head or tag.when > begun or failed.get(tag.sha, False):
            continue
        if good(tag.sha):
            why = f"{tag.name} is the newest release before it whose measurement did not fail."
            return [Baseline(tag.sha, tag.name, why)]
    return []


def tags(clone: Repository, head: str) -> tuple[Tag, ...]:
    """The tags of `head` and of commits before it, the newest first."""
    form = "%(refname:strip=2)%09%(creatordate:unix)%09%(objectname)%09%(*objectname)"
    order = ("--sort=-version:refname", "--sort=-creatordate")
    words = ("for-each-ref", f"--merged={head}", *order, f"--format={form}", "refs/tags")
    found = []
    for row in clone.git(*words).splitlines():
        name, seconds, own, pointed = row.split("\t")
        if seconds.isdecimal():
            when = datetime.fromtimestamp(int(seconds)).astimezone()
            found.append(Tag(name, pointed or own, when))
    return tuple(found)


def _improved(
    clone: Repository, head: str, releases: Sequence[Release], good: Callable[[str], bool]
) -> list[Baseline]:
    better = {each.sha: each for each in releases if each.improved}
    failed = {each.sha: each.failed for each in releases}
    there = ancestors(clone, head, [sha for sha in better if not failed[sha]])
    newest = [each for each in reversed(better.values()) if each.sha in there][:_MOST_ASKED]
    return [
        Baseline(each.sha, each.sha[:12], f"An improvement was measured there on {each.when:%F}.")
        for each in newest
        if good(each.sha)
    ]


def _anchor(
    clone: Repository, head: str, releases: Sequence[Release], begun: datetime
) -> Baseline | None:
    late = [each for each in releases if begun - ANCHOR <= each.when < begun]
    there = ancestors(clone, head, (each.base for each in late))
    for each in late:
        if each.base in there:
            why = (
                f"There is no release yet: it is what measurements since {each.when:%F} begin "
                "with, so that small losses add up."
            )
            return Baseline(each.base, each.base[:12], why)
    return None


def _between(clone: Repository, sha: str, head: str) -> int:
    return int(clone.git("rev-list", "--count", f"{sha}..{head}"))
