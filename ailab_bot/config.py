"""`.ailab/config.yml` and scenario files -> frozen types. docs/scenarios.md lists the keys.

Refuses to guess: a key or value that is not known is a problem with line, column and suggestion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ailab_bot.errors import UserError
from ailab_bot.model.calibration import FALSE_POSITIVES_PER_WEEK, VERDICTS_PER_WEEK
from ailab_bot.model.github import MOST_SHARDS, GitHub, Pool, Profile, Queue
from ailab_bot.model.noise import Noise, Pin, parse_cores
from ailab_bot.model.report import GateMode
from ailab_bot.model.scenario import METRICS, FirstBatch, FirstBatchMode, Scenario
from ailab_bot.model.selection import Selection
from ailab_bot.yamlfile import MOST_PROBLEMS, Reader, YamlFile, did_you_mean, found

#: Steps after the first batch when `step_time_s` is measured and `steps` is not given.
DEFAULT_STEPS = 10

TIERS = ("pull_request", "release")
PLACEHOLDERS = ("checkout", "scenario_dir")

_ID = re.compile(r"[^\W_][\w.-]{0,63}")
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
    selection: Selection = field(default_factory=Selection)
    signature: bool = True

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
    own = _Readers(file)
    values = file.mapping(
        {
            "capacity_s": file.number(0, float("inf")),
            "python": file.text,
            "gate": file.words(METRICS),
            "threshold": file.number(0, 1),
            "max_blocks": file.whole(10, 1000),
            "noise": own.noise,
            "false_positives_per_week": file.number(0, 1e6),
            "verdicts_per_week": file.number(0, 1e9),
            "gate_anyway": file.ids,
            "github": own.github,
            "selection": own.selection,
            "signature": file.flag,
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
    own = _Readers(file)
    values = file.mapping(
        {
            "id": own.scenario_id(path),
            "description": file.text,
            "command": own.command,
            "env": own.variables,
            "setup": own.commands,
            "metrics": file.words(METRICS),
            "first_batch": own.first_batch,
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


class _Readers:
    """Readers of our own keys: a node in, a value out; problems are noted in `file`."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file

    def command(self, node: yaml.Node) -> tuple[str, ...] | None:
        words = []
        for item in self.file.sequence(node, "a list of words such as [python, train.py]") or ():
            word = self.file.word(item)
            if word is not None:
                self.check_placeholders(item, word)
                words.append(word)
        return tuple(words)

    def commands(self, node: yaml.Node) -> tuple[tuple[str, ...], ...]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            return ()
        what = "a list of commands such as [[python, -m, pip, install, -e, .]]"
        return tuple(self.command(item) or () for item in self.file.sequence(node, what) or ())

    def variables(self, node: yaml.Node) -> dict[str, str]:
        if not isinstance(node, yaml.MappingNode):
            self.file.complain(node, f"expected `NAME: value` lines, {found(node)}")
            return {}
        values: dict[str, str] = {}
        for key_node, value_node in node.value:
            name, value = str(key_node.value), self.file.word(value_node)
            if not name or "=" in name or "\0" in name + (value or ""):
                self.file.complain(key_node, "not a name of an environment variable")
            elif name in values:
                self.file.complain(key_node, f"`{name}` stands there twice")
            elif value is not None:
                self.check_placeholders(value_node, value)
                values[name] = value
        return values

    def first_batch(self, node: yaml.Node) -> FirstBatch:
        if isinstance(node, yaml.ScalarNode) and node.value in {"auto", "api"}:
            return FirstBatch(FirstBatchMode(node.value))
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        if len(pairs) != 1 or pairs[0][0].value != "marker":
            self.file.complain(node, f"expected auto, api or {{marker: REGEX}}, {found(node)}")
            return FirstBatch()
        marker = self.file.text(pairs[0][1]) or ""
        try:
            re.compile(marker)
        except (re.error, RecursionError, OverflowError) as error:
            self.file.complain(pairs[0][1], f"not a regular expression: {error}")
        return FirstBatch(FirstBatchMode.MARKER, marker)

    def noise(self, node: yaml.Node) -> Noise:
        if not isinstance(node, yaml.MappingNode):
            self.file.complain(node, f"expected a mapping such as {{pin: auto}}, {found(node)}")
            return Noise()
        values = self.file.pairs(
            node,
            {
                "pin": self.pin,
                "threads": self.threads,
                "max_load": self.file.number(0, 1),
                "max_steal": self.file.number(0, 1),
                "wait_s": self.file.number(0, 3600, or_equal=True),
            },
        )
        return Noise(**values)  # type: ignore[arg-type]

    def github(self, node: yaml.Node) -> GitHub:
        if not isinstance(node, yaml.MappingNode):
            self.file.complain(
                node, f"expected a mapping such as {{mode: advisory}}, {found(node)}"
            )
            return GitHub()
        values = self.file.pairs(
            node,
            {
                "mode": self.file.one_of(GateMode),
                "profile": self.file.one_of(Profile),
                "runners": self.runners,
                "merge_queue": self.file.one_of(Queue),
                "shard_minutes": self.file.whole(5, 360),
                "bot_id": self.file.whole(1, 10**9 - 1),
                "hosted": self.file.ids,
                "history": self.file.flag,
                "releases": self.patterns,
            },
        )
        return GitHub(**{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]

    def selection(self, node: yaml.Node) -> Selection:
        if not isinstance(node, yaml.MappingNode):
            self.file.complain(
                node, f"expected a mapping such as {{smoke: [my-scenario]}}, {found(node)}"
            )
            return Selection()
        values = self.file.pairs(
            node,
            {
                "smoke": self.file.ids,
                "explore": self.file.number(0, 0.5, or_equal=True),
                "capacity_day_s": self.file.number(0, float("inf")),
                "footprints": self.file.flag,
            },
        )
        return Selection(**{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]

    def runners(self, node: yaml.Node) -> dict[str, Pool] | None:
        if not isinstance(node, yaml.MappingNode) or not node.value:
            wanted = "a mapping such as {cpu: {labels: [ubuntu-latest], count: 4}}"
            self.file.complain(node, f"expected {wanted}, {found(node)}")
            return None
        if len(node.value) > MOST_SHARDS:
            self.file.complain(
                node, f"at most {MOST_SHARDS} kinds of runners, each has its own shards"
            )
            return None
        pools: dict[str, Pool] = {}
        for key, value in node.value:
            name = self.file.word(key)
            if name is None:
                continue
            if name in pools:
                self.file.complain(key, f"`{name:.60}` stands there twice")
            pools[name] = self.pool(value)
        return pools

    def pool(self, node: yaml.Node) -> Pool:
        if isinstance(node, yaml.SequenceNode):
            return Pool(self.labels(node))
        if not isinstance(node, yaml.MappingNode):
            self.file.complain(node, f"expected labels such as [self-hosted, gpu], {found(node)}")
            return Pool(())
        values = self.file.pairs(
            node, {"labels": self.labels, "count": self.file.whole(1, MOST_SHARDS)}
        )
        if "labels" not in values:
            self.file.complain(node, "`labels` is missing")
        count = values.get("count")
        labels = values.get("labels")
        return Pool(
            labels if isinstance(labels, tuple) else (), count if isinstance(count, int) else 1
        )

    def labels(self, node: yaml.Node) -> tuple[str, ...]:
        found: list[str] = []
        for item in self.file.sequence(node, "labels such as [self-hosted, gpu]") or ():
            word = self.file.word(item)
            if word in found:
                self.file.complain(item, f"`{word:.60}` stands there twice")
            elif word:
                found.append(word)
        return tuple(found)

    def patterns(self, node: yaml.Node) -> tuple[str, ...]:
        """Shell patterns of tags' names; `[]` for none."""
        if isinstance(node, yaml.SequenceNode) and not node.value:
            return ()
        found: list[str] = []
        for item in self.file.sequence(node, 'patterns of tags such as ["v*"]') or ():
            word = self.file.word(item)
            if word in found:
                self.file.complain(item, f"`{word:.60}` stands there twice")
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
            self.file.complain(node, f'expected auto, off or cores such as "0-3,6", {found(node)}')
            return "off"

    def threads(self, node: yaml.Node) -> int | None:
        nothing = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
        value = None if nothing else self.file.whole(1, 1024)(node)
        return value if isinstance(value, int) else None

    def scenario_id(self, path: Path) -> Reader:
        expected = path.parent.name if path.name == "scenario.yml" else path.stem

        def read(node: yaml.Node) -> str | None:
            name = self.file.word(node)
            if name is None:
                return None
            if not _ID.fullmatch(name):
                rule = "1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first"
                self.file.complain(node, f"not an id ({rule})")
            elif name != expected:
                self.file.complain(node, f"the id must be the file's name, `{expected}`")
            return name

        return read

    def check_placeholders(self, node: yaml.Node, word: str) -> None:
        for name in _PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                known = " and ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                hint = did_you_mean(name, PLACEHOLDERS)
                self.file.complain(node, f"unknown placeholder `{{{name}}}`{hint}; known: {known}")


def _tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()
