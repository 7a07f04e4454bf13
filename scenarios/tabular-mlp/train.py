"""Churn prediction: pandas preprocessing, then a small MLP."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def read_events(rows: int, seed: int) -> pd.DataFrame:
    """Stand-in for the warehouse's table."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "plan": random.choice(["free", "team", "business"], rows),
            "country": random.choice(["de", "fr", "jp", "us", "br"], rows),
            "signed_up": pd.Timestamp("2025-01-01")
            + pd.to_timedelta(random.integers(0, 400, rows), unit="D"),
            "sessions": random.poisson(12, rows),
            "spent": random.lognormal(2.0, 1.0, rows),
            "churned": random.integers(0, 2, rows),
        }
    )


def preprocess(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    features = pd.get_dummies(events[["plan", "country"]], dtype=float)
    features["age_days"] = (pd.Timestamp("2026-03-01") - events["signed_up"]).dt.days
    features["sessions"] = events["sessions"].clip(upper=40)
    features["log_spent"] = np.log1p(events["spent"])
    features["spent_rank"] = events.groupby("country")["spent"].rank(pct=True)
    features = (features - features.mean()) / features.std()
    return features.to_numpy(np.float32), events["churned"].to_numpy(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config = yaml.safe_load(parser.parse_args().config.read_text())
    torch.manual_seed(config["seed"])
    inputs, targets = preprocess(read_events(config["rows"], config["seed"]))
    dataset = TensorDataset(torch.from_numpy(inputs), torch.from_numpy(targets))
    loader = DataLoader(dataset, batch_size=config["batch_size"], shuffle=True)
    model = nn.Sequential(
        nn.Linear(inputs.shape[1], config["hidden"]),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(config["hidden"], 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    loss_of = nn.BCEWithLogitsLoss()
    for step, (batch, target) in enumerate(loader, start=1):
        loss = loss_of(model(batch).squeeze(1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == config["steps"]:
            break
    print(f"final loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
