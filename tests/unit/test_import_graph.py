"""How near a change lies to a scenario in the graph of imports, where nothing else is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.model.scenario import Scenario
from ailab_bot.plan import imports
from ailab_bot.plan.features import near_of
from ailab_bot.plan.imports import (
    LEAST_IMPORTERS,
    MOST_BYTES,
    MOST_FILES,
    MOST_STEPS,
    Import,
    Modules,
    Tree,
    entries_of,
    imported_near,
    imports_of,
    modules_of,
    steps_to,
    walk,
)

Files = Mapping[str, str]


def tree_of(files: Files, links: Mapping[str, str] | None = None) -> Tree:
    return Tree({path: f"blob of {path}" for path in files}, links or {})


class Library:
    """Reads as git does, and remembers what it was asked for."""

    def __init__(self, files: Files) -> None:
        self.blobs = {f"blob of {path}": text.encode() for path, text in files.items()}
        self.asked: list[list[str]] = []
        self.given = 0

    def __call__(self, ids: Sequence[str], most_bytes: int) -> dict[str, bytes]:
        self.asked.append([*ids])
        found: dict[str, bytes] = {}
        for each in ids:
            most_bytes -= len(self.blobs.get(each, b""))
            if most_bytes < 0:
                break
            if each in self.blobs:
                found[each] = self.blobs[each]
                self.given += len(self.blobs[each])
        return found


def scenario(*command: str, path: str = "", name: str = "a") -> Scenario:
    env = {"PYTHONPATH": path} if path else {}
    return Scenario(name, command, Path("/nowhere"), env=env)


def run_by(files: Files, path: str, modules: Modules | None = None) -> set[str]:
    modules = modules or Modules(tree_of(files))
    return set(modules.run_by(path, imports_of(files[path].encode())))


def nearness(
    files: Files, changed: str, *command: str, path: str = "", home: str = "scenarios/a"
) -> float | None:
    who = {"a": (scenario(*(command or ("python", "train.py")), path=path), home)}
    return imported_near(who, tree_of(files), {changed}, Library(files)).get("a")


# --- statements --------------------------------------------------------------------------------


def test_imports_count_wherever_they_stand() -> None:
    source = b"""
import a.b as c, d
from e.f import g as h, i
from . import j
from ..k import *
try:
    import m
except ImportError:
    import n
else:
    import o
finally:
    import p
def f():
    with x:
        for y in z:
            import q
class A:
    async def g(self):
        match x:
            case 1:
                import r
if TYPE_CHECKING:
    import never
elif x:
    import s
if typing.TYPE_CHECKING:
    from never import more
