"""A plan, for people: the summary of the planning job."""

from __future__ import annotations

from collections.abc import Sequence

from ailab_bot.model.report import Choice, Plan
from ailab_bot.model.shard import Shard
from ailab_bot.report.markdown import code_span, mixed, prose
from ailab_bot.report.selection import groups_of, is_selective, likely_text, tally
from ailab_bot.report.words import duration

_MOST_NAMED = 40


def render_plan(plan: Plan, shards: Sequence[Shard], why_not: str = "") -> str:
    """Markdown: what is measured where, and what is left out with its reason."""
    lines = ["### What is measured", ""]
    if why_not:
        lines += [prose(why_not, 400), ""]
    if shards:
        lines += ["| Shard | Runner | About | Scenarios |", "|--:|:--|--:|:--|"]
        lines += [
            f"| {shard.index + 1} | {code_span(', '.join(shard.labels))} "
            f"| {duration(shard.expected_s)} | {_named(shard.scenarios)} |"
            for shard in shards
        ]
        lines.append("")
        tight = [s for s in shards if s.capacity_s is not None and s.expected_s > s.capacity_s]
        if tight:
            count = f"{len(tight)} of {len(shards)} shards are" if len(shards) > 1 else "It is"
            late = f"{count} expected to need more time than there is, so some may stay unknown"
            lines += [f"{late}: more runners, `shard_minutes` or `capacity_s` would help.", ""]
    if is_selective(plan):
        lines += _chosen(plan)
    else:
        for reason, names in _reasons(plan.left).items():
            lines += [f"Left out, {prose(reason, 200)}: {_named(names)}.", ""]
    return "\n".join(lines) + "\n"


def _chosen(plan: Plan) -> list[str]:
    """The sentence, then a table: every rule with its most promising scenarios."""
    basis = f" {mixed(plan.basis, 300)}" if plan.basis else ""
    lines = [tally(plan) + basis, "", "| | Scenario | Likely to move | About | Why |"]
    lines.append("|:--|:--|--:|--:|:--|")
    for group in groups_of(plan):
        for choice in group.choices[:_MOST_NAMED]:
            about = "–" if choice.cost_s is None else duration(choice.cost_s)
            mark = "✓" if group.taken else ""
            lines.append(
                f"| {mark} | {code_span(choice.scenario)} | {likely_text(choice)} | {about} "
                f"| {mixed(choice.reason, 200)} |"
            )
        rest = len(group.choices) - _MOST_NAMED
        if rest > 0:
            lines.append(f"| | and {rest} more | | | {group.words} |")
    return [*lines, ""]


def _reasons(choices: Sequence[Choice]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for choice in choices:
        found.setdefault(choice.reason, []).append(choice.scenario)
    return found


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(code_span(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
