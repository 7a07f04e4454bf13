"""`.ailab/policy.yml`: what `ailab calibrate` found, for the judge and for whoever reads the diff.

Written whole and read strictly: a policy decides what blocks a change, so a file that somebody
edited is taken as it stands or refused with the line, never mended. docs/calibration.md is the
reference of the keys. Refuses to decide anything.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ailab_bot.errors import UserError
from ailab_bot.model.calibration import (
    Budget,
    Calibration,
    Certificate,
    CovariateFit,
    Data,
    Judged,
    Mode,
    NoiseRow,
    OperatingPoint,
    RocPoint,
)
from ailab_bot.model.policy import Limits
from ailab_bot.yamlfile import YamlFile

SCHEMA = 1
NAME = "policy.yml"
#: 1,000 scenarios with three metrics each.
LARGEST_FILE_BYTES = 4 * 1024 * 1024
#: Digits that are kept: more would be noise in the file's diff.
DIGITS = 6

_HEADER = """\
# Written by `ailab calibrate`; docs/calibration.md says what each number means. Numbers are
# fractions (0.05 is 5 %). A `threshold` or `max_blocks` in config.yml wins over this file.
"""

Json = dict[str, Any]
Reader = Callable[[yaml.Node], Any]
_T = TypeVar("_T")


class _Dumper(yaml.SafeDumper):
    """Without aliases: equal lists are written out."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class names it
        return True


def policy_text(calibration: Calibration) -> str:
    """The file's text; reading it gives the same calibration, to DIGITS digits."""
    document = {
        "schema": SCHEMA,
        "when": calibration.when.isoformat(timespec="seconds"),
        "mode": calibration.mode.value,
        "why": calibration.why,
        "rule": _plain(calibration.point),
        "certificate": _plain(calibration.certificate),
        "budget": _plain(calibration.budget),
        "data": _plain(calibration.data),
        "notes": list(calibration.notes),
        "scenarios": _scenarios(calibration),
        "noise": [_plain(row) for row in calibration.noise],
        "covariates": {name: _plain(fit) for name, fit in calibration.covariates.items()},
        "roc": [_plain(row.point) | _without_point(row) for row in calibration.roc],
    }
    body = yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=4096,
    )
    return _HEADER + str(body)


