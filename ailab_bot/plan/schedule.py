"""The order of trials, from a recorded seed: randomised within each block, the same every time."""

from __future__ import annotations

import random

from ailab_bot.model.trial import Arm


def arms_of_block(seed: int, scenario: str, block: int) -> tuple[Arm, Arm]:
    """Which arm runs first. Independent between blocks, which makes sign tests exact."""
    return random.Random(f"{seed}/{scenario}/{block}").choice(  # noqa: S311 - not for secrets
        [(Arm.BASE, Arm.HEAD), (Arm.HEAD, Arm.BASE)]
    )


def hash_seed_of_block(seed: int, scenario: str, block: int) -> int:
    """PYTHONHASHSEED for both arms of a block: 1 to 2**32 - 1."""
    return random.Random(f"hash/{seed}/{scenario}/{block}").randrange(1, 2**32)  # noqa: S311
