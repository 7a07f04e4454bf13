"""What a scenario's set-up may read of the repository: a proof knows only what trials touched.

Refuses to guess: a set-up that does more than install packages may read anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Options of `pip install` with a value that names a dependency file, or a project to link.
_WITH_FILE = frozenset({"-r", "--requirement", "-c", "--constraint", "-e", "--editable"})
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?([<>=!~].*)?")
_PIP = (("python", "-m", "pip", "install"), ("pip", "install"))


def is_plain_setup(setup: Sequence[Sequence[str]]) -> bool:
    """Whether all it does is to install packages, dependency files and links to the checkout.

    A project that is installed as a copy runs from outside of the checkout, where nothing is
    recorded of it.
    """
    return all(_is_plain(command) for command in setup)


def _is_plain(command: Sequence[str]) -> bool:
    words = next(
        (list(command[len(pip) :]) for pip in _PIP if tuple(command[: len(pip)]) == pip), None
    )
    if words is None:
        return False
    while words:
        word = words.pop(0)
        if word in _WITH_FILE:
            if not words:
                return False
            words.pop(0)
        elif not (word.startswith("-") or _PACKAGE.fullmatch(word)):
            return False
    return True
