"""The policy that a repository's configuration asks for, and what its readers must know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ailab_bot.config import Config
from ailab_bot.model.policy import Policy
from ailab_bot.policyfile import NAME as POLICY_FILE
from ailab_bot.policyfile import check_place, read_policy


def policy_of(config: Config, shown: Path | None = None) -> Policy:
    """The policy file beside the configuration, else the default, with what the configuration sets.

    What the configuration says in so many words wins over what was calibrated. `shown`: the path
    that readers are told, where the file itself lies in a temporary folder.
    """
    path = config.folder / POLICY_FILE
    policy = Policy()
    check_place(path)
    if path.exists():
        policy = read_policy(path).policy(origin=str(shown or path))
    anyway = frozenset(config.gate_anyway)
    policy = replace(
        policy, gate=config.gate, too_noisy=policy.too_noisy - anyway, gate_anyway=anyway
    )
    if config.threshold is not None:
        policy = policy.with_threshold(config.threshold)
    if config.max_blocks is not None:
        policy = replace(policy, max_blocks=config.max_blocks)
    if not config.signature:  # nobody recorded, so who claims it has made it up
        policy = replace(policy, equal_odds=1.0)
    return policy


def policy_notes(policy: Policy, scenarios: Sequence[str]) -> list[str]:
    """What a reader must know about what does not block, and why."""
    notes = []
    if policy.shadow:
        notes.append(f"Shadow mode: advisory until calibrated. {policy.shadow_reason}")
    noisy = [name for name in scenarios if name in policy.too_noisy]
    if noisy:
        verb = "is" if len(noisy) == 1 else "are"
        notes.append(f"{', '.join(noisy)} {verb} too noisy to gate: shown, and blocks nothing.")
    unknown = [name for name in scenarios if policy.uncalibrated(name)]
    if unknown:
        verb, whose = ("is", "its") if len(unknown) == 1 else ("are", "their")
        notes.append(
            f"{', '.join(unknown)} {verb} not in the policy's calibration: {whose} verdicts are "
            "advisory. Run `ailab calibrate`."
        )
    return notes
