"""Random edits of a small program that really runs: where a proof is given, head runs as base did.

A run is what it prints, how it ends, and how many instructions each of its functions executes,
without those that do nothing and only mark a line.
AILAB_SOUNDNESS_EDITS sets how many edits are tried.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ailab_bot.model.change import Change, ChangedFile, ChangeKind
from ailab_bot.model.footprint import Executed, Footprint, Use
from ailab_bot.plan.index import FootprintIndex
from ailab_bot.plan.relate import relate

EDITS = int(os.environ.get("AILAB_SOUNDNESS_EDITS", "150"))
PROGRAM = {
    "train.py": '''
        """Trains."""
        import os
        import sys
        sys.path.insert(0, "lib")
        import json
        import helper
        from pkg.model import Model, Base
        from pkg import data, registry
        from nsp import part
        try:
            import speedup
        except ImportError:
            speedup = None

        def main(steps=3):
            config = json.load(open("configs/base.json"))
            try:
                config.update(json.load(open("configs/local.json")))
            except OSError:
                pass
            model = Model(config["size"])
            for name in sorted(os.listdir("data")):
                print(name)
            for batch in data.batches(steps):
                print(model.fit(batch), helper.scale(batch), part.one(batch))
            print(hasattr(model, "finish"), speedup, registry.names(), len([1, 2]))
            waiting = data.waiting(2)
            try:
                data.shuffled(1, 2)
            except TypeError:
                print(waiting is None, data.shuffled.__name__)

        def evaluate(model):
            return model.fit(7)

        if __name__ == "__main__":
            main()
        ''',
    "pkg/__init__.py": "VERSION = 1\n",
    "pkg/model.py": '''
        from pkg.util import *
        class Base:
            size = 1
            def __init__(self, size):
                self.size = size
            def fit(self, batch):
                return self.step(batch) + 1
            def step(self, batch):
                def inner(x):
                    return x * 2
                def idle(x):
                    return x * 3
                return inner(batch)
            def unused(self):
                return 4
        class Mixin:
            def extra(self):
                return 5
        class Model(Mixin, Base):
            def __repr__(self):
                return "model 6"
            def predict(self, batch):
                return clip(batch, 8)
        ''',
    "pkg/util.py": '''
        def clip(value, limit=10):
            return min(value, limit)
        def grow(value):
            return value + 11
        ''',
    "pkg/data.py": '''
        from .util import clip, grow
        def batches(count: int):
            total: int = 0
            with open("data/rows.txt") as file:
                rows = [int(line) for line in file]
            for number in range(count):
                total += rows[number]
                yield clip(total, 100)
        def waiting(count):
            yield count + 25
        def shuffled(seed=12):
            return sorted(range(seed), key=lambda each: -each)
        ''',
    "pkg/registry.py": '''
        def names():
            return sorted(name for name in globals() if name.startswith("make_"))
        def make_one():
            return 13
        ''',
    "pkg/never.py": "def never():\n    return 14\n",
    "lib/helper.py": '''
        def scale(value):
            return value * 15
        def twice(function):
            return lambda *given: function(*given) * 2
        @twice
        def doubled(value):
            return value + 16
        ''',
    "nsp/part.py": "def one(value):\n    return value - 1\ndef two(value):\n    return value - 2\n",
    "configs/base.json": '{"size": 3}',
    "data/rows.txt": "1\n2\n3\n4\n",
    "data/more.txt": "5\n",
    "docs/guide.md": "# Guide 17\n",
}  # fmt: skip
NEW_PATHS = [
    "json.py", "json/__init__.py", "json/more.txt", "lib/json.py", "helper.py",
    "lib/helper.abi3.so", "pkg/model/__init__.py", "pkg/extra.py", "pkg/util/clip.py",
    "data/new.txt", "data/deep/new.txt",
    "configs/local.json", "speedup.py", "speedup/__init__.py", "speedup/note.txt", "lib/speedup.py",
    "nsp/__init__.py", "lib/nsp/__init__.py", "lib/nsp/part.py", "sitecustomize.py", "unused.py",
    "docs/new.md", "lib/pkg/__init__.py", "lib/os.py", "tests/json.py", "codecs.py",
    "lib/json/decoder.py", "__init__.py", "pkg/__main__.py",
]  # fmt: skip
NAMES = [
    "fit", "step", "finish", "extra", "clip", "min", "len", "sorted", "make_two", "fresh", "grow",
    "__getattr__", "__len__", "__init_subclass__", "unused", "inner", "predict", "names", "range",
]  # fmt: skip

#: Runs the program and says what it used and ran. Written for this test alone.
TRACER = r"""
import json as own, os, sys
from opcode import opmap
root = os.getcwd() + "/"
seen = {"files": {}, "folders": [], "missing": [], "search": [], "modules": []}
seen["ran"], seen["ops"] = {}, {}
def inside(path):
    path = os.path.normpath(os.path.join(root, os.fsdecode(path)))
    return path[len(root):] if path.startswith(root) else "" if path + "/" == root else None
