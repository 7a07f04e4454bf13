"""How a plan's scenarios were chosen, in words: one sentence, and groups by the rule that decided.

The same words for the terminal, the comment and the summary of the planning job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ailab_bot.model.report import Choice, Plan, Why

#: What a person has to know first, about the taken and about the left.
_TAKEN = {
    Why.SMOKE: ("always runs", "always run"),
    Why.PREDICTED: ("is worth its cost", "are worth their cost"),
    Why.EXPLORED: ("was drawn by chance", "were drawn by chance"),
    Why.ASKED: ("was asked for", "were asked for"),
    Why.TIER: ("belongs to the tier", "belong to the tier"),
}
_LEFT = {
    Why.PROVED: ("cannot be moved by this change", "cannot be moved by this change"),
    Why.CAPACITY: ("was left for capacity", "were left for capacity"),
    Why.TIER: ("runs elsewhere", "run elsewhere"),
    Why.ASKED: ("was not asked for", "were not asked for"),
}
#: For what no rule does today: a plan comes from a file, too.
_OTHERWISE = {True: ("was taken", "were taken"), False: ("was left", "were left")}


@dataclass(frozen=True)
class Group:
    """Choices that one rule decided alike. `words` complete "30 scenarios …"."""

    taken: bool
    rule: Why
    words: str
    choices: tuple[Choice, ...]


def is_selective(plan: Plan) -> bool:
    """Whether more than tier and runner decided: then people want to know how."""
    return any(choice.rule not in {Why.TIER, Why.ASKED} for choice in plan.choices)


def groups_of(plan: Plan) -> tuple[Group, ...]:
    """The taken ones first, then the left; most promising first within each."""
    found = []
    for taken, words in ((True, _TAKEN), (False, _LEFT)):
        for rule in dict.fromkeys([*words, *Why]):
            own = [c for c in plan.choices if c.taken is taken and c.rule is rule]
            if own:
                one, many = words.get(rule, _OTHERWISE[taken])
                text = one if len(own) == 1 else many
                found.append(Group(taken, rule, text, tuple(sorted(own, key=_promise))))
    return tuple(found)


def tally(plan: Plan) -> str:
    """One sentence: "3 of 48 scenarios measured: 1 always runs, 2 are worth their cost; …"."""
    groups = groups_of(plan)
    chosen = ", ".join(f"{len(g.choices)} {g.words}" for g in groups if g.taken)
    left = _left_words(groups)
    return _counted(plan) + (f": {chosen}" if chosen else "") + (f"; {left}" if left else "") + "."


def short_tally(plan: Plan) -> str:
    """The same without what decided for the taken ones."""
    left = _left_words(groups_of(plan))
    return _counted(plan) + (f"; {left}" if left else "") + "."


def _counted(plan: Plan) -> str:
    noun = "scenario" if len(plan.choices) == 1 else "scenarios"
    return f"{len(plan.taken)} of {len(plan.choices)} {noun} measured"


def _left_words(groups: tuple[Group, ...]) -> str:
    return ", ".join(f"{len(g.choices)} {g.words}" for g in groups if not g.taken)


def likely_text(choice: Choice) -> str:
    """`83 %`, `0.4 %`, or a dash where nothing was predicted."""
    if choice.probability is None:
        return "–"
    percent = choice.probability * 100
    shown = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
    return f"{shown}\u00a0%"


def ordered(choices: Iterable[Choice]) -> list[Choice]:
    """Most promising first."""
    return sorted(choices, key=_promise)


def _promise(choice: Choice) -> tuple[bool, float, str]:
    return (choice.probability is None, -(choice.probability or 0.0), choice.scenario)
