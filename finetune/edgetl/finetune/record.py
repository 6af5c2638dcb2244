"""A run written down: weights, task, samples, metrics, evaluation, configuration, report, and last run.json."""

import shlex
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tomli_w

from edgetl.files import sha256_of, write_bytes, write_json
from edgetl.finetune.advice.advise import Decision
from edgetl.finetune.backbones.weights import save_weights
from edgetl.finetune.config import FinetuneResult, meant_for
from edgetl.finetune.data.dataset import Dataset
from edgetl.finetune.data.imbalance import explain, imbalance, remedy
from edgetl.finetune.data.leakage import Leakage
from edgetl.finetune.evaluation.calibration import answers
from edgetl.finetune.evaluation.metrics import Evaluation, evaluate
from edgetl.finetune.evaluation.scratch import Comparison
from edgetl.finetune.material import Classifier, Judged, Learned
from edgetl.finetune.report.run_report import Story, write_report
from edgetl.finetune.report.trust import MAX_MISTAKES, Mistake
from edgetl.finetune.strategies import get_strategy, without_effect
from edgetl.finetune.training.config import LoopConfig
from edgetl.run import FILES, SCHEMA, Run, WeightsRecord, write_samples
from edgetl.types import Pixels

LIBRARIES = ("edgetl", "torch", "torchvision", "numpy", "Pillow")


