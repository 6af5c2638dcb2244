"""What of a detector is not its architecture, backbone, labels or input: travels in `detector.json`."""

from typing import Any

import msgspec

KINDS: dict[str, tuple[str, str]] = {
    "rt_detr": ("RTDetrConfig", "RTDetrForObjectDetection"),
    "rt_detr_v2": ("RTDetrV2Config", "RTDetrV2ForObjectDetection"),
    "d_fine": ("DFineConfig", "DFineForObjectDetection"),
}
"""Configuration and model in transformers by what `config.json` calls `model_type`."""


class DetectorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All optional. `width`: channels of the pyramid, or of RT-DETR's queries; None is the architecture's default.

    `finest`: the stride of the finest map, 8 or 16 (faster, blind to small objects). `scales`: SSDLite's default boxes
    as shares of the input, one more than it has maps; empty for its default.
    `transformers`: the configuration of a model from transformers, as its `config.json` has it.
    """

    width: int | None = None
    finest: int = 8
    scales: tuple[float, ...] = ()
    transformers: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.finest not in (8, 16):
            raise ValueError("`finest` is a stride of 8 or 16")
        if self.scales and (len(self.scales) != 7 or list(self.scales) != sorted(self.scales) or self.scales[0] <= 0):
            raise ValueError("`scales` are seven shares of the input, rising")
        if self.width is not None and (self.width < 32 or self.width % 32):
            raise ValueError("`width` is a multiple of 32 channels")
