"""The training loop."""

import logging

import torch
from torch.utils.data import DataLoader, TensorDataset

from trainkit import features, report, tracking
from trainkit.config import Job
from trainkit.model import Ranker

log = logging.getLogger(__name__)


def train(job: Job) -> None:
    torch.manual_seed(job.seed)
    raw, clicked = features.load_events(job.rows, job.features, job.seed)
    inputs = torch.from_numpy(features.prepare(raw))
    dataset = TensorDataset(inputs, torch.from_numpy(clicked))
    loader = DataLoader(dataset, batch_size=job.batch_size, shuffle=True)
    model = Ranker(inputs.shape[1], job.hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=job.learning_rate)
    loss_of = torch.nn.BCEWithLogitsLoss()
    if job.tracked:
        tracking.record_run(job, len(dataset))
    losses = []
    for _, (batch, target) in zip(range(job.steps), loader):
        loss = loss_of(model(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    log.info("losses\n%s", report.summarise(losses))
    log.info("final loss %.6f", losses[-1])
