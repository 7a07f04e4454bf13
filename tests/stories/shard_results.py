"""What a shard's job can leave behind beside honest trials: losses, crashes, forged results."""

from __future__ import annotations

from office import MACHINE, Office

from ailab_bot.model.shard import Shard, ShardResult
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.plan.schedule import arms_of_block


def result_of(office: Office, shard: Shard, **other: object) -> ShardResult:
    """An honest shard.json, but for the fields that are named."""
    definitions = {name: office.fingerprint(name) for name in shard.scenarios}
    known: dict[str, object] = {
        "index": shard.index,
        "base": shard.base,
        "head": shard.head,
        "seed": shard.seed,
        "machine": MACHINE,
        "spent_s": 60.0,
        "definitions": definitions,
    }
    return ShardResult(**{**known, **other})  # type: ignore[arg-type]


def crashing_on_head(scenario: str, seed: int, blocks: int = 3) -> list[Trial]:
    """Base works every time, head never does."""
    return [
        Trial(scenario, block, order, arm, Outcome.OK, metrics={"ttfb_s": 1.0})
        if arm is Arm.BASE
        else Trial(scenario, block, order, arm, Outcome.CRASH, failure=Failure("exit 1", ""))
        for block in range(blocks)
        for order, arm in enumerate(arms_of_block(seed, scenario, block))
    ]
