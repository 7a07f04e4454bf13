"""Which distributions a change of a lock or requirements file moves, and what rebuilds everything.

Contents come from pull requests: they are parsed, never run. None means "cannot tell": another
format, a broken file, an option or index that may move anything. Refuses to guess what a resolver
would pick: what is merely declared and not locked is for the caller to distrust.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from fnmatch import translate
from pathlib import PurePosixPath

#: What each distribution is pinned or bound to, as text that is only compared.
Pins = dict[str, str]
#: Larger files are not read; the largest lock files have about 1 MB.
LARGEST_BYTES = 8 << 20


def _any_of(*patterns: str) -> re.Pattern[str]:
    """One expression: a change has thousands of names."""
    return re.compile("|".join(map(translate, patterns)))


#: With `.txt` for whatever ending they have. A file of another name is not known to be pip's.
_REQUIREMENTS = _any_of(
    "*requirement*.txt", "*constraint*.txt", "*reqs.txt", "reqs*.txt", "req.txt", "*deps.txt",
    "deps*.txt", "*dependencies*.txt",
)  # fmt: skip
_REQUIREMENTS_SUFFIXES = frozenset({".txt", ".in", ".pip", ".lock"})
_REQUIREMENTS_FOLDERS = frozenset({"requirements", "constraints"})
_LOCKS = frozenset({"poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock"})
_DECLARATIONS = frozenset({"pyproject.toml", "setup.cfg"})
#: Of these nobody can say what they move.
_OTHERS = _any_of(
    "Pipfile", "environment*.yml", "environment*.yaml", "env.yml", "env.yaml", "conda*.yml",
    "conda*.yaml", "conda*.lock", "pixi.toml", "pixi.lock", "uv.toml", "pip.conf",
    "pylock.toml.asc",
)  # fmt: skip
#: What builds the interpreter, the image or the native code that scenarios load.
_BUILD = _any_of(
    "Dockerfile*", "*.Dockerfile", "*.dockerfile", "Containerfile*", "docker-compose*.y*ml",
    "compose*.y*ml", ".dockerignore", "setup.py", ".python-version", ".tool-versions",
    "runtime.txt", "apt.txt", "MANIFEST.in", ".gitattributes", "CMakeLists.txt", "*.cmake",
    "meson.build", "meson_options.txt", "Cargo.toml", "Cargo.lock", "*.whl", ".lfsconfig",
    "hatch_build.py", "pdm_build.py", "versioneer.py",
)  # fmt: skip
_NATIVE = frozenset(
    {
        ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".cu", ".cuh", ".inl", ".pyx",
        ".pxd", ".pxi", ".rs", ".f", ".f90",
    }
)  # fmt: skip
#: Tables of `[tool]` that build the project; others belong to linters and their like.
_BUILD_TOOLS = frozenset(
    {
        "setuptools", "setuptools_scm", "setuptools-scm", "hatch", "flit", "poetry", "pdm",
        "maturin", "scikit-build", "meson-python", "cibuildwheel", "uv", "pixi", "versioneer",
        "cython", "mypyc", "enscons",
    }
)  # fmt: skip
#: Stands before what is no distribution (an index, an included file); no name can begin so.
_OPTION = "\0"
#: Keys of `[project]` that the pins hold, or that are only shown.
_NO_BUILD = (
    "dependencies", "optional-dependencies", "description", "readme", "authors", "maintainers",
    "keywords", "classifiers", "urls", "license", "license-files",
)  # fmt: skip
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#.*$")


#: Libraries that others load: CUDA's, math kernels, runtimes of compilers.
_LOADED_UNNAMED = re.compile(
    r"nvidia-|cuda-|cupy|mkl|intel-|onednn|openblas|tbb|triton|pytorch-triton|libomp|rocm-|hip-"
    r"|amd-|ninja|.*-cu\d+$|.*-rocm"
)


#: Beginnings of names of distributions, and the modules that they bring under another name.
_IMPORTED_AS = (
    ("attrs", "attr"), ("beautifulsoup4", "bs4"), ("biopython", "bio"), ("dm-tree", "tree"),
    ("gitpython", "git"), ("grpcio", "grpc"), ("imbalanced-learn", "imblearn"),
    ("nvidia-ml-py", "pynvml"), ("opencv", "cv2"), ("pillow", "pil"), ("protobuf", "google"),
    ("py-cpuinfo", "cpuinfo"), ("pycryptodome", "crypto"), ("pyopenssl", "openssl"),
    ("pyturbojpeg", "turbojpeg"), ("pyyaml", "yaml"), ("pyzmq", "zmq"),
    ("scikit-build", "skbuild"), ("scikit-image", "skimage"), ("scikit-learn", "sklearn"),
    ("setuptools", "pkg_resources"),
)  # fmt: skip


class _CannotTellError(Exception):
    """The file holds something that may move anything."""


def is_lock(path: str) -> bool:
    """Whether it says all that is installed."""
    name = path.rpartition("/")[2]
    return name in _LOCKS or _is_pylock(name)


def is_native(name: str) -> bool:
    """Whether a distribution brings libraries that others load without importing it by name."""
    return bool(_LOADED_UNNAMED.match(name))


def import_names(name: str) -> set[str]:
    """Modules that a distribution may bring, in small letters: a guess, for who asked for one in
    vain before the distribution was there."""
    word = name.replace("-", "_")
    guesses = {word, word.removeprefix("python_"), word.split("_")[0]}
    known = (module for prefix, module in _IMPORTED_AS if name.startswith(prefix))
    return {*guesses, *known}


def is_hashed(data: bytes) -> bool:
    """Whether a requirements file says all that is installed: pip then takes nothing else."""
    lines = data.decode("utf-8", "replace").replace("\\\n", " ").splitlines()
    wanted = [line for each in lines if (line := each.strip()) and line[0] not in "#-"]
    return bool(wanted) and all("==" in each and "--hash=" in each for each in wanted)


def is_dependency_file(path: str) -> bool:
    """Whether `moved` has something to say about it, if only that it cannot tell."""
    name = path.rpartition("/")[2]
    named = name in _DECLARATIONS or bool(_OTHERS.match(name))
    return named or is_lock(path) or _is_requirements(path)


def is_build_file(path: str) -> bool:
    """Whether any change of it may change what every scenario runs in."""
    place = PurePosixPath(path)
    return place.suffix in _NATIVE or bool(_BUILD.match(place.name))


def moved(old: bytes | None, new: bytes | None, path: str) -> frozenset[str] | None:
    """Normalised names of distributions whose pin or bound differs; None: cannot tell."""
    reader = _reader(path)
    if reader is None or old is None or new is None or max(len(old), len(new)) > LARGEST_BYTES:
        return None
    try:
        before, after = (reader(each.decode("utf-8")) if each else {} for each in (old, new))
    except (_CannotTellError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
            ConfigError):  # fmt: skip
        return None
    names = before.keys() | after.keys()
    found = frozenset(name for name in names if before.get(name) != after.get(name))
    return None if any(name.startswith(_OPTION) for name in found) else found


def rebuilds(old: bytes, new: bytes, path: str) -> bool:
    """Whether something differs that builds the project: not a dependency, and no linter's table.

    For `pyproject.toml` and `setup.cfg`; also True where either cannot be read.
    """
    name = path.rpartition("/")[2]
    reader = {"pyproject.toml": _pyproject_build, "setup.cfg": _setup_cfg_build}.get(name)
    if reader is None:
        return False
    try:
        before, after = (reader(each.decode("utf-8")) for each in (old, new))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError):
        return True
    return before != after


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- formats -----------------------------------------------------------------------------------


def _reader(path: str) -> Callable[[str], Pins] | None:
    name = path.rpartition("/")[2]
    if name in {"poetry.lock", "uv.lock", "pdm.lock"}:
        return lambda text: _packages(text, "package")
    if _is_pylock(name):
        return lambda text: _packages(text, "packages")
    if name == "Pipfile.lock":
        return _pipfile_lock
    if name == "pyproject.toml":
        return _pyproject
    if name == "setup.cfg":
        return _setup_cfg
    return _requirements if _is_requirements(path) else None


def _is_pylock(name: str) -> bool:
    return name == "pylock.toml" or (name.startswith("pylock.") and name.endswith(".toml"))


def _is_requirements(path: str) -> bool:
    place = PurePosixPath(path)
    if place.suffix not in _REQUIREMENTS_SUFFIXES:
        return False
    inside = not _REQUIREMENTS_FOLDERS.isdisjoint(place.parts[:-1])
    return inside or bool(_REQUIREMENTS.match(f"{place.stem}.txt"))


def _requirements(text: str) -> Pins:
    """One requirement a line. Options (`-r`, `--index-url`, `-e`) may move anything."""
    pins: Pins = {}
    for each in text.replace("\\\n", " ").replace("\\\r\n", " ").splitlines():
        line = _COMMENT.sub("", each).strip()
        if not line:
            continue
        if line.startswith("-"):
            _add(pins, _OPTION + line, "")
        else:
            _add(pins, *_requirement(line))
    return pins


def _requirement(line: str) -> tuple[str, str]:
    match = _NAME.fullmatch(line)
    if not match or match[2].startswith((":", "/")):
        raise _CannotTellError(line)  # a URL or a folder: its name is not here
    return normalised(match[1]), match[2].strip()


def _add(pins: Pins, name: str, bound: str) -> None:
    pins[name] = f"{pins[name]}\n{bound}" if name in pins else bound


def _packages(text: str, key: str) -> Pins:
    """The lists of tables of TOML locks; a distribution may stand there several times."""
    pins: Pins = {}
    document = tomllib.loads(text)
    for each in document.get(key, []):
        local = {"editable", "virtual", "directory"} & {*_table(each.get("source"))}
        if not local:  # the project itself, whose files are looked at one by one
            _add(pins, normalised(each["name"]), _plain(each))
    return pins


def _pipfile_lock(text: str) -> Pins:
    pins: Pins = {}
    document = json.loads(text)
    for section, packages in document.items():
        if section != "_meta":
            for name, each in packages.items():
                _add(pins, normalised(name), _plain(each))
    _add(pins, _OPTION + "sources", _plain(document.get("_meta", {}).get("sources")))
    return pins


def _pyproject(text: str) -> Pins:
    document = tomllib.loads(text)
    project = document.get("project", {})
    groups = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    groups += document.get("dependency-groups", {}).values()
    pins: Pins = {}
    for group in groups:
        for each in group:
            if isinstance(each, str):
                _add(pins, *_requirement(each))
            else:
                _add(pins, _OPTION + "include", _plain(each))
    poetry = document.get("tool", {}).get("poetry", {})
    tables = [poetry.get("dependencies", {}), poetry.get("dev-dependencies", {})]
    tables += [each.get("dependencies", {}) for each in poetry.get("group", {}).values()]
    for table in tables:
        for name, bound in table.items():
            _add(pins, normalised(name) if name != "python" else _OPTION + name, _plain(bound))
    return pins


def _pyproject_build(text: str) -> object:
    """All that `_pyproject` does not read, without tables of tools that build nothing."""
    document = tomllib.loads(text)
    document.pop("dependency-groups", None)
    project = document.get("project", {})
    for key in _NO_BUILD:
        project.pop(key, None)
    tools = document.pop("tool", {})
    for key in ("dependencies", "dev-dependencies", "group"):
        tools.get("poetry", {}).pop(key, None)
    tables = {f"tool.{name}": each for name, each in tools.items() if name in _BUILD_TOOLS}
    return {name: each for name, each in {**document, **tables}.items() if each}


def _config(text: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    parser.read_string(text)
    return parser


_DEPENDENCY_SECTIONS = frozenset({"options.extras_require"})


def _setup_cfg(text: str) -> Pins:
    parser = _config(text)
    blocks: list[str] = []
    if parser.has_section("options"):
        blocks.append(parser["options"].get("install_requires", ""))
    if parser.has_section("options.extras_require"):
        blocks += parser["options.extras_require"].values()
    pins: Pins = {}
    for line in "\n".join(blocks).replace(";\n", "\n").splitlines():
        stripped = _COMMENT.sub("", line).strip()
        if stripped:
            _add(pins, *_requirement(stripped))
    return pins


def _setup_cfg_build(text: str) -> object:
    parser = _config(text)
    sections = {name: dict(parser[name]) for name in parser.sections()}
    sections.get("options", {}).pop("install_requires", None)
    build = ("metadata", "options", "build", "egg_info", "bdist", "files", "global")
    return {
        name: each
        for name, each in sections.items()
        if name.startswith(build) and name not in _DEPENDENCY_SECTIONS and each
    }


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
