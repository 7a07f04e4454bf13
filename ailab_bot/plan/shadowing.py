"""Whose imports may find a new file in the place of another module, from the path alone.

Refuses to follow import to its end: a doubt, such as a folder that may be part of a namespace
package, counts as hidden.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from ailab_bot.plan.index import Bits, FootprintIndex

#: What the import system takes for a module.
_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
_CACHE = re.compile(r"(.*/)?__pycache__/([^/]+?)\.[^/]*\.pyc", re.DOTALL)
#: Modules that every start of Python looks for.
_CUSTOM = frozenset({"sitecustomize", "usercustomize"})


@dataclass(frozen=True)
class Folders:
    """All folders of base and of head, so that one that appears or vanishes is known as such.

    Without them every folder above a new file may be new.
    """

    base: frozenset[str]
    head: frozenset[str]


class Imports:
    """Of all scenarios of an index."""

    def __init__(self, index: FootprintIndex, folders: Folders | None) -> None:
        self.index = index
        self.folders = folders
        self.everyone: Bits = (1 << len(index.scenarios)) - 1
        self._imported_below: dict[str, Bits] | None = None

    def hidden_by(self, path: str, *, is_link: bool = False) -> Bits:
        """Whose imports may find this new file, or what is below this link, in the place of
        another module."""
        index, who = self.index, 0
        parts = path.split("/")
        for depth in range(len(parts)):
            search = index.search.get("/".join(parts[:depth]), 0)
            if not search:
                continue
            if depth == len(parts) - 1 and stem(parts[-1]) in _CUSTOM:
                who |= search
            dotted = ""
            for at in range(depth, len(parts)):
                is_file = at == len(parts) - 1 and (_is_module(parts[at]) or not is_link)
                if is_file and not _is_module(parts[at]):
                    break
                if is_file and parts[at].split(".")[0] == "__init__":
                    who |= search & index.modules.get(dotted, 0)
                    break
                dotted = f"{dotted}.{stem(parts[at])}".lstrip(".")
                named = search & index.modules.get(dotted, 0)
                if not is_file:
                    # A package that it imported from here was here before.
                    named &= ~self._below("/".join(parts[: at + 1]))
                    if not is_link:
                        named &= self._may_be_new("/".join(parts[: at + 1]), parts[-1])
                who |= named
        return who

    def _may_be_new(self, folder: str, name: str) -> Bits:
        """Everyone, unless the folder was there and this file makes no module of it."""
        known = self.folders is not None and folder in self.folders.base
        return 0 if known and not _is_module(name) else self.everyone

    def _below(self, folder: str) -> Bits:
        if self._imported_below is None:
            below: defaultdict[str, Bits] = defaultdict(int)
            # Also a module that was opened, too, was there.
            for table in (self.index.imported, self.index.opened):
                for path, who in table.items():
                    if _is_module(path):
                        for above in folders_above(path):
                            below[above] |= who
            self._imported_below = below
        return self._imported_below.get(folder, 0)


def folders_above(path: str) -> list[str]:
    """Nearest first, the root ("") last; empty for the root itself."""
    found = []
    while path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


def _is_module(name: str) -> bool:
    return name.endswith(_MODULE_SUFFIXES)


def source_of(path: str) -> str:
    """Of `src/__pycache__/a.cpython-311.pyc` `src/a.py`, else nothing: import may take the byte
    code without a look at its source."""
    match = _CACHE.fullmatch(path) if "__pycache__/" in path else None
    return f"{match[1] or ''}{match[2]}.py" if match else ""


def stem(path: str) -> str:
    """Of `src/foo.cpython-311.so` `src/foo`: what an import asks for."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.split(".")[0] if _is_module(name) else name)
