"""The stage: (config) → run. Reads the data and the weights, lets the strategy learn, writes the run directory."""

import shlex
import time
from importlib.metadata import version
from pathlib import Path

import msgspec
import tomli_w

from edgetl.errors import ConfigError, DataError, suggest
from edgetl.files import sha256_of, write_bytes, write_json
from edgetl.finetune.backbones import Backbone, get_backbone, head_of, recipe
from edgetl.finetune.data import Dataset, read_dataset
from edgetl.finetune.loop import LoopConfig
from edgetl.finetune.report import write_report
from edgetl.finetune.strategies import STRATEGIES, Learned, Material, skip_or_raise
from edgetl.finetune.weights import Weights, build_model, distinct, read_weights, save_weights
from edgetl.run import FILES, SCHEMA, Run
from edgetl.staging import check_target, staged_directory
from edgetl.tasks import ImageClassification, Task
from edgetl.tasks.images import ImageInput
from edgetl.tasks.loading import prepare_files
from edgetl.types import Track, silent

CHECKED = ImageInput(height=1, width=1, resize=1)
"""For a look at whether an image decodes the result may be small."""


class FinetuneConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `finetune` is asked to do; `config.toml` of a run.

    `weights`: a path, `default` (torchvision's) or `none`. `labels`: a file with one label a line, for
    `strategy = "none"`. `size` replaces the weights' own input size in pixels.
    """

    data: str
    backbone: str = "mobilenet_v2"
    weights: str = "default"
    strategy: str = "feature-extraction"
    labels: str | None = None
    size: int | None = None
    seed: int = 0
    skip_bad_images: bool = False
    loop: LoopConfig = LoopConfig()


class FinetuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `finetune --json` prints. Metrics are fractions of 1, measured on `headline`."""

    run: str
    strategy: str
    epochs: int
    seconds: float
    metrics: dict[str, float]
    headline: str
    samples: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def finetune(config: FinetuneConfig, out: Path, *, overwrite: bool = False, track: Track = silent) -> FinetuneResult:
    """Writes the run `out`, whole or not at all. Raises ConfigError, DataError, ArtefactError, DependencyError."""
    began = time.perf_counter()
    check_target(out, overwrite=overwrite, inputs=_inputs(config))
    _check_options(config)
    backbone = get_backbone(config.backbone)
    if config.strategy not in STRATEGIES:
        raise ConfigError(f"unknown strategy `{config.strategy}`", hint=suggest(config.strategy, STRATEGIES))
    if not Path(config.data).is_dir():
        raise DataError(f"the data folder `{config.data}` does not exist", hint="check the path")
    weights = read_weights(backbone, "none" if config.strategy == "from-scratch" else config.weights)
    kept = _kept_labels(config, weights) if config.strategy == "none" else None
    dataset = read_dataset(Path(config.data), seed=config.seed, labels=kept, training=kept is None, track=track)
    task = _task(config, backbone, weights, dataset)
    model, notes = build_model(backbone, weights.state, _classes(weights, kept, task), seed=config.seed)
    if head_of(model).out_features != len(task.labels):
        raise DataError(
            f"the weights have {head_of(model).out_features} outputs, {len(task.labels)} labels were given",
            hint="one label a line, in output order",
        )
    with staged_directory(out, overwrite=overwrite) as staging:
        scratch = staging / ".scratch"
        scratch.mkdir()
        learned = STRATEGIES[config.strategy](
            Material(
                model=model,
                dataset=dataset,
                task=task,
                loop=config.loop,
                seed=config.seed,
                skip_bad_images=config.skip_bad_images,
                scratch=scratch,
                track=track,
            )
        )
        dataset = _usable(dataset, learned, config, track)
        for leftover in scratch.iterdir():
            leftover.unlink()
        scratch.rmdir()
        result = FinetuneResult(
            run=str(out),
            strategy=config.strategy,
            epochs=learned.epochs,
            seconds=round(time.perf_counter() - began, 3),
            metrics=learned.metrics,
            headline=dataset.headline,
            samples=len(dataset.split(dataset.headline)),
            skipped=dataset.skipped,
            notes=tuple(notes),
        )
        _write_run(staging, out.name, config, weights, task, dataset, learned, result)
    return result


def _classes(weights: Weights, kept: tuple[str, ...] | None, task: Task) -> int | None:
    """How many outputs the model gets; None keeps the weights' own head."""
    return None if kept is not None and weights.state is not None else len(task.labels)


def _usable(dataset: Dataset, learned: Learned, config: FinetuneConfig, track: Track) -> Dataset:
    """Export will need every split, so those the strategy did not decode are checked too."""
    left = dataset.without(learned.skipped)
    unseen = [sample for sample in left.samples if sample.split not in learned.decoded]
    decoded = prepare_files((dataset.root / sample.path for sample in unseen), CHECKED)
    watched = track(zip(unseen, decoded, strict=True), "check images", len(unseen))
    bad = {sample.path: pixels for sample, pixels in watched if isinstance(pixels, DataError)}
    left = left.without(skip_or_raise(bad, config.skip_bad_images))
    for split in ("train", "val"):
        if not any(sample.split == split for sample in left.samples):
            raise DataError(f"no {split} image of `{config.data}` can be decoded", hint="check the files")
    return left


def _inputs(config: FinetuneConfig) -> tuple[Path, ...]:
    """The folders a run is made from, which it must not replace or lie in."""
    return tuple(path for path in (Path(config.data), Path(config.weights)) if path.is_dir())


def _check_options(config: FinetuneConfig) -> None:
    """Options that the strategy would ignore are mistakes."""
    if config.labels is not None and config.strategy != "none":
        raise ConfigError("`--labels` goes with `--strategy none`", hint="otherwise the class folders are the labels")
    if config.strategy == "from-scratch" and config.weights not in ("default", "none"):
        raise ConfigError("`from-scratch` takes no `--weights`", hint="`--strategy fine-tune` starts from weights")


def _kept_labels(config: FinetuneConfig, weights: Weights) -> tuple[str, ...]:
    """The labels of the weights' own head: from `--labels`, else from the weights' metadata."""
    if config.labels is not None:
        path = Path(config.labels)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise DataError(f"the labels file `{path}` {what}", hint="one label a line, in output order")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"the labels file `{path}` is not UTF-8 text", hint="one label a line") from error
        if not lines:
            raise DataError(f"the labels file `{path}` is empty", hint="one label a line, in output order")
        return distinct(lines)
    if weights.labels is None:
        raise DataError("the weights do not say what their outputs mean", hint="pass `--labels FILE`, one label a line")
    return weights.labels


