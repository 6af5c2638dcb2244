"""`report.html` of a run: what was learned from what, how well, and how to do it again."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from matplotlib.figure import Figure

from edgetl.finetune.head import Candidate
from edgetl.finetune.loop import Epoch
from edgetl.finetune.page import Section, write_page
from edgetl.run import Run
from edgetl.tasks import Task


def write_report(path: Path, run: Run, task: Task, history: Sequence[msgspec.Struct], command: str) -> None:
    score = ", ".join(f"{name} {value:.1%}" for name, value in run.metrics.items())
    samples = run.data.counts.get(run.headline, 0)
    summary = f"{run.backbone}, strategy {run.strategy}: {score} on {samples} {run.headline} images."
    sections = [_data(run, task), _weights(run)]
    epochs = [line for line in history if isinstance(line, Epoch)]
    candidates = [line for line in history if isinstance(line, Candidate)]
    if epochs:
        sections.append(_curves(epochs))
    if candidates:
        sections.append(_regularisation(candidates))
    write_page(path, f"Run {run.name}", summary, sections, command)


def _data(run: Run, task: Task) -> Section:
    rows = [(split, str(count)) for split, count in run.data.counts.items()]
    rows += [("labels", ", ".join(task.labels[:20]) + (", …" if len(task.labels) > 20 else ""))]
    rows += [("left out (cannot be decoded)", ", ".join(run.data.skipped))] if run.data.skipped else []
    rows += [
        (
            "input",
            f"{task.input.height} × {task.input.width} pixels, {task.input.interpolation} {task.input.mode}",
        )
    ]
    split = "; val was split from train" if "val" in run.data.split_from_train else ""
    return Section(title="Data", text=f"Fingerprint {run.data.fingerprint[:16]}…{split}", rows=rows)


def _weights(run: Run) -> Section:
    rows = [
        ("origin", run.weights.origin),
        ("licence", run.weights.licence),
        *(("note", n) for n in run.weights.notes),
    ]
    rows += [(key, str(value)) for key, value in run.compute.items()]
    return Section(title="Weights and computation", rows=rows)


def _curves(epochs: Sequence[Epoch]) -> Section:
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2)
    numbers = [epoch.epoch for epoch in epochs]
    left.plot(numbers, [epoch.loss for epoch in epochs])
    left.set(xlabel="epoch", ylabel="training loss")
    right.plot(numbers, [100 * epoch.train_top1 for epoch in epochs])
    right.set(xlabel="epoch", ylabel="training top-1 (%)")
    figure.tight_layout()
    last = epochs[-1]
    alt = f"Training loss falls from {epochs[0].loss:.2f} to {last.loss:.2f} over {last.epoch} epochs"
    return Section(title="Learning curve", text="Over the augmented training batches.", plot=figure, alt=alt)


def _regularisation(candidates: Sequence[Candidate]) -> Section:
    figure = Figure(figsize=(5, 3))
    axes = figure.subplots()
    axes.semilogx([c.c for c in candidates], [c.log_loss for c in candidates], marker="o")
    axes.set(xlabel="C (weaker regularisation to the right)", ylabel="cross-validated log-loss")
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    text = f"Chosen inside train: C = {best.c:g}, log-loss {best.log_loss:.3f}, top-1 {best.top1:.1%}."
    return Section(title="Regularisation of the head", text=text, plot=figure, alt=text)
