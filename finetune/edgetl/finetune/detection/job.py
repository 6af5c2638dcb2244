"""What the training of a detector is told."""

from collections.abc import Callable

import msgspec

from edgetl.finetune.detection.config import DetectionLoop
from edgetl.finetune.detection.judging import Entrance
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.views import Views
from edgetl.finetune.training.checkpoint import Epoch


class DetectionJob(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one training needs. `judge` gives the metric of the detector as it is on the photos set aside; None
    where there are none. `observe` is told every judged epoch.
    """

    detector: Detector
    views: Views
    enter: Entrance
    config: DetectionLoop
    seed: int
    bf16: bool
    judge: Callable[[], float] | None
    observe: Callable[[Epoch], None] = lambda epoch: None
