"""A suspect that fresh blocks did not confirm: the search goes on, and asks more of it.

The comparison's blocks are not beside GOOD, so the belief cannot take them in; instead the suspect
and its parent get further blocks beside GOOD before anybody is suspected again. Refuses to let the
same commit be compared twice: asking until it holds would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ailab_bot.model.culprit import Culprit, Ending
from ailab_bot.model.policy import Policy
from ailab_bot.model.search import Refusal
from ailab_bot.model.verdict import Stopped, Verdict

#: Further blocks of the suspect, and of its parent.
MORE_BLOCKS = 3
#: Of the blocks that a comparison may have: with fewer it was cut short, and says nothing yet.
_MOST_OF_THEM = 0.75


def is_settled(verdict: Verdict, policy: Policy) -> bool:
    """Whether it is known, or so many blocks did not make it known."""
    enough = verdict.blocks_used >= _MOST_OF_THEM * policy.max_blocks
    return enough or verdict.stopped is Stopped.DECIDED


def refusal_of(found: Culprit, policy: Policy, measured: Mapping[str, int]) -> Refusal | None:
    """Of a suspect that did not hold; None where nobody was, or nothing was settled. `measured`:
    by SHA, the blocks beside GOOD so far."""
    check = found.checks[0] if found.checks else None
    if found.ending is not Ending.UNCONFIRMED or check is None or check.verdict is None:
        return None
    if not is_settled(check.verdict, policy):
        return None
    doubted = {check.head, check.base}
    if found.inside is not None:
        doubted |= {found.inside.sha, *found.inside.parents[:1]}
    needed = {sha: measured.get(sha, 0) + MORE_BLOCKS for sha in sorted(doubted)}
    return Refusal(check.head, check.verdict.blocks_used, needed)


def again(found: Culprit) -> Culprit:
    """The end where the search comes back to a suspect that was refused."""
    suspect = found.culprit.sha[:12] if found.culprit else "A commit"
    return found.nobody(
        Ending.UNCONFIRMED,
        f"{suspect} was suspected again, after fresh blocks against its parent had not confirmed "
        "it: nobody is blamed.",
    )


def notes_of(refusals: Sequence[Refusal]) -> tuple[str, ...]:
    return tuple(
        f"{each.sha[:12]} was suspected after fewer blocks; {each.blocks} fresh ones against its "
        "parent did not confirm it, and the search went on."
        for each in refusals
    )
