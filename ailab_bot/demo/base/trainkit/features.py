"""Feature preprocessing: raw events -> normalised, clipped and crossed columns."""

import numpy as np


def load_events(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stand-in for the warehouse: the same events for the same seed."""
    random = np.random.default_rng(seed)
    raw = random.lognormal(size=(rows, columns)).astype(np.float32)
    clicked = (raw[:, 0] > raw[:, 1]).astype(np.float32)
    return raw, clicked


def prepare(raw: np.ndarray) -> np.ndarray:
    logged = np.log1p(raw)
    low, high = np.quantile(logged, [0.01, 0.99], axis=0)
    clipped = np.clip(logged, low, high)
    scaled = (clipped - clipped.mean(axis=0)) / clipped.std(axis=0)
    crossed = scaled * np.roll(scaled, 1, axis=1)
    return np.concatenate([scaled, crossed], axis=1).astype(np.float32)


if __name__ == "__main__":
    import sys

    from trainkit.config import load_job

    job = load_job(sys.argv[1])
    prepared = prepare(load_events(job.rows, job.features, job.seed)[0])
    print(f"features ready: {prepared.shape[0]} rows, {prepared.shape[1]} columns")
