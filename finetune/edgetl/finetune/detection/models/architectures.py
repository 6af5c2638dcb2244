"""The detectors edgetl knows by name, and how one is built."""

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import Tensor

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.backbones.registry import Backbone
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.models.faster_rcnn import FasterRcnn
from edgetl.finetune.detection.models.fcos import Fcos
from edgetl.finetune.detection.models.features import FeatureMaps, check_size, feature_maps
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.finetune.detection.models.retinanet import RetinaNet
from edgetl.finetune.detection.models.ssdlite import SsdLite
from edgetl.plugins import require

Size = tuple[int, int]


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """`build` stands it on feature maps; `whole` builds a model that brings its own backbone, where there is such.

    `iou_threshold`: what two boxes of a label may overlap, None where no object is said twice. `ordered`: row i is the
    same place for every engine.
    """

    summary: str
    build: Callable[[FeatureMaps, int, Size, DetectorOptions], Detector]
    whole: Callable[[Mapping[str, Tensor] | None, int, Size, DetectorOptions], Detector] | None = None
    iou_threshold: float | None = 0.5
    ordered: bool = True


def _rt_detr(maps: FeatureMaps, labels: int, size: Size, options: DetectorOptions) -> Detector:
    require("transformers", "transformers", "scipy")
    from edgetl.finetune.detection.models.rt_detr import on_maps

    return on_maps(maps, labels, size, options)


def _whole_rt_detr(state: Mapping[str, Tensor] | None, labels: int, size: Size, options: DetectorOptions) -> Detector:
    require("transformers", "transformers", "scipy")
    from edgetl.finetune.detection.models.rt_detr import whole

    return whole(state, labels, size, options)


ARCHITECTURES = {
    "ssdlite": Architecture(summary="small and fast, for processors", build=SsdLite),
    "retinanet": Architecture(summary="dense anchors, focal loss", build=RetinaNet),
    "fcos": Architecture(summary="dense, without anchors", build=Fcos, iou_threshold=0.6),
    "faster-rcnn": Architecture(summary="regions first; accurate and slow", build=FasterRcnn, ordered=False),
    "rt-detr": Architecture(
        summary="a set of objects, no suppression", build=_rt_detr, whole=_whole_rt_detr, iou_threshold=None,
        ordered=False,
    ),
}  # fmt: skip


class TaskFields(msgspec.Struct, frozen=True, kw_only=True):
    """What the task says of a detector's answers; as in `ObjectDetection`."""

    iou_threshold: float | None
    ordered: bool


def get_architecture(name: str) -> Architecture:
    """Raises ConfigError with the closest name."""
    if name not in ARCHITECTURES:
        raise ConfigError(f"unknown detector `{name}`", hint=suggest(name, ARCHITECTURES))
    return ARCHITECTURES[name]


def task_fields(architecture: str) -> TaskFields:
    """Raises ConfigError for an unknown architecture."""
    found = get_architecture(architecture)
    return TaskFields(iou_threshold=found.iou_threshold, ordered=found.ordered)


def build_detector(
    architecture: str,
    backbone: Backbone | None,
    state: dict[str, Tensor] | None,
    labels: int,
    size: Size,
    *,
    seed: int = 0,
    options: DetectorOptions | None = None,
) -> Detector:
    """A detector of `labels` labels for inputs of `size` (height, width), in training mode.

    `state` are the weights of the `backbone`, None for random ones; all else starts at random. With no `backbone`, they
    are those of the whole model that `options.transformers` describes.
    Raises ConfigError for what does not go together, ArtefactError for weights that do not fit.
    """
    known, options = get_architecture(architecture), options or DetectorOptions()
    if backbone is not None:
        maps = feature_maps(backbone, state, size, seed=seed, finest=options.finest)
        torch.manual_seed(seed)
        return known.build(maps, labels, size, options).train()
    if known.whole is None or options.transformers is None:
        raise ConfigError(f"`{architecture}` needs a backbone", hint="`--backbone` names it")
    check_size(size)
    torch.manual_seed(seed)
    return known.whole(state, labels, size, options).train()
