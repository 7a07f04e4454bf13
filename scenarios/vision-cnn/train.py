"""Image classification: augmentations in loader workers, a small CNN."""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class RandomCrop:
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        top, left = random.integers(0, image.shape[0] - self.size + 1, 2)
        return image[top : top + self.size, left : left + self.size]


class RandomFlip:
    def __call__(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return image[:, ::-1] if random.random() < 0.5 else image


class Normalise:
    def __call__(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return (image / 255.0 - 0.45) / 0.22


class Images(Dataset):
    """Synthetic photographs: blobs of colour, one class per dominant channel."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.transforms = [RandomCrop(56), RandomFlip(), Normalise()]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        random = np.random.default_rng(index)
        image = random.integers(0, 160, (64, 64, 3)).astype(np.float32)
        label = index % 3
        image[..., label] += 80
        for transform in self.transforms:
            image = transform(image, random)
        return torch.from_numpy(
            np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
        ), label


class SmallCNN(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.head = nn.Linear(32, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).flatten(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(Images(2048), batch_size=32, shuffle=True, num_workers=arguments.workers)
    model = SmallCNN(classes=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    for step, (images, labels) in enumerate(loader, start=1):
        loss = loss_of(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == arguments.steps:
            break
    print(f"final loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
