"""Footprints of a whole history in little space: each is written as what it changes of the last.

Refuses to hold sources: paths, names, counts and digests of other projects are data about them,
their code is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from ailab_bot.model.footprint import Executed, Footprint, Signature, Use

#: A row is plain JSON. Each part is a table, so that two rows differ by few entries.
Row = dict[str, Any]
_SHARES = 1000  # shares are kept in thousandths, as the index of footprints keeps them
_SETS = ("folders", "missing", "search", "modules", "variables", "unseen")


def to_row(footprint: Footprint) -> Row:
    """As tables of plain values; order inside `search` does not matter to the index."""
    row: Row = {name: dict.fromkeys(sorted(getattr(footprint, name)), 1) for name in _SETS}
    row["python"] = {"": footprint.python}
    row["files"] = {
        path: "".join(sorted(use[0] for use in how)) for path, how in footprint.files.items()
    }
    row["distributions"] = dict(footprint.distributions)
    row["functions"] = {
        f"{path}:{name}": [done.calls, round(done.share * _SHARES)]
        for path, table in footprint.functions.items()
        for name, done in table.items()
    }
    return row


def from_row(
    row: Mapping[str, Any], scenario: str, sha: str, signature: Signature | None
) -> Footprint:
    functions: dict[str, dict[str, Executed]] = {}
    for key, (calls, share) in row["functions"].items():
        path, _, name = key.partition(":")
        functions.setdefault(path, {})[name] = Executed(calls, share / _SHARES)
    uses = {use.value[0]: use for use in Use}
    return Footprint(
        scenario=scenario,
        sha=sha,
        python=row["python"][""],
        files={path: frozenset(uses[each] for each in how) for path, how in row["files"].items()},
        folders=frozenset(row["folders"]),
        missing=frozenset(row["missing"]),
        search=tuple(row["search"]),
        modules=frozenset(row["modules"]),
        functions=functions,
        distributions=dict(row["distributions"]),
        variables=frozenset(row["variables"]),
        signature=signature,
        unseen=tuple(row["unseen"]),
    )


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Row:
    """What `apply` needs to make `new` of `old`: entries that are new or other, None for gone."""
    found: Row = {}
    for part, table in new.items():
        before = old.get(part, {})
        moved = {key: value for key, value in table.items() if before.get(key) != value}
        moved |= {key: None for key in before if key not in table}
        if moved:
            found[part] = moved
    return found


def apply(old: Mapping[str, Any], moved: Mapping[str, Any]) -> Row:
    row = {part: dict(table) for part, table in old.items()}
    for part, table in moved.items():
        here = row.setdefault(part, {})
        for key, value in table.items():
            if value is None:
                here.pop(key, None)
            else:
                here[key] = value
    for part in (*_SETS, "files", "distributions", "functions"):
        row.setdefault(part, {})
    return row


def signature_row(signature: Signature | None) -> list[int | str] | None:
    return None if signature is None else list(astuple(signature))


def signature_of(row: list[Any] | None) -> Signature | None:
    return None if row is None else Signature(*row)
