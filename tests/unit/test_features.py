"""What prediction sees: tokens of changed code, touches, history, and how it is logged."""

from __future__ import annotations

import ast
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.model.change import Change, ChangedFile, ChangeKind
from ailab_bot.model.report import Choice, Plan, Why
from ailab_bot.model.signature import Likeness
from ailab_bot.plan.features import (
    INDEX,
    NAMES,
    VERSION,
    ChangeFacts,
    Surroundings,
    facts_of,
    near_of,
    packed,
    rows_of,
    unpacked,
)
from ailab_bot.plan.past import Outcome, Past
from ailab_bot.plan.planlog import MOST_CHOICES, body_of, choices_of
from ailab_bot.plan.relation import Finding, How, Relation, Touch
from ailab_bot.plan.tokens import LARGEST_BYTES, NOTHING, Calls, Token, _name, tokens_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


# --- tokens ------------------------------------------------------------------------------------


def new_in(function: str, old: str, new: str) -> set[Token]:
    return set(tokens_of(old.encode(), new.encode()).by_function.get(function, frozenset()))


@pytest.mark.parametrize(
    ("line", "token"),
    [
        ("import time; time.sleep(1)", Token.SLEEP),
        ("from time import sleep as nap; nap(1)", Token.SLEEP),
        ("print(x)", Token.LOGGING),
        ("logger.debug(x)", Token.LOGGING),
        ("import requests as r; r.get(x)", Token.NETWORK),
        ("from urllib.request import urlopen; urlopen(x)", Token.NETWORK),
        ("import subprocess; subprocess.run(x)", Token.SUBPROCESS),
        ("import os; os.system(x)", Token.SUBPROCESS),
        ("open(x)", Token.FILES),
        ("Path(x).rglob('*')", Token.FILES),
        ("for each in x: load_one(each)", Token.LOOP),
        ("y = [g(each) for each in x]", Token.LOOP),
        ("import torch; torch.compile(x)", Token.DEVICE),
        ("x.cuda()", Token.DEVICE),
        ("DataLoader(x, num_workers=4)", Token.WORKERS),
        ("import pandas", Token.HEAVY_IMPORT),
        ("import json", Token.IMPORT),
    ],
)
def test_a_new_line_is_recognised_in_its_function_and_an_old_one_is_not(
    line: str, token: Token
) -> None:
    before = "class A:\n    def f(self, x):\n        pass\n"
    after = f"class A:\n    def f(self, x):\n        {line}\n"
    assert token in new_in("A.f", before, after)
    assert new_in("A.f", after, after + "y = 1\n") == set()
    assert new_in("<module>", before, after) == set()


def test_another_number_is_told_from_one_more() -> None:
    old = "def f(x):\n    for y in range(10): g(y)"
    assert new_in("f", old, old.replace("10", "30")) == {Token.NUMBER}
    assert new_in("f", old, old + "\n    return 3") == set()
    assert new_in("f", old, old.replace("10", "x")) == set()


def test_once_more_is_new_too() -> None:
    assert new_in("f", "def f(): open(1)", "def f():\n open(1)\n open(2)") == {Token.FILES}


def test_a_loop_without_a_call_is_none() -> None:
    assert new_in("f", "def f(x): pass", "def f(x):\n for y in x:\n  z = y") == set()


def test_losing_a_cache_is_seen_and_gaining_one_is_another_thing() -> None:
    plain, cached = (
        "def f(): pass",
        "from functools import lru_cache\n@lru_cache(None)\ndef f(): pass",
    )
    assert new_in("f", cached, plain) == {Token.UNCACHED}
    assert new_in("f", plain, cached) == {Token.CACHED}


def test_what_a_new_function_does_belongs_to_who_changed() -> None:
    old = "def f(): pass"
    new = "import time\ndef f(): g()\ndef g(): time.sleep(1)"
    tokens = tokens_of(old.encode(), new.encode())
    assert tokens.appeared == {"g"}
    assert tokens.imports == {"time"}
    assert Token.SLEEP in tokens.within(("f",))
    assert Token.SLEEP not in tokens_of(new.encode(), new.encode()).within(("f",))


@pytest.mark.parametrize(
    "source",
    [b"def f(:", b"\0", b"\xff\xfe", b"(" * 100_000, b"-" * 200_000 + b"1", b"x=" + b"9" * 10_000,
     b"a." * 100_000 + b"a", b"# -*- coding: nonsense -*-\n", b"x = 1\n" * LARGEST_BYTES],
    ids=range(9),
)  # fmt: skip
def test_hostile_sources_give_nothing_and_raise_nothing(source: bytes) -> None:
    assert tokens_of(b"", source) in (NOTHING, tokens_of(b"", b"x = 1"), tokens_of(b"", b""))
    tokens_of(source, b"import torch")


