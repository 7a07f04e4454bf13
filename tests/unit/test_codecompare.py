"""Two versions of a file: the same code, or which functions differ."""

from __future__ import annotations

import sys
import textwrap
import warnings

import pytest

from ailab_bot.plan.codecompare import LARGEST_BYTES, MODULE, CodeDifference, compare_code

FUTURE = "from __future__ import annotations\n"


def compare(old: str, new: str, python: tuple[int, int] | None = None) -> CodeDifference:
    before, after = (textwrap.dedent(each).encode() for each in (old, new))
    return compare_code(before, after, "a.py", oldest_python=python)


SAME = {
    "comments and blank lines": ("def f():\n  return 1", "# why\n\ndef f():\n\n  return 1  # one"),
    "quotes and brackets": ("x = 'a'\ny = (1 + 2)", 'x = "a"\ny = 1 + 2'),
    "docstrings": (
        "'m'\nclass A:\n  'a'\n  def f(self):\n    'f'",
        "class A:\n  def f(self): pass",
    ),
    "annotations of variables of functions": ("def f():\n  x: int = 1", "def f():\n  x: str = 1"),
    "annotations that stay text": (FUTURE + "def f(a): pass", FUTURE + "def f(a: int) -> X: pass"),
    "annotations of attributes in functions": (
        "def f(x):\n  x.y: int = 1",
        "def f(x):\n  x.y: str = 1",
    ),
    "line endings": ("x = 1\ny = 2\n", "x = 1\r\ny = 2\r\n"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_compiles_to_the_same_code_is_the_same(name: str) -> None:
    assert compare(*SAME[name]) == CodeDifference(known=True, same=True)


CLASS = "class A{}:\n  def f(self): return 1\n  def g(self): return {}\n"
CHANGED = {
    "a body": ("def f(): return 1\ndef g(): pass", "def f(): return 2\ndef g(): pass", {"f"}),
    "the module's body": ("x = 1\ndef f(): pass", "x = 2\ndef f(): pass", {MODULE}),
    "a method": (CLASS.format("", 1), CLASS.format("", 2), {"A.g"}),
    "a method of a subclass": (CLASS.format("(B)", 1), CLASS.format("(B)", 2), {"A.g"}),
    "a class body": ("class A:\n  x = 1", "class A:\n  x = 2", {"A"}),
    "an inner function": (
        "def f():\n  def g(): return 1\n  return g",
        "def f():\n  def g(): return 2\n  return g",
        {"f.<locals>.g"},
    ),
    "a lambda": ("def f(): return lambda: 1", "def f(): return lambda: 2", {"f"}),
    "a comprehension": ("def f(): return [1 for _ in x]", "def f(): return [2 for _ in x]", {"f"}),
    "a default belongs to the definition": ("def f(a=1): pass", "def f(a=2): pass", {MODULE}),
    "a decorator, too": ("@a\ndef f(): pass", "@b\ndef f(): pass", {MODULE}),
    "an evaluated annotation, too": ("def f(a: int): pass", "def f(a: str): pass", {MODULE}),
    "a base class, too": ("class A(B): pass", "class A(C): pass", {MODULE}),
    "a class's annotation, which dataclasses read": (
        FUTURE + "class A:\n  x: int = 1", FUTURE + "class A:\n  x: str = 1", {"A"}),
    "an argument, which who calls it in vain notices": (
        "def f(a): pass", "def f(a, b): pass", {"f", MODULE}),
    "an argument of an inner function": (
        "def f():\n  def g(a): pass", "def f():\n  def g(b): pass", {"f", "f.<locals>.g"}),
    "a default that becomes a keyword's": (
        "def f(a=1): pass", "def f(*, a=1): pass", {"f", MODULE}),
    "a generator, which runs when it is asked, to a function, which runs at once": (
        "def f(): yield 1", "def f(): return 1", {"f", MODULE}),
    "a generator that stays one": ("def f(): yield 1", "def f(): yield 2", {"f"}),
    "one of two of a name": (
        "def f(): return 1\ndef f(): return 2", "def f(): return 3\ndef f(): return 2", {"f"}),
    "a docstring that is read": ("'a'\nprint(__doc__)", "'b'\nprint(__doc__)", {MODULE}),
    "the order of definitions": (
        "def f(): pass\ndef g(): pass", "def g(): pass\ndef f(): pass", {MODULE}),
    "a variable that an inner function begins to share": (
        "def f():\n  x = 1\n  def g(): pass\n  return x, g",
        "def f():\n  x = 1\n  def g(): return x\n  return x, g",
        {"f", "f.<locals>.g"}),
    "True for 1": ("x = 1", "x = True", {MODULE}),
    "a function to a coroutine": ("def f(): pass", "async def f(): pass", {MODULE}),
    "code that is never reached": ("def f():\n  return 1\n  x = 1", "def f(): return 1", {"f"}),
    "a text with values": ("def f(): return f'{x}a'", "def f(): return f'{x}b'", {"f"}),
    "a conditional import": (
        "try:\n  import a\nexcept ImportError: pass",
        "try:\n  import b\nexcept ImportError: pass", {MODULE}),
    "what only type checkers read, if nobody else says so": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: import b", {MODULE}),
    "an overload": (
        "@overload\ndef f(a: int): ...\ndef f(a): pass",
        "@overload\ndef f(a: str): ...\ndef f(a): pass", {MODULE}),
    # What looks like a function that did not run, and is not:
    "an unknown decorator may compile it": (
        "@numba.njit\ndef f(): return 1", "@numba.njit\ndef f(): return 2", {"f", MODULE}),
    "a known one leaves it alone": (
        "@torch.no_grad()\ndef f(): return 1", "@torch.no_grad()\ndef f(): return 2", {"f"}),
    "a decorated class may compile its methods": (
        "@jit\n" + CLASS.format("", 1), "@jit\n" + CLASS.format("", 2), {"A", "A.g", MODULE}),
    "a metaclass, too": (
        CLASS.format("(metaclass=M)", 1), CLASS.format("(metaclass=M)", 2), {"A", "A.g", MODULE}),
    "a base class may look at annotations": (
        FUTURE + "class A(B):\n  def f(self, x: int): pass",
        FUTURE + "class A(B):\n  def f(self, x: str): pass", {"A"}),
    "a decorator may look at annotations": (
        FUTURE + "@wraps(g)\ndef f(a: int): pass", FUTURE + "@wraps(g)\ndef f(a: str): pass",
        {MODULE}),
    "a function bound elsewhere": (
        "def g():\n  global f\n  def f(): return 1",
        "def g():\n  global f\n  def f(): return 2",
        {"g", "g.<locals>.f"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_what_differs_is_named(name: str) -> None:
    old, new, changed = CHANGED[name]
    found = compare(old, new)
    assert (found.known, found.same, found.changed) == (True, False, changed)


ADDED = {
    "a new function": ("x = 1", "x = 1\ndef f(a=1, b=None): pass", {"f"}),
    "one with inner ones": ("", "def f():\n  def g(): pass", {"f", "f.<locals>.g"}),
    "one whose text annotations run nothing": (FUTURE, FUTURE + "def f(a: X): pass", {"f"}),
    "annotations that run": ("", "def f(a: X.y): pass", {"f", MODULE}),
    "a default that runs": ("", "def f(a=X): pass", {"f", MODULE}),
    "a decorated one": ("", "@property\ndef f(): pass", {"f", MODULE}),
    "one that hides a builtin": ("", "def len(x): pass", {"len", MODULE}),
    "one that the module asks for": ("", "def __getattr__(n): pass", {"__getattr__", MODULE}),
    "one that hides an import": ("import f", "import f\ndef f(): pass", {"f", MODULE}),
    "one that somebody may have asked for": (
        "print(hasattr(m, 'f'))", "print(hasattr(m, 'f'))\ndef f(): pass", {"f", MODULE}),
    "one beside a star": ("from x import *", "from x import *\ndef f(): pass", {"f", MODULE}),
    "one that a walk finds": ("print(vars())", "print(vars())\ndef f(): pass", {"f", MODULE}),
    "a method may override another": (
        "class A(B): pass", "class A(B):\n  def f(self): pass", {"A", "A.f"}),
    "a second one of a name": ("def f(): pass", "def f(): pass\ndef f(): pass", {"f", MODULE}),
    "one under a condition": ("if x: y()", "if x:\n  y()\n  def f(): pass", {"f", MODULE}),
    "a class runs its body": ("", "class A: pass", {"A", MODULE}),
    "a removed function may be missed": ("def f(): pass", "", {"f", MODULE}),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_a_function_is_added_alone_only_where_nothing_could_notice(name: str) -> None:
    old, new, changed = ADDED[name]
    assert compare(old, new).changed == changed


def test_a_changed_class_names_what_runs_its_body() -> None:
    found = compare("class A:\n  class B: x = 1", "class A:\n  class B: x = 2")
    assert (found.changed, dict(found.bodies)) == ({"A.B"}, {"A.B": MODULE})
    found = compare("def f():\n  class B: x = 1", "def f():\n  class B: x = 2")
    assert dict(found.bodies) == {"f.<locals>.B": "f"}


UNKNOWN = {
    "broken before": (b"def f(:", b"x = 1"),
    "broken after": (b"x = 1", b"def f(:"),
    "refused only by the compiler": (b"def f(): pass", b"def f():\n  nonlocal x"),
    "no text": (b"x = 1", b"\x7fELF\x00\xff"),
    "an unknown encoding": (b"x = 1", b"# coding: nonsense\nx = 1"),
    "too deep": (b"x = 1", b"x = " + b"(" * 5000 + b")" * 5000),
    "too large": (b"x = 1", b"#" * (LARGEST_BYTES + 1)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_taken_apart_is_not_known(name: str) -> None:
    assert compare_code(*UNKNOWN[name], "a.py") == CodeDifference(known=False, same=False)


def test_syntax_that_the_oldest_interpreter_does_not_load_is_not_known() -> None:
    new = "def f():\n  match x:\n    case 1: pass"
    assert compare("def f(): pass", new).known
    assert not compare("def f(): pass", new, (3, 8)).known


NEWER = {
    "x[*y]": (3, 11),
    "def f(*x: *y): pass": (3, 11),
    "async def f(): return [[x async for x in y] for z in w]": (3, 11),
    "x[y := 1]": (3, 10),
    "x = {y := 1}": (3, 9),
    "for x in *y, *z: pass": (3, 9),
    "@x[0].y\ndef f(): pass": (3, 9),
    "try: pass\nexcept* x: pass": (3, 11),
}


@pytest.mark.parametrize("code", NEWER)
def test_what_the_parser_lets_pass_for_older_interpreters_is_not_known(code: str) -> None:
    first = NEWER[code]
    assert compare("x = 0", code, first if first > (3, 10) else (3, 11)).known
    assert not compare("x = 0", code, (first[0], first[1] - 1)).known
    assert compare("x[y, 1]", "@a.b(1)\ndef f(): return [x for x in y for z in y]", (3, 8)).known


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older ones refuse it themselves")
def test_quotes_within_quotes_are_not_known_for_older_interpreters() -> None:
    assert not compare("def f(): pass", "def f(): return f'{a['b']}'", (3, 11)).known


def test_warnings_of_their_code_reach_nobody() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        compare("x = 1", r"x = '\d' is 1")
    assert seen == []
