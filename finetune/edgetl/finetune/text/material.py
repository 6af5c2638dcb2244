"""What a strategy works with when it learns from texts, and the networks' answers about them."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from edgetl.finetune.cache.room import Cache
from edgetl.finetune.data.table import Samples
from edgetl.finetune.material import Judged
from edgetl.finetune.text.dataset import TextDataset, rows_of
from edgetl.finetune.text.feeds import TokenFeed
from edgetl.finetune.text.model import TextModel
from edgetl.finetune.text.tokens import TokenTable
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import LoopConfig, Value
from edgetl.finetune.training.team import Team
from edgetl.tasks import TextClassification
from edgetl.types import Array, Track

BATCH = 64
"""Texts at a time when nothing is learned."""


class TextMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """What every strategy starts from. `tokeniser`: the SHA-256 of its file. `checkpoint`: the folder of the state.

    `observe` is told every finished epoch; what it raises ends the training.
    """

    model: TextModel
    data: TextDataset
    tokens: TokenTable
    tokeniser: str
    task: TextClassification
    loop: LoopConfig
    seed: int
    cache: Cache
    checkpoint: Path
    resume: bool
    identity: dict[str, Value]
    team: Team
    track: Track
    observe: Callable[[Epoch], None]

    def feed(self, samples: Samples) -> TokenFeed:
        return TokenFeed(table=self.tokens, rows=rows_of(samples), device=self.team.device)


def judge(material: TextMaterial, samples: Samples) -> Judged:
    """The answers of torch FP32."""
    logits = outputs_of(material.model.cpu(), material, samples, "evaluate")
    return Judged(samples=samples, logits=logits, truths=np.asarray(samples.labels, np.int64))


def outputs_of(
    module: nn.Module, material: TextMaterial, samples: Samples, description: str, *, bf16: bool = False
) -> Array:
    """What `module` makes of every sample, float32 (samples, …), in evaluation mode on a CPU."""
    order = np.argsort(material.tokens.lengths(samples), kind="stable")
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    rows, parts = rows_of(samples), list[Array]()
    module.eval()
    for positions in material.track(batches, description, len(batches)):
        batch = torch.from_numpy(material.tokens.batch(rows[positions]))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            parts.append(module(batch[:, 0], batch[:, 1]).float().numpy())
    joined = np.concatenate(parts)
    found = np.empty_like(joined)
    found[order] = joined
    return found