"""
    assert {(*each,) for each in imports_of(source)} == {
        ("e.f", ("g", "i"), 0), ("", ("j",), 1), ("k", ("*",), 2),
        *((name, (), 0) for name in ("a.b", *"dmnopqrs")),
    }  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [b"import a\ndef f(:", b"import a\0", b"\xff\xfe", b"import a\n" + b"(" * 100_000,
     b"import " + b".".join([b"a"] * 90_000), b"# -*- coding: nonsense -*-\nimport a",
     b"import a\n" * 100_000, b"import " + b"a" * 1000],
    ids=range(8),
)  # fmt: skip
def test_hostile_sources_import_nothing_and_raise_nothing(source: bytes) -> None:
    assert imports_of(source) == ()


def test_of_too_many_names_the_first_count() -> None:
    found = imports_of(b"import first\n" + b"import a, b, c\n" * 10_000)
    assert found == (Import("first"), *map(Import, "abc"))
    many = imports_of(b"".join(b"import a%d\n" % number for number in range(5000)))
    assert many[0] == Import("a0")
    assert len(many) == imports._MOST_WORDS


@given(st.binary(max_size=200), st.text(max_size=200))
def test_no_bytes_raise(one: bytes, two: str) -> None:
    imports_of(one)
    imports_of(two.encode("utf-8", "surrogatepass"))


# --- names to files ----------------------------------------------------------------------------


def test_packages_run_before_what_is_taken_from_them() -> None:
    files = {
        "train.py": "import pkg.sub.m\nfrom pkg.other import f, n\nimport torch, pkg.gone",
        "pkg/__init__.py": "", "pkg/sub/__init__.py": "", "pkg/sub/m.py": "",
        "pkg/other/__init__.py": "", "pkg/other/n.py": "", "pkg/unused.py": "",
    }  # fmt: skip
    assert run_by(files, "train.py") == files.keys() - {"train.py", "pkg/unused.py"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from .c import f", {"a/b/c.py"}),
        ("from . import c", {"a/b/c.py"}),
        ("from . import c, value", {"a/b/c.py", "a/b/__init__.py"}),
        ("from .. import d", {"a/d.py"}),
        ("from ..d import f", {"a/d.py"}),
        ("from ..e.g import f", {"a/e/__init__.py", "a/e/g.py"}),
        ("from ..e import *", {"a/e/__init__.py"}),
        ("from ... import top", set()),
        ("from ...top import f", set()),
        ("from ................ import top", set()),
        ("from .b import m", set()),
        ("import c", set()),
        ("import a.b.m", set()),
        ("import a.d.g", {"a/d.py"}),
        ("import top", {"top.py"}),
    ],
)
def test_relative_imports_start_at_the_files_own_package(line: str, found: set[str]) -> None:
    names = ("a/__init__.py", "a/b/__init__.py", "a/b/c.py", "a/d.py", "a/e/__init__.py",
             "a/e/g.py", "top.py")  # fmt: skip
    files = {"a/b/m.py": line, **dict.fromkeys(names, "")}
    assert run_by(files, "a/b/m.py") == found


def test_a_package_says_dot_for_itself() -> None:
    files = {"a/__init__.py": "from . import b\nfrom .c import f", "a/b.py": "", "a/c.py": ""}
    assert run_by(files, "a/__init__.py") == {"a/b.py", "a/c.py"}


def test_folders_without_init_are_namespace_packages_and_may_lie_in_two_places() -> None:
    files = {
        "train.py": "import space.one.m\nfrom space import two\nimport space\nimport space.three.m",
        "space/one/m.py": "", "src/space/two.py": "", "src/space/three/m.py": "", "space/x.txt": "",
    }  # fmt: skip
    assert run_by(files, "train.py") == {
        "space/one/m.py", "src/space/two.py", "src/space/three/m.py",
    }  # fmt: skip


def test_a_package_comes_before_a_module_of_its_name() -> None:
    files = {"train.py": "import a", "a.py": "", "a/__init__.py": ""}
    assert run_by(files, "train.py") == {"a/__init__.py"}


def test_a_module_is_no_package_whatever_folder_lies_beside_it() -> None:
    files = {"train.py": "import a.m\nfrom a import m", "a.py": "", "a/m.py": "from . import n"}
    assert run_by(files, "train.py") == {"a.py"}
    assert run_by(files | {"a/n.py": ""}, "a/m.py") == {"a/n.py"}


def test_a_package_runs_though_only_its_module_is_asked_for() -> None:
    files = {"train.py": "from a import m", "a/__init__.py": "", "a/m.py": "from a import n"}
    files["a/n.py"] = ""
    assert run_by(files, "train.py") == {"a/__init__.py", "a/m.py"}
    assert run_by(files, "a/m.py") == {"a/n.py"}


def test_a_scripts_folder_is_searched_first_and_by_its_own_files_alone() -> None:
    files = {
        "jobs/a/train.py": "import model, shared", "jobs/a/model.py": "import part",
        "jobs/a/part.py": "", "jobs/b/train.py": "import model", "jobs/b/model.py": "",
        "model.py": "", "shared.py": "import part",
    }  # fmt: skip
    both = [(scenario("python", f"jobs/{name}/train.py"), "") for name in "ab"]
    modules = modules_of(both, tree_of(files))
    assert run_by(files, "jobs/a/train.py", modules) == {"jobs/a/model.py", "shared.py"}
    assert run_by(files, "jobs/a/model.py", modules) == {"jobs/a/part.py"}
    assert run_by(files, "jobs/b/train.py", modules) == {"jobs/b/model.py"}
    assert run_by(files, "shared.py", modules) == set()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("{checkout}/python", 0.5), ("python", 0.5), ("./python/:/usr/lib", 0.5),
        ("{checkout}/other:{checkout}/python", 0.5), ("/python", 0.0), ("../python", 0.0),
        ("{checkout}", 0.0), ("", 0.0), ("{scenario_dir}/../python", 0.5),
    ],
)  # fmt: skip
def test_folders_of_pythonpath_are_searched(path: str, value: float) -> None:
    files = {"scenarios/train.py": "import m", "python/m.py": ""}
    command = ("python", "{scenario_dir}/train.py")
    assert nearness(files, "python/m.py", *command, path=path, home="scenarios") == value


def test_a_folder_of_pythonpath_below_the_script_is_its_scenarios_alone() -> None:
    files = {f"s/{name}/{path}": text for name in "ab"
             for path, text in (("train.py", "import m"), ("lib/m.py", ""))}  # fmt: skip
    who = {
        name: (
            scenario("python", "{scenario_dir}/train.py", path="{scenario_dir}/lib"),
            f"s/{name}",
        )
        for name in "ab"
    }
    found = imported_near(who, tree_of(files), {"s/b/lib/m.py"}, Library(files))
    assert found == {"a": 0.0, "b": 0.5}


# --- entries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (("python", "train.py"), {"train.py"}),
        (("python", "./jobs/../train.py", "conf/a.py"), {"train.py", "conf/a.py"}),
        (("python", "{checkout}/train.py"), {"train.py"}),
        (("python", "{scenario_dir}/run.py"), {"scenarios/a/run.py"}),
        (("torchrun", "--nproc", "2", "-m", "pkg.fit"), {"pkg/__init__.py", "pkg/fit.py"}),
        (("python", "-m", "pkg"), {"pkg/__init__.py", "pkg/__main__.py"}),
        (("python", "-m", "space"), {"space/__main__.py"}),
        (("python", "-m", "pip"), set()),
        (("python", "-m"), set()),
        (("python", "-m", ""), set()),
        (("python", "gone.py", "/train.py", "../train.py"), set()),
        (("bash", "run.sh"), set()),
        (("train.pyc",), set()),
    ],
)
def test_a_command_names_scripts_and_modules_of_the_tree(
    command: tuple[str, ...], found: set[str]
) -> None:
    names = ("train.py", "conf/a.py", "scenarios/a/run.py", "pkg/__init__.py", "pkg/fit.py",
             "pkg/__main__.py", "space/__main__.py")  # fmt: skip
    modules = Modules(tree_of(dict.fromkeys(names, "")))
    assert entries_of(scenario(*command), "scenarios/a", modules) == found


def test_what_is_run_by_its_name_is_looked_for_where_its_scenario_searches() -> None:
    names = ("job.py", "other/job.py", "src/job.py", "other/task.py", "src/task.py")
    tree = tree_of(dict.fromkeys(names, ""))
    for module, path, found in (
        ("job", "other", "job.py"),  # the working folder comes first
        ("task", "{checkout}/other", "other/task.py"),
        ("task", "", "src/task.py"),
        ("task", "src:other", "src/task.py"),
    ):
        run = scenario("python", "-m", module, path=path)
        others = [scenario("python", "-m", "x", path=each) for each in ("src", "src", "other:src")]
        modules = modules_of([(each, "") for each in (run, *others)], tree)
        assert entries_of(run, "", modules) == {found}


def test_folders_outside_of_the_repository_are_not_searched() -> None:
    run = scenario(
        "python", "train.py", path="/usr/lib:../up:{checkout}/a:{checkout}:b/..:src/../a"
    )
    assert modules_of([(run, "")], tree_of(CHAIN)).shared == ("", "a", "src")


def test_a_folder_of_scenarios_may_be_a_link() -> None:
    files = {"scenarios/a/train.py": "import m", "m.py": ""}
    who = {"a": (scenario("python", "{scenario_dir}/train.py"), ".ailab/scenarios/a")}
    for target in ("../scenarios", "./.././scenarios/"):
        tree = tree_of(files, {".ailab/scenarios": target})
        assert imported_near(who, tree, {"m.py"}, Library(files)) == {"a": 0.5}
    for target in ("scenarios", "/scenarios", "../../scenarios", "../gone", ""):
        tree = tree_of(files, {".ailab/scenarios": target})
        assert imported_near(who, tree, {"m.py"}, Library(files)) == {}


# --- the walk ----------------------------------------------------------------------------------


CHAIN = {f"m{n}.py": f"import m{n + 1}" for n in range(1, 12)} | {"train.py": "import m1"}


@pytest.mark.parametrize(
    ("changed", "value"),
    [("train.py", 1.0), ("m1.py", 0.5), ("m2.py", 0.25), (f"m{MOST_STEPS}.py", 0.5**MOST_STEPS),
     (f"m{MOST_STEPS + 1}.py", 0.0), ("other.py", 0.0)],
)  # fmt: skip
def test_each_import_between_halves_the_nearness(changed: str, value: float) -> None:
    assert nearness(CHAIN, changed) == value


def test_the_nearest_change_and_the_shortest_way_count() -> None:
    files = {
        "train.py": "import a, b",
        "a.py": "import b",
        "b.py": "import c",
        "c.py": "",
        "d.py": "",
    }
    who = {"a": (scenario("python", "train.py"), "")}
    for changed, value in (({"c.py", "d.py"}, 0.25), ({"c.py", "a.py"}, 0.5), ({"d.py"}, 0.0)):
        assert imported_near(who, tree_of(files), changed, Library(files)) == {"a": value}


def test_imports_in_a_circle_end() -> None:
    files = {
        "train.py": "import a",
        "a.py": "import b, a",
        "b.py": "import a, c, train",
        "c.py": "",
    }
    assert nearness(files, "c.py") == 0.125
    assert nearness(files, "b.py") == 0.25
    library = Library(files)
    walk(Modules(tree_of(files)), {"train.py"}, library)
    assert [len(level) for level in library.asked] == [1, 1, 1, 1]


def test_a_scenario_without_a_script_in_the_tree_is_left_out() -> None:
    assert nearness(CHAIN, "m1.py", "bash", "run.sh") is None
    assert nearness({}, "m1.py") is None


def test_of_a_renamed_script_and_module_both_paths_are_near() -> None:
    files = {"train.py": "import old\ntry:\n import new\nexcept ImportError: pass", "old.py": ""}
    tree = tree_of(files)
    tree = Tree({**tree.files, "new.py": "", "newer_train.py": ""})
    who = {
        "a": (scenario("python", "train.py"), ""),
        "b": (scenario("python", "newer_train.py"), ""),
    }
    for changed, value in (({"old.py"}, 0.5), ({"new.py"}, 0.5), ({"train.py"}, 1.0)):
        assert imported_near(who, tree, changed, Library(files))["a"] == value
    assert imported_near(who, tree, {"newer_train.py"}, Library(files)) == {"a": 0.0, "b": 1.0}


def test_what_cannot_be_read_imports_nothing() -> None:
    files = {"train.py": "import a", "a.py": "import b", "b.py": ""}
    library = Library(files)
    del library.blobs["blob of a.py"]
    who = {"a": (scenario("python", "train.py"), "")}
    assert imported_near(who, tree_of(files), {"b.py"}, library) == {"a": 0.0}
    assert imported_near(who, tree_of(files), {"a.py"}, library) == {"a": 0.5}


# --- hubs --------------------------------------------------------------------------------------


def with_settings(importers: int, others: int) -> dict[str, str]:
    """Scripts that import `settings`, which imports `store`, and scripts that import `own`."""
    return {
        "settings.py": "import store", "store.py": "", "own.py": "",
        **{f"s{n}.py": "import settings" for n in range(importers)},
        **{f"o{n}.py": "import own" for n in range(others)},
    }  # fmt: skip


def near_each(files: Files, changed: str) -> dict[str, float]:
    who = {path: (scenario("python", path), "") for path in files if path[1:2].isdigit()}
    return imported_near(who, tree_of(files), {changed}, Library(files))


def test_a_hub_is_far_from_all_and_nothing_is_near_through_it() -> None:
    files = with_settings(LEAST_IMPORTERS, 9)
    assert near_each(files, "settings.py")["s0.py"] == 0.5**MOST_STEPS
    assert near_each(files, "store.py")["s0.py"] == 0.0
    assert near_each(files, "own.py")["o0.py"] == 0.5
    assert near_each(files, "s0.py")["s0.py"] == 1.0


@pytest.mark.parametrize(("importers", "others"), [(LEAST_IMPORTERS - 1, 0), (LEAST_IMPORTERS, 40)])
def test_what_few_or_a_small_part_import_is_no_hub(importers: int, others: int) -> None:
    files = with_settings(importers, min(others, 9))
    files |= {f"p{n}.py": "import p" for n in range(others)}
    assert near_each(files, "settings.py")["s0.py"] == 0.5
    assert near_each(files, "store.py")["s0.py"] == 0.25


def test_a_way_around_a_hub_counts() -> None:
    files = with_settings(LEAST_IMPORTERS, 0)
    files["s0.py"] = "import settings, a"
    files["a.py"] = "import store"
    near = near_each(files, "store.py")
    assert (near["s0.py"], near["s1.py"]) == (0.25, 0.0)


def test_a_script_that_many_import_is_near_to_what_it_imports_itself() -> None:
    files = {"s0.py": "import m", "m.py": "", **{f"s{n}.py": "import s0" for n in range(1, 20)}}
    near = near_each(files, "m.py")
    assert (near["s0.py"], near["s1.py"]) == (0.5, 0.0)
    assert near_each(files, "s0.py")["s0.py"] == 1.0


def test_a_package_is_no_hub_because_its_own_files_import_each_other() -> None:
    files = {
        "train.py": "import pkg", "pkg/__init__.py": "from pkg.m0 import f",
        **{f"pkg/m{n}.py": f"import pkg.m{n + 1}" for n in range(30)},
    }  # fmt: skip
    graph, hubs = walk(Modules(tree_of(files)), {"train.py"}, Library(files))
    assert len(graph) == MOST_STEPS
    assert not hubs
    assert nearness(files, "pkg/m0.py") == 0.25


def test_steps_lead_back_to_the_nearest_change() -> None:
    graph = {"a": frozenset("bh"), "b": frozenset("c"), "h": frozenset("c"), "z": frozenset("h")}
    assert steps_to({"c"}, graph, {"h"}) == {"c": 0, "b": 1, "h": 1, "a": 2}
    assert steps_to({"h"}, graph, {"h"}) == dict.fromkeys("haz", MOST_STEPS)
    assert steps_to({"h", "b"}, graph, {"h"}) == {"b": 0, "a": 1, "h": MOST_STEPS, "z": MOST_STEPS}


# --- bounds ------------------------------------------------------------------------------------


def platform(number: int) -> dict[str, str]:
    """Scenarios of 20 teams, each with libraries of its own; all load `core`."""
    files = {"lib/__init__.py": "", "lib/core.py": "import lib.log", "lib/log.py": ""}
    for team in range(20):
        files[f"lib/team{team}/__init__.py"] = ""
        for n in range(10):
            files[f"lib/team{team}/m{n}.py"] = f"from lib import core\nfrom . import m{n + 1}"
    for n in range(number):
        files[f"scenarios/s{n}/train.py"] = f"import model\nfrom lib.team{n % 20}.m0 import f"
        files[f"scenarios/s{n}/model.py"] = "from lib.core import f"
    return files


def many(number: int) -> dict[str, tuple[Scenario, str]]:
    return {
        f"s{n}": (scenario("python", "{scenario_dir}/train.py"), f"scenarios/s{n}")
        for n in range(number)
    }


def test_three_hundred_scenarios_are_read_level_by_level_and_each_file_once() -> None:
    files = platform(300)
    library = Library(files)
    near = imported_near(many(300), tree_of(files), {"lib/team7/m1.py"}, library)
    assert {name for name, value in near.items() if value} == {f"s{n}" for n in range(7, 300, 20)}
    assert set(near.values()) == {0.0, 0.25}
    asked = [each for level in library.asked for each in level]
    assert len(asked) == len(set(asked)) == MOST_FILES
    assert [len(level) for level in library.asked] == [300, 300]


def test_of_too_many_files_the_nearest_are_read() -> None:
    number = MOST_FILES + 100
    files = platform(number)
    library = Library(files)
    near = imported_near(many(number), tree_of(files), {"scenarios/s0/model.py"}, library)
    assert len(near) == number
    assert near["s0"] == 0.5
    assert sum(map(len, library.asked)) == MOST_FILES
    assert len(library.asked) == 1
    again = imported_near(dict(reversed(many(number).items())), tree_of(files),
                          {"scenarios/s0/model.py"}, Library(files))  # fmt: skip
    assert near == again


def test_no_more_bytes_are_read_than_fit() -> None:
    large = "#" * (MOST_BYTES // 10)
    files = {f"m{n}.py": f"import further{n}\n{large}" for n in range(20)}
    files["train.py"] = "import " + ", ".join(f"m{n}" for n in range(20))
    files |= {f"further{n}.py": f"import last\n{large}" for n in range(20)}
    library = Library(files)
    graph, _ = walk(Modules(tree_of(files)), {"train.py"}, library)
    assert [*graph] == ["train.py", *sorted(f"m{n}.py" for n in range(20))[:9]]
    assert MOST_BYTES // 2 < library.given <= MOST_BYTES


def test_names_without_end_are_not_all_looked_for() -> None:
    names = ", ".join(f"a{n}" for n in range(1900))
    files = {f"s{n}.py": f"import {names}, m{n}" for n in range(200)}
    graph, _ = walk(Modules(tree_of(files)), set(files), Library(files))
    assert 0 < len(graph) < 100


# --- beside folders ----------------------------------------------------------------------------


def test_the_nearer_of_folder_and_imports_counts() -> None:
    homes = {"a": "scenarios/a", "b": "scenarios/b", "c": "other"}
    near = near_of(["scenarios/a/x.yml"], homes, {"b": 0.5, "c": 0.125, "a": 0.25, "gone": 1.0})
    assert near == {"a": 1.0, "b": 0.5, "c": 0.125}
