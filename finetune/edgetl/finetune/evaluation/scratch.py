"""`--compare-scratch`: the same architecture from random weights, under the same budget, beside the transfer."""

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.stats import binomtest
from torch import nn

from edgetl.finetune.evaluation.headline import metric_of
from edgetl.finetune.evaluation.metrics import evaluate
from edgetl.finetune.learn import fit_and_train
from edgetl.finetune.material import Learned, Material
from edgetl.finetune.strategies import Strategy, get_strategy
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import loop_config

SIGNIFICANT = 0.05


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`transfer` and `scratch` are the metric on the same headline samples; `p_value` of McNemar's exact test.

    `higher_start`, `higher_slope` and `higher_asymptote` as Torrey & Shavlik, "Transfer Learning", 2009, draw them:
    after the first epoch, over the first third of the epochs, and at the end; None where no epochs were judged.
    """

    metric: str
    transfer: float
    scratch: float
    samples: int
    epochs: int
    p_value: float
    negative_transfer: bool
    higher_start: bool | None = None
    higher_slope: bool | None = None
    higher_asymptote: bool | None = None
    scratch_epochs: tuple[Epoch, ...] = ()

    def lines(self) -> list[str]:
        """What the comparison shows, for people."""
        points = 100 * (self.transfer - self.scratch)
        sure = "" if self.p_value < SIGNIFICANT else f", within chance (p = {self.p_value:.2f})"
        said = [
            f"{'negative transfer' if self.negative_transfer else 'transfer'}: {self.transfer:.1%} {self.metric} with "
            f"the weights, {self.scratch:.1%} from random weights after {self.epochs} epochs ({points:+.1f} points on "
            f"{self.samples} images{sure})"
        ]
        for what, higher in (
            ("start", self.higher_start), ("slope", self.higher_slope), ("asymptote", self.higher_asymptote),
        ):  # fmt: skip
            if higher is not None:
                said.append(f"{'higher' if higher else 'no higher'} {what} than from scratch")
        return said


def compare(material: Material, strategy: Strategy, transfer: Learned, fresh: nn.Module) -> Comparison:
    """Trains `fresh` from scratch for as many epochs as the transfer had; where that had none, for its own default.

    The comparison says how many that were.
    """
    given = msgspec.to_builtins(material.loop) if strategy.trains else {}
    scratch = get_strategy("from-scratch")
    budget = {key: given[key] for key in ("epochs", "batch_size", "augment", "precision") if key in given}
    loop = loop_config(scratch.loop, budget)
    learned = fit_and_train(
        msgspec.structs.replace(material, model=fresh, loop=loop, checkpoint=material.checkpoint.with_name("scratch")),
        None,
        None,
    )
    return _compared(transfer, learned, material.task.labels, metric_of(loop, transfer.judged.truths))


def _compared(transfer: Learned, scratch: Learned, labels: tuple[str, ...], metric: str) -> Comparison:
    ours, theirs = (evaluate(each.judged.logits, each.judged.truths, labels) for each in (transfer, scratch))
    right = [each.judged.logits.argmax(1) == each.judged.truths for each in (transfer, scratch)]
    won, lost = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    p_value = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    start, slope, asymptote = _shapes(transfer.epochs, scratch.epochs, ours.metrics[metric], theirs.metrics[metric])
    return Comparison(
        metric=metric,
        transfer=ours.metrics[metric],
        scratch=theirs.metrics[metric],
        samples=len(right[0]),
        epochs=len(scratch.epochs),
        p_value=p_value,
        negative_transfer=lost > won and p_value < SIGNIFICANT,
        higher_start=start,
        higher_slope=slope,
        higher_asymptote=asymptote,
        scratch_epochs=tuple(scratch.epochs),
    )


def _shapes(
    ours: Sequence[Epoch], theirs: Sequence[Epoch], final: float, scratch_final: float
) -> tuple[bool | None, bool | None, bool | None]:
    """Start, slope and asymptote; a transfer without epochs starts where it ends."""
    asymptote = final > scratch_final
    curves = [[_height(each) for each in part] for part in (ours, theirs)]
    if not curves[1]:
        return None, None, asymptote
    if not curves[0]:
        return final > curves[1][0], None, asymptote
    third = max(1, min(len(curves[0]), len(curves[1])) // 3)
    rises = [np.polyfit(range(third + 1), part[: third + 1], 1)[0] if len(part) > third else 0.0 for part in curves]
    return curves[0][0] > curves[1][0], bool(rises[0] > rises[1]), asymptote


def _height(epoch: Epoch) -> float:
    """The curve is the held-out metric, or the accuracy over training batches where nothing was held out."""
    return (epoch.train_top1 or 0.0) if epoch.val_metric is None else epoch.val_metric
