"""Which scenarios may be measured at all: by name, tier and runner, each with its reason.

Which of them a change is worth is for `relate`, `predict` and `capacity`. Refuses to guess about
names: an unknown one is an error with a suggestion.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from ailab_bot.errors import UserError
from ailab_bot.model.report import Choice, Why
from ailab_bot.model.scenario import Scenario

_CPU = "cpu"


def select(
    scenarios: Sequence[Scenario],
    *,
    only: Collection[str] = (),
    tier: str = "pull_request",
    pools: Collection[str] = (_CPU,),
) -> tuple[Choice, ...]:
    """One choice per scenario, in the given order. `only`: ids that the user asked for by name.

    `pools`: the runners that there are. Pull requests use the CPU's alone unless asked otherwise.
    """
    known = [scenario.id for scenario in scenarios]
    for name in only:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            listed = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            raise UserError(
                f"unknown scenario `{name}`",
                why=f"The scenarios here: {listed}.",
                advice=f"Did you mean `{close[0]}`?" if close else "Check --scenario.",
            )
    return tuple(_choose(scenario, only, tier, pools) for scenario in scenarios)


def _choose(scenario: Scenario, only: Collection[str], tier: str, pools: Collection[str]) -> Choice:
    if only:
        asked = scenario.id in only
        reason = "asked for" if asked else "not asked for"
        return Choice(scenario.id, asked, reason, Why.ASKED)
    if tier not in scenario.tiers:
        return Choice(scenario.id, False, f"runs in tier {', '.join(scenario.tiers)} only")
    if scenario.runner not in pools:
        return Choice(
            scenario.id, False, f"needs a {scenario.runner} runner; name it to run it here"
        )
    if scenario.runner != _CPU and tier == "pull_request":
        return Choice(scenario.id, False, f"needs a {scenario.runner} runner; ask for it by name")
    return Choice(scenario.id, True, f"all scenarios of tier {tier}")
