"""`report.html` of a detection run: what was learned from what, how well, and the photos that went worst."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.figure import Figure

from edgetl.finetune.detection.data import BoxedDataset
from edgetl.finetune.detection.drawing import drawn
from edgetl.finetune.detection.matching import matched
from edgetl.finetune.detection.metrics import ClassPrecision, DetectionEvaluation
from edgetl.finetune.report.learning import learning_section
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal, write_page
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.run import BoxRecord, Run, Split
from edgetl.tasks.detections import Found
from edgetl.tasks.object_detection import ObjectDetection

MAX_CURVES = 12
"""More classes than this make curves that nobody can tell apart; then those of the lowest AP50 are drawn."""

MAX_LISTED = 50
WORST = 12
"""So many photos are shown, those with the most wrong in them."""

NAMES = {"map50": "mAP50 (mean over the classes at IoU 0.5)", "map": "mAP (mean over IoU 0.5 to 0.95)"}


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What the report tells beyond the run's own record. `found`: the answers for the headline split's photos."""

    strategy: Sequence[str]
    epochs: Sequence[Epoch]
    evaluation: DetectionEvaluation
    data: BoxedDataset
    found: Sequence[Found]


def write_report(path: Path, run: Run, task: ObjectDetection, command: str, story: Story) -> None:
    """Writes the page; `command`: the command line that does the same again."""
    scores = ", ".join(f"{name.replace('map', 'mAP')} {value:.1%}" for name, value in run.metrics.items())
    photos = run.data.counts.get(run.headline, 0)
    summary = f"{run.backbone}, strategy {run.strategy}: {scores} on {photos} {run.headline} photos."
    sections = [
        Section(title="Strategy", lines=story.strategy),
        _data(run, task, story.data),
        *([learning_section(story.epochs, (), "mAP50", (), "photos")] if story.epochs else []),
        _scores(story.evaluation, run.headline),
        *_curves(story.evaluation.classes),
        _worst(task, story),
        _weights(run),
    ]
    write_page(path, f"Run {run.name}", summary, sections, command)


def _data(run: Run, task: ObjectDetection, data: BoxedDataset) -> Section:
    rows = []
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        if len(samples := data.dataset.split(split)):
            boxes = data.boxes(samples)
            labels = np.bincount([box.label for each in boxes for box in each], minlength=len(task.labels))
            shown = ", ".join(f"{name} {count}" for name, count in zip(task.labels, labels, strict=True))
            ignored = sum(box.ignored for each in boxes for box in each)
            rows.append((split, str(len(boxes)), str(labels.sum()), str(ignored), shown if len(labels) < 20 else "–"))
    made = "; val was split from train" if run.data.split_from_train else ""
    spec = task.input
    text = f"Fingerprint {run.data.fingerprint[:16]}…{made}. Input {spec.width} × {spec.height} pixels, {spec.mode}."
    header = ("split", "photos", "objects", "to be ignored", "of each class")
    return Section(title="Data", text=text, lines=run.findings, header=header, rows=rows)


def _scores(evaluation: DetectionEvaluation, split: str) -> Section:
    listed = sorted(evaluation.classes, key=lambda each: 2.0 if each.ap50 is None else each.ap50)[:MAX_LISTED]
    rows = [(NAMES[name], f"{value:.1%}", "", str(evaluation.objects)) for name, value in evaluation.metrics.items()]
    rows += [(each.label, _share(each.ap50), _share(each.ap), str(each.objects)) for each in listed]
    more = len(evaluation.classes) - len(listed)
    text = f"On {evaluation.photos} {split} photos, by pycocotools." + (f" The lowest {MAX_LISTED}." if more else "")
    header = ("class", "AP50", "AP 0.5 to 0.95", "objects")
    return Section(title="Scores", text=text, header=header, rows=rows)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _curves(classes: Sequence[ClassPrecision]) -> list[Section]:
    """Precision over recall of each class, at IoU 0.5."""
    known = sorted((each for each in classes if each.curve), key=lambda each: each.ap50 or 0.0)[:MAX_CURVES]
    if not known:
        return []
    figure = Figure(figsize=(PLOT_WIDTH, 3.8))
    axes = figure.subplots()
    for each in known:
        axes.plot(range(101), [100 * value for value in each.curve], label=f"{literal(each.label)} {each.ap50:.0%}")
    axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 102))
    axes.legend(fontsize=9, loc="lower left")
    words = "; ".join(f"{each.label}: area {each.ap50:.1%}" for each in known)
    text = "Precision at every recall, at IoU 0.5; the area under a curve is the class's AP50."
    return [Section(title="Precision and recall", text=text, plot=figure, alt=f"{words}.")]


def _worst(task: ObjectDetection, story: Story) -> Section:
    """The photos with the most missed objects and wrong boxes for their objects, drawn."""
    samples = story.data.dataset.split(story.data.dataset.headline)
    photos = [
        (path, boxes, _sure(found, task.score_threshold))
        for path, boxes, found in zip(samples.paths(), story.data.boxes(samples), story.found, strict=True)
    ]
    worst = sorted(photos, key=lambda photo: -_share_wrong(photo[1], photo[2]))[:WORST]
    pictures = [drawn(story.data.dataset.root, path, boxes, found, task.labels) for path, boxes, found in worst]
    text = (
        f"The {len(pictures)} photos with the largest share of mistakes at a score of {task.score_threshold:g} and IoU "
        "0.5. Green: an object that was found. Orange: one that was missed. Blue: a right box. Red: a wrong one. Grey: "
        "to be ignored. A mistake may be a missing annotation as well."
    )
    return Section(title="Photos that went worst", text=text, pictures=pictures, wide=True)


def _sure(found: Found, threshold: float) -> Found:
    sure = found.scores >= threshold
    return Found(boxes=found.boxes[sure], scores=found.scores[sure], classes=found.classes[sure])


def _share_wrong(boxes: Sequence[BoxRecord], found: Found) -> float:
    """Mistakes for every object or box."""
    pair = matched(boxes, found)
    counted = np.array([not box.ignored for box in boxes], bool)
    wrong = int((pair.counts & ~pair.right).sum()) + int((counted & ~pair.found).sum())
    return wrong / max(1, int(counted.sum()) + int((pair.counts & ~pair.right).sum()))


def _weights(run: Run) -> Section:
    rows = [("origin", run.weights.origin), ("licence", run.weights.licence)]
    rows += [("note", note) for note in run.weights.notes]
    rows += [(key, str(value)) for key, value in run.compute.items()]
    return Section(title="Weights and computation", rows=rows)
