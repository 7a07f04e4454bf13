"""A footprint as JSON: compact, as ledgers keep one per scenario and night, and read strictly.

Paths stand once; of shares six digits are kept. The same footprint gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping

from ailab_bot.model import strictjson as read
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.model.strictjson import Json

SCHEMA = 1
#: Entries of any list, and characters of a path or a name.
_MOST, _LONGEST = 200_000, 4096
_USES = {"i": Use.IMPORTED, "o": Use.OPENED}
_SETS = ("folders", "missing", "present", "modules", "variables")
_KEYS = {"schema", "scenario", "sha", "python", "files", "search", "functions"} | {
    *_SETS,
    *("distributions", "signature", "unseen"),
}
_COUNTS = ("modules", "calls", "builtin_calls", "files", "bytes_read", "subprocesses")


def footprint_to_json(footprint: Footprint) -> Json:
    """Plain data for `json.dumps`."""
    signature = footprint.signature
    row: Json = {
        "schema": SCHEMA,
        "scenario": footprint.scenario,
        "sha": footprint.sha,
        "python": footprint.python,
        "files": {
            path: "".join(letter for letter, use in _USES.items() if use in how)
            for path, how in sorted(footprint.files.items())
        },
        "search": list(footprint.search),
        "functions": {
            path: {name: [run.calls, round(run.share, 6)] for name, run in sorted(own.items())}
            for path, own in sorted(footprint.functions.items())
        },
        "distributions": dict(sorted(footprint.distributions.items())),
        "signature": None
        if signature is None
        else [*(getattr(signature, name) for name in _COUNTS), signature.exact],
        "unseen": list(footprint.unseen),
    }
    row.update((name, sorted(getattr(footprint, name))) for name in _SETS)
    return row


def footprint_from_json(value: object) -> Footprint:
    """BadJsonError where it is no footprint."""
    row = read.mapping(value, "the footprint", _KEYS)
    read.schema(row, SCHEMA)
    return Footprint(
        scenario=_text(row["scenario"], "scenario"),
        sha=read.sha(row["sha"], "sha"),
        python=_text(row["python"], "python"),
        files={path: _uses(how) for path, how in _table(row["files"], "files").items()},
        search=tuple(_texts(row["search"], "search")),
        functions={
            path: {name: _executed(run) for name, run in _table(own, "functions").items()}
            for path, own in _table(row["functions"], "functions").items()
        },
        distributions={
            name: _text(version, "a version")
            for name, version in _table(row["distributions"], "distributions").items()
        },
        signature=None if row["signature"] is None else _signature(row["signature"]),
        unseen=tuple(_texts(row["unseen"], "unseen")),
        folders=frozenset(_texts(row["folders"], "folders")),
        missing=frozenset(_texts(row["missing"], "missing")),
        present=frozenset(_texts(row["present"], "present")),
        modules=frozenset(_texts(row["modules"], "modules")),
        variables=frozenset(_texts(row["variables"], "variables")),
    )


def _text(value: object, name: str) -> str:
    return read.text(value, name, least=0, most=_LONGEST)


def _texts(value: object, name: str) -> list[str]:
    return [_text(each, name) for each in read.items(value, name, most=_MOST)]


def _table(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict) or len(value) > _MOST:
        read.refuse(f"{name} must be an object of at most {_MOST} entries")
    for key in value:
        _text(key, name)
    return value


def _uses(value: object) -> frozenset[Use]:
    if not isinstance(value, str) or not value or not set(value) <= set(_USES):
        read.refuse("a use must be made of the letters i and o")
    return frozenset(_USES[letter] for letter in value)


def _executed(value: object) -> Executed:
    calls, share = read.items(value, "a function", least=2, most=2)
    return Executed(read.whole(calls, "calls", most=10**15), read.number(share, "share", most=1.0))


def _signature(value: object) -> Signature:
    *counts, exact = read.items(value, "signature", least=len(_COUNTS) + 1, most=len(_COUNTS) + 1)
    numbers = {
        name: read.whole(each, name, most=10**18)
        for name, each in zip(_COUNTS, counts, strict=True)
    }
    return Signature(**numbers, exact=_text(exact, "exact"))
