"""A strategy carried out: the head fitted to frozen features, then the phases of training, then the headline."""

import numpy as np
from numpy.typing import NDArray

from edgetl.finetune.backbones.registry import head_name, head_of
from edgetl.finetune.backbones.stages import stages
from edgetl.finetune.data.imbalance import class_weights, remedy
from edgetl.finetune.evaluation.calibration import fit_temperature
from edgetl.finetune.evaluation.headline import judge, metric_of, score_by, temperature_of
from edgetl.finetune.head.probe import Extractor, Probe, features_of, refitted
from edgetl.finetune.material import Judged, Learned, Material, check_classes_left, skip_or_raise
from edgetl.finetune.strategies import phases
from edgetl.finetune.training.checkpoint import Checkpoint
from edgetl.finetune.training.job import Job
from edgetl.finetune.training.loop import train
from edgetl.finetune.training.parts import entrance
from edgetl.finetune.training.pools import Pools, pools_of
from edgetl.finetune.training.precision import choose_precision, random_pixels
from edgetl.finetune.training.regularisation import head_dropout
from edgetl.finetune.training.team import check_batch_size


def fit_only(material: Material, found: Extractor, fitted: Probe) -> Learned:
    """`feature-extraction`: the fitted head is all; `test` is touched only after that."""
    dataset, model = material.dataset, material.model
    table = features_of(material, found, dataset.headline)
    skipped = (*fitted.skipped, *skip_or_raise(table.bad, material.skip_bad_images))
    samples = dataset.split(dataset.headline)
    features, truths = table.rows(samples)
    head, metric = fitted.head, metric_of(material.loop, fitted.truths)
    model.set_submodule(head_name(model), head.module())
    logits = np.concatenate([head.logits(features[i : i + 4096]) for i in range(0, len(truths), 4096)])
    return Learned(
        model=model,
        judged=Judged(samples=samples.take(np.flatnonzero(table.numbers >= 0)), logits=logits, truths=truths),
        temperature=fit_temperature(head.out_of_fold, fitted.truths[head.out_of_fold_rows]),
        candidates=head.candidates,
        compute={**found.facts(), "images_computed": fitted.table.computed + table.computed, "c": head.c},
        decoded=("train", dataset.headline),
        skipped=skipped,
        selection=score_by(metric)(head.out_of_fold, fitted.truths[head.out_of_fold_rows])[0],
        metric=metric,
    )


def fit_and_train(material: Material, found: Extractor | None, fitted: Probe | None) -> Learned:
    """The phases of a training strategy, from the fitted head where there is one."""
    dataset, model, config = material.dataset, material.model, material.loop
    check_batch_size(config.batch_size, material.team)
    pools, skipped = pools_of(material)
    truths = np.asarray(pools.fit.samples.labels, np.int64)
    check_classes_left(truths, material.task)
    if fitted:
        head = (
            refitted(material, fitted, pools.fit.samples) if dataset.headline == "val" and pools.held else fitted.head
        )
        model.set_submodule(head_name(model), head.module())
    checkpoint = Checkpoint(
        material.checkpoint, material.identity, resume=material.resume, owner=material.team.rank == 0
    )
    choice = choose_precision(
        model, lambda: random_pixels(material.task.input), config, material.team.device, known=checkpoint.decisions
    )
    checkpoint.decisions = choice.facts()
    job, notes = _job(material, pools, truths, bf16=choice.bf16)
    undrop = head_dropout(head_of(model), config.dropout) if config.dropout is not None else None
    epochs = train(job, checkpoint, material.track)
    checkpoint.close()
    if undrop:
        undrop()
    model.cpu()
    judged, more = judge(material, dataset.headline)
    return Learned(
        model=model,
        judged=judged,
        temperature=temperature_of(material, pools.held),
        epochs=epochs,
        candidates=fitted.head.candidates if fitted else (),
        compute={**(found.facts() if found else {}), **choice.facts()},
        decoded=("train", dataset.headline),
        skipped=tuple(dict.fromkeys((*skipped, *more))),
        notes=tuple(notes),
        selected_on=len(job.held),
        selection=max((each.val_metric for each in epochs if each.val_metric is not None), default=None),
        metric=metric_of(config, truths),
        bf16=choice.bf16,
    )


def keep(material: Material) -> Learned:
    """`none`: the weights as they are."""
    judged, skipped = judge(material, material.dataset.headline)
    return Learned(model=material.model, judged=judged, decoded=(material.dataset.headline,), skipped=skipped)


def _job(material: Material, pools: Pools, truths: NDArray[np.int64], *, bf16: bool) -> tuple[Job, list[str]]:
    found, notes = stages(material.model), list[str]()
    cure = remedy(material.loop.imbalance, truths)
    job = Job(
        model=material.model,
        stages=found,
        phases=phases(material.loop, found),
        config=material.loop,
        truths=truths,
        held=np.asarray(pools.held.samples.labels if pools.held else (), np.int64),
        enter=entrance(material, pools, found, notes.append),
        score=score_by(metric_of(material.loop, truths)),
        path=lambda position: pools.fit.samples[position].path,
        seed=material.seed,
        bf16=bf16,
        team=material.team,
        class_weights=class_weights(truths, len(material.task.labels)) if cure == "weights" else None,
        sampling=cure == "sampling",
        observe=material.observe,
    )
    return job, notes
