"""requirements/action.txt: everything the bot imports, by exact version and hash, and no torch."""

from __future__ import annotations

import re
import tomllib

import pytest
import shipped
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCK = shipped.ROOT / "requirements" / "action.txt"
PYPROJECT = tomllib.loads((shipped.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def entries(text: str) -> dict[str, tuple[Requirement, list[str]]]:
    """By canonical name: the requirement, and its hashes. ValueError for a name that is twice."""
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for logical in text.replace("\\\n", " ").splitlines():
        if logical.startswith("#") or not logical.strip():
            continue
        said, *hashes = logical.split(" --hash=")
        requirement = Requirement(said.strip())
        name = canonicalize_name(requirement.name)
        if name in found:
            raise ValueError(f"{name} is locked twice")
        found[name] = (requirement, [text.strip() for text in hashes])
    return found


LOCKED = entries(LOCK.read_text(encoding="utf-8"))


def locked_version(name: str) -> Version:
    requirement, _ = LOCKED[canonicalize_name(name)]
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


@pytest.mark.parametrize("wanted", PYPROJECT["project"]["dependencies"])
def test_every_dependency_is_locked_in_a_version_that_pyproject_allows(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(locked_version(requirement.name))
    assert LOCKED[canonicalize_name(requirement.name)][0].marker is None


def test_every_locked_package_has_hashes_and_one_version() -> None:
    assert len(LOCKED) > len(PYPROJECT["project"]["dependencies"])
    for name, (_, hashes) in LOCKED.items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes), name
        assert locked_version(name)


def test_nothing_heavy_and_no_address_is_locked() -> None:
    assert not {"torch", "transformers", "lightning", "pandas"} & set(LOCKED)
    assert not any(name.startswith("nvidia") for name in LOCKED)
    assert "://" not in LOCK.read_text(encoding="utf-8")


def test_the_lock_agrees_with_what_the_tests_run_with() -> None:
    pinned = (shipped.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    both = 0
    for line in pinned:
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            if canonicalize_name(name) in LOCKED:
                both += 1
                assert locked_version(name) == Version(version), name
    assert both >= len(PYPROJECT["project"]["dependencies"])
