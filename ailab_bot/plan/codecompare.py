"""Whether two versions of a Python file are the same code, and if not, which functions differ.

Syntax trees are compared, without comments, docstrings and annotations that are not evaluated; an
instruction that does nothing but mark a line (`pass`) is no difference. Nor is the line that code
stands in: code that asks for its own line numbers is not told from other code.
Nothing is run. Refuses to call anything the same that it cannot take apart: `known` is False then.
What can be noticed of a function that never ran counts to the body around it, which ran: arguments
(a call that does not fit fails before the function runs), decorators that may rewrite or compile
it, annotations that a class may look at, names that may shadow others.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import re
import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass
from types import CodeType

from ailab_bot.plan.oldsyntax import called, is_too_new
from ailab_bot.plan.parsing import UNREADABLE, parse

#: Larger sources are not compared; a syntax tree takes about 100 times its source in memory.
LARGEST_BYTES = 512 << 10
MODULE = "<module>"

#: Decorators that leave a body to the interpreter and register nothing, so that a body that never
#: ran did not matter. Others (`numba.njit`, `triton.jit`, a registry) may read or compile it.
_HARMLESS = frozenset(
    {
        "staticmethod", "classmethod", "property", "cached_property", "setter", "getter",
        "deleter", "abstractmethod", "override", "overload", "final", "contextmanager",
        "asynccontextmanager", "no_grad", "inference_mode", "wraps", "lru_cache", "cache",
        "dataclass", "total_ordering", "runtime_checkable",
    }
)  # fmt: skip
#: Words of a module that may walk over what it defines, so that a new function has an effect.
_WALKS = frozenset({"globals", "locals", "vars", "dir", "getmembers", "__dict__"})
_KINDS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_WORD = re.compile(rb"\w+")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class CodeDifference:
    """`changed`: qualified names of functions and class bodies that differ, as in `Trainer.fit`
    and `make.<locals>.inner`; `<module>` is the file's own body.

    `bodies`: of changed classes the function or `<module>` that runs the class body. `added`: of
    `changed` those that only came to the file: nothing ran them, but another module may find them
    by `import *`, `getattr` or `vars`, so that they are no proof.
    """

    known: bool
    same: bool
    changed: frozenset[str] = frozenset()
    bodies: tuple[tuple[str, str], ...] = ()
    added: frozenset[str] = frozenset()


_UNKNOWN = CodeDifference(known=False, same=False)
_SAME = CodeDifference(known=True, same=True)


def compare_code(
    old: bytes, new: bytes, path: str, *, oldest_python: tuple[int, int] | None = None
) -> CodeDifference:
    """`oldest_python` is the oldest interpreter that runs it: newer syntax would not load there."""
    if old == new:
        return _SAME
    if max(len(old), len(new)) > LARGEST_BYTES:
        return _UNKNOWN
    try:
        with warnings.catch_warnings():  # of the compiler
            warnings.simplefilter("ignore")
            return _compare(old, new, path, oldest_python or sys.version_info[:2])
    except UNREADABLE:
        return _UNKNOWN


def _compare(old: bytes, new: bytes, path: str, python: tuple[int, int]) -> CodeDifference:
    trees = [parse(each, python=python, path=path) for each in (old, new)]
    # Compiling refuses what the parser lets pass, such as `return` outside of a function.
    codes = [compile(each, path, "exec", dont_inherit=True) for each in (old, new)]
    if is_too_new(trees[0], trees[1], python):
        return _UNKNOWN
    documented = b"__doc__" in old or b"__doc__" in new
    before, after = (_Parts(tree, documented) for tree in trees)
    added = after.additions()
    if added and not _may_grow(old, trees[0]):
        added = frozenset()
    added = frozenset(name for name in added if _is_unheard_of(name, old))
    left, right = before.texts(frozenset()), after.texts(added)
    changed = {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}
    shared, kinds = zip(*map(_compiled, codes), strict=True)
    names = left.keys() & right.keys()
    changed |= {name for name in names if shared[0].get(name) != shared[1].get(name)}
    if any(kinds[0].get(name) != kinds[1].get(name) for name in names):
        changed.add(MODULE)  # who called a generator did not run it; who calls a function does
    if not changed:
        return _SAME
    bodies = {**before.bodies, **after.bodies}
    return CodeDifference(
        known=True,
        same=False,
        changed=frozenset(changed),
        bodies=tuple(sorted((name, bodies[name]) for name in changed if name in bodies)),
        added=added & changed,
    )


def _compiled(code: CodeType) -> tuple[dict[str, set[str]], dict[str, list[int]]]:
    """By qualified name: variables that inner functions use (access to them is compiled apart), and
    whether it is a function, a generator or a coroutine."""
    shared: dict[str, set[str]] = {}
    kinds: dict[str, list[int]] = {}
    heap = [code]
    while heap:
        each = heap.pop()
        # A class body has `__class__` for `super()`, which costs its methods alone.
        if variables := {*each.co_cellvars} - {"__class__"}:
            shared.setdefault(each.co_qualname, set()).update(variables)
        kinds.setdefault(each.co_qualname, []).append(each.co_flags & _KINDS)
        heap.extend(inner for inner in each.co_consts if isinstance(inner, CodeType))
    return shared, kinds


def _may_grow(source: bytes, tree: ast.Module) -> bool:
    """Whether a module that a function is added to could not notice it by itself."""
    stars = any(
        isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree)
    )
    return not stars and not _WALKS & {word.decode("latin-1") for word in _WORD.findall(source)}


def _is_unheard_of(name: str, source: bytes) -> bool:
    """Whether nothing of the old module can have meant this name."""
    return (
        not hasattr(builtins, name)
        and not name.startswith("__")
        and name.isascii()
        and name.encode() not in _WORD.findall(source)
    )


class _Parts(ast.NodeTransformer):
    """A tree taken apart: the text of every function, class body and the module by itself, where
    what is defined within is only a mark with what runs, or may be looked at, at the definition."""

    def __init__(self, tree: ast.Module, documented: bool) -> None:
        self.bodies: dict[str, str] = {}
        self._documented = documented
        self._parts: defaultdict[str, list[str]] = defaultdict(list)
        self._prefix = ""
        self._around = MODULE
        #: What happens to the definitions of the body at hand: "" nothing, or they are looked at
        #: ("annotations") or may be compiled or rewritten ("all").
        self._machinery = ""
        self._in_function = False
        self._lazy = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(each.name == "annotations" for each in node.names)
            for node in tree.body
        )
        self._moved = {
            name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Global, ast.Nonlocal))
            for name in node.names
        }
        self._statements: list[tuple[str, str]] = []
        for node in self._without_docstring(tree.body):
            bare = isinstance(node, _Function) and self._is_bare(node)
            name = node.name if isinstance(node, _Function) and bare else ""
            self._statements.append((name, ast.dump(self.visit(node))))

    def additions(self) -> frozenset[str]:
        """Functions whose definition, by itself, does nothing but bind its name."""
        return frozenset(name for name, _ in self._statements if name)

    def texts(self, ignored: frozenset[str]) -> dict[str, list[str]]:
        """By qualified name; the module without the marks of the functions to be ignored."""
        module = [text for name, text in self._statements if name not in ignored]
        return {**self._parts, MODULE: module}

    # --- definitions ---------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        whole = ast.dump(node)
        name = self._prefix + node.name
        outer = self._decorators(node) or bool(node.keywords) or node.name in self._moved
        machinery = "all" if outer or self._machinery == "all" else "annotations" * bool(node.bases)
        at_definition = [
            ast.dump(self.visit(each))
            for each in (*node.decorator_list, *node.bases, *node.keywords, *_type_params(node))
        ]
        self.bodies[name] = self._around
        kept = (self._prefix, self._machinery, self._in_function)
        self._prefix, self._machinery, self._in_function = f"{name}.", machinery, False
        body = [ast.dump(self.visit(each)) for each in self._without_docstring(node.body)]
        self._prefix, self._machinery, self._in_function = kept
        self._parts[name].append("\n".join(body))
        return _mark("class", node.name, *at_definition, whole if machinery == "all" else "")

    def _function(self, node: _Function) -> ast.AST:
        whole = ast.dump(node)
        name = self._prefix + node.name
        rewritten = self._decorators(node) or node.name in self._moved
        machinery = "all" if rewritten or self._machinery == "all" else self._machinery
        looked_at = machinery or ("annotations" if node.decorator_list else "")
        at_definition = [ast.dump(self.visit(each)) for each in node.decorator_list]
        at_definition += [ast.dump(self.visit(each)) for each in _defaults(node.args)]
        at_definition += [ast.dump(each) for each in _type_params(node)]
        annotations = [ast.dump(each) for each in _annotations(node)]
        if looked_at or not self._lazy:
            at_definition += ["->", *annotations]
        # A call that does not fit it fails, and a generator that nobody asks never runs.
        signature = ast.dump(_bare_arguments(node.args))
        kept = (self._prefix, self._machinery, self._in_function, self._around)
        self._prefix, self._machinery, self._in_function = f"{name}.<locals>.", "", True
        self._around = name
        body = [ast.dump(self.visit(each)) for each in self._without_docstring(node.body)]
        self._prefix, self._machinery, self._in_function, self._around = kept
        self._parts[name].append("\n".join((signature, *body)))
        return _mark(
            type(node).__name__, node.name, *at_definition, signature,
            whole if machinery == "all" else "",
        )  # fmt: skip

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if self._in_function:  # never evaluated there; that the name is local stays
            node.annotation = ast.Constant(None)
        return node

    # --- what a definition does ----------------------------------------------------------------

    def _decorators(self, node: _Function | ast.ClassDef) -> bool:
        """Whether one of them is not known to leave alone what it decorates."""
        return any(_last_name(each) not in _HARMLESS for each in node.decorator_list)

    def _is_bare(self, node: _Function) -> bool:
        """Whether defining it runs nothing but constants and names that are always there."""
        at_definition = list(_defaults(node.args))
        if not self._lazy:
            at_definition += _annotations(node)
        names = [each for value in at_definition for each in ast.walk(value)]
        return (
            not node.decorator_list
            and not _type_params(node)
            and node.name not in self._moved
            and all(
                isinstance(each, (ast.Constant, ast.Load))
                or (isinstance(each, ast.Name) and hasattr(builtins, each.id))
                for each in names
            )
        )

    def _without_docstring(self, body: list[ast.stmt]) -> list[ast.stmt]:
        first = body[0] if body else None
        is_text = (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        )
        kept = body[1:] if is_text and not self._documented else body
        return [each for each in kept if not isinstance(each, ast.Pass)]


def _mark(*parts: str) -> ast.stmt:
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return ast.Expr(ast.Name(f"{parts[0]} {parts[1]} {digest}", ast.Load()))


def _last_name(decorator: ast.expr) -> str:
    """`wraps` of `@functools.wraps(f)`."""
    node = called(decorator)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _type_params(node: _Function | ast.ClassDef) -> list[ast.AST]:
    return list(getattr(node, "type_params", []))  # from Python 3.12


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    # Where a keyword has no default the place counts, too.
    return [*arguments.defaults, *(each or ast.Name("") for each in arguments.kw_defaults)]


def _annotations(node: _Function) -> list[ast.expr]:
    """With a place for each argument that has none."""
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [each for each in (arguments.vararg, arguments.kwarg) if each]
    found = [each.annotation for each in every] + [node.returns]
    return [each or ast.Constant(None) for each in found]


def _bare_arguments(arguments: ast.arguments) -> ast.arguments:
    def bare(each: ast.arg) -> ast.arg:
        return ast.arg(each.arg)

    return ast.arguments(
        posonlyargs=[bare(each) for each in arguments.posonlyargs],
        args=[bare(each) for each in arguments.args],
        vararg=bare(arguments.vararg) if arguments.vararg else None,
        kwonlyargs=[bare(each) for each in arguments.kwonlyargs],
        kw_defaults=[],
        kwarg=bare(arguments.kwarg) if arguments.kwarg else None,
        defaults=[],
    )
