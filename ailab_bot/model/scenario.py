"""A scenario and the metrics it may measure. Plain data; reading files is `config`'s duty."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class FirstBatchMode(StrEnum):
    """How a trial learns that the first batch entered the model."""

    AUTO = "auto"
    MARKER = "marker"
    API = "api"


@dataclass(frozen=True)
class FirstBatch:
    """`marker` is a regular expression matched against each line of output; None otherwise."""

    mode: FirstBatchMode = FirstBatchMode.AUTO
    marker: str | None = None


@dataclass(frozen=True)
class Metric:
    """A measured quantity; lower is better for every metric known today."""

    name: str
    unit: str
    label: str


METRICS: Mapping[str, Metric] = types.MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("ttfb_s", "s", "time to first batch"),
            Metric("step_time_s", "s", "time per training step"),
            Metric("cpu_s", "s", "CPU time to first batch"),
            Metric("peak_rss_bytes", "bytes", "peak memory to first batch"),
        )
    }
)


@dataclass(frozen=True)
class Scenario:
    """A runnable ML workflow.

    `command` and `setup` are argument vectors, run without a shell in the arm's checkout;
    `{checkout}` and `{scenario_dir}` inside them and inside `env` values are replaced.
    `directory` is the absolute folder that `{scenario_dir}` stands for. `steps` is the number of
    training steps measured after the first batch (0 unless `step_time_s` is a metric).
    """

    id: str
    command: tuple[str, ...]
    directory: Path
    description: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[tuple[str, ...], ...] = ()
    metrics: tuple[str, ...] = ("ttfb_s",)
    first_batch: FirstBatch = FirstBatch()
    runner: str = "cpu"
    tiers: tuple[str, ...] = ("pull_request", "release")
    timeout_s: float = 300.0
    steps: int = 0
    shrink: Mapping[str, object] = field(default_factory=dict)
