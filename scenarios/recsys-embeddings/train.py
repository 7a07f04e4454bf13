"""Recommendation: a stream of clicks, hashed categorical features, embedding bags."""

import argparse
import zlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

FIELDS = ("user", "item", "category", "device")


def bucket(field: str, value: int, buckets: int) -> int:
    return zlib.crc32(f"{field}={value}".encode()) % buckets


class Clicks(IterableDataset):
    """An endless stream, the same for the same seed."""

    def __init__(self, buckets: int, seed: int) -> None:
        self.buckets = buckets
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        random = np.random.default_rng(self.seed)
        while True:
            values = random.integers(0, 50_000, len(FIELDS))
            hashed = [bucket(f, v, self.buckets) for f, v in zip(FIELDS, values, strict=True)]
            clicked = float(values[1] % 3 == values[2] % 3)
            yield torch.tensor(hashed), torch.tensor(clicked)


class Recommender(nn.Module):
    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        self.bags = nn.ModuleList(
            nn.EmbeddingBag(buckets, width, mode="sum", sparse=True) for _ in FIELDS
        )
        self.top = nn.Sequential(nn.Linear(width * len(FIELDS), 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        columns = features.split(1, dim=1)
        joined = [bag(column) for bag, column in zip(self.bags, columns, strict=True)]
        return self.top(torch.cat(joined, dim=1)).squeeze(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buckets", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(Clicks(arguments.buckets, seed=0), batch_size=512)
    model = Recommender(arguments.buckets, width=16)
    sparse = torch.optim.SparseAdam(list(model.bags.parameters()), lr=0.01)
    dense = torch.optim.Adam(model.top.parameters(), lr=0.001)
    loss_of = nn.BCEWithLogitsLoss()
    for step, (features, clicked) in enumerate(loader, start=1):
        loss = loss_of(model(features), clicked)
        sparse.zero_grad()
        dense.zero_grad()
        loss.backward()
        sparse.step()
        dense.step()
        if step == arguments.steps:
            break
    print(f"final loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
