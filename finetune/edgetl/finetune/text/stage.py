"""The stage for texts: (config) → run. Reads the texts and the backbone, lets the strategy learn, writes the run."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from edgetl.files import write_bytes, write_json
from edgetl.finetune.advice.advise import Decision
from edgetl.finetune.advice.auto import decided
from edgetl.finetune.cache.room import open_cache
from edgetl.finetune.config import FinetuneConfig, FinetuneResult
from edgetl.finetune.interrupted import kept_to_resume, out_of_memory, unfinished
from edgetl.finetune.material import Learned
from edgetl.finetune.record import LIBRARIES, Outcome, result_of, write_run
from edgetl.finetune.strategies import AUTO, Strategy, get_strategy
from edgetl.finetune.text.dataset import write_texts
from edgetl.finetune.text.features import TextProbe, probe
from edgetl.finetune.text.learn import fit_and_train, fit_only, keep
from edgetl.finetune.text.material import TextMaterial
from edgetl.finetune.text.rebuild import ARCHITECTURE
from edgetl.finetune.text.start import LOOP_OPTIONS, TextStart, text_loop, text_start
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import Value
from edgetl.finetune.training.team import Team, team_of_processes
from edgetl.finetune.training.tensorboard import tensorboard
from edgetl.plugins import require
from edgetl.staging import check_target, staged_directory
from edgetl.types import Track, silent

SHOWN_CHARACTERS = 600
"""So much of a text stands in the report."""


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
    require("transformers", "transformers", "tokenizers")
    began = time.perf_counter()
    backbone = Path(config.backbone)
    check_target(out, overwrite=overwrite, inputs=(backbone,) if backbone.is_dir() else ())
    state = unfinished(out, overwrite=overwrite, resume=resume)
    with team_of_processes() as team, kept_to_resume(state), tempfile.TemporaryDirectory() as scratch:
        start = text_start(config, Path(scratch), track)
        events = state / "tensorboard"
        watching = tensorboard(events, observe) if config.tensorboard and team.rank == 0 else observe
        material = _material(start, state / "main", resume, team, track, watching)
        try:
            material, strategy, decision, learned = _learn(start, material)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            raise out_of_memory(error, material.loop, "texts") from error
        outcome = Outcome(
            learned=learned, loop=material.loop, backbone=start.backbone.name, strategy=strategy.name,
            decision=decision, comparison=None,
            leakage=start.leakage, dataset=start.data.dataset, weights=start.backbone.record,
            seconds=time.perf_counter() - began, notes=(*start.notes, *learned.notes),
            show=lambda path: start.data.text(path)[:SHOWN_CHARACTERS], given=_given(start), what="texts",
            beside=lambda folder: _beside(folder, start),
            libraries=(*LIBRARIES, "transformers", "tokenizers"), loop_options=LOOP_OPTIONS,
        )  # fmt: skip
        if team.rank == 0:
            with staged_directory(out, overwrite=overwrite) as staging:
                write_run(staging, out.name, msgspec.to_builtins(config), start.task, outcome)
                if events.is_dir():
                    shutil.move(events, staging / "tensorboard")
            shutil.rmtree(state, ignore_errors=True)
    return result_of(out, outcome)


def _material(
    start: TextStart, checkpoint: Path, resume: bool, team: Team, track: Track, observe: Callable[[Epoch], None]
) -> TextMaterial:
    config, dataset = start.config, start.data.dataset
    identity: dict[str, Value] = {
        "backbone": config.backbone, "weights": start.backbone.record.sha256, "strategy": config.strategy,
        "data": dataset.record().fingerprint, "seed": config.seed, "max_length": start.task.input.max_length,
        "tokeniser": start.tokeniser, "torch": str(torch.__version__), "threads": torch.get_num_threads(),
        "processes": team.size, **config.loop,
    }  # fmt: skip
    return TextMaterial(
        model=start.model,
        data=start.data,
        tokens=start.tokens,
        tokeniser=start.tokeniser,
        task=start.task,
        loop=text_loop(get_strategy("fine-tune"), config.loop),
        seed=config.seed,
        cache=open_cache(config.cache_gb),
        checkpoint=checkpoint,
        resume=resume,
        identity=identity,
        team=team,
        track=track,
        observe=observe,
    )


def _learn(start: TextStart, material: TextMaterial) -> tuple[TextMaterial, Strategy, Decision | None, Learned]:
    """The strategy that was asked for, or that the data ask for, carried out."""
    name, decision = start.config.strategy, None
    fitted: TextProbe | None = None
    if name == AUTO and not start.pretrained:
        name = "from-scratch"
    if name == AUTO or get_strategy(name).head == "fitted":
        fitted = probe(material)
    if name == AUTO and fitted:
        labels = len(start.task.labels)
        decision = decided(
            fitted.head, fitted.features, fitted.truths, None, labels, seed=material.seed, what="texts"
        )  # fmt: skip
        name = decision.strategy
    strategy = get_strategy(name)
    material = msgspec.structs.replace(material, loop=text_loop(strategy, start.config.loop))
    if strategy.head == "kept":
        return material, strategy, decision, keep(material)
    if not strategy.trains and fitted:
        return material, strategy, decision, fit_only(material, fitted)
    return material, strategy, decision, fit_and_train(material, fitted)


def _beside(folder: Path, start: TextStart) -> tuple[str, ...]:
    """What a run of texts has beside the files of every run."""
    write_texts(folder / "texts.json", start.data.texts(start.data.dataset.samples))
    write_bytes(folder / "tokenizer.json", start.backbone.tokenizer.read_bytes())
    write_json(folder / ARCHITECTURE, start.backbone.architecture)
    return "texts.json", "tokenizer.json", ARCHITECTURE


def _given(start: TextStart) -> str:
    """What the model takes, in words."""
    spec = start.task.input
    samples = start.data.dataset.samples
    cut = int((start.tokens.lengths(samples) == spec.max_length).sum())
    return f"up to {spec.max_length} tokens, {cut} of {len(samples)} texts reach that length and may be cut"