def test_a_long_chain_of_calls_is_seen_at_both_ends_though_no_link_looks_far() -> None:
    """Followed to its start from each link, a file of such chains takes half a minute."""
    chain = ".a()" * 300
    assert new_in("<module>", "", f"logging{chain}.sleep(1)") == {Token.LOGGING, Token.SLEEP}
    (statement,) = ast.parse(f"logging{chain}.sleep(1)").body
    assert isinstance(statement, ast.Expr)
    assert _name(statement.value).endswith(".a.a.sleep")
    assert _name(statement.value).count(".") <= 20


def test_names_that_would_be_repeated_without_end_give_nothing() -> None:
    method = ":\n def f(self): open(x)"
    assert tokens_of(None, f"class {'A' * 400}{method}".encode()).appeared
    assert tokens_of(None, f"class {'A' * 600}{method}".encode()) == NOTHING
    assert tokens_of(None, f"def {'f' * 600}(): open(x)".encode()) == NOTHING
    for line in (f"from {'m' * 600} import x", f"import {'m' * 600} as x", f"import {'m' * 600}"):
        assert tokens_of(None, line.encode()) == NOTHING


@given(st.binary(max_size=200), st.text(max_size=200))
def test_no_bytes_raise(one: bytes, two: str) -> None:
    tokens_of(one, two.encode("utf-8", "surrogatepass"))


def test_a_change_is_read_once_and_only_its_python_files() -> None:
    blobs = {"1": b"", "2": b"import torch", "3": b"import torch"}
    asked: list[str] = []

    def read(blob: str) -> bytes | None:
        asked.append(blob)
        return blobs.get(blob)

    def file(path: str, old: str, new: str, mode: str = "100644") -> ChangedFile:
        return ChangedFile(path, ChangeKind.MODIFIED, "", "100644", mode, old, new)

    files = (
        file("a.py", "1", "2"), file("b.txt", "1", "3"), file("gone.py", "1", ""),
        file("link.py", "1", "2", "120000"), file("lost.py", "1", "9"),
    )  # fmt: skip
    facts = facts_of(Change("a" * 40, "b" * 40, files), read)
    assert set(facts.tokens) == {"a.py"}
    assert facts.imports == {"torch"}
    assert "3" not in asked
    assert facts.paths == ("a.py", "b.txt", "gone.py", "link.py", "lost.py")


# --- features ----------------------------------------------------------------------------------


def row_of(
    *touches: Touch,
    relation: Relation = Relation.TOUCHED,
    facts: ChangeFacts | None = None,
    past: Past | None = None,
    around: Surroundings | None = None,
) -> dict[str, float]:
    findings = {"a": Finding(relation, "", touches), "b": Finding(Relation.APART, "")}
    facts = facts or ChangeFacts(tuple(dict.fromkeys(touch.path for touch in touches)))
    rows = rows_of(facts, findings, past or Past(), NOON, around)
    assert all(len(row) == len(NAMES) for row in rows.values())
    return dict(zip(NAMES, rows["a"], strict=True))


CODE = Touch("src/m.py", How.CODE, ("f", "g"), 0.1)


def test_shares_of_touches_add_up() -> None:
    row = row_of(CODE, Touch("src/n.py", How.CODE, ("<module>",), 0.15))
    assert row["share"] == pytest.approx(0.25)
    assert row["log_share"] == pytest.approx(3.398, abs=1e-3)
    assert (row["code"], row["content"], row["module_body"]) == (1, 0, 1)
    assert row["log_functions"] == 2
    assert row["spread"] == 0.5


def test_an_unmeasured_share_is_no_share() -> None:
    assert row_of(Touch("m.py", How.CODE, ("f",)))["log_share"] == 0


@pytest.mark.parametrize(
    ("path", "config", "data"), [("c/x.YML", 1, 0), ("d/x.csv", 0, 1), ("m.py", 0, 0)]
)
def test_opened_files_are_told_apart_by_their_kind(path: str, config: int, data: int) -> None:
    row = row_of(Touch(path, How.CONTENT))
    assert (row["config_file"], row["data_file"], row["content"]) == (config, data, 1)


def test_of_files_whose_calls_are_known_the_share_is_another_number() -> None:
    facts = ChangeFacts(("src/m.py", "src/n.py"), calls={"src/m.py": Calls()})
    row = row_of(CODE, Touch("src/n.py", How.CODE, ("f",), 0.01), facts=facts)
    assert row["share"] == pytest.approx(0.01)
    assert row["counted_share"] == pytest.approx(3)


