"""Did both arms do the same before the first batch? Counts that noise hardly moves say so.

Each arm's warm-up is recorded, so nothing is executed once more. Refuses to decide about speed: two
signatures in, a likeness and words out; what a likeness is worth is the judge's rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from ailab_bot.model.footprint import Executed, Footprint, Signature
from ailab_bot.model.signature import CountChange, Likeness, SignatureDifference
from ailab_bot.model.trial import Arm

#: Calls of one program differ from run to run by this share at the most: sets are walked in the
#: order of addresses, and what another thread has done by then is chance. In eight recordings of
#: one commit of the `language-model` scenario, the calls of C functions spread by 0.15 %, those of
#: Python by 0.04 % (`python bench/signature.py --real`); everything else was always the same.
CALLS_TOLERANCE = 0.005
#: Logs and caches that a program reads again grow a little from run to run.
BYTES_TOLERANCE = 0.01
#: These are the same in every run, or the program did something else.
_EXACT = ("modules", "files", "subprocesses")
_TOLERANCE = {
    **dict.fromkeys(_EXACT, 0.0),
    "calls": CALLS_TOLERANCE,
    "builtin_calls": CALLS_TOLERANCE,
    "bytes_read": BYTES_TOLERANCE,
}
#: Functions named in an explanation.
MOST_FUNCTIONS = 3
#: A function is named when it ran at least so many times more, or less, often: of fewer calls that
#: each took long, the phases and the imports tell.
FEWEST_CALLS = 2

_NOUNS = {"modules": "module", "files": "file", "subprocesses": "subprocess"}
_SHARES = {"calls": "Python calls", "builtin_calls": "calls of C functions"}


def compare_signatures(base: Signature, head: Signature) -> SignatureDifference:
    """EQUAL only where every count agrees and, where both were recorded, each function of the
    repository ran equally often: a call more or less in a million is noise in a library, and a
    `sleep` more in the repository.
    """
    changes = tuple(
        CountChange(field.name, getattr(base, field.name), getattr(head, field.name))
        for field in fields(Signature)
        if field.name in _TOLERANCE
        and _differ(getattr(base, field.name), getattr(head, field.name), _TOLERANCE[field.name])
    )
    other = bool(base.exact and head.exact) and base.exact != head.exact
    likeness = Likeness.DIFFERENT if changes or other else Likeness.EQUAL
    return SignatureDifference(likeness, changes)


def compare_footprints(footprints: Mapping[Arm, Footprint]) -> SignatureDifference | None:
    """None where an arm's counts are not known, or miss something that it did.

    The recorder counts files beside the repository's, of which the footprint has the paths.
    """
    known = [
        replace(each.signature, files=each.signature.files + len(each.files))
        for each in (footprints.get(arm) for arm in Arm)
        if each is not None and each.signature is not None and not each.unseen
    ]
    return compare_signatures(known[0], known[1]) if len(known) == len(Arm) else None


def difference_text(footprints: Mapping[Arm, Footprint]) -> str:
    """What head does more or less of than base, most telling first; empty where not known."""
    difference = compare_footprints(footprints)
    if difference is None:
        return ""
    if difference.likeness is Likeness.EQUAL:
        return (
            "both arms import, call and read the same: look at what no count shows, as waiting, "
            "sleeping, sizes of data, native code"
        )
    parts = [_change_text(change) for change in _by_weight(difference)]
    functions = [
        f"{name} {base} → {head} calls"
        for name, base, head in moved_functions(footprints[Arm.BASE], footprints[Arm.HEAD])
    ]
    text = ", ".join(parts) or "other functions were called"
    return f"{text}; most: {', '.join(functions)}" if functions else text


def moved_functions(base: Footprint, head: Footprint) -> list[tuple[str, int, int]]:
    """Functions of the repository whose calls moved most: `path: name`, calls in base, in head."""
    calls = {arm: dict(_calls(each)) for arm, each in ((Arm.BASE, base), (Arm.HEAD, head))}
    names = calls[Arm.BASE] | calls[Arm.HEAD]
    rows = [(n, calls[Arm.BASE].get(n, 0), calls[Arm.HEAD].get(n, 0)) for n in names]
    moved = [row for row in rows if abs(row[2] - row[1]) >= FEWEST_CALLS]
    return sorted(moved, key=lambda row: (-abs(row[2] - row[1]), row[0]))[:MOST_FUNCTIONS]


def _calls(footprint: Footprint) -> Iterator[tuple[str, int]]:
    functions: Mapping[str, Mapping[str, Executed]] = footprint.functions
    for path, own in functions.items():
        for name, executed in own.items():
            yield f"{path}: {name}", executed.calls


def _differ(base: int, head: int, tolerance: float) -> bool:
    return abs(head - base) > tolerance * max(base, head)


def _by_weight(difference: SignatureDifference) -> list[CountChange]:
    order = ("subprocesses", "modules", "files", "bytes_read", "calls", "builtin_calls")
    return sorted(difference.changes, key=lambda change: order.index(change.name))


def _change_text(change: CountChange) -> str:
    more = "more" if change.grown > 0 else "fewer"
    if change.name in _NOUNS:
        number, noun = abs(change.grown), _NOUNS[change.name]
        plural = noun + ("es" if noun.endswith("s") else "s")
        return f"{number} {more} {noun if number == 1 else plural}"
    if change.name == "bytes_read":
        less = "more" if change.grown > 0 else "less"
        return f"{_size(abs(change.grown))} {less} read"
    if change.base == 0:
        return f"{change.head} {_SHARES[change.name]}, none before"
    return f"{100 * change.grown / change.base:+.3g} % {_SHARES[change.name]}"


def _size(number: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number} bytes"
