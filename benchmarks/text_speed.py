"""Sentences a second of fine-tuning MiniLM, beside the plain loop: batch 32 padded to its longest, FP32, random order.

Both learn from the same reviews with the same batch size and every parameter, in turns. The plain loop is what a
notebook does with transformers and torch; ours is the stage itself, whose epochs say how fast they were. `fp32` tells
what equal lengths bring, `auto` adds the precision that the probe chooses.

    python -m benchmarks.text_speed [TURNS [TEXTS]]
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.text_accuracy import minilm, reviews
from tokenizers import Tokenizer

from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.text.backbone import quiet
from edgetl.finetune.text.rows import read_texts
from edgetl.finetune.text.stage import finetune
from edgetl.finetune.training.allocator import keep_large_blocks

BATCH = 32
TEXTS, LEFT = 960, 100
"""So many reviews are learned from in a turn, and so many more are the val split."""


def sample(path: Path, count: int) -> list[tuple[str, int]]:
    """Every seventh training review, also written as a .csv for ours."""
    found = [each for each in read_texts(reviews()) if each.split == 0][::7]
    chosen = [(each.text, each.label) for each in found[: count + LEFT]]
    lines = [
        json.dumps({"text": text, "label": label, "split": "train" if i < count else "val"})
        for i, (text, label) in enumerate(chosen)
    ]
    path.write_text("\n".join(lines))
    return [(text, int(label == "positive")) for text, label in chosen[:count]]


class PlainLoop:
    """One epoch a turn; the network goes on learning from turn to turn."""

    def __init__(self, texts: list[tuple[str, int]]) -> None:
        factory: Any = transformers.AutoModelForSequenceClassification
        with quiet():
            self.model: Any = factory.from_pretrained(minilm(), num_labels=2, dtype=torch.float32).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-5)
        self.tokenizer: Any = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
        self.tokenizer.enable_padding()
        self.texts = texts

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.texts)).tolist()
        for start in range(0, len(order), BATCH):
            part = [self.texts[i] for i in order[start : start + BATCH]]
            encoded = self.tokenizer.encode_batch([text for text, _ in part])
            ids, mask = (torch.tensor([getattr(each, name) for each in encoded]) for name in ("ids", "attention_mask"))
            yield ids, mask, torch.tensor([label for _, label in part])

    def epoch(self) -> float:
        """Sentences a second."""
        began = time.perf_counter()
        for ids, mask, labels in self.batches():
            loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return len(self.texts) / (time.perf_counter() - began)


def ours(data: Path, run: Path, precision: str) -> tuple[float, str]:
    """Sentences a second, and what was computed in."""
    config = FinetuneConfig(
        data=str(data), task="text", backbone=str(minilm()), strategy="full",
        loop={"epochs": 1, "batch_size": BATCH, "precision": precision, "hold_out": 0.0},
    )  # fmt: skip
    finetune(config, run, overwrite=True)
    epoch = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    return float(epoch["images_per_second"]), json.loads((run / "run.json").read_text())["compute"]["training"]


def main(turns: int, texts: int) -> None:
    keep_large_blocks()
    ratios: dict[str, list[float]] = {"fp32": [], "auto": []}
    with tempfile.TemporaryDirectory() as folder:
        loop = PlainLoop(sample(Path(folder) / "reviews.jsonl", texts))
        for _ in range(turns):
            plain = loop.epoch()
            said = [f"plain {plain:.1f}"]
            for precision, found in ratios.items():
                speed, computed = ours(Path(folder) / "reviews.jsonl", Path(folder) / "run", precision)
                found.append(speed / plain)
                said.append(f"{precision} ({computed}) {speed:.1f}")
            print(f"sentences/s: {', '.join(said)}", flush=True)
    for precision, found in ratios.items():
        print(f"{precision}: {statistics.median(found):.2f} × the plain loop ({min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, int(sys.argv[2]) if len(sys.argv) > 2 else TEXTS)