def _task(config: FinetuneConfig, backbone: Backbone, weights: Weights, dataset: Dataset) -> Task:
    """Labels and input of the run: the weights' own recipe where they carry one, else torchvision's."""
    if weights.task is not None and config.size is None:
        return msgspec.structs.replace(weights.task, labels=dataset.labels, temperature=1.0)
    chosen = recipe(backbone, newest=config.weights == "default", size=config.size)
    return ImageClassification(labels=dataset.labels, input=chosen.input, mean=chosen.mean, std=chosen.std)


def _command(config: FinetuneConfig) -> str:
    """The command line that does the same again."""
    parts = ["edgetl finetune", shlex.quote(config.data), f"--backbone {config.backbone}"]
    parts += [
        f"--weights {shlex.quote(config.weights)}",
        f"--strategy {config.strategy}",
        f"--seed {config.seed}",
    ]
    parts += [f"--labels {shlex.quote(config.labels)}"] if config.labels else []
    parts += [f"--size {config.size}"] if config.size else []
    if config.strategy == "from-scratch":
        loop = config.loop
        parts += [f"--epochs {loop.epochs}", f"--batch-size {loop.batch_size}"]
        parts += [f"--learning-rate {loop.learning_rate}", f"--augment {loop.augment}"]
    parts += ["--skip-bad-images"] if config.skip_bad_images else []
    return " ".join(parts)


def _write_run(
    folder: Path,
    name: str,
    config: FinetuneConfig,
    weights: Weights,
    task: Task,
    dataset: Dataset,
    learned: Learned,
    result: FinetuneResult,
) -> None:
    save_weights(folder / "weights.safetensors", learned.model, task, weights.record.licence)
    write_json(folder / "task.json", task)
    write_json(folder / "samples.json", dataset.samples)
    run = Run(
        schema=SCHEMA,
        name=name,
        strategy=config.strategy,
        backbone=config.backbone,
        seed=config.seed,
        weights=msgspec.structs.replace(weights.record, notes=result.notes),
        files={name: sha256_of(folder / name) for name in FILES},
        data=dataset.record(),
        metrics=learned.metrics,
        headline=dataset.headline,
        compute=learned.compute,
        versions={library: version(library) for library in ("edgetl", "torch", "torchvision", "numpy", "Pillow")},
    )
    settings = {key: value for key, value in msgspec.to_builtins(config).items() if value is not None}
    write_bytes(folder / "config.toml", tomli_w.dumps(settings).encode())
    write_bytes(folder / "metrics.jsonl", b"".join(msgspec.json.encode(line) + b"\n" for line in learned.history))
    write_report(folder / "report.html", run, task, learned.history, _command(config))
    write_json(folder / "run.json", run)
