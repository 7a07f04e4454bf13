"""Language model: train a tokenizer on a text, then a small causal transformer on its tokens."""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train_tokenizer(text: str, vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    return tokenizer


class CausalTransformer(nn.Module):
    def __init__(self, vocabulary: int, width: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.zeros(context, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=4 * width, dropout=0.0, batch_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.output = nn.Linear(width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(tokens) + self.places[: tokens.shape[1]]
        return self.output(self.blocks(hidden, mask=self.mask, is_causal=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--context", type=int, default=32)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    text = arguments.corpus.read_text(encoding="utf-8")
    tokenizer = train_tokenizer(text, vocabulary=400)
    ids = torch.tensor(tokenizer.encode(text).ids)
    windows = ids.unfold(0, arguments.context + 1, 1)
    dataset = TensorDataset(windows[:, :-1], windows[:, 1:])
    loader = DataLoader(dataset, batch_size=16, shuffle=True, drop_last=True)
    model = CausalTransformer(tokenizer.get_vocab_size(), width=64, context=arguments.context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_of = nn.CrossEntropyLoss()
    for step, (inputs, targets) in enumerate(loader, start=1):
        loss = loss_of(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == arguments.steps:
            break
    print(f"final loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
