"""Holds a rewritten graph against the file it was made from, alone and in batches."""

from pathlib import Path

import numpy as np

from edgetl.errors import ArtefactError, first_line
from edgetl.export.adopt.original import Original
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Feeds, Outputs

TOLERANCE = 2e-4
"""Of the largest value, so far two runs of the same arithmetic in another order may lie apart."""

BATCHES = (1, 3)

LEAST_SCORE = 0.02
"""Of boxes in no fixed order only those that score more are looked for: the last ones change places."""


def check_same(path: Path, inputs: Inputs, expected: Outputs, *, ordered: bool) -> None:
    """Runs the graph `path` on `inputs` in batches of one and of three. Raises ArtefactError where it answers other
    than `expected`. Not `ordered`: boxes may come in any order.
    """
    graph = Original(path)
    for size in BATCHES:
        parts = [_answers(graph, batch) for batch in inputs.batches(size)]
        for name, wanted in expected.items():
            found = np.concatenate([part[name] for part in parts])
            apart = found.shape != wanted.shape or not np.isfinite(found).all()
            if not apart:
                apart = _distance(found, wanted) > TOLERANCE if ordered else _strayed(parts, expected)
            if apart:
                raise ArtefactError(
                    f"in batches of {size} the rewritten graph answers with other `{name}` than the file"
                    + ("" if found.shape != wanted.shape else f" (up to {np.abs(found - wanted).max():.3g} apart)"),
                    hint="what a sample is answered depends on the batch it is in; export the model with a dynamic "
                    "batch"
                    if size > 1
                    else "please report this model: its graph was not understood",
                )


def _answers(graph: Original, batch: Feeds) -> Outputs:
    try:
        return graph.batch_of(batch)
    except Exception as error:  # an engine's own refusal, whatever it is
        rows = len(next(iter(batch.values())))
        raise ArtefactError(
            f"the rewritten graph cannot run a batch of {rows}: {first_line(error)}",
            hint="export the model with a dynamic batch",
        ) from error


def _distance(found: Array, wanted: Array) -> float:
    """The largest difference, as a part of the largest value."""
    return float(np.abs(found.astype(np.float64) - wanted).max(initial=0) / max(1.0, float(np.abs(wanted).max())))


def _strayed(parts: list[Outputs], expected: Outputs) -> bool:
    """Whether a sure box of a sample has no counterpart."""
    boxes, scores = (np.concatenate([part[name] for part in parts]) for name in ("boxes", "scores"))
    for sample in range(len(scores)):
        side = max(1.0, float(np.abs(expected["boxes"][sample]).max()))
        rows = [
            np.concatenate([each[0][sample] / side, each[1][sample]], axis=1)
            for each in ((expected["boxes"], expected["scores"]), (boxes, scores))
        ]
        sure = rows[0][expected["scores"][sample].max(axis=1) > LEAST_SCORE]
        far = np.abs(sure[:, None] - rows[1][None]).max(axis=2).min(axis=1, initial=np.inf)
        if (far > TOLERANCE).any():
            return True
    return False
