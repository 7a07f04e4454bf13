"""`.ailab/config.yml` and scenario files -> frozen types. With `policyfile` the door to YAML.

Files are read as hostile input: no aliases, no tags, bounds on size and depth. Every problem of a
file is reported at once, each with line and column and, for a mistyped key, the likely word.
docs/scenarios.md is the reference of the keys.
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
from ailab_bot.model.calibration import FALSE_POSITIVES_PER_WEEK, VERDICTS_PER_WEEK
from ailab_bot.model.github import MOST_SHARDS, GitHub, Pool, Profile, Queue
from ailab_bot.model.noise import Noise, Pin, parse_cores
from ailab_bot.model.report import GateMode
from ailab_bot.model.scenario import METRICS, FirstBatch, FirstBatchMode, Scenario

#: Configuration is written by hand; anything larger is a mistake or an attack.
LARGEST_FILE_BYTES = 256 * 1024
DEEPEST_NESTING = 20
#: Problems shown for one file; more would only repeat the cause of the first.
MOST_PROBLEMS = 10
#: Steps after the first batch when `step_time_s` is measured and `steps` is not given.
DEFAULT_STEPS = 10

TIERS = ("pull_request", "release")
PLACEHOLDERS = ("checkout", "scenario_dir")

_ID = re.compile(r"[^\W_][\w.-]{0,63}")
_HALF = re.compile("[\ud800-\udfff]")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_EXAMPLE = """\
  # .ailab/scenarios/my-training/scenario.yml
  id: my-training
  command: [python, train.py]"""


@dataclass(frozen=True)
class Config:
    """`scenarios_dir` is absolute. None means: not set, the default holds."""

    scenarios_dir: Path
    capacity_s: float | None = None
    python: str | None = None
    gate: tuple[str, ...] = ("ttfb_s",)
    threshold: float | None = None
    max_blocks: int | None = None
    noise: Noise = field(default_factory=Noise)
    false_positives_per_week: float = FALSE_POSITIVES_PER_WEEK
    verdicts_per_week: float = VERDICTS_PER_WEEK
    gate_anyway: tuple[str, ...] = ()
    github: GitHub = field(default_factory=GitHub)

    @property
    def folder(self) -> Path:
        """Where the configuration lies, and beside it the policy file and people's feedback."""
        return self.scenarios_dir.parent


def load_config(path: Path | None, root: Path) -> Config:
    """The configuration at `path`, else at `root`/.ailab/config.yml, else the defaults.

    Raises UserError when `path` is given and missing, and for anything wrong in the file.
    """
    if path is None:
        path = root / ".ailab" / "config.yml"
        if not path.exists():
            return Config(scenarios_dir=root / ".ailab" / "scenarios")
    file = YamlFile(path.absolute())
    values = file.mapping(
        {
            "capacity_s": file.number(0, float("inf")),
            "python": file.text,
            "gate": file.words(METRICS),
            "threshold": file.number(0, 1),
            "max_blocks": file.whole(10, 1000),
            "noise": file.noise,
            "false_positives_per_week": file.number(0, 1e6),
            "verdicts_per_week": file.number(0, 1e9),
            "gate_anyway": file.ids,
            "github": file.github,
        }
    )
    file.raise_problems()
    return Config(scenarios_dir=path.absolute().parent / "scenarios", **values)  # type: ignore[arg-type]


def load_scenarios(config: Config) -> tuple[Scenario, ...]:
    """All scenarios, sorted by id. UserError when there is none or any file is malformed."""
    folder = config.scenarios_dir
    paths = sorted([*folder.glob("*/scenario.yml"), *folder.glob("*.yml")])
    if not paths:
        raise UserError(
            "no scenario",
            why=f"There is no <id>/scenario.yml and no <id>.yml in {folder}.",
            advice=f"Write one, for instance:\n{_EXAMPLE}",
        )
    scenarios: dict[str, Scenario] = {}
    errors: list[UserError] = []
    for path in paths:
        try:
            scenario = load_scenario(path)
            if scenario.id in scenarios:
                raise UserError(
                    f"{path}: a second scenario `{scenario.id}`",
                    why=f"The first is {scenarios[scenario.id].directory}.",
                    advice="Give one of them another id.",
                )
            scenarios[scenario.id] = scenario
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserError(
            f"{len(errors)} scenario files are malformed",
            why="\n".join(f"{error.what}\n{error.why}" for error in errors[:MOST_PROBLEMS]),
            advice="Mend them as the lines say; docs/scenarios.md lists the keys.",
        )
    return tuple(scenarios[name] for name in sorted(scenarios))


