"""A YAML file as hostile input: nodes with their places, problems collected, values read strictly.

No aliases, no tags, bounds on size and depth. Every problem of a file is reported at once, each
with line and column and, for a mistyped key, the likely word. Knows no key of ours.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from ailab_bot.errors import UserError

#: Configuration is written by hand; anything larger is a mistake or an attack.
LARGEST_FILE_BYTES = 256 * 1024
DEEPEST_NESTING = 20
#: Problems shown for one file; more would only repeat the cause of the first.
MOST_PROBLEMS = 10

_HALF = re.compile("[\ud800-\udfff]")

Reader = Callable[[yaml.Node], object]


@dataclass
class YamlFile:
    """One YAML file while it is read: its nodes with their places, and the problems so far."""

    path: Path
    most_bytes: int = LARGEST_FILE_BYTES
    reference: str = "docs/scenarios.md"
    problems: list[tuple[int, int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    root: yaml.Node = field(init=False)

    def __post_init__(self) -> None:
        text = self._read()
        self.lines = text.splitlines()
        try:
            loader = yaml.SafeLoader(text)
            depth = 0
            while loader.check_event():
                event = loader.get_event()  # type: ignore[no-untyped-call]
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                self._refuse_event(event, depth)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line, mark.column) if mark else (0, 0)
            self.problems.append((line, column, error.problem or str(error)))
            self.raise_problems()
            raise AssertionError("unreachable") from error
        except yaml.YAMLError as error:
            self.problems.append((0, 0, str(error).replace("\n", " ")))
            self.raise_problems()
            raise AssertionError("unreachable") from error
        except (ValueError, OverflowError) as error:  # an escape such as "\\UFFFFFFFF"
            mark = loader.get_mark()
            self.problems.append((mark.line, mark.column, str(error)))
            self.raise_problems()
            raise AssertionError("unreachable") from error
        if not isinstance(node, yaml.MappingNode):
            found = "nothing" if node is None else kind(node)
            self.problems.append((0, 0, f"expected `key: value` lines, found {found}"))
            self.raise_problems()
        assert node is not None
        self.root = node

    def _read(self) -> str:
        try:
            data = self.path.read_bytes()
            if len(data) > self.most_bytes:
                raise ValueError(f"it is larger than {self.most_bytes // 1024} KiB")
            return data.decode("utf-8")
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read {self.path}",
                why=str(error),
                advice="It must be a YAML file in UTF-8; check the path and the file.",
            ) from error

    def _refuse_event(self, event: yaml.Event, depth: int) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problem = "aliases and anchors are not allowed"
        elif getattr(event, "tag", None) or getattr(event, "tags", None):
            problem = "tags are not allowed"
        elif isinstance(event, yaml.ScalarEvent) and _HALF.search(event.value):
            problem = "half a character (a lone surrogate) is no text"
        elif depth > DEEPEST_NESTING:
            problem = "nested too deeply"
        else:
            return
        self.problems.append((mark.line, mark.column, problem) if mark else (0, 0, problem))
        self.raise_problems()

    def complain(self, node: yaml.Node, text: str) -> None:
        self.problems.append((node.start_mark.line, node.start_mark.column, text))

    def raise_problems(self) -> None:
        if not self.problems:
            return
        shown = [
            f"{self.path}:{line + 1}:{column + 1}: {text}"
            for line, column, text in sorted(self.problems)[:MOST_PROBLEMS]
        ]
        line, column, _ = min(self.problems)
        if line < len(self.lines):
            source = self.lines[line].replace("\t", " ")[:200]
            shown.insert(1, f"    {source}\n    {' ' * min(column, 200)}^")
        raise UserError(
            f"{self.path.name} is malformed"
            if self.path.name != "scenario.yml"
            else f"{self.path.parent.name}/scenario.yml is malformed",
            why="\n".join(shown),
            advice=f"Mend it as the lines say; {self.reference} lists the keys.",
        )

    # --- readers: a node in, a value out; a problem is noted and None returned ------------------

    def mapping(
        self, readers: Mapping[str, Reader], required: Iterable[str] = ()
    ) -> dict[str, object]:
        """The values of the top level by key; keys that are absent stay absent."""
        values = self.pairs(self.root, readers)
        for key in required:
            if key not in values:
                self.complain(self.root, f"`{key}` is missing")
        return values

    def pairs(self, mapping: yaml.Node, readers: Mapping[str, Reader]) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, node in mapping.value:
            key = str(key_node.value)
            if key not in readers:
                self.complain(key_node, f"unknown key `{key:.60}`{did_you_mean(key, readers)}")
            elif key in values:
                self.complain(key_node, f"`{key}` stands there twice")
            else:
                values[key] = readers[key](node)
        return values

    def text(self, node: yaml.Node) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            return str(node.value)
        self.complain(node, f"expected a text, found {kind(node)}; quote it")
        return None

    def word(self, node: yaml.Node) -> str | None:
        """A text or a number as it is written; YAML's true, on, ~ and dates need quotes."""
        plain_number = isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float"))
        return str(node.value) if plain_number else self.text(node)

    def number(self, above: float, most: float, *, or_equal: bool = False) -> Reader:
        def read(node: yaml.Node) -> float | None:
            try:
                value = float(node.value) if isinstance(node, yaml.ScalarNode) else None
            except ValueError:
                value = None
            in_range = value is not None and (above < value or (or_equal and value == above))
            if value is None or not in_range or value == float("inf") or value > most:
                least = "of at least" if or_equal else "above"
                limit = f" and at most {most:g}" if most < float("inf") else ""
                self.complain(node, f"expected a number {least} {above:g}{limit}, {found(node)}")
                return None
            return value

        return read

    def whole(self, least: int, most: int) -> Reader:
        def read(node: yaml.Node) -> int | None:
            text = node.value if isinstance(node, yaml.ScalarNode) else ""
            short = text.isascii() and text.isdecimal() and len(text) <= 18
            if not (short and least <= int(text) <= most):
                limits = f"a whole number from {least} to {most}"
                self.complain(node, f"expected {limits}, {found(node)}")
                return None
            return int(text)

        return read

    def flag(self, node: yaml.Node) -> bool | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:bool":
            return str(node.value).lower() in {"true", "yes", "on"}
        self.complain(node, f"expected true or false, {found(node)}")
        return None

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node] | None:
        if isinstance(node, yaml.SequenceNode) and node.value:
            return list(node.value)
        self.complain(node, f"expected {what}, {found(node)}")
        return None

    def words(self, known: Iterable[str]) -> Reader:
        def read(node: yaml.Node) -> tuple[str, ...] | None:
            found: list[str] = []
            for item in self.sequence(node, "a list such as [" + ", ".join(known) + "]") or ():
                word = self.text(item)
                if word is not None and word not in known:
                    listed = ", ".join(known)
                    hint = did_you_mean(word, known) or f"; known: {listed}"
                    self.complain(item, f"unknown `{word:.60}`{hint}")
                elif word in found:
                    self.complain(item, f"`{word}` stands there twice")
                elif word is not None:
                    found.append(word)
            return tuple(found)

        return read

    def ids(self, node: yaml.Node) -> tuple[str, ...]:
        """Names of scenarios, or of whatever else has one."""
        if isinstance(node, yaml.SequenceNode) and not node.value:
            return ()
        items = self.sequence(node, "a list of scenarios") or ()
        return tuple(word for word in map(self.word, items) if word is not None)

    def one_of(self, kind: type[StrEnum]) -> Reader:
        def read(node: yaml.Node) -> StrEnum | None:
            word = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
            try:
                return kind(word)  # a plain `off` is false to YAML and means the same here
            except ValueError:
                listed = ", ".join(kind)
                hint = did_you_mean(word, kind)
                self.complain(node, f"expected one of {listed}, {found(node)}{hint}")
                return None

        return read

    def anything(self, node: yaml.Node) -> object:
        """Any value; its mappings have texts as keys, each once."""
        if isinstance(node, yaml.SequenceNode):
            return [self.anything(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            values: dict[str, object] = {}
            for key_node, value_node in node.value:
                key = self.word(key_node)
                if key is not None and key in values:
                    self.complain(key_node, f"`{key:.60}` stands there twice")
                elif key is not None:
                    values[key] = self.anything(value_node)
            return values
        try:
            value = yaml.SafeLoader("").construct_object(node)  # no tag got this far
        except (ValueError, OverflowError, yaml.YAMLError):  # a date of month 99, 5,000 digits
            value = math.nan
        if isinstance(value, float) and not math.isfinite(value):
            self.complain(node, f"not a value: `{node.value:.40}`; quote it")
            return None
        return value


def kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list" if node.value else "an empty list"
    kinds = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing"}
    kinds |= {"merge": "a merge of mappings", "value": "a default value", "timestamp": "a date"}
    return kinds.get(node.tag.rpartition(":")[2], "a text")


def found(node: yaml.Node) -> str:
    shown = f" `{node.value:.40}`" if isinstance(node, yaml.ScalarNode) and node.value else ""
    return f"found {kind(node)}{shown}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
