"""A prototype for prediction: how many calls a change adds where a scenario runs, by its footprint.

Share of time says how hot changed code is, not how much of it differs. Here each changed function
counts by the calls that its body has more (or fewer), times how often the footprint saw it run,
against all calls of the scenario's signature. Refuses to prove: a name may mean anything.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Mapping

from ailab_bot.model.footprint import Footprint

#: By function (qualified name; `<module>`), by name that is called.
Calls = dict[str, Counter[str]]
#: By function of one file: calls more and calls fewer each time that it runs.
Growth = dict[str, tuple[float, float]]

MODULE, _IMPORT, _OTHER = "<module>", "<import>", "<other>"
#: How often the body of a loop runs, where nothing else is known.
_LOOP = 3.0
#: What looks like no call and may be one: attributes, subscripts, comparisons, operators.
_HIDDEN = 0.2
#: Calls of what runs much code behind one name. Not tuned: orders of magnitude.
_LARGE = {_IMPORT: 30.0, "deepcopy": 30.0, "signature": 30.0, "dataclass": 50.0, "namedtuple": 50.0,
          "compile": 20.0, "getsource": 100.0, "warn": 10.0, "sub": 5.0}  # fmt: skip
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp,
          ast.GeneratorExp)  # fmt: skip
_HIDING = (ast.Attribute, ast.Subscript, ast.Compare, ast.BinOp, ast.With, ast.For)
#: Deeper trees are not looked into.
_DEEPEST = 400


def calls_of(source: bytes) -> Calls | None:
    """None where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        found: Calls = {MODULE: Counter()}
        _walk(tree, MODULE, "", 1.0, found, 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found


def _walk(
    node: ast.AST, function: str, prefix: str, times: float, found: Calls, depth: int
) -> None:
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        own = prefix + node.name
        found.setdefault(own, Counter())
        for each in (*node.decorator_list, *node.args.defaults):
            _walk(each, function, prefix, times, found, depth + 1)
        for each in node.body:
            _walk(each, own, f"{own}.<locals>.", 1.0, found, depth + 1)
        return
    if isinstance(node, ast.ClassDef):
        for each in (*node.decorator_list, *node.bases, *node.body):
            _walk(each, function, f"{prefix}{node.name}.", times, found, depth + 1)
        return
    here = found[function]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        here[_IMPORT] += times
    elif isinstance(node, ast.Call):
        here[_name(node.func)] += times
    if isinstance(node, _HIDING):
        here[_OTHER] += times
    inner = times * (_LOOP if isinstance(node, _LOOPS) else 1.0)
    for below in ast.iter_child_nodes(node):
        _walk(below, function, prefix, inner, found, depth + 1)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def growth_of(files: Mapping[str, tuple[bytes, bytes]]) -> dict[str, Growth]:
    """By path, of files that changed: old and new source, empty where that side has none.

    What a function that appears does belongs to those that call it, by its name.
    """
    counted = {
        path: (calls_of(old) or {}, calls_of(new) or {}) for path, (old, new) in files.items()
    }
    appeared = {
        name.rpartition(".")[2]: sum(_size(called, {}) * times for called, times in calls.items())
        for before, after in counted.values()
        for name, calls in after.items()
        if name not in before
    }
    found: dict[str, Growth] = {}
    for path, (before, after) in counted.items():
        rows = {}
        for name, old in before.items():
            new = after.get(name, Counter())
            moved = {each: new[each] - old[each] for each in old.keys() | new.keys()}
            sized = [times * _size(called, appeared) for called, times in moved.items()]
            more, fewer = sum(x for x in sized if x > 0), -sum(x for x in sized if x < 0)
            if more or fewer:
                rows[name] = (round(more, 2), round(fewer, 2))
        if rows:
            found[path] = rows
    return found


def _size(name: str, appeared: Mapping[str, float]) -> float:
    if name == _OTHER:
        return _HIDDEN
    return _LARGE.get(name, 1.0) + appeared.get(name, 0.0)


def expected_part(growth: Mapping[str, Growth], footprint: Footprint) -> float:
    """Of all calls of the scenario, the part that comes or goes; 0 where nothing of it ran.

    Calls more and calls fewer are summed apart and the larger one counts: within a function they
    replace each other more often than they add up.
    """
    if footprint.signature is None:
        return 0.0
    total = max(footprint.signature.calls + footprint.signature.builtin_calls, 1)
    more = fewer = 0.0
    for path, rows in growth.items():
        ran = footprint.functions.get(path, {})
        for name, (up, down) in rows.items():
            if name in ran:
                more += ran[name].calls * up
                fewer += ran[name].calls * down
    return max(more, fewer) / total
