"""Classification with Lightning: the Trainer checks two validation batches, then trains."""

import argparse
import logging
import warnings

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(lightning.LightningModule):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, classes))
        self.loss_of = nn.CrossEntropyLoss()
        self.last_loss = float("nan")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net(inputs)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        inputs, labels = batch
        loss = self.loss_of(self(inputs), labels)
        self.last_loss = loss.item()
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        inputs, labels = batch
        self.log("accuracy", (self(inputs).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def dataset(count: int, seed: int) -> TensorDataset:
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 16, generator=random)
    return TensorDataset(inputs, (inputs[:, 0] > inputs[:, 1]).long())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    lightning.seed_everything(0, verbose=False)
    model = Classifier(inputs=16, classes=2)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=arguments.steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        model,
        DataLoader(dataset(1024, seed=1), batch_size=32, shuffle=True),
        DataLoader(dataset(128, seed=2), batch_size=32),
    )
    print(f"final loss {model.last_loss:.6f}")


if __name__ == "__main__":
    main()