def test_where_a_number_differs_the_share_of_time_speaks_though_calls_are_known() -> None:
    tokens = tokens_of(b"def f(): h(range(10))", b"def f(): h(range(30))")
    facts = ChangeFacts(("src/m.py",), {"src/m.py": tokens}, calls={"src/m.py": Calls()})
    row = row_of(CODE, facts=facts)
    assert (row["share"], row["counted_share"], row["new_number"]) == (0.1, 0, 1)


def test_expected_calls_are_decades_above_what_nobody_would_notice() -> None:
    for part, decades in ((0.0, 0), (1e-6, 0), (1e-3, 2), (1.0, 5)):
        assert row_of(CODE, around=Surroundings(expected={"a": part}))["expected"] == decades
    assert row_of(CODE)["expected"] == 0


def test_calls_are_counted_for_the_path_that_the_footprint_knows() -> None:
    blobs = {"o": b"def f(): pass", "n": b"def f(): g()", "bad": b"def"}
    files = (
        ChangedFile("b.py", ChangeKind.RENAMED, "a.py", "100644", "100644", "o", "n"),
        ChangedFile("c.py", ChangeKind.MODIFIED, "", "100644", "100644", "gone", "n"),
        ChangedFile("d.py", ChangeKind.MODIFIED, "", "100644", "100644", "o", "bad"),
    )
    facts = facts_of(Change("0" * 40, "1" * 40, files), blobs.get)
    assert facts.calls == {"a.py": Calls({"f": {"g": 1.0}})}


def test_of_a_change_that_is_too_much_the_first_files_are_read() -> None:
    source = b"f();" * 40_000
    blobs = {f"n{number}": source + b"\n%d" % number for number in range(8)}
    files = [
        ChangedFile(f"{number}.py", ChangeKind.ADDED, new_mode="100644", new_blob=f"n{number}")
        for number in range(8)
    ]
    facts = facts_of(Change("0" * 40, "1" * 40, tuple(files)), blobs.get)
    assert 0 < len(facts.calls) < 8
    assert list(facts.calls) == [f"{number}.py" for number in range(len(facts.calls))]
    assert {each.calls for each in facts.tokens.values() if each == NOTHING} == {None}


def test_proofs_and_ignorance_are_named() -> None:
    assert row_of(relation=Relation.STALE)["stale"] == 1
    assert row_of(relation=Relation.STALE)["unknown"] == 0
    assert row_of(relation=Relation.DORMANT)["proved"] == 1
    assert row_of(relation=Relation.UNKNOWN)["unknown"] == 1
    assert row_of(CODE)["proved"] == row_of(CODE)["unknown"] == 0


def test_tokens_count_in_the_functions_that_changed_and_ran() -> None:
    source = b"import time\ndef f(): time.sleep(1)\ndef never(): print(1)\n"
    old = b"import time\ndef f(): pass\ndef never(): pass\n"
    facts = ChangeFacts(("src/m.py",), {"src/m.py": tokens_of(old, source)})
    row = row_of(CODE, facts=facts)
    assert row["new_sleep"] == 1
    assert row["new_logging"] == 0


def test_an_import_of_what_is_loaded_already_is_not_new_to_the_scenario() -> None:
    facts = ChangeFacts(("src/m.py",), {"src/m.py": tokens_of(b"", b"import torch")})
    touch = Touch("src/m.py", How.CODE, ("<module>",), 0.1)
    fresh = row_of(touch, facts=facts, around=Surroundings(loads={"torch": {"b"}}))
    known = row_of(touch, facts=facts, around=Surroundings(loads={"torch": {"a"}}))
    assert (fresh["new_unloaded"], known["new_unloaded"]) == (1, 0)
    assert fresh["new_heavy_import"] == 1
    elsewhere = Touch("src/other.py", How.CODE, ("f",), 0.1)
    assert row_of(elsewhere, facts=facts)["new_unloaded"] == 0


def test_the_signature_shifts_both_ways() -> None:
    for likeness, value in ((Likeness.EQUAL, -1), (Likeness.DIFFERENT, 1)):
        assert row_of(CODE, around=Surroundings(likeness={"a": likeness}))["signature"] == value
    assert row_of(CODE)["signature"] == 0