class Outcome(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything a finished run has to tell. `loop` is the configuration that was carried out, `backbone` a name.

    `show` gives what a sample's path stands for, small enough for a page. `beside` writes the task's own files into
    the run's folder and names them. `given`: what the model takes, in words; `what` its samples are called.
    `loop_options`: what of `loop` means something for the task.
    """

    learned: Learned
    loop: LoopConfig
    backbone: str
    strategy: str
    decision: Decision | None
    comparison: Comparison | None
    leakage: Leakage
    dataset: Dataset
    weights: WeightsRecord
    seconds: float
    notes: tuple[str, ...]
    show: Callable[[str], Pixels | str]
    given: str
    what: str = "images"
    beside: Callable[[Path], tuple[str, ...]] = lambda folder: ()
    libraries: tuple[str, ...] = LIBRARIES
    loop_options: Collection[str] = LoopConfig.__struct_fields__

    @cached_property
    def evaluation(self) -> Evaluation:
        """The scores on the headline split, with the fitted temperature."""
        judged = self.learned.judged
        return evaluate(judged.logits, judged.truths, self.dataset.labels, self.learned.temperature)


def write_run(folder: Path, name: str, config: Mapping[str, Any], task: Classifier, outcome: Outcome) -> None:
    """Fills `folder`; run.json is last, so that a folder with one is whole."""
    learned, dataset = outcome.learned, outcome.dataset
    task = msgspec.structs.replace(task, temperature=round(learned.temperature, 4))
    save_weights(folder / "weights.safetensors", learned.model, task, outcome.weights.licence)
    write_json(folder / "task.json", task)
    write_samples(folder / "samples.json", dataset.samples)
    write_json(folder / "evaluation.json", outcome.evaluation)
    own = outcome.beside(folder)
    resolved = _resolved(config, outcome)
    write_bytes(folder / "config.toml", tomli_w.dumps(resolved).encode())
    history = learned.epochs or learned.candidates
    write_bytes(folder / "metrics.jsonl", b"".join(msgspec.json.encode(line) + b"\n" for line in history))
    run = Run(
        schema=SCHEMA,
        name=name,
        strategy=outcome.strategy,
        backbone=outcome.backbone,
        seed=resolved["seed"],
        weights=msgspec.structs.replace(outcome.weights, notes=outcome.notes),
        files={name: sha256_of(folder / name) for name in (*FILES, *own)},
        data=dataset.record(),
        metrics=outcome.evaluation.metrics,
        metric=learned.metric,
        headline=dataset.headline,
        reason=outcome.decision.reason if outcome.decision else "",
        findings=_findings(outcome),
        compute=learned.compute,
        versions={library: version(library) for library in outcome.libraries},
    )
    command = f"edgetl finetune --config {shlex.quote(name)}/config.toml -o AGAIN"
    write_report(
        folder / "report.html", run, task, [*learned.epochs, *learned.candidates], command, story=_story(outcome)
    )
    write_json(folder / "run.json", run)


def _resolved(config: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """What does the same again without deciding or probing anything."""
    loop = msgspec.to_builtins(outcome.loop)
    if outcome.learned.epochs:
        loop["precision"] = "bf16" if outcome.learned.bf16 else "fp32"
    idle = without_effect(get_strategy(outcome.strategy), loop)
    told = set(outcome.loop_options) - set(idle)
    loop = {key: value for key, value in loop.items() if value is not None and key in told}
    settings = {**config, "strategy": outcome.strategy, "loop": loop}
    return {key: value for key, value in settings.items() if value is not None and meant_for(key, config["task"])}


def _findings(outcome: Outcome) -> tuple[str, ...]:
    """What the data are like: balance and leakage."""
    labels = np.asarray(outcome.dataset.split("train").labels)
    return (explain(imbalance(labels), remedy(outcome.loop.imbalance, labels), outcome.what), *outcome.leakage.lines())


def _story(outcome: Outcome) -> Story:
    learned, judged = outcome.learned, outcome.learned.judged
    strategy = [f"{outcome.strategy}: {get_strategy(outcome.strategy).summary}."]
    strategy += [f"Chosen because: {outcome.decision.reason}"] if outcome.decision else ["Chosen by the user."]
    if learned.selected_on:
        best = max(learned.epochs, key=lambda each: (each.val_metric or 0.0, -(each.val_loss or 0.0)))
        strategy.append(
            f"The weights are of epoch {best.epoch}, chosen by {learned.selected_on} {outcome.what} set aside."
        )
    elif learned.epochs:
        strategy.append(
            f"The weights are of the last epoch: there were too few {outcome.what} to set some aside for a choice."
        )
    return Story(
        strategy=strategy,
        samples=outcome.dataset.samples,
        findings=_findings(outcome),
        scratch=outcome.comparison.scratch_epochs if outcome.comparison else (),
        comparison=outcome.comparison.lines() if outcome.comparison else (),
        metric=learned.metric,
        evaluation=outcome.evaluation,
        uncalibrated=answers(judged.logits, judged.truths),
        calibrated=answers(judged.logits, judged.truths, learned.temperature) if learned.temperature != 1.0 else None,
        mistakes=mistakes(judged, outcome),
        given=outcome.given,
        what=outcome.what,
    )


def mistakes(judged: Judged, outcome: Outcome) -> list[Mistake]:
    """The wrong answers the model was surest of, surest first."""
    given = answers(judged.logits, judged.truths, outcome.learned.temperature)
    wrong = np.flatnonzero(~given.correct)
    surest = wrong[np.argsort(-given.confidence[wrong], kind="stable")][:MAX_MISTAKES]
    labels = outcome.dataset.labels
    return [
        Mistake(
            path=(path := judged.samples.path(int(i))),
            truth=labels[judged.truths[i]],
            predicted=labels[given.predicted[i]],
            probability=float(given.confidence[i]),
            shown=outcome.show(path),
        )
        for i in surest
    ]


def result_of(out: Path, outcome: Outcome) -> FinetuneResult:
    """What the stage answers about the run `out`."""
    learned = outcome.learned
    return FinetuneResult(
        run=str(out),
        strategy=outcome.strategy,
        epochs=len(learned.epochs),
        seconds=round(outcome.seconds, 3),
        metrics=outcome.evaluation.metrics,
        metric=learned.metric,
        selection=learned.selection,
        headline=outcome.dataset.headline,
        samples=len(learned.judged.truths),
        reason=outcome.decision.reason if outcome.decision else "",
        leakage=tuple(outcome.leakage.lines()),
        comparison=outcome.comparison,
        skipped=outcome.dataset.skipped,
        notes=outcome.notes,
    )