def write_policy(calibration: Calibration, path: Path) -> None:
    """Replace the file whole: a reader sees the old one or the new one.

    One that could not be read never replaces one that can.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(policy_text(calibration))
            _read_back(Path(name), path)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write {path}", why=str(error), advice="Name a file of yours with --out."
        ) from error


def _read_back(written: Path, path: Path) -> None:
    try:
        read_policy(written)
    except UserError as error:
        raise UserError(
            f"the policy is not written to {path}: it could not be read again",
            why=error.why.replace(str(written), str(path)),
            advice="What stood there is kept. Look for trials with absurd times among the files.",
        ) from error


def check_place(path: Path) -> None:
    """UserError for a link to nowhere: to go on without the policy might block what it does not."""
    if path.is_symlink() and not path.exists():
        raise UserError(
            f"cannot read {path}",
            why="It is a link to a file that does not exist.",
            advice="Mend the link, or remove it to judge without a policy.",
        )


def read_policy(path: Path) -> Calibration:
    """UserError with line and column for anything that `write_policy` would not have written."""
    file = YamlFile(path, LARGEST_FILE_BYTES, "docs/calibration.md")
    read = _Readers(file)
    # The schema comes first: a newer file has unknown keys, and that is not its defect.
    schemas = [node for key, node in file.root.value if key.value == "schema"]
    if schemas and read.text(schemas[0]) != str(SCHEMA):
        file.complain(schemas[0], f"this ailab reads schema {SCHEMA}; a newer one may read it")
        file.raise_problems()
    values = file.mapping(
        {
            "schema": file.whole(SCHEMA, SCHEMA),
            "when": read.time,
            "mode": read.mode,
            "why": read.text,
            "rule": read.record(OperatingPoint, read.point),
            "certificate": read.record(
                Certificate,
                {
                    "false_positives": read.count,
                    "replays": read.count,
                    "at_most_per_week": read.size,
                    "independent_blocks": read.count,
                    "reached": read.flag,
                    "text": read.text,
                },
            ),
            "budget": read.record(
                Budget,
                {
                    "false_positives_per_week": file.number(0, 1e6),
                    "verdicts_per_week": file.number(0, 1e9),
                    "observed_per_week": read.size,
                },
            ),
            "data": read.record(
                Data,
                {
                    "files": read.texts,
                    "blocks": read.count,
                    "independent_blocks": read.count,
                    "machines": read.texts,
                    "commits": read.texts,
                    "split": read.text,
                },
            ),
            "notes": read.texts,
            "scenarios": read.scenarios,
            "noise": read.many(read.record(NoiseRow, read.noise)),
            "covariates": read.by_name(
                read.record(
                    CovariateFit,
                    {
                        "used": read.flag,
                        "coefficients": read.by_name(read.any_number),
                        "sigma_before": read.size,
                        "sigma_after": read.size,
                        "why": read.text,
                    },
                )
            ),
            "roc": read.many(read.roc),
        },
        required=(
            *("schema", "when", "mode", "why", "rule", "certificate", "budget", "data", "notes"),
            *("scenarios", "noise", "covariates", "roc"),
        ),
    )
    file.raise_problems()
    return Calibration(
        when=values["when"],  # type: ignore[arg-type]
        mode=values["mode"],  # type: ignore[arg-type]
        why=values["why"],  # type: ignore[arg-type]
        data=values["data"],  # type: ignore[arg-type]
        budget=values["budget"],  # type: ignore[arg-type]
        point=values["rule"],  # type: ignore[arg-type]
        certificate=values["certificate"],  # type: ignore[arg-type]
        judged=values["scenarios"],  # type: ignore[arg-type]
        noise=values["noise"],  # type: ignore[arg-type]
        covariates=values["covariates"],  # type: ignore[arg-type]
        roc=values["roc"],  # type: ignore[arg-type]
        notes=values["notes"],  # type: ignore[arg-type]
    )


def rounded(value: float) -> float:
    """To the digits that the file keeps, so what is judged now is what is read later."""
    return float(f"{value:.{DIGITS}g}")


# --- writing -----------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


def _without_point(row: RocPoint) -> Json:
    return {name: value for name, value in _plain(row).items() if name != "point"}


def _scenarios(calibration: Calibration) -> Json:
    rows: dict[str, Json] = {}
    for row in calibration.judged:
        label = {"label": "too noisy to gate" if row.too_noisy else "ok"} if row.gates else {}
        found: Json = {"mde": _plain(row.mde), **label} if row.gates else {}
        rows.setdefault(row.scenario, {})[row.metric] = _plain(row.limits) | found
    return rows


# --- reading -----------------------------------------------------------------------------------


class _Readers:
    """Readers of a policy file's values: a node in, a value out; problems are noted in `file`."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.share = file.number(0, 1, or_equal=True)
        self.size = file.number(0, 1e12, or_equal=True)
        self.any_number = file.number(-1e12, 1e12)
        self.count = file.whole(0, 10**9 - 1)
        self.point: Mapping[str, Reader] = {
            "threshold": file.number(0, 1),
            "margin": file.number(0, 1),
            "error": file.number(0, 0.5),
            "max_blocks": file.whole(1, 1000),
        }
        self.noise: Mapping[str, Reader] = {
            "scenario": self.text,
            "metric": self.text,
            "machine": self.text,
            "blocks": self.count,
            "builds": self.count,
            "sigma": self.size,
            "scale": self.size,
            "autocorrelation": file.number(-1, 1, or_equal=True),
            "far_slow": self.share,
            "bias_sd": self.size,
            "independent_blocks": self.size,
        }

    def text(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self.file.complain(node, "expected a text")
        return ""

    def texts(self, node: yaml.Node) -> tuple[str, ...]:
        return self.many(self.text)(node)

    def flag(self, node: yaml.Node) -> bool:
        if self.text(node) not in {"true", "false"}:
            self.file.complain(node, "expected true or false")
        return self.text(node) == "true"

    def mode(self, node: yaml.Node) -> Mode:
        try:
            return Mode(self.text(node))
        except ValueError:
            self.file.complain(node, f"expected {' or '.join(Mode)}")
            return Mode.SHADOW

    def time(self, node: yaml.Node) -> datetime | None:
        try:
            when = datetime.fromisoformat(self.text(node))
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            self.file.complain(node, "expected a time such as 2026-01-31T12:00:00+00:00")
        return when

    def many(self, reader: Callable[[yaml.Node], _T]) -> Callable[[yaml.Node], tuple[_T, ...]]:
        def read(node: yaml.Node) -> tuple[_T, ...]:
            if not isinstance(node, yaml.SequenceNode):
                self.file.complain(node, "expected a list")
                return ()
            return tuple(reader(each) for each in node.value)

        return read

    def by_name(self, reader: Callable[[yaml.Node], _T]) -> Callable[[yaml.Node], dict[str, _T]]:
        def read(node: yaml.Node) -> dict[str, _T]:
            if not isinstance(node, yaml.MappingNode):
                self.file.complain(node, "expected `name: value` lines")
                return {}
            values: dict[str, _T] = {}
            for key, value in node.value:
                if str(key.value) in values:
                    self.file.complain(key, f"`{key.value:.60}` stands there twice")
                values[str(key.value)] = reader(value)
            return values

        return read

    def record(
        self, kind: Callable[..., _T], readers: Mapping[str, Reader]
    ) -> Callable[[yaml.Node], _T | None]:
        def read(node: yaml.Node) -> _T | None:
            values = self.values(node, readers, readers)
            return None if values is None else kind(**values)

        return read

    def values(
        self, node: yaml.Node, readers: Mapping[str, Reader], required: Mapping[str, Reader]
    ) -> Json | None:
        """None where a key is missing or a value bad; the problem has been noted."""
        if not isinstance(node, yaml.MappingNode):
            self.file.complain(node, "expected `key: value` lines")
            return None
        before = len(self.file.problems)
        values = self.file.pairs(node, readers)
        for key in required:
            if key not in values:
                self.file.complain(node, f"`{key}` is missing")
        return values if len(self.file.problems) == before else None

    def roc(self, node: yaml.Node) -> RocPoint | None:
        measured: Mapping[str, Reader] = {
            "false_positives": self.count,
            "replays": self.count,
            "at_most": self.size,
            "detection": self.share,
            "detection_error": self.size,
            "blocks": self.size,
        }
        both = {**self.point, **measured}
        values = self.values(node, both, both)
        if values is None:
            return None
        point = OperatingPoint(**{name: values.pop(name) for name in self.point})
        return RocPoint(point, **values)

    def scenarios(self, node: yaml.Node) -> tuple[Judged, ...]:
        rows: list[Judged] = []
        for scenario, metrics in self.by_name(self.by_name(self.judged))(node).items():
            for metric, make in metrics.items():
                if make is not None:
                    rows.append(make(scenario, metric))
        return tuple(rows)

    def judged(self, node: yaml.Node) -> Callable[[str, str], Judged] | None:
        limits: Mapping[str, Reader] = {
            "threshold": self.file.number(0, 1),
            "margin": self.file.number(0, 1),
            "scale": self.file.number(0, 10),
            "bias": self.file.number(0, 10),
        }
        found: Mapping[str, Reader] = {"mde": self.mde, "label": self.text}
        values = self.values(node, {**limits, **found}, limits)
        if values is None:
            return None
        if values["margin"] > values["threshold"]:
            self.file.complain(node, "the margin is larger than the threshold")
        gates = "label" in values
        row = Limits(**{name: values[name] for name in limits})
        mde = values.get("mde")
        made = Judged("", "", row, mde, gates)
        if gates and (values["label"] != "ok") != made.too_noisy:
            self.file.complain(node, f"the label `{values['label']:.40}` does not fit the mde")
        return lambda scenario, metric: Judged(scenario, metric, row, mde, gates)

    def mde(self, node: yaml.Node) -> float | None:
        if self.text(node) in {"null", "~", ""}:
            return None
        found = self.file.number(0, 10)(node)
        return found if isinstance(found, float) else None
