"""What a change touches of a scenario's footprint, rule by rule, and where it proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ailab_bot.model.change import LINK, SUBMODULE, Change, ChangedFile, ChangeKind
from ailab_bot.model.footprint import Executed, Footprint, Use
from ailab_bot.plan.index import FootprintIndex
from ailab_bot.plan.relate import blobs_wanted, relate
from ailab_bot.plan.relation import Finding, How, Relation, Touch
from ailab_bot.plan.shadowing import Folders

BASE, HEAD, OLDER = "a" * 40, "b" * 40, "c" * 40
IMPORTED, OPENED = frozenset({Use.IMPORTED}), frozenset({Use.OPENED})
FILE = "100644"
OLD = b"def fit():\n    return 1\n\n\ndef test():\n    return 1\n"
SOURCES = {
    "old": OLD,
    "fit": OLD.replace(b"1", b"2", 1),
    "test": OLD[::-1].replace(b"1", b"2", 1)[::-1],
    "both": OLD.replace(b"1", b"2"),
    "comment": b"# why\n" + OLD,
    "body": OLD + b"x = 1\n",
    "importing": OLD.replace(b"    return 1", b"    from . import other\n    return 2", 1),
    "broken": b"def fit(:",
}


def footprint(scenario: str = "s", **given: Any) -> Footprint:
    known: dict[str, Any] = {
        "files": {"train.py": IMPORTED, "src/a.py": IMPORTED, "data/x.csv": OPENED},
        "folders": frozenset({"data"}),
        "missing": frozenset({"config.yaml"}),
        "search": ("",),
        "modules": frozenset({"train", "json", "src", "src.a", "torch", "google"}),
        "functions": {
            "src/a.py": {"<module>": Executed(1, 0.01), "fit": Executed(2, 0.12)},
            "train.py": {"<module>": Executed(1, 0.5)},
        },
        "distributions": {"torch": "2.1"},
    }
    return Footprint(
        scenario, given.pop("sha", BASE), given.pop("python", "3.11.7"), **{**known, **given}
    )


def change(*files: ChangedFile) -> Change:
    return Change(BASE, HEAD, files)


def modified(path: str, new: str = "new", old: str = "old", **modes: str) -> ChangedFile:
    both = {"old_mode": FILE, "new_mode": FILE, **modes}
    return ChangedFile(path, ChangeKind.MODIFIED, old_blob=old, new_blob=new, **both)


def added(path: str, mode: str = FILE) -> ChangedFile:
    return ChangedFile(path, ChangeKind.ADDED, new_mode=mode, new_blob="new")


def deleted(path: str) -> ChangedFile:
    return ChangedFile(path, ChangeKind.DELETED, old_mode=FILE, old_blob="old")


def renamed(old: str, new: str) -> ChangedFile:
    return ChangedFile(new, ChangeKind.RENAMED, old, FILE, FILE, "old", "old")


def finding(
    *files: ChangedFile,
    of: Footprint | None = None,
    definition: str = ".ailab/scenarios/s",
    moved_since: dict[str, Change] | None = None,
    folders: Folders | None = None,
    sources: dict[str, bytes] | None = None,
) -> Finding:
    index = FootprintIndex.of([of or footprint()])
    held = SOURCES if sources is None else sources
    return relate(change(*files), held, index, ["s"], {"s": definition}, moved_since, folders)["s"]


def hows(found: Finding) -> set[How]:
    return {each.how for each in found.touches}


# --- files that it used --------------------------------------------------------------------------


def test_files_that_it_never_used_prove_it_apart() -> None:
    found = finding(modified("docs/a.md"), deleted("src/b.py"), added("src/c.py"))
    assert found == Finding(Relation.APART, "touches nothing it used: 3 files, 3 changed here", ())


def test_an_empty_change_is_apart() -> None:
    assert finding().relation is Relation.APART


def test_the_same_code_is_a_proof() -> None:
    found = finding(modified("src/a.py", "comment"))
    assert found.relation is Relation.SAME_CODE
    assert found.reason == "only comments, docstrings or annotations differ in src/a.py"


def test_functions_that_never_ran_are_a_proof() -> None:
    found = finding(modified("src/a.py", "test"))
    assert found.relation is Relation.DORMANT
    assert found.reason == "changed functions never ran before the first batch: test in src/a.py"


def test_code_that_ran_is_touched_with_its_share_of_the_time() -> None:
    found = finding(modified("src/a.py", "both"))
    assert found.relation is Relation.TOUCHED
    assert found.touches == (Touch("src/a.py", How.CODE, ("fit",), 0.12),)
    assert found.reason == "runs changed code: fit in src/a.py (12 % of the traced time)"


def test_the_modules_body_runs_whatever_was_recorded() -> None:
    found = finding(modified("src/a.py", "body"))
    assert found.touches == (Touch("src/a.py", How.CODE, ("<module>",), 0.01),)


def test_shares_of_several_functions_are_summed() -> None:
    functions = {"src/a.py": {n: Executed(1, 0.25) for n in ("<module>", "fit", "test")}}
    found = finding(modified("src/a.py", "both"), of=footprint(functions=functions))
    assert found.touches == (Touch("src/a.py", How.CODE, ("fit", "test"), 0.5),)


def test_one_touched_path_outweighs_all_proofs() -> None:
    found = finding(modified("docs/a"), modified("src/a.py", "comment"), modified("data/x.csv"))
    assert (found.relation, hows(found)) == (Relation.TOUCHED, {How.CONTENT})


def test_what_is_opened_counts_byte_by_byte_even_if_the_code_is_the_same() -> None:
    files = {"src/a.py": IMPORTED | OPENED}
    found = finding(modified("src/a.py", "comment"), of=footprint(files=files))
    assert (found.relation, hows(found)) == (Relation.TOUCHED, {How.CONTENT})


@pytest.mark.parametrize("new", ["broken", "not among the sources"])
def test_code_that_cannot_be_compared_is_touched(new: str) -> None:
    found = finding(modified("src/a.py", new))
    assert found.touches == (Touch("src/a.py", How.CONTENT, detail="not compared"),)


def test_a_file_of_which_no_body_was_seen_running_has_no_dormant_functions() -> None:
    found = finding(modified("src/a.py", "test"), of=footprint(functions={}))
    assert hows(found) == {How.CODE}


def test_functions_that_a_compiler_may_have_taken_are_not_dormant() -> None:
    found = finding(modified("src/a.py", "test"), of=footprint(distributions={"numba": "1"}))
    assert hows(found) == {How.CODE}


def test_old_interpreters_tell_only_the_last_word_of_a_function() -> None:
    old, new = (b"class A:\n    def fit(self): return %d" % each for each in (1, 2))
    functions = {"src/a.py": {"<module>": Executed(1, 0), "fit": Executed(1, 0)}}
    sources = {"old": old, "new": new}
    for python, relation in (("3.8.1", Relation.TOUCHED), ("3.11.1", Relation.DORMANT)):
        of = footprint(functions=functions, python=python)
        assert finding(modified("src/a.py"), of=of, sources=sources).relation is relation


def test_a_class_body_runs_where_its_function_runs() -> None:
    old, new = (b"def fit():\n    class A: x = %d" % each for each in (1, 2))
    sources = {"old": old, "new": new}
    assert hows(finding(modified("src/a.py"), sources=sources)) == {How.CODE}
    sources = {name: each.replace(b"fit", b"test") for name, each in sources.items()}
    assert finding(modified("src/a.py"), sources=sources).relation is Relation.DORMANT


def test_a_mode_or_type_that_changes_touches() -> None:
    assert hows(finding(modified("src/a.py", "old", new_mode="100755"))) == {How.CONTENT}
    retyped = ChangedFile("src/a.py", ChangeKind.RETYPED, "", FILE, LINK, "old", "new")
    assert How.CONTENT in hows(finding(retyped))


@pytest.mark.parametrize("path", ["src/a.py", "data/x.csv"])
def test_used_files_that_vanish_or_move_away_touch(path: str) -> None:
    assert How.VANISHES in hows(finding(deleted(path)))
    assert How.VANISHES in hows(finding(renamed(path, "elsewhere/new.txt")))


# --- files that appear ---------------------------------------------------------------------------

APPEARING = {
    "looked for": ("config.yaml", True),
    "below what was looked for": ("config.yaml/a", True),
    "in a listed folder": ("data/y.csv", True),
    "in a new folder of a listed one": ("data/new/deep/y.csv", True),
    "elsewhere": ("docs/new/y.csv", False),
    "json.py beside train.py": ("json.py", True),
    "a package instead": ("json/__init__.py", True),
    "a native module": ("json.cpython-311-x86_64-linux-gnu.so", True),
    "a folder that may become a namespace": ("json/inner.py", True),
    "json elsewhere": ("docs/json.py", False),
    "no module": ("json.txt", False),
    "another name": ("jsonx.py", False),
    "a new module of an imported package": ("src/new.py", False),
    "a new package of one": ("src/new/__init__.py", False),
    "a package that hides a module": ("src/a/__init__.py", True),
    "a native one that hides it": ("src/a.abi3.so", True),
    "what makes a namespace a package": ("src/__init__.py", True),
    "sitecustomize": ("sitecustomize.py", True),
    "usercustomize": ("usercustomize/__init__.py", False),
    "sitecustomize elsewhere": ("docs/sitecustomize.py", False),
    "beside a package of others": ("google/cloud.py", True),
}


@pytest.mark.parametrize("name", APPEARING)
def test_new_files_touch_where_something_could_find_them(name: str) -> None:
    path, touches = APPEARING[name]
    for file in (added(path), renamed("docs/unused.txt", path)):
        found = finding(file)
        assert hows(found) == ({How.APPEARS} if touches else set())
        assert found.relation is (Relation.TOUCHED if touches else Relation.APART)


def test_a_failed_import_is_looked_for_by_its_stem() -> None:
    of = footprint(missing=frozenset({"lib/fast"}))
    for path in ("lib/fast.py", "lib/fast/__init__.py", "lib/fast.abi3.so"):
        assert finding(added(path), of=of).relation is Relation.TOUCHED
    assert finding(added("lib/faster.py"), of=of).relation is Relation.APART


def test_a_folder_that_was_there_before_is_no_news_to_a_listing_above_it() -> None:
    known = Folders(frozenset({"data", "data/old"}), frozenset({"data", "data/old", "data/new"}))
    assert finding(added("data/old/y.csv"), folders=known).relation is Relation.APART
    assert finding(added("data/new/y.csv"), folders=known).relation is Relation.TOUCHED
    assert finding(added("data/old/new/y.csv"), folders=known).relation is Relation.APART
    assert finding(deleted("data/old/y.csv"), folders=known).relation is Relation.APART
    gone = Folders(known.base, frozenset({"data"}))
    assert finding(deleted("data/old/y.csv"), folders=gone).relation is Relation.TOUCHED


def test_data_in_a_folder_named_like_a_library_hides_nothing_if_the_folder_was_there() -> None:
    known = Folders(frozenset({"torch"}), frozenset({"torch"}))
    assert finding(added("torch/a.csv"), folders=known).relation is Relation.APART
    assert finding(added("torch/a.csv")).relation is Relation.TOUCHED
    assert finding(added("torch/__init__.py"), folders=known).relation is Relation.TOUCHED


def test_folders_of_the_search_path_below_the_root_are_told_apart() -> None:
    of = footprint(search=("src",), modules=frozenset({"json"}))
    assert finding(added("src/json.py"), of=of).relation is Relation.TOUCHED
    assert finding(added("json.py"), of=of).relation is Relation.APART


@pytest.mark.parametrize("table", ["files", "present"])
def test_what_the_program_made_itself_touches_where_the_change_adds_it(table: str) -> None:
    known: dict[str, Any] = {"files": {"out/log.txt": OPENED}, "present": {"out/log.txt"}}
    of = footprint(**{table: known[table]})
    assert How.CONTENT in hows(finding(added("out/log.txt"), of=of))
    assert finding(added("out/other.txt"), of=of).relation is Relation.APART


def test_byte_code_stands_for_its_source() -> None:
    for path in ("src/__pycache__/a.cpython-311.pyc", "__pycache__/train.cpython-311.opt-1.pyc"):
        for file in (added(path), modified(path), deleted(path), renamed(path, "docs/a.pyc")):
            assert hows(finding(file)) == {How.CONTENT}
    assert finding(added("docs/__pycache__/a.cpython-311.pyc")).relation is Relation.APART
    assert finding(added("src/__pycache__/b.cpython-311.pyc")).relation is Relation.APART


def test_files_that_vanish_from_a_listed_folder_touch_though_nobody_opened_them() -> None:
    assert hows(finding(deleted("data/unused.csv"))) == {How.VANISHES}
    assert finding(deleted("docs/unused.csv")).relation is Relation.APART


def test_what_was_looked_at_touches_where_it_changes_or_vanishes_though_nobody_opened_it() -> None:
    of = footprint(present=frozenset({"weights.bin", "cache"}), folders=frozenset())
    assert hows(finding(modified("weights.bin"), of=of)) == {How.CONTENT}
    assert hows(finding(deleted("weights.bin"), of=of)) == {How.VANISHES}
    # Of a folder only that it is there was seen.
    assert finding(modified("cache/a"), of=of).relation is Relation.APART
    assert finding(added("cache/a"), of=of).relation is Relation.APART
    assert hows(finding(deleted("cache/a"), of=of)) == {How.VANISHES}
    kept = Folders(frozenset({"cache"}), frozenset({"cache"}))
    assert finding(deleted("cache/a"), of=of, folders=kept).relation is Relation.APART
    gone = Folders(frozenset({"cache"}), frozenset())
    assert hows(finding(deleted("cache/a"), of=of, folders=gone)) == {How.VANISHES}


# --- links and submodules -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [LINK, SUBMODULE])
def test_a_link_or_submodule_stands_for_all_below_it(mode: str) -> None:
    for path in ("src", "data", "data/x.csv", "src/a.py"):
        file = modified(path, old_mode=mode, new_mode=mode)
        assert How.CONTENT in hows(finding(file))
    file = modified("vendor", old_mode=mode, new_mode=mode)
    assert finding(file).relation is Relation.APART


def test_a_link_that_changes_in_a_listed_folder_may_be_walked_into() -> None:
    was_file = {"kind": ChangeKind.RETYPED, "old_mode": FILE, "new_mode": LINK}
    for file in (
        modified("data/current", old_mode=LINK, new_mode=LINK),
        replace(modified("data/current"), **was_file),  # type: ignore[arg-type]
    ):
        assert hows(finding(file)) == {How.CONTENT}
        assert finding(replace(file, path="docs/current")).relation is Relation.APART
        assert finding(replace(file, path="data/old/current")).relation is Relation.APART


def test_a_link_that_is_searched_or_looked_for_itself_touches() -> None:
    of = footprint(search=("lib",), missing=frozenset({"cache"}), folders=frozenset({"out"}))
    for path in ("lib", "cache", "out"):
        assert hows(finding(modified(path, old_mode=LINK, new_mode=LINK), of=of)) == {How.CONTENT}


def test_a_submodule_below_which_a_module_is_searched_may_hide_others() -> None:
    file = modified("json", old_mode=SUBMODULE, new_mode=SUBMODULE)
    assert finding(file).relation is Relation.TOUCHED


def test_a_folder_that_was_opened_as_such_is_touched_by_what_is_below_it() -> None:
    of = footprint(files={"assets": OPENED})
    assert hows(finding(added("assets/a/b.png"), of=of)) == {How.CONTENT}


# --- dependencies, builds, definitions -----------------------------------------------------------


def test_a_lock_file_touches_who_loads_what_it_moves() -> None:
    lock = b'[[package]]\nname = "%s"\nversion = "%d"\n'
    for name, relation in ((b"torch", Relation.TOUCHED), (b"black", Relation.APART)):
        sources = {"old": lock % (name, 1), "new": lock % (name, 2)}
        found = finding(modified("uv.lock"), sources=sources)
        assert found.relation is relation
        assert [each.detail for each in found.touches] == ["torch"] * (name == b"torch")


def test_a_distribution_that_comes_touches_who_asked_for_its_module_in_vain() -> None:
    lock = b'[[package]]\nname = "%s"\n'
    asked = footprint(modules=frozenset({"PIL", "cv2", "flash_attn"}))
    for name, relation in (
        (b"pillow", Relation.TOUCHED),
        (b"opencv-python", Relation.TOUCHED),
        (b"flash-attn", Relation.TOUCHED),
        (b"black", Relation.APART),
    ):
        sources = {"old": b"", "new": lock % name}
        assert finding(modified("uv.lock"), of=asked, sources=sources).relation is relation
    assert finding(
        modified("uv.lock"), sources={"old": b"", "new": lock % b"pillow"}
    ).relation.is_proof


def test_what_is_declared_and_not_locked_may_move_others_along() -> None:
    sources = {"old": b"black==1\n", "new": b"black==2\n"}
    assert hows(finding(modified("requirements.txt"), sources=sources)) == {How.DEPENDENCY}
    alone = footprint(distributions={})
    assert finding(modified("requirements.txt"), of=alone, sources=sources).relation.is_proof
    hashed = {name: each.strip() + b" --hash=sha256:1\n" for name, each in sources.items()}
    assert finding(modified("requirements.txt"), sources=hashed).relation.is_proof


@pytest.mark.parametrize("path", ["environment.yml", "uv.lock", "requirements.txt"])
def test_dependency_files_that_cannot_be_read_touch_everything(path: str) -> None:
    assert hows(finding(modified(path), of=footprint(distributions={}), sources={})) == {
        How.DEPENDENCY
    }


def test_a_new_and_a_lost_lock_file_are_read_as_empty_on_the_other_side() -> None:
    sources = {"new": b'[[package]]\nname = "torch"\n', "old": b'[[package]]\nname = "torch"\n'}
    for file in (added("uv.lock"), deleted("uv.lock"), renamed("uv.lock", "old/uv.lock")):
        assert How.DEPENDENCY in hows(finding(file, sources=sources))


@pytest.mark.parametrize("path", ["Dockerfile", ".gitattributes", "sub/setup.py", "csrc/a.cu"])
def test_build_files_touch_everybody(path: str) -> None:
    assert hows(finding(modified(path))) == {How.BUILD}
    assert How.BUILD in hows(finding(renamed(path, "docs/away")))


def test_pyproject_touches_by_what_changes_in_it() -> None:
    for new, relation in (
        (b'[build-system]\nrequires = ["hatchling"]', Relation.TOUCHED),
        (b"[tool.ruff]\nline-length = 1", Relation.APART),
        (b'[project]\ndependencies = ["torch"]', Relation.TOUCHED),
    ):
        sources = {"old": b"", "new": new}
        assert finding(modified("pyproject.toml"), sources=sources).relation is relation


@pytest.mark.parametrize("definition", ["bench/s", "bench/s/", "bench/s/scenario.yaml"])
def test_its_own_definition_touches_a_scenario(definition: str) -> None:
    found = finding(modified("bench/s/scenario.yaml"), definition=definition)
    assert hows(found) == {How.SCENARIO}
    assert finding(modified("bench/s2/scenario.yaml"), definition=definition).relation.is_proof


# --- what proves nothing -------------------------------------------------------------------------


def test_without_a_footprint_nothing_is_known() -> None:
    found = relate(change(modified("a")), {}, FootprintIndex(), ["new"], {})
    assert found["new"].relation is Relation.UNKNOWN


def test_what_the_probe_could_not_see_undoes_proofs_and_no_touches() -> None:
    of = footprint(unseen=("a program without Python",))
    found = finding(modified("docs/a"), of=of)
    assert found.relation is Relation.UNKNOWN
    assert "a program without Python" in found.reason
    assert finding(modified("data/x.csv"), of=of).relation is Relation.TOUCHED


def test_an_old_footprint_proves_only_what_held_until_base() -> None:
    of = footprint(sha=OLDER)
    apart, touching = (Change(OLDER, BASE, (modified(path),)) for path in ("docs/b", "data/x.csv"))
    same = Change(OLDER, BASE, (modified("src/a.py", "comment"),))
    code = Change(OLDER, BASE, (modified("src/a.py", "fit"),))
    importing = Change(OLDER, BASE, (modified("src/a.py", "importing"),))
    for since, relation in (
        ({OLDER: apart}, Relation.APART),
        ({OLDER: same}, Relation.APART),
        ({OLDER: code}, Relation.STALE),
        ({OLDER: importing}, Relation.STALE),
        ({OLDER: touching}, Relation.STALE),
        ({}, Relation.UNKNOWN),
    ):
        found = finding(modified("docs/a"), of=of, moved_since=since)
        assert found.relation is relation
        assert found.relation.is_proof == (relation is Relation.APART)
        if relation is not Relation.APART:
            assert "older than what it runs" in found.reason
        touched = finding(modified("data/x.csv"), of=of, moved_since=since)
        assert touched.relation is Relation.TOUCHED


# --- many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "relation"),
    [
        ("src/other.py", Relation.UNKNOWN),
        ("src/other/__init__.py", Relation.UNKNOWN),
        ("src/another.py", Relation.STALE),
        ("docs/other.md", Relation.STALE),
    ],
)
def test_what_a_scenario_imports_since_its_footprint_may_be_what_changes(
    path: str, relation: Relation
) -> None:
    since = Change(OLDER, BASE, (modified("src/a.py", "importing"),))
    of = footprint(sha=OLDER)
    found = finding(modified(path), of=of, moved_since={OLDER: since})
    assert found.relation is relation


def test_a_file_that_came_since_and_may_be_found_may_be_what_changes() -> None:
    since = Change(OLDER, BASE, (added("data/new.csv"),))
    of = footprint(sha=OLDER)
    found = finding(modified("data/new.csv"), of=of, moved_since={OLDER: since})
    assert found.relation is Relation.UNKNOWN
    other = finding(modified("docs/a"), of=of, moved_since={OLDER: since})
    assert other.relation is Relation.STALE


def test_each_scenario_has_its_own_finding() -> None:
    index = FootprintIndex.of(
        [footprint(f"s{n}", files={f"{n % 50}.csv": OPENED}) for n in range(1000)]
    )
    names = [f"s{n}" for n in range(999, -1, -1)] + ["new"]
    found = relate(change(modified("7.csv"), modified("9.csv")), {}, index, names, {})
    assert list(found) == names
    for number in range(1000):
        touched = {each.path for each in found[f"s{number}"].touches}
        assert touched == {f"{number % 50}.csv"} & {"7.csv", "9.csv"}


def test_shares_and_functions_are_those_of_each_scenario() -> None:
    chosen = {
        "one": {"<module>": Executed(1, 0.1), "fit": Executed(1, 0.2)},
        "two": {"<module>": Executed(1, 0.1), "fit": Executed(1, 0.2), "test": Executed(1, 0.3)},
        "none": {"<module>": Executed(1, 0.1)},
    }
    index = FootprintIndex.of(
        [footprint(n, functions={"src/a.py": each}) for n, each in chosen.items()]
    )
    found = relate(change(modified("src/a.py", "both")), SOURCES, index, [*chosen], {})
    assert found["one"].touches == (Touch("src/a.py", How.CODE, ("fit",), 0.2),)
    assert found["two"].touches == (Touch("src/a.py", How.CODE, ("fit", "test"), 0.5),)
    assert found["none"].relation is Relation.DORMANT


def test_only_blobs_that_decide_something_are_wanted() -> None:
    index = FootprintIndex.of([footprint()])
    delta = change(
        modified("src/a.py", "1", "2"),
        modified("data/x.csv", "3", "4"),
        modified("docs/a.py", "5", "6"),
        modified("uv.lock", "7", "8"),
        modified("src", "9", "10", old_mode=SUBMODULE),
    )
    assert blobs_wanted(delta, index) == {"1", "2", "7", "8"}
