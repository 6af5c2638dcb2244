"""A strategy carried out on texts: the head fitted to frozen embeddings, then the phases of training, then judged."""

import numpy as np
import torch
from torch import Tensor

from edgetl.finetune.backbones.registry import head_name, head_of
from edgetl.finetune.data.imbalance import class_weights, remedy
from edgetl.finetune.data.splits import hold_out
from edgetl.finetune.data.table import Samples
from edgetl.finetune.evaluation.calibration import fit_temperature
from edgetl.finetune.evaluation.headline import metric_of, score_by
from edgetl.finetune.material import Learned, check_classes_left
from edgetl.finetune.strategies import phases
from edgetl.finetune.text.features import TextProbe, refitted
from edgetl.finetune.text.feeds import by_length
from edgetl.finetune.text.material import TextMaterial, judge
from edgetl.finetune.text.model import Joined, text_stages
from edgetl.finetune.training.checkpoint import Checkpoint
from edgetl.finetune.training.job import Job, Part
from edgetl.finetune.training.loop import train
from edgetl.finetune.training.pools import MIN_HELD_OUT
from edgetl.finetune.training.precision import choose_precision
from edgetl.finetune.training.regularisation import head_dropout
from edgetl.finetune.training.team import check_batch_size

PROBED = 16
"""Texts of the probe that chooses the precision, of the data's middle length."""


def keep(material: TextMaterial) -> Learned:
    """`none`: the weights as they are."""
    dataset = material.data.dataset
    return Learned(model=material.model, judged=judge(material, dataset.split(dataset.headline)))


def fit_only(material: TextMaterial, fitted: TextProbe) -> Learned:
    """`feature-extraction`: the fitted head is all; the headline split is touched only after that."""
    dataset, model, head = material.data.dataset, material.model, fitted.head
    model.set_submodule(head_name(model), head.module())
    truths = fitted.truths[head.out_of_fold_rows]
    metric = metric_of(material.loop, fitted.truths)
    return Learned(
        model=model,
        judged=judge(material, dataset.split(dataset.headline)),
        temperature=fit_temperature(head.out_of_fold, truths),
        candidates=head.candidates,
        compute=fitted.facts(),
        selection=score_by(metric)(head.out_of_fold, truths)[0],
        metric=metric,
    )


def fit_and_train(material: TextMaterial, fitted: TextProbe | None) -> Learned:
    """The phases of a training strategy, from the fitted head where there is one."""
    dataset, model, config = material.data.dataset, material.model, material.loop
    check_batch_size(config.batch_size, material.team)
    fit, held = pools_of(material)
    check_classes_left(fit.labels, material.task)
    if fitted:
        same = dataset.headline == "test" or held is None
        head = fitted.head if same else refitted(material, fitted, fit)
        model.set_submodule(head_name(model), head.module())
    owner = material.team.rank == 0
    checkpoint = Checkpoint(material.checkpoint, material.identity, resume=material.resume, owner=owner)
    choice = choose_precision(
        Joined(model), lambda: _typical(material, fit), config, material.team.device, known=checkpoint.decisions
    )
    checkpoint.decisions = choice.facts()
    job = _job(material, fit, held, bf16=choice.bf16)
    undrop = head_dropout(head_of(model), config.dropout) if config.dropout is not None else None
    epochs = train(job, checkpoint, material.track)
    checkpoint.close()
    if undrop:
        undrop()
    model.cpu()
    answered = judge(material, held) if held is not None else None
    return Learned(
        model=model,
        judged=judge(material, dataset.split(dataset.headline)),
        temperature=fit_temperature(answered.logits, answered.truths) if answered else 1.0,
        epochs=epochs,
        candidates=fitted.head.candidates if fitted else (),
        compute={**(fitted.facts() if fitted else {}), **choice.facts()},
        selected_on=len(job.held),
        selection=max((each.val_metric for each in epochs if each.val_metric is not None), default=None),
        metric=metric_of(config, job.truths),
        bf16=choice.bf16,
    )


def pools_of(material: TextMaterial) -> tuple[Samples, Samples | None]:
    """The texts to learn from, and those for choices, short ones first: `val` when `test` is the headline, else a part
    of train.
    """
    dataset, fraction = material.data.dataset, material.loop.hold_out
    fit, held = dataset.split("train"), dataset.split("val")
    if dataset.headline == "val":
        if round(len(fit) * fraction) < MIN_HELD_OUT:
            return fit, None
        fit, held = hold_out(fit, fraction, material.seed)
    if len(held) < MIN_HELD_OUT:
        return fit, None
    return fit, held.take(np.argsort(material.tokens.lengths(held), kind="stable"))


def _typical(material: TextMaterial, samples: Samples) -> Tensor:
    """Training texts whose length is the middle one."""
    order = np.argsort(material.tokens.lengths(samples), kind="stable")
    start = max(0, len(order) // 2 - PROBED // 2)
    feed = material.feed(samples)
    return torch.from_numpy(feed.read(order[start : start + PROBED], 0))


def _job(material: TextMaterial, fit: Samples, held: Samples | None, *, bf16: bool) -> Job:
    """The frozen layers run in every step: their gradients are what costs, and those are not computed."""
    found, config = text_stages(material.model), material.loop
    truths = np.asarray(fit.labels, np.int64)
    cure = remedy(config.imbalance, truths)
    part = Part(
        module=Joined(material.model), feed=material.feed(fit), judged=material.feed(fit if held is None else held)
    )
    return Job(
        model=material.model,
        stages=found,
        phases=phases(config, found),
        config=config,
        truths=truths,
        held=np.asarray(() if held is None else held.labels, np.int64),
        enter=lambda phase: part,
        score=score_by(metric_of(config, truths)),
        path=lambda position: f"row {fit.path(position)}",
        seed=material.seed,
        bf16=bf16,
        team=material.team,
        class_weights=class_weights(truths, len(material.task.labels)) if cure == "weights" else None,
        sampling=cure == "sampling",
        arrange=by_length(material.tokens.lengths(fit), config.batch_size),
        samples="texts",
        observe=material.observe,
    )
