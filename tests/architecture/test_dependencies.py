"""The dependency rules of docs/design.md, read off the import statements."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ailab_bot"
PROBE = PACKAGE / "measure" / "probe"

#: Who may import whom, by first name below the package. Everyone may use errors and version.
ALLOWED = {
    "errors": set(),
    "version": set(),
    "model": {"model"},
    "yamlfile": set(),
    "config": {"model", "yamlfile"},
    "policyfile": {"model", "yamlfile"},
    "stats": {"stats", "model"},
    "plan": {"plan", "model", "stats", "config"},
    "judge": {"model", "stats", "config"},
    "measure": {"measure", "model", "config"},
    "report": {"report", "model"},
    "demo": {"demo", "model"},
    "gh": {"gh", "model", "config"},
    "ledger": {"ledger", "model"},
    "flows": {
        "flows", "model", "config", "policyfile", "stats", "plan", "judge", "measure", "report",
        "demo", "gh", "ledger",
    },
    "cli": {
        "flows", "model", "config", "policyfile", "stats", "plan", "judge", "measure", "report",
        "demo", "gh", "ledger", "arguments",
    },
    "arguments": set(),
    "__main__": {"cli"},
    "__init__": set(),
}  # fmt: skip

#: One door per library.
DOORS = {
    "numpy": {"stats", "plan"},
    "scipy": {"stats", "plan"},
    "ruptures": {"stats"},
    "jinja2": {"report"},
    "rich": {"report", "cli"},
    "yaml": {"config", "policyfile", "yamlfile"},
    "github": {"gh"},
    "httpx": {"gh"},
    "tenacity": {"gh"},
    "pyarrow": {"flows"},
    "sqlalchemy": {"ledger"},
    "psycopg": set(),
    "torch": set(),
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        is_data = inside.parts[0] == "demo" and len(inside.parts) > 2
        if not is_data and PROBE not in path.parents:
            yield inside.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize(
    ("name", "path"), list(modules()), ids=lambda value: getattr(value, "name", "")
)
def test_each_module_imports_only_what_lies_below_it(name: str, path: Path) -> None:
    for imported in imports(path):
        first, *rest = imported.split(".")
        if first == "ailab_bot" and rest:
            below = rest[0]
            allowed = ALLOWED[name] | {"errors", "version"}
            assert below in allowed, f"{path.name} imports {imported}"
        elif first in DOORS:
            assert name in DOORS[first], f"{path.name} imports {first}, whose door is elsewhere"


def test_the_rules_see_every_package() -> None:
    assert {name for name, _ in modules()} <= set(ALLOWED)
    assert len(list(modules())) > 15


@pytest.mark.parametrize("path", sorted(PROBE.glob("*.py")), ids=lambda path: path.name)
def test_the_probe_imports_the_standard_library_only(path: Path) -> None:
    own = {file.stem for file in PROBE.glob("*.py")}
    for imported in imports(path):
        assert imported.split(".")[0] in sys.stdlib_module_names | own


def test_the_package_itself_is_empty() -> None:
    assert (PACKAGE / "__init__.py").read_text() == ""
