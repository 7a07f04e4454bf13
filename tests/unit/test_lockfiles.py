"""Which distributions a changed dependency file moves, and when nobody can tell."""

from __future__ import annotations

import pytest

from ailab_bot.plan.lockfiles import (
    import_names,
    is_build_file,
    is_dependency_file,
    is_hashed,
    moved,
    rebuilds,
)

POETRY = (
    '[[package]]\nname = "Torch"\nversion = "{}"\n\n[[package]]\nname = "numpy"\nversion = "1"\n'
)
UV = (
    '[[package]]\nname = "own"\nsource = {{ virtual = "." }}\ndependencies = [{{ name = "{0}" }}]\n'
    '[[package]]\nname = "{0}"\nversion = "1"\n'
)
PIPFILE = '{{"_meta": {{"sources": ["{0}"]}}, "default": {{"a.b": {{"version": "=={1}"}}}}}}'
PROJECT = '[project]\nname = "p"\nversion = "1"\ndependencies = ["torch{}", "numpy"]\n'
CFG = "[metadata]\nname = p\n[options]\ninstall_requires =\n    torch{}\n    numpy\n"

MOVED = {
    "a pin": ("requirements.txt", "a==1\nb==1", "a==2\nb==1", {"a"}),
    "names are normalised": ("requirements-dev.txt", "A_b.C==1", "a-b-c==2", {"a-b-c"}),
    "comments move nothing": ("requirements.txt", "a==1", "# why\na==1  # because\n\n", set()),
    "order moves nothing": ("requirements/base.txt", "a\nb", "b\na", set()),
    "added and removed": ("constraints.txt", "a==1", "b==1", {"a", "b"}),
    "a marker": ("requirements.txt", "a; python_version<'3'", "a", {"a"}),
    "extras": ("requirements.txt", "a[x]==1", "a==1", {"a"}),
    "continued lines": ("requirements.txt", "a==1 \\\n --hash=x", "a==1 \\\n --hash=y", {"a"}),
    "a named URL": ("requirements.txt", "a @ https://h/1", "a @ https://h/2", {"a"}),
    "an option that stays": ("requirements.txt", "-r b.txt\na==1", "-r b.txt\na==2", {"a"}),
    "an option that changes": ("requirements.txt", "-r b.txt\na==1", "-r c.txt\na==1", None),
    "a URL": ("requirements.txt", "https://h/a.whl", "https://h/b.whl", None),
    "a new file": ("requirements.txt", "", "a==1", {"a"}),
    "poetry": ("poetry.lock", POETRY.format(1), POETRY.format(2), {"torch"}),
    "pdm": ("sub/pdm.lock", POETRY.format(1), POETRY.format(2), {"torch"}),
    "uv, without the project itself": ("uv.lock", UV.format("a"), UV.format("b"), {"a", "b"}),
    "pylock": ("pylock.dev.toml", '[[packages]]\nname="a"', '[[packages]]\nname="b"', {"a", "b"}),
    "pipfile": ("Pipfile.lock", PIPFILE.format("i", 1), PIPFILE.format("i", 2), {"a-b"}),
    "another index": ("Pipfile.lock", PIPFILE.format("i", 1), PIPFILE.format("j", 1), None),
    "project": ("pyproject.toml", PROJECT.format(">1"), PROJECT.format(">2"), {"torch"}),
    "linters": ("pyproject.toml", PROJECT, PROJECT + "[tool.ruff]\nline-length = 1\n", set()),
    "groups": ("pyproject.toml", "", '[dependency-groups]\ndev = ["a"]\n', {"a"}),
    "extra": ("pyproject.toml", "", '[project.optional-dependencies]\ndev = ["a"]\n', {"a"}),
    "poetry's": ("pyproject.toml", "", '[tool.poetry.dependencies]\nA = {version = "1"}', {"a"}),
    "poetry's python": ("pyproject.toml", "", '[tool.poetry.dependencies]\npython = "^3"', None),
    "setup.cfg": ("setup.cfg", CFG.format(""), CFG.format(">1"), {"torch"}),
    "setup.cfg's linters": ("setup.cfg", CFG, CFG + "[flake8]\nmax-line-length = 1\n", set()),
    "broken TOML": ("uv.lock", "[[package", POETRY, None),
    "broken JSON": ("Pipfile.lock", "{", "{}", None),
    "another shape": ("uv.lock", "package = 1", POETRY, None),
    "a list for a table": ("Pipfile.lock", "[]", "{}", None),
    "conda": ("environment.yml", "a", "b", None),
    "not a dependency file": ("notes.txt", "a", "b", None),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_what_moves_is_named(name: str) -> None:
    path, old, new, names = MOVED[name]
    assert moved(old.encode(), new.encode(), path) == names


def test_bytes_that_are_not_there_or_not_text_cannot_be_told() -> None:
    assert moved(None, b"a", "requirements.txt") is None
    assert moved(b"a", b"\xff", "requirements.txt") is None
    assert moved(b"a", b"[" * 100_000, "Pipfile.lock") is None


def test_a_distribution_twice_in_a_lock_moves_with_any_of_its_entries() -> None:
    one = '[[package]]\nname="a"\nversion="1"\n'
    two = one + '[[package]]\nname="a"\nversion="2"\n'
    assert moved(one.encode(), two.encode(), "uv.lock") == {"a"}


REBUILDS = {
    "the build system": ("", '[build-system]\nrequires = ["b"]', True),
    "an entry point": ("", '[project.scripts]\na = "b:c"', True),
    "its interpreter": ("", '[project]\nrequires-python = ">3"', True),
    "a build tool": ("", "[tool.setuptools]\npackages = []", True),
    "sources of uv": ("", '[tool.uv.sources]\na = {path = "b"}', True),
    "a dependency": ("", '[project]\ndependencies = ["a"]', False),
    "a linter": ("", "[tool.ruff]\nline-length = 1", False),
    "poetry's dependencies": ("", '[tool.poetry.dependencies]\na = "1"', False),
    "a description": ("", '[project]\ndescription = "a"', False),
    "what is broken": ("", "[", True),
}  # fmt: skip


@pytest.mark.parametrize("name", REBUILDS)
def test_what_builds_the_project_is_told_from_the_rest(name: str) -> None:
    old, new, result = REBUILDS[name]
    assert rebuilds(old.encode(), new.encode(), "pyproject.toml") is result


def test_setup_cfg_rebuilds_with_its_options_and_not_with_linters_or_requirements() -> None:
    old = CFG.format("").encode()
    assert not rebuilds(old, CFG.format(">1").encode() + b"[flake8]\na = 1\n", "setup.cfg")
    assert rebuilds(old, old + b"packages = find:\n", "setup.cfg")


@pytest.mark.parametrize(
    "path",
    ["Dockerfile", "docker/Dockerfile.gpu", "setup.py", ".python-version", "a/.gitattributes",
     "csrc/kernel.cu", "CMakeLists.txt", "fast.pyx", "wheels/a-1-py3-none-any.whl", ".lfsconfig",
     "hatch_build.py"],
)  # fmt: skip
def test_files_that_build_are_known(path: str) -> None:
    assert is_build_file(path)


@pytest.mark.parametrize(
    "path", ["a.py", "README.md", "my_setup.py", "data/a.csv", "Dockerfiles/x"]
)
def test_other_files_build_nothing(path: str) -> None:
    assert not is_build_file(path)
    assert not is_dependency_file(path)


@pytest.mark.parametrize(
    "path",
    ["requirements/gpu/base.txt", "requirements.lock", "reqs.txt", "deps-dev.in", "a/dev-deps.txt",
     "test_requirements.pip", "environment-gpu.yml", "conda-linux-64.lock", "uv.lock"],
)  # fmt: skip
def test_dependency_files_are_known_by_many_names(path: str) -> None:
    assert is_dependency_file(path)


@pytest.mark.parametrize("path", ["data/words.txt", "deps/zlib/README.txt", "a.lock", "docs/e.yml"])
def test_other_texts_list_no_dependencies(path: str) -> None:
    assert not is_dependency_file(path)


def test_modules_are_guessed_from_a_distributions_name() -> None:
    for name, module in (
        ("torch", "torch"), ("flash-attn", "flash_attn"), ("faiss-gpu", "faiss"),
        ("opencv-python-headless", "cv2"), ("pillow", "pil"), ("python-dateutil", "dateutil"),
    ):  # fmt: skip
        assert module in import_names(name)


def test_only_a_requirements_file_with_all_hashes_says_everything() -> None:
    assert is_hashed(b"# c\na==1 \\\n    --hash=sha256:1\nb==1 --hash=sha256:2\n")
    assert not is_hashed(b"a==1 --hash=sha256:1\nb==1\n")
    assert not is_hashed(b"")
