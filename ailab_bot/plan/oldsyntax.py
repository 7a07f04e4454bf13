"""Syntax that older interpreters refuse, and that the parser lets pass if asked to be like them.

Refuses to guess: brackets are not in a syntax tree, so what is old only within them counts as new.
"""

from __future__ import annotations

import ast
import re
import sys

_DOTTED = re.compile(r"\w+(\.\w+)*")


def is_too_new(old: ast.Module, new: ast.Module, python: tuple[int, int]) -> bool:
    """Whether `new` may not load in that Python. `feature_version` has let both trees pass."""
    if python < (3, 12) <= sys.version_info and _f_strings(new) - _f_strings(old):
        return True  # quotes within quotes look the same here
    return python < (3, 11) and any(_is_new(node, python) for node in ast.walk(new))


def called(node: ast.expr) -> ast.expr:
    """`f` of `f(x)`."""
    return node.func if isinstance(node, ast.Call) else node


def _is_new(node: ast.AST, python: tuple[int, int]) -> bool:
    if isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return any(isinstance(each, (ast.Starred, ast.NamedExpr)) for each in parts)
    if isinstance(node, ast.arg):
        return isinstance(node.annotation, ast.Starred)
    if isinstance(node, _COMPREHENSIONS):  # 3.11 has asynchronous ones within others
        inner = (each for each in ast.walk(node) if each is not node)
        return any(each.is_async for each in inner if isinstance(each, ast.comprehension)
                   and each not in node.generators)  # fmt: skip
    if python >= (3, 9):
        return False
    if isinstance(node, ast.Set):
        return any(isinstance(each, ast.NamedExpr) for each in node.elts)
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return isinstance(node.iter, ast.Tuple)
    decorators = getattr(node, "decorator_list", [])
    return not all(_DOTTED.fullmatch(ast.unparse(called(each))) for each in decorators)


_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _f_strings(tree: ast.Module) -> set[str]:
    return {ast.dump(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