def audit(event, words):
    if event == "open" and isinstance(words[0], (str, bytes)):
        path, frame = inside(words[0]), sys._getframe(1)
        importing = frame.f_code.co_filename.startswith("<frozen importlib")
        if path is None: return
        if os.path.exists(root + path):
            seen["files"].setdefault(path, set()).add("imported" if importing else "opened")
        else:
            seen["missing"].append(path)
    elif event in ("os.listdir", "os.scandir"):
        frame = sys._getframe(1)
        if not frame.f_code.co_filename.startswith("<frozen importlib"):
            seen["folders"].append(inside(words[0]))
    elif event == "import":
        seen["modules"].append(words[0])
        for each in sys.path:
            if inside(each) is not None: seen["search"].append(inside(each))
def trace(frame, event, argument):
    code = frame.f_code
    path = inside(code.co_filename) if not code.co_filename.startswith("<") else None
    if path is None: return None
    key = path + "\t" + code.co_qualname
    if event == "call":
        seen["ran"][key] = seen["ran"].get(key, 0) + 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
    elif event == "opcode" and code.co_flags & 1 and code.co_code[frame.f_lasti] != opmap["NOP"]:
        seen["ops"][key] = seen["ops"].get(key, 0) + 1
    return trace
sys.argv = ["train.py"]
sys.path[0] = root[:-1]
for name in ("json", "json.decoder", "json.scanner", "json.encoder"): sys.modules.pop(name, None)
result = os.environ["RESULT"]
sys.addaudithook(audit)
source = open("train.py").read()
seen["files"]["train.py"] = {"imported"}
code = compile(source, root + "train.py", "exec")
space = {"__name__": "__main__", "__file__": root + "train.py", "__builtins__": __builtins__}
sys.settrace(trace)
end = "0"
try:
    exec(code, space)
except BaseException as error:
    end = type(error).__name__ + str(error)
