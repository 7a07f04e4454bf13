"""How many calls a change adds where a scenario runs."""

from __future__ import annotations

import math

import pytest

from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.plan.growth import Growth, expected_parts, growth_of
from ailab_bot.plan.index import FootprintIndex, rate_of
from ailab_bot.plan.tokens import Calls, tokens_of

PLAIN = b"def f(x):\n    return x\n"


def growth(**files: tuple[bytes | None, bytes]) -> Growth:
    calls = {f"{name}.py": tokens_of(*each).calls for name, each in files.items()}
    return growth_of({path: each for path, each in calls.items() if each is not None})


def footprint(
    scenario: str = "train", *, total: int = 10_000, python: str = "3.11.7", **calls: int
) -> Footprint:
    signature = Signature(100, total // 2, total - total // 2, 3, 5000, 0, "aa") if total else None
    return Footprint(
        scenario, "1" * 40, python, {"a.py": frozenset({Use.IMPORTED})},
        functions={"a.py": {name: Executed(times, 0.0) for name, times in calls.items()}},
        signature=signature,
    )  # fmt: skip


def test_calls_that_a_function_has_more_count_and_in_a_loop_threefold() -> None:
    new = b"def f(x):\n    g(x)\n    for y in x:\n        h(y)\n    return x\n"

    assert growth(a=(PLAIN, new))["a.py"] == {"f": (1 + 3 + 0.2, 0)}


def test_loops_in_loops_count_no_further_than_one_can_tell() -> None:
    deep = "".join(f"{'    ' * n}for y in x:\n" for n in range(1, 9)) + "    " * 9 + "h(y)\n"

    more, _ = growth(a=(PLAIN, b"def f(x):\n" + deep.encode()))["a.py"]["f"]

    assert 81 < more < 81 * 3


def test_calls_more_and_calls_fewer_are_kept_apart() -> None:
    old, new = b"def f(x):\n    a(x)\n    b(x)\n", b"def f(x):\n    a(x)\n    c(x)\n    c(x)\n"

    assert growth(a=(old, new))["a.py"] == {"f": (2, 1)}
    assert growth(a=(new, old))["a.py"] == {"f": (1, 2)}


def test_what_a_new_function_does_belongs_to_who_calls_it_in_any_file() -> None:
    calls = b"def f(x):\n    return g(x)\n"
    new = b"def g(x):\n    return [h(y) for y in x]\n"

    assert growth(a=(PLAIN, calls + new))["a.py"] == {"f": (1 + 3, 0)}
    assert growth(a=(PLAIN, calls), b=(None, new))["a.py"] == {"f": (1 + 3, 0)}


def test_an_import_and_a_copy_are_many_calls() -> None:
    new = b"def f(x):\n    import json\n    return deepcopy(x)\n"

    assert growth(a=(PLAIN, new))["a.py"] == {"f": (60, 0)}


def test_a_decorator_runs_where_the_function_is_defined() -> None:
    plain = b"class C:\n    def f(x):\n        pass\n"
    new = b"class C:\n    @wrap(1)\n    def f(x):\n        pass\n"

    assert growth(a=(plain, new))["a.py"] == {"<module>": (1, 0)}


def test_the_same_calls_in_another_order_are_no_growth() -> None:
    old = b"def f(x):\n    a(x)\n    b(x)\n"
    new = b"def f(x):\n    b(x)  # first\n    a(x)\n"

    assert growth(a=(old, new)) == {"a.py": {}}


def test_what_cannot_be_read_is_not_counted() -> None:
    assert tokens_of(b"def", b"def f(").calls is None
    assert growth(a=(b"def", b"def f(")) == {}


def test_the_part_is_how_often_it_ran_times_what_grew_against_all_calls() -> None:
    index = FootprintIndex.of([footprint(f=100), footprint("eval", f=1), footprint("idle", g=9)])

    parts = expected_parts({"a.py": {"f": (4.0, 1.0)}}, index)

    assert parts["train"] == pytest.approx(4 * 100 / 10_000, rel=0.47)
    assert parts["eval"] == pytest.approx(4 / 10_000, rel=0.47)
    assert set(parts) == {"train", "eval"}


def test_functions_add_up_and_the_larger_direction_counts() -> None:
    index = FootprintIndex.of([footprint(f=100, g=10)])
    one, both = ({"a.py": {"f": (0.0, 2.0)}}, {"a.py": {"f": (0.0, 2.0), "g": (30.0, 0.0)}})

    fewer = expected_parts(one, index)["train"]
    larger = expected_parts(both, index)["train"]

    assert fewer == pytest.approx(2 * 100 / 10_000, rel=0.47)
    assert larger == pytest.approx(30 * 10 / 10_000, rel=0.47)


def test_a_footprint_without_a_signature_expects_nothing() -> None:
    index = FootprintIndex.of([footprint(total=0, f=100)])

    assert index.rates == {}
    assert expected_parts({"a.py": {"f": (4.0, 0.0)}}, index) == {}
    assert expected_parts({}, FootprintIndex()) == {}


def test_rates_come_back_from_the_view_and_are_within_a_half() -> None:
    every = [footprint(f"s{n}", total=10**7, f=3**n) for n in range(3, 15)]
    index = FootprintIndex.of(every)

    assert FootprintIndex.from_json(index.to_json()) == index
    for number, each in enumerate(every):
        (step,) = [step for step, who in index.rates["a.py"]["f"].items() if who >> number & 1]
        true = each.functions["a.py"]["f"].calls / 10**7
        assert abs(math.log10(rate_of(step) / true)) <= 1 / 6 + 1e-9


def test_older_pythons_know_the_last_word_of_a_name_and_newer_ones_all() -> None:
    every = [footprint("old", python="3.10.13", f=100), footprint("new", f=100)]

    parts = expected_parts({"a.py": {"C.f": (4.0, 0.0)}}, FootprintIndex.of(every))

    assert set(parts) == {"old"}


def test_of_very_many_functions_those_that_grow_most_are_looked_at() -> None:
    names = {f"f{n}": 1 for n in range(5000)}
    index = FootprintIndex.of([footprint(total=10_000, hot=1, **names)])
    rows = {**dict.fromkeys(names, (0.01, 0.0)), "hot": (50.0, 0.0)}

    part = expected_parts({"a.py": rows}, index)["train"]

    assert part == pytest.approx((50 + 499 * 0.01) / 10_000, rel=0.47)


def test_calls_alone_say_nothing_of_files_that_are_not_there_at_base() -> None:
    found = growth_of({"new.py": Calls({}, {"f": {"g": 2.0}})})

    assert found == {"new.py": {}}
