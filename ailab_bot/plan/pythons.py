"""Which interpreters the scenarios of an index ran with, and what these can tell."""

from __future__ import annotations

from ailab_bot.plan.index import Bits, FootprintIndex

#: The first Python whose code objects know `Trainer.fit` from `fit`.
_QUALIFIED_NAMES = (3, 11)


def oldest_python(index: FootprintIndex) -> tuple[int, int] | None:
    return min((each for text in index.pythons if (each := _version(text))), default=None)


def with_short_names(index: FootprintIndex) -> Bits:
    """Whose interpreters told only the last word of a function's name."""
    short: Bits = 0
    for text, who in index.pythons.items():
        if (_version(text) or (0, 0)) < _QUALIFIED_NAMES:
            short |= who
    return short


def _version(text: str) -> tuple[int, int] | None:
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0]), int(parts[1])