sys.settrace(None)
seen["files"] = {path: sorted(uses) for path, uses in seen["files"].items()}
seen["end"] = end
with open(result, "w") as file: own.dump(seen, file)
"""


def _dedent(text: str) -> str:
    lines = text.split("\n")
    width = 8 if lines[0] == "" else 0
    return "\n".join(line[width:] for line in lines).lstrip("\n")


def _run(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    """In a fresh folder, by the path of which nothing of the run depends."""
    place = folder / "checkout"
    subprocess.run(["rm", "-rf", str(place)], check=True)
    for path, text in files.items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-B", "-S", str(folder / "tracer.py")],
        cwd=place,
        env={"RESULT": str(result), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
    return {**found, "out": done.stdout, "rc": done.returncode}


def _footprint(run: dict[str, Any]) -> Footprint:
    functions: dict[str, dict[str, Executed]] = {}
    for key, calls in run["ran"].items():
        path, name = key.split("\t")
        functions.setdefault(path, {})[name] = Executed(calls, 0.0)
    own = {"helper", "pkg", "nsp", "speedup", "json", "train"}
    return Footprint(
        "s",
        "a" * 40,
        "{}.{}.{}".format(*sys.version_info[:3]),
        files={path: frozenset(map(Use, uses)) for path, uses in run["files"].items()},
        folders=frozenset(run["folders"]),
        missing=frozenset(run["missing"]),
        search=tuple(dict.fromkeys(run["search"])),
        modules=frozenset(
            name if name.split(".")[0] in own else name.split(".")[0] for name in run["modules"]
        )
        | {name.split(".")[0] for name in run["modules"]},
        functions=functions,
    )


# --- edits ---------------------------------------------------------------------------------------


def _edited(files: dict[str, str], chance: random.Random) -> dict[str, str]:
    new = dict(files)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        chance.choice(_EDITS)(new, chance)
    return new


def _code(files: dict[str, str], chance: random.Random) -> str:
    return chance.choice(sorted(path for path in files if path.endswith(".py")))


def _number(files: dict[str, str], chance: random.Random) -> None:
    path = chance.choice(sorted(files))
    places = [*re.finditer(r"\b\d+\b", files[path])]
    if places:
        place = chance.choice(places)
        files[path] = files[path][: place.start()] + "9" + files[path][place.end() :]


def _definitions(text: str) -> list[ast.AST]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # of an edit before
        return []
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def _beneath(files: dict[str, str], path: str, line: int, text: str, indent: int) -> None:
    lines = files[path].split("\n")
    new = [" " * indent + each for each in text.split("\n")]
    files[path] = "\n".join([*lines[:line], *new, *lines[line:]])


def _quiet(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    found = [node for node in _definitions(files[path]) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    text = chance.choice(["# comment", '"""Says what."""', "\n"])
    if found:
        body = chance.choice(found).body[0]  # type: ignore[attr-defined]
        _beneath(files, path, body.lineno - 1 - len(getattr(body, "decorator_list", ())), text,
                 body.col_offset)  # fmt: skip


def _add_function(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    name = chance.choice(NAMES)
    files[path] = files[path].rstrip("\n") + f"\n\ndef {name}(*given, **named):\n    return 18\n"


def _add_method(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    found = [node for node in _definitions(files[path]) if isinstance(node, ast.ClassDef)]
    if found:
        body = chance.choice(found).body[0]
        text = f"def {chance.choice(NAMES)}(self, *given):\n    return 19"
        _beneath(files, path, body.lineno - 1, text, body.col_offset)


def _add_statement(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    found = _definitions(files[path])
    text = chance.choice(["print(20)", "local: int = 21", "pass", "size = 22", "import json"])
    if found:
        node = chance.choice(found)
        body = node.body[-1]  # type: ignore[attr-defined]
        place = body.lineno - 1 - len(getattr(body, "decorator_list", ()))
        _beneath(files, path, place, text, body.col_offset)


def _remove(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    if found := _definitions(files[path]):
        node: Any = chance.choice(found)
        lines = files[path].split("\n")
        start = node.lineno - 1 - len(node.decorator_list)
        filler = [" " * node.col_offset + "pass"]
        files[path] = "\n".join([*lines[:start], *filler, *lines[node.end_lineno :]])


def _rename(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    if found := _definitions(files[path]):
        name = chance.choice(found).name  # type: ignore[attr-defined]
        new = chance.choice(NAMES)
        files[path] = files[path].replace(f"def {name}(", f"def {new}(")


def _arguments(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    places = [*re.finditer(r"def \w+\(([^)]*)\)", files[path])]
    if places:
        place = chance.choice(places)
        given = [each for each in place[1].split(", ") if each]
        new = [*given, f"extra={chance.randint(26, 28)}"] if chance.random() < 0.5 else given[:-1]
        files[path] = files[path][: place.start(1)] + ", ".join(new) + files[path][place.end(1) :]


def _kind(files: dict[str, str], chance: random.Random) -> None:
    path = _code(files, chance)
    places = [*re.finditer(r"\b(yield|return)\b", files[path])]
    if places:
        place = chance.choice(places)
        word = "return" if place[1] == "yield" else "yield"
        files[path] = files[path][: place.start()] + word + files[path][place.end() :]


def _add_file(files: dict[str, str], chance: random.Random) -> None:
    path = chance.choice(NEW_PATHS)
    folders = {"/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)}
    clash = any(each.startswith(f"{path}/") for each in files) or folders & set(files)
    if path not in files and not clash:
        files[path] = '{"size": 23}' if path.endswith(".json") else "print(24)\n"


def _delete(files: dict[str, str], chance: random.Random) -> None:
    path = chance.choice(sorted(files))
    if path != "train.py":
        del files[path]


def _move(files: dict[str, str], chance: random.Random) -> None:
    path, new = chance.choice(sorted(files)), chance.choice(["moved.py", "lib/moved.py", "data/m"])
    if path != "train.py" and new not in files:
        files[new] = files.pop(path)


_EDITS = [
    _number, _number, _number, _quiet, _quiet, _add_function, _add_function, _add_method,
    _add_statement, _remove, _rename, _arguments, _kind, _add_file, _add_file, _delete, _move,
]  # fmt: skip


def _blob(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _change(old: dict[str, str], new: dict[str, str]) -> Change:
    files = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        kind = ChangeKind.MODIFIED
        if before is None or after is None:
            kind = ChangeKind.ADDED if before is None else ChangeKind.DELETED
        files.append(
            ChangedFile(
                path,
                kind,
                old_mode="000000" if before is None else "100644",
                new_mode="000000" if after is None else "100644",
                old_blob="" if before is None else _blob(before),
                new_blob="" if after is None else _blob(after),
            )
        )
    return Change("a" * 40, "b" * 40, tuple(files))


#: What a run is: output, exit code, error, and instructions by function.
_TOLD = ("out", "rc", "end", "ops")


def _same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in _TOLD)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the tracer asks for qualified names")
def test_where_a_proof_is_given_head_runs_as_base_did(tmp_path: Path) -> None:
    (tmp_path / "tracer.py").write_text(TRACER, encoding="utf-8")
    base = {path: _dedent(text) for path, text in PROGRAM.items()}
    reference = _run(tmp_path, base)
    assert reference["end"] == "0"
    assert _same_run(reference, _run(tmp_path, base))
    index = FootprintIndex.of([_footprint(reference)])
    chance = random.Random(EDITS)
    given: Counter[str] = Counter()
    moved = 0
    for _ in range(EDITS):
        head = _edited(base, chance)
        delta = _change(base, head)
        if not delta.files:
            continue
        sources = {_blob(text): text.encode() for text in (*base.values(), *head.values())}
        finding = relate(delta, sources, index, ["s"], {})["s"]
        given[finding.relation] += 1
        if finding.relation.is_proof:
            told = [(each.path, each.kind.value) for each in delta.files]
            after = _run(tmp_path, head)
            differs = {
                key: (reference.get(key), after.get(key))
                for key in _TOLD
                if reference.get(key) != after.get(key)
            }
            assert not differs, (
                finding,
                told,
                {path: head[path] for path, _ in told if path in head},
            )
        elif EDITS > 1000:
            moved += not _same_run(reference, _run(tmp_path, head))
    told_moved = f"; {moved} of the touched really ran otherwise" if EDITS > 1000 else ""
    print(", ".join(f"{kind} {number}" for kind, number in given.items()) + told_moved)
    # Proofs of each kind were put to the test, and not everything was proved.
    assert min(given[kind] for kind in ("apart", "same_code", "dormant", "touched")) >= 3