def test_nearness_counts_only_where_nothing_is_known() -> None:
    near = near_of(["scenarios/a/x.yml", "docs/y.md"], {"a": "scenarios/a", "b": "scenarios/b",
                                                       "c": "other"})  # fmt: skip
    assert near == {"a": 1.0, "b": 0.25, "c": 0.0}
    around = Surroundings(near={"a": 0.5})
    assert row_of(relation=Relation.UNKNOWN, around=around)["near"] == 0.5
    assert row_of(CODE, around=around)["near"] == 0


def past_of(moved: bool, count: int = 6, scenario: str = "a") -> Past:
    return Past().with_outcomes(
        Outcome(f"{n:040x}", NOON, ("src/m.py",), scenario, moved) for n in range(count)
    )


def test_history_of_a_file_with_a_scenario_speaks_for_and_against() -> None:
    bad, good, none = (row_of(CODE, past=each) for each in (past_of(True), past_of(False), Past()))
    assert bad["pair_history"] > 1
    assert bad["lately"] > 1
    assert good["pair_history"] < 0
    assert none["pair_history"] == none["path_history"] == none["scenario_history"] == 0
    assert past_of(True).pairs["src/m.py"].keys() == {"a"}


def test_history_of_another_file_says_nothing_here() -> None:
    other = Touch("src/other.py", How.CODE, ("f",), 0.1)
    assert row_of(other, past=past_of(True))["pair_history"] == 0


def test_a_renamed_file_keeps_its_history() -> None:
    facts = ChangeFacts(("src/m.py", "src/new.py"))
    assert row_of(Touch("src/new.py", How.CONTENT), facts=facts, past=past_of(True))["lately"] > 1


@given(st.lists(st.floats(-1e3, 1e3), min_size=len(NAMES), max_size=len(NAMES)))
def test_what_is_logged_comes_back_with_four_digits(values: list[float]) -> None:
    assert unpacked(packed(tuple(values))) == pytest.approx(values, abs=5.1e-5)


@pytest.mark.parametrize("row", [[0.5, 1], [len(NAMES), 1], [-1, 1], [0], [0, float("nan")]])
def test_numbers_that_no_plan_logs_are_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpacked(row)


# --- what a plan logs --------------------------------------------------------------------------


def test_a_plans_record_keeps_what_training_needs_and_nothing_of_what_was_left() -> None:
    findings = {"a": Finding(Relation.TOUCHED, "", (CODE,)), "b": Finding(Relation.APART, "")}
    rows = rows_of(ChangeFacts(("src/m.py",)), findings, Past(), NOON)
    choices = (
        Choice("a", True, "r" * 300, Why.PREDICTED, 0.3, 0.9, 100.0),
        Choice("b", False, "r", Why.PROVED, 0.0, 0.0, 100.0),
        Choice("c", False, "r", Why.CAPACITY, 0.1, 0.05, 100.0),
    )
    body = body_of(Plan(choices, 7, 900.0), rows, findings)
    assert body["left"] == {"proved": 1}
    one, two = choices_of(body)
    assert one.features == pytest.approx(rows["a"], abs=1e-4)
    assert (one.paths, one.propensity, one.taken) == (("src/m.py",), 0.9, True)
    assert (two.features, two.taken, two.propensity) == ((), False, 0.05)


def test_of_a_huge_plan_a_fair_part_is_logged() -> None:
    choices = tuple(Choice(f"s{n}", True, "r", Why.TIER, 0.1, 1.0, 9.0) for n in range(9000))
    kept = list(choices_of(body_of(Plan(choices, 7))))
    assert len(kept) == MOST_CHOICES
    early = sum(int(each.scenario[1:]) < 4500 for each in kept)
    assert 1350 < early < 1650
    assert {c.scenario for c in choices_of(body_of(Plan(choices[::-1], 7)))} == {
        c.scenario for c in kept
    }


@pytest.mark.parametrize(
    "body",
    [
        {}, {"choices": 3}, {"choices": [3, {}, {"scenario": "a"}]},
        {"choices": [{"scenario": "a", "taken": 1}]},
        {"features": VERSION, "choices": [{"scenario": "a", "taken": True, "features": [99, 1]}]},
    ],
)  # fmt: skip
def test_what_is_no_choice_is_passed_over(body: dict[str, object]) -> None:
    assert list(choices_of(body)) == []


def test_numbers_out_of_range_are_not_believed() -> None:
    row = {
        "scenario": "a", "taken": True, "propensity": 1.5, "probability": True,
        "cost_s": float("inf"), "features": [INDEX["share"], float("nan")], "paths": [1],
    }  # fmt: skip
    (choice,) = choices_of({"features": VERSION, "choices": [row]})
    assert (choice.propensity, choice.probability, choice.cost_s) == (None, None, None)
    assert (choice.features, choice.paths) == ((), ())
