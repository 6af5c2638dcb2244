"""The torch model behind the source of a run of image classification, and inputs for it."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from edgetl.export.networks.images import ImageNetwork
from edgetl.export.source import Origin, Source
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.run import SampleRecord, WeightsRecord
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput
from edgetl.tasks.inputs import Inputs
from edgetl.tasks.labelled import Labelled
from edgetl.types import Pixels


def model_of(source: Source) -> nn.Module:
    assert isinstance(source.network, ImageNetwork)
    return source.network.model


def task_of(source: Source) -> ImageClassification:
    assert isinstance(source.task, ImageClassification)
    return source.task


def images(pixels: Pixels) -> Inputs:
    """Inputs of pixels, uint8 (images, 32, 32, 3)."""
    task = ImageClassification(labels=("a", "b"), input=ImageInput(height=32, width=32, resize=32))
    return Inputs(feeds={"image": pixels}, task=task)


def photo_source(task: ImageClassification, samples: Sequence[SampleRecord] = (), root: Path = Path()) -> Source:
    """A source of these photos, with an untrained network."""
    weights = WeightsRecord(origin="none", sha256="", licence="none")
    origin = Origin(
        run="test", strategy="none", backbone="residual_cnn", data_fingerprint="", weights=weights, model_sha256=""
    )
    return Source(
        origin=origin,
        task=task,
        network=ImageNetwork(get_backbone("residual_cnn").build(len(task.labels)), task),
        samples=samples,
        labelled=lambda sample: Labelled(sample=root / sample.path, label=sample.label),
        files={},
        libraries=("torch",),
    )
