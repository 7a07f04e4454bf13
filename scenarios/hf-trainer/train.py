"""Text classification with transformers.Trainer; the model comes from a configuration."""

import argparse
import tempfile

import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)


class Reviews(Dataset):
    """Token ids as a tokenizer would give them; the label is in the first token."""

    def __init__(self, count: int, length: int, vocabulary: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(5, vocabulary, (count, length), generator=random)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = self.tokens[index]
        return {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "labels": tokens[0] % 2,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    set_seed(0)
    config = BertConfig(
        vocab_size=1000,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=BertForSequenceClassification(config),
            args=TrainingArguments(
                output_dir=folder,
                max_steps=arguments.steps,
                per_device_train_batch_size=16,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                dataloader_pin_memory=False,
                seed=0,
            ),
            train_dataset=Reviews(512, length=32, vocabulary=config.vocab_size),
        )
        result = trainer.train()
    print(f"final loss {result.training_loss:.6f}")


if __name__ == "__main__":
    main()
