"""What a stand-in for an action is given and brings. Refuses inputs that it does not know."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import UnsupportedError
from .results import Annotation

#: Outputs, log, annotations.
Brought = tuple[dict[str, str], str, list[Annotation]]


def with_usual(given: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
    """The inputs, with the action's own defaults where none or an empty one is given."""
    if unknown := set(given) - set(usual):
        raise UnsupportedError(f"The stand-in does not know the inputs {sorted(unknown)}")
    return {**usual, **{name: value for name, value in given.items() if value}}


def only(inputs: Mapping[str, str], name: str, value: str) -> None:
    """Refuse every other value of an input."""
    if inputs[name] != value:
        raise UnsupportedError(f"The stand-in does only {name}: {value}, not {inputs[name]}")
