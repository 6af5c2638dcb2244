"""`--strategy auto`: how near the data are to what the backbone knows, and what follows from it."""

import numpy as np
from torch import nn

from edgetl.finetune.advice.advise import MAX_SAMPLES, Decision, decide, rarest
from edgetl.finetune.advice.similarity import measure
from edgetl.finetune.head.folds import stratified_rows
from edgetl.finetune.head.probe import Probe
from edgetl.finetune.material import Material


def decided(fitted: Probe, source: nn.Linear | None, material: Material) -> Decision:
    """Measures the features of up to `MAX_SAMPLES` training images; the probe is the head that was fitted anyway."""
    rows = stratified_rows(fitted.truths, MAX_SAMPLES, seed=material.seed)
    features = np.asarray(fitted.features[rows])
    logits = None
    if source is not None:
        logits = features @ source.weight.detach().numpy().T + source.bias.detach().numpy()
    best = min(fitted.head.candidates, key=lambda candidate: candidate.log_loss)
    similarity = measure(
        features, fitted.truths[rows], logits, len(material.task.labels), seed=material.seed, probe=best
    )
    return decide(similarity, len(fitted.truths), rarest(fitted.truths))
