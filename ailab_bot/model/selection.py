"""How a repository wants scenarios to be chosen: the `selection:` part of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

#: Share of a change's capacity that is drawn by chance, so that predictions can be checked.
EXPLORE = 0.1


@dataclass(frozen=True)
class Selection:
    """`smoke`: scenarios that always run; empty: the bot chooses one where capacity is limited.

    `explore`: share of the capacity for scenarios that are drawn by chance, 0 to 0.5.
    `capacity_day_s`: runner-seconds that all changes of a day may spend together; None: no limit.
    `footprints`: off, every scenario of the tier is a candidate, whatever the change touches.
    """

    smoke: tuple[str, ...] = ()
    explore: float = EXPLORE
    capacity_day_s: float | None = None
    footprints: bool = True
