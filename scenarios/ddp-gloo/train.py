"""Data-parallel training over gloo: a launcher starts one process per rank."""

import argparse
import os
import tempfile

import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def dataset() -> TensorDataset:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(1024, 16, generator=random)
    return TensorDataset(inputs, inputs.sum(1, keepdim=True))


def train(rank: int, processes: int, meeting_point: str, steps: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=processes
    )
    torch.manual_seed(0)
    data = dataset()
    loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data, seed=0))
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step, (inputs, targets) in enumerate(loader, start=1):
        loss = nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == steps:
            break
    mean = loss.detach() / processes  # gloo has no mean: each rank contributes its share
    dist.all_reduce(mean)
    if rank == 0:
        print(f"final loss {mean.item():.6f}", flush=True)
    dist.barrier()
    dist.destroy_process_group()
    # Gloo's threads outlive the group, and abort some of the processes that end while they run.
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(
            train,
            args=(arguments.processes, f"{folder}/meeting-point", arguments.steps),
            nprocs=arguments.processes,
        )


if __name__ == "__main__":
    main()
