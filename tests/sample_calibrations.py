"""Calibrations as `ailab calibrate` makes them, for the tests of what reads and shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

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

POINT = OperatingPoint(0.05, 0.02, 3.8e-4, 40)


def noise_row(scenario: str, sigma: float = 0.049, metric: str = "ttfb_s") -> NoiseRow:
    return NoiseRow(
        scenario, metric, "a cpu, 2 cores", 120, 3, sigma, sigma, 0.1, 0.02, 0.007, 98.5
    )


CERTIFIED = Calibration(
    when=datetime(2026, 1, 31, 12, tzinfo=UTC),
    mode=Mode.GATE,
    why="0 false positives in 8,540 replays",
    data=Data(("aa-build-0.jsonl",), 360, 290, ("a cpu, 2 cores",), ("a" * 40,), "tuned on all"),
    budget=Budget(1.0, 1800.0, 0.25),
    point=POINT,
    certificate=Certificate(0, 8540, 0.631, 290, True, "0 false positives in 8,540 replays"),
    judged=(
        Judged("train", "ttfb_s", Limits(0.05, 0.02, 0.049, 0.02), 0.055, gates=True),
        Judged("train", "peak_rss_bytes", Limits(0.05, 0.02, 0.005, 0.02)),
        Judged("训练: off", "ttfb_s", Limits(0.1, 0.07, 0.2, 0.03), None, gates=True),
    ),
    noise=(noise_row("train"), noise_row("train", 0.001, "peak_rss_bytes"), noise_row("训练: off")),
    covariates={
        "a cpu, 2 cores": CovariateFit(True, {"run_delay_s": 1.25}, 0.05, 0.04, "takes 20 % off"),
        "unknown": CovariateFit(False, {}, 0.0, 0.0, "no covariate that every trial has"),
    },
    roc=(
        RocPoint(POINT, 0, 600, 0.005, 0.91, 0.01, 12.5),
        RocPoint(replace(POINT, max_blocks=20), 1, 600, 0.0079, 0.5, 0.02, 11.0),
    ),
    notes=("One build.",),
)
SHADOW = replace(
    CERTIFIED,
    mode=Mode.SHADOW,
    why="150 blocks are worth 132 independent ones; 200 are needed",
    certificate=replace(CERTIFIED.certificate, reached=False),
)