def load_scenario(path: Path) -> Scenario:
    """One scenario file."""
    file = YamlFile(path)
    values = file.mapping(
        {
            "id": file.scenario_id(path),
            "description": file.text,
            "command": file.command,
            "env": file.variables,
            "setup": file.commands,
            "metrics": file.words(METRICS),
            "first_batch": file.first_batch,
            "runner": file.text,
            "tiers": file.words(TIERS),
            "timeout_s": file.number(0, 86_400),
            "steps": file.whole(1, 1000),
            "shrink": file.anything,
        },
        required=("id", "command"),
    )
    wants_steps = "step_time_s" in _tuple(values.get("metrics"))
    if "steps" in values and not wants_steps:
        file.complain(file.root, "`steps` has no effect unless `metrics` lists step_time_s")
    file.raise_problems()
    values.setdefault("steps", DEFAULT_STEPS if wants_steps else 0)
    return Scenario(directory=path.parent.absolute(), **values)  # type: ignore[arg-type]


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
            found = "nothing" if node is None else _kind(node)
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
                self.complain(key_node, f"unknown key `{key:.60}`{_did_you_mean(key, readers)}")
            elif key in values:
                self.complain(key_node, f"`{key}` stands there twice")
            else:
                values[key] = readers[key](node)
        return values

    def text(self, node: yaml.Node) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            return str(node.value)
        self.complain(node, f"expected a text, found {_kind(node)}; quote it")
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
                self.complain(node, f"expected a number {least} {above:g}{limit}, {_found(node)}")
                return None
            return value

        return read

    def whole(self, least: int, most: int) -> Reader:
        def read(node: yaml.Node) -> int | None:
            text = node.value if isinstance(node, yaml.ScalarNode) else ""
            short = text.isascii() and text.isdecimal() and len(text) <= 18
            if not (short and least <= int(text) <= most):
                limits = f"a whole number from {least} to {most}"
                self.complain(node, f"expected {limits}, {_found(node)}")
                return None
            return int(text)

        return read

    def flag(self, node: yaml.Node) -> bool | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:bool":
            return str(node.value).lower() in {"true", "yes", "on"}
        self.complain(node, f"expected true or false, {_found(node)}")
        return None

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node] | None:
        if isinstance(node, yaml.SequenceNode) and node.value:
            return list(node.value)
        self.complain(node, f"expected {what}, {_found(node)}")
        return None

    def words(self, known: Iterable[str]) -> Reader:
        def read(node: yaml.Node) -> tuple[str, ...] | None:
            found: list[str] = []
            for item in self.sequence(node, "a list such as [" + ", ".join(known) + "]") or ():
                word = self.text(item)
                if word is not None and word not in known:
                    listed = ", ".join(known)
                    hint = _did_you_mean(word, known) or f"; known: {listed}"
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

    def command(self, node: yaml.Node) -> tuple[str, ...] | None:
        words = []
        for item in self.sequence(node, "a list of words such as [python, train.py]") or ():
            word = self.word(item)
            if word is not None:
                self.check_placeholders(item, word)
                words.append(word)
        return tuple(words)

    def commands(self, node: yaml.Node) -> tuple[tuple[str, ...], ...]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            return ()
        what = "a list of commands such as [[python, -m, pip, install, -e, .]]"
        return tuple(self.command(item) or () for item in self.sequence(node, what) or ())

    def variables(self, node: yaml.Node) -> dict[str, str]:
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"expected `NAME: value` lines, {_found(node)}")
            return {}
        values: dict[str, str] = {}
        for key_node, value_node in node.value:
            name, value = str(key_node.value), self.word(value_node)
            if not name or "=" in name or "\0" in name + (value or ""):
                self.complain(key_node, "not a name of an environment variable")
            elif name in values:
                self.complain(key_node, f"`{name}` stands there twice")
            elif value is not None:
                self.check_placeholders(value_node, value)
                values[name] = value
        return values

    def first_batch(self, node: yaml.Node) -> FirstBatch:
        if isinstance(node, yaml.ScalarNode) and node.value in {"auto", "api"}:
            return FirstBatch(FirstBatchMode(node.value))
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        if len(pairs) != 1 or pairs[0][0].value != "marker":
            self.complain(node, f"expected auto, api or {{marker: REGEX}}, {_found(node)}")
            return FirstBatch()
        marker = self.text(pairs[0][1]) or ""
        try:
            re.compile(marker)
        except (re.error, RecursionError, OverflowError) as error:
            self.complain(pairs[0][1], f"not a regular expression: {error}")
        return FirstBatch(FirstBatchMode.MARKER, marker)

    def noise(self, node: yaml.Node) -> Noise:
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"expected a mapping such as {{pin: auto}}, {_found(node)}")
            return Noise()
        values = self.pairs(
            node,
            {
                "pin": self.pin,
                "threads": self.threads,
                "max_load": self.number(0, 1),
                "max_steal": self.number(0, 1),
                "wait_s": self.number(0, 3600, or_equal=True),
            },
        )
        return Noise(**values)  # type: ignore[arg-type]

    def github(self, node: yaml.Node) -> GitHub:
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"expected a mapping such as {{mode: advisory}}, {_found(node)}")
            return GitHub()
        values = self.pairs(
            node,
            {
                "mode": self.one_of(GateMode),
                "profile": self.one_of(Profile),
                "runners": self.runners,
                "merge_queue": self.one_of(Queue),
                "shard_minutes": self.whole(5, 360),
                "bot_id": self.whole(1, 10**9 - 1),
                "hosted": self.ids,
                "history": self.flag,
            },
        )
        return GitHub(**{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]

    def one_of(self, kind: type[StrEnum]) -> Reader:
        def read(node: yaml.Node) -> StrEnum | None:
            word = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
            try:
                return kind(word)  # a plain `off` is false to YAML and means the same here
            except ValueError:
                listed = ", ".join(kind)
                hint = _did_you_mean(word, kind)
                self.complain(node, f"expected one of {listed}, {_found(node)}{hint}")
                return None

        return read

    def runners(self, node: yaml.Node) -> dict[str, Pool] | None:
        if not isinstance(node, yaml.MappingNode) or not node.value:
            wanted = "a mapping such as {cpu: {labels: [ubuntu-latest], count: 4}}"
            self.complain(node, f"expected {wanted}, {_found(node)}")
            return None
        if len(node.value) > MOST_SHARDS:
            self.complain(node, f"at most {MOST_SHARDS} kinds of runners, each has its own shards")
            return None
        pools: dict[str, Pool] = {}
        for key, value in node.value:
            name = self.word(key)
            if name is None:
                continue
            if name in pools:
                self.complain(key, f"`{name:.60}` stands there twice")
            pools[name] = self.pool(value)
        return pools

    def pool(self, node: yaml.Node) -> Pool:
        if isinstance(node, yaml.SequenceNode):
            return Pool(self.labels(node))
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"expected labels such as [self-hosted, gpu], {_found(node)}")
            return Pool(())
        values = self.pairs(node, {"labels": self.labels, "count": self.whole(1, MOST_SHARDS)})
        if "labels" not in values:
            self.complain(node, "`labels` is missing")
        count = values.get("count")
        labels = values.get("labels")
        return Pool(
            labels if isinstance(labels, tuple) else (), count if isinstance(count, int) else 1
        )

    def labels(self, node: yaml.Node) -> tuple[str, ...]:
        found: list[str] = []
        for item in self.sequence(node, "labels such as [self-hosted, gpu]") or ():
            word = self.word(item)
            if word in found:
                self.complain(item, f"`{word:.60}` stands there twice")
            elif word:
                found.append(word)
        return tuple(found)

    def pin(self, node: yaml.Node) -> Pin:
        text = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        if text in {"auto", "off"}:  # a plain `off` is false to YAML and means the same here
            return "auto" if text == "auto" else "off"
        try:
            return parse_cores(text)
        except ValueError:
            self.complain(node, f'expected auto, off or cores such as "0-3,6", {_found(node)}')
            return "off"

    def threads(self, node: yaml.Node) -> int | None:
        nothing = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
        value = None if nothing else self.whole(1, 1024)(node)
        return value if isinstance(value, int) else None

    def scenario_id(self, path: Path) -> Reader:
        expected = path.parent.name if path.name == "scenario.yml" else path.stem

        def read(node: yaml.Node) -> str | None:
            name = self.word(node)
            if name is None:
                return None
            if not _ID.fullmatch(name):
                rule = "1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first"
                self.complain(node, f"not an id ({rule})")
            elif name != expected:
                self.complain(node, f"the id must be the file's name, `{expected}`")
            return name

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

    def check_placeholders(self, node: yaml.Node, word: str) -> None:
        for name in _PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                known = " and ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                hint = _did_you_mean(name, PLACEHOLDERS)
                self.complain(node, f"unknown placeholder `{{{name}}}`{hint}; known: {known}")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list" if node.value else "an empty list"
    kinds = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing"}
    kinds |= {"merge": "a merge of mappings", "value": "a default value", "timestamp": "a date"}
    return kinds.get(node.tag.rpartition(":")[2], "a text")


def _found(node: yaml.Node) -> str:
    shown = f" `{node.value:.40}`" if isinstance(node, yaml.ScalarNode) and node.value else ""
    return f"found {_kind(node)}{shown}"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()
