"""Signatures are compared as what they are: exact counts, noisy counts, and sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ailab_bot.flows.signature import (
    BYTES_TOLERANCE,
    CALLS_TOLERANCE,
    MOST_FUNCTIONS,
    compare_footprints,
    compare_signatures,
    difference_text,
    moved_functions,
)
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.model.signature import CountChange, Likeness
from ailab_bot.model.trial import Arm

ONE = Signature(
    modules=800, calls=1_000_000, builtin_calls=2_000_000, files=900, bytes_read=30_000_000,
    subprocesses=1, exact="abc",
)  # fmt: skip


def footprint(signature: Signature | None, **calls: int) -> Footprint:
    functions = {"train.py": {name: Executed(count, 0.1) for name, count in calls.items()}}
    return Footprint("a", "0" * 40, "3.11.7", functions=functions, signature=signature)


def text(head: Signature, base: Signature = ONE) -> str:
    return difference_text({Arm.BASE: footprint(base), Arm.HEAD: footprint(head)})


def test_two_recordings_of_the_same_are_equal() -> None:
    found = compare_signatures(ONE, replace(ONE))
    assert found.likeness is Likeness.EQUAL
    assert found.changes == ()


@pytest.mark.parametrize("name", ["modules", "files", "subprocesses"])
def test_one_module_file_or_subprocess_more_or_less_is_a_difference(name: str) -> None:
    for step in (-1, 1):
        head = replace(ONE, **{name: getattr(ONE, name) + step})
        found = compare_signatures(ONE, head)
        assert found.likeness is Likeness.DIFFERENT
        assert found.changes == (CountChange(name, getattr(ONE, name), getattr(head, name)),)
        assert found.changes[0].grown == step


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("calls", CALLS_TOLERANCE),
        ("builtin_calls", CALLS_TOLERANCE),
        ("bytes_read", BYTES_TOLERANCE),
    ],
)
def test_counts_that_vary_from_run_to_run_may_differ_by_their_tolerance_either_way(
    name: str, tolerance: float
) -> None:
    count = getattr(ONE, name)
    for sign in (-1, 1):
        within = replace(ONE, **{name: count + sign * int(count * tolerance * 0.9)})
        beyond = replace(ONE, **{name: count + sign * int(count * tolerance * 1.1)})
        assert compare_signatures(ONE, within).likeness is Likeness.EQUAL
        assert compare_signatures(ONE, beyond).likeness is Likeness.DIFFERENT


def test_one_call_more_of_a_function_of_the_repository_is_a_difference() -> None:
    found = compare_signatures(ONE, replace(ONE, calls=ONE.calls + 1, exact="abd"))
    assert found.likeness is Likeness.DIFFERENT
    assert found.changes == ()


def test_without_a_digest_of_both_the_counts_alone_decide() -> None:
    assert compare_signatures(ONE, replace(ONE, exact="")).likeness is Likeness.EQUAL


def test_nothing_is_known_without_both_counts_or_where_the_recorder_could_not_look() -> None:
    whole = footprint(ONE)
    assert compare_footprints({Arm.BASE: whole, Arm.HEAD: whole}) is not None
    blind = replace(whole, unseen=("a program without Python",))
    for other in (footprint(None), blind):
        assert compare_footprints({Arm.BASE: whole, Arm.HEAD: other}) is None
        assert compare_footprints({Arm.BASE: other, Arm.HEAD: whole}) is None
        assert difference_text({Arm.BASE: whole, Arm.HEAD: other}) == ""
    assert compare_footprints({Arm.HEAD: whole}) is None
    assert compare_footprints({}) is None


def test_a_file_more_of_the_repository_is_a_difference() -> None:
    base = replace(footprint(ONE), files={"train.py": frozenset({Use.IMPORTED})})
    head = replace(base, files={**base.files, "conf.yml": frozenset({Use.OPENED})})
    found = compare_footprints({Arm.BASE: base, Arm.HEAD: head})
    assert found is not None
    assert found.likeness is Likeness.DIFFERENT
    assert difference_text({Arm.BASE: base, Arm.HEAD: head}) == "1 more file"


def test_what_grew_is_said_with_numbers() -> None:
    head = replace(
        ONE, modules=814, files=903, calls=1_120_000, subprocesses=0, bytes_read=31_200_000
    )
    assert text(head) == (
        "1 fewer subprocess, 14 more modules, 3 more files, 1.2 MB more read, +12 % Python calls"
    )


def test_what_shrank_is_said_too_and_one_is_not_many() -> None:
    head = replace(ONE, modules=799, subprocesses=3, bytes_read=0, builtin_calls=1_000_000)
    assert text(head) == (
        "2 more subprocesses, 1 fewer module, 30 MB less read, -50 % calls of C functions"
    )
    assert text(ONE, replace(ONE, calls=0)) == "1000000 Python calls, none before"


def test_equal_arms_point_to_what_counts_do_not_show() -> None:
    assert "sleeping" in text(replace(ONE))


def test_the_functions_whose_calls_moved_most_are_named() -> None:
    base = footprint(ONE, load=3, fit=1, gone=50, same=7, once=0)
    head = footprint(replace(ONE, exact="x"), load=412, fit=9, same=7, once=1, new=20)
    assert moved_functions(base, head) == [
        ("train.py: load", 3, 412),
        ("train.py: gone", 50, 0),
        ("train.py: new", 0, 20),
    ]
    assert len(moved_functions(base, head)) == MOST_FUNCTIONS
    said = difference_text({Arm.BASE: base, Arm.HEAD: head})
    assert said.startswith("other functions were called; most: train.py: load 3 → 412 calls, ")


def test_a_single_call_more_is_not_named_as_the_one_that_moved_most() -> None:
    assert moved_functions(footprint(ONE, main=1), footprint(ONE, main=2)) == []
