"""The stage: (config) → run. Reads the data and the weights, decides, lets the strategy learn, writes the run."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from torch import nn

from edgetl.errors import DataError
from edgetl.finetune.advice.advise import Decision
from edgetl.finetune.advice.auto import decided
from edgetl.finetune.backbones.weights import build_model, source_head
from edgetl.finetune.cache.pictures import Pictures, undecodable
from edgetl.finetune.cache.room import open_cache
from edgetl.finetune.config import FinetuneConfig, FinetuneResult
from edgetl.finetune.data.dataset import Dataset
from edgetl.finetune.evaluation.scratch import compare
from edgetl.finetune.head.probe import Extractor, Probe, extractor, probe
from edgetl.finetune.interrupted import kept_to_resume, out_of_memory, unfinished
from edgetl.finetune.learn import fit_and_train, fit_only, keep
from edgetl.finetune.material import Learned, Material, skip_or_raise
from edgetl.finetune.record import Outcome, result_of, write_run
from edgetl.finetune.start import Start, start_of
from edgetl.finetune.strategies import AUTO, Strategy, get_strategy, without_effect
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import Value, loop_config
from edgetl.finetune.training.team import Team, team_of_processes
from edgetl.finetune.training.tensorboard import tensorboard
from edgetl.run import Split
from edgetl.staging import check_target, staged_directory
from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import Track, silent

CHECKED = ImageInput(height=1, width=1, resize=1)
"""For a look at whether an image decodes the result may be small."""

THUMBNAIL = ImageInput(height=112, width=112, resize=112)


def finetune(
    config: FinetuneConfig,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    track: Track = silent,
    observe: Callable[[Epoch], None] = lambda epoch: None,
) -> FinetuneResult:
    """Writes the run `out`, whole or not at all. With `resume` goes on with a training that was interrupted.

    `observe` is told every finished epoch; what it raises ends the training, which can be resumed.
    Raises ConfigError, DataError, ArtefactError, DependencyError.
    """
    began = time.perf_counter()
    check_target(out, overwrite=overwrite, inputs=_inputs(config))
    state = unfinished(out, overwrite=overwrite, resume=resume)
    with team_of_processes() as team, kept_to_resume(state):
        start = start_of(config, track)
        unwatched = _material(start, state / "main", resume, team, track)
        events = state / "tensorboard"
        watching = tensorboard(events, observe) if config.tensorboard and team.rank == 0 else observe
        material = msgspec.structs.replace(unwatched, observe=watching)
        try:
            material, strategy, decision, learned = _learn(start, material)
            plain = msgspec.structs.replace(material, observe=unwatched.observe)
            comparison = compare(plain, strategy, learned, _rebuilt(start)) if config.compare_scratch else None
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            raise out_of_memory(error, material.loop) from error
        dataset = _usable(start.dataset, learned, config, track)
        outcome = Outcome(
            learned=learned, loop=material.loop, backbone=config.backbone, strategy=strategy.name,
            decision=decision, comparison=comparison,
            leakage=start.leakage, dataset=dataset, weights=start.weights.record, seconds=time.perf_counter() - began,
            notes=(*start.notes, *learned.notes, *_ignored(config, strategy)),
            show=lambda path: prepare(dataset.root / path, THUMBNAIL), given=_given(start.task.input),
        )  # fmt: skip
        if team.rank == 0:
            with staged_directory(out, overwrite=overwrite) as staging:
                write_run(staging, out.name, msgspec.to_builtins(config), start.task, outcome)
                if events.is_dir():
                    shutil.move(events, staging / "tensorboard")
            shutil.rmtree(state, ignore_errors=True)
    return result_of(out, outcome)


def _material(start: Start, checkpoint: Path, resume: bool, team: Team, track: Track) -> Material:
    config = start.config
    identity: dict[str, Value] = {
        "backbone": config.backbone, "weights": start.weights.record.sha256, "strategy": config.strategy,
        "data": start.dataset.record().fingerprint, "seed": config.seed, "size": config.size or 0,
        "torch": str(torch.__version__), "threads": torch.get_num_threads(), "processes": team.size, **config.loop,
    }  # fmt: skip
    return Material(
        model=start.model,
        dataset=start.dataset,
        task=start.task,
        loop=loop_config({}, config.loop),
        seed=config.seed,
        skip_bad_images=config.skip_bad_images,
        cache=open_cache(config.cache_gb),
        checkpoint=checkpoint,
        resume=resume,
        identity=identity,
        team=team,
        track=track,
    )


def _learn(start: Start, material: Material) -> tuple[Material, Strategy, Decision | None, Learned]:
    """The strategy that was asked for, or that the data ask for, carried out."""
    name, decision = start.config.strategy, None
    found: Extractor | None = None
    fitted: Probe | None = None
    if name == AUTO and start.weights.state is None:
        name = "from-scratch"
    if name == AUTO or get_strategy(name).head == "fitted":
        found = extractor(material)
        fitted = probe(material, found)
    if name == AUTO and fitted:
        source = source_head(start.weights, start.model)
        labels = len(start.task.labels)
        decision = decided(fitted.head, fitted.features, fitted.truths, source, labels, seed=material.seed)
        name = decision.strategy
    strategy = get_strategy(name)
    material = msgspec.structs.replace(material, loop=loop_config(strategy.loop, start.config.loop))
    if strategy.head == "kept":
        return material, strategy, decision, keep(material)
    if not strategy.trains and found and fitted:
        return material, strategy, decision, fit_only(material, found, fitted)
    return material, strategy, decision, fit_and_train(material, found, fitted)


def _ignored(config: FinetuneConfig, strategy: Strategy) -> tuple[str, ...]:
    """With `auto` nobody knew before whether there would be a training."""
    ignored = ", ".join(f"`{name}`" for name in without_effect(strategy, config.loop))
    return (f"{strategy.name} trains nothing, so {ignored} had no effect",) if ignored else ()


def _rebuilt(start: Start) -> nn.Module:
    return build_model(start.backbone, None, len(start.task.labels), seed=start.config.seed)[0]


def _usable(dataset: Dataset, learned: Learned, config: FinetuneConfig, track: Track) -> Dataset:
    """Export will need every split, so those the strategy did not decode are checked too."""
    left = dataset.without(learned.skipped)
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        if split not in learned.decoded and len(samples := left.split(split)):
            pictures = Pictures(samples=samples, root=left.root, spec=CHECKED)
            bad = undecodable(pictures, range(len(samples)), track)
            left = left.without(skip_or_raise(bad, config.skip_bad_images))
    for split in splits[:2]:
        if not len(left.split(split)):
            raise DataError(f"no {split} image of `{config.data}` can be decoded", hint="check the files")
    return left


def _given(spec: ImageInput) -> str:
    """What the model takes, in words."""
    return f"{spec.height} × {spec.width} pixels, {spec.interpolation} {spec.mode}"


def _inputs(config: FinetuneConfig) -> tuple[Path, ...]:
    """The folders a run is made from, which it must not replace or lie in."""
    return tuple(path for path in (Path(config.data), Path(config.weights)) if path.is_dir())
