"""`--strategy auto`: how near the data are to what the backbone knows, and what follows from it."""

import numpy as np
from torch import nn

from edgetl.finetune.advice.advise import MAX_SAMPLES, Decision, decide, rarest
from edgetl.finetune.advice.similarity import measure
from edgetl.finetune.head.folds import stratified_rows
from edgetl.finetune.head.logistic import LinearHead
from edgetl.finetune.head.streamed import Rows
from edgetl.types import Array


def decided(
    head: LinearHead,
    features: Rows,
    truths: Array,
    source: nn.Linear | None,
    classes: int,
    *,
    seed: int,
    what: str = "images",
) -> Decision:
    """Measures the features of up to `MAX_SAMPLES` training images; the probe is the head that was fitted anyway."""
    rows = stratified_rows(truths, MAX_SAMPLES, seed=seed)
    few = np.asarray(features[rows])
    logits = None
    if source is not None:
        logits = few @ source.weight.detach().numpy().T + source.bias.detach().numpy()
    best = min(head.candidates, key=lambda candidate: candidate.log_loss)
    similarity = measure(few, truths[rows], logits, classes, seed=seed, probe=best)
    return decide(similarity, len(truths), rarest(truths), what)
