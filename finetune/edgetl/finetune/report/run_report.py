"""`report.html` of a run: what was learned from what, how well, and how to do it again."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgetl.finetune.evaluation.calibration import Answers
from edgetl.finetune.evaluation.metrics import Evaluation
from edgetl.finetune.head.logistic import Candidate
from edgetl.finetune.material import Classifier
from edgetl.finetune.report.data import data_sections
from edgetl.finetune.report.learning import EpochLine, learning_section, regularisation_section
from edgetl.finetune.report.page import Section, write_page
from edgetl.finetune.report.scores import score_sections, shown
from edgetl.finetune.report.trust import Mistake, mistakes_section, reliability_section
from edgetl.run import Run, SampleRecord


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What a report tells beyond the run's own record; what is empty is left out.

    `strategy`: which strategy, and why, line by line. `findings`: lines about the data, such as imbalance and leakage.
    `scratch`: the epochs of a run from scratch to compare with, `comparison` what they show in words.
    `metric`: what the epochs' `val_metric` is. `evaluation`: the scores on the headline split.
    `uncalibrated`, `calibrated`: the same samples' answers without and with the task's temperature.
    `given`: what the model takes, in words; `what` its samples are called.
    """

    strategy: Sequence[str] = ()
    samples: Sequence[SampleRecord] = ()
    findings: Sequence[str] = ()
    scratch: Sequence[EpochLine] = ()
    comparison: Sequence[str] = ()
    metric: str = "top-1"
    evaluation: Evaluation | None = None
    uncalibrated: Answers | None = None
    calibrated: Answers | None = None
    mistakes: Sequence[Mistake] = ()
    given: str = ""
    what: str = "images"


def write_report(
    path: Path,
    run: Run,
    task: Classifier,
    history: Sequence[msgspec.Struct],
    command: str,
    *,
    story: Story | None = None,
) -> None:
    """Writes the page; `history`: the lines of metrics.jsonl, `command`: the command line that does the same again."""
    told = story or Story()
    score = ", ".join(f"{name} {shown(name, value)}" for name, value in run.metrics.items())
    samples = run.data.counts.get(run.headline, 0)
    summary = f"{run.backbone}, strategy {run.strategy}: {score} on {samples} {run.headline} {told.what}."
    sections = [
        *([Section(title="Strategy", lines=told.strategy)] if told.strategy else []),
        *data_sections(run, task, told.samples, told.findings, told.given, told.what),
        *_learning(history, told),
        *_scores(run, task, told),
        _weights(run),
    ]
    write_page(path, f"Run {run.name}", summary, sections, command)


def _learning(history: Sequence[msgspec.Struct], story: Story) -> list[Section]:
    epochs = [line for line in history if isinstance(line, EpochLine)]
    candidates = [line for line in history if isinstance(line, Candidate)]
    return [
        *([learning_section(epochs, story.scratch, story.metric, story.comparison, story.what)] if epochs else []),
        *([regularisation_section(candidates)] if candidates else []),
    ]


def _scores(run: Run, task: Classifier, story: Story) -> list[Section]:
    before, after = story.uncalibrated, story.calibrated
    return [
        *(score_sections(story.evaluation, run.headline, story.what) if story.evaluation else []),
        *([reliability_section(before, after, task.temperature, story.what)] if before or after else []),
        *([mistakes_section(story.mistakes)] if story.mistakes else []),
    ]


def _weights(run: Run) -> Section:
    rows = [
        ("origin", run.weights.origin),
        ("licence", run.weights.licence),
        *(("note", n) for n in run.weights.notes),
    ]
    rows += [(key, str(value)) for key, value in run.compute.items()]
    return Section(title="Weights and computation", rows=rows)
