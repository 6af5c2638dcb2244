"""Size and cost of every backbone known by name, as the Markdown table of docs/backbones.md.

python -m benchmarks.backbone_table

Nothing is downloaded and no image is computed: shapes alone give parameters, multiply-accumulates and stages. The INT8
column repeats what docs/numerics.md measured.
"""

import torch
from torch import nn

from edgetl.finetune.backbones.registry import BACKBONES, Backbone, head_of, recipe
from edgetl.finetune.backbones.stages import stages
from edgetl.finetune.cache.compute import gmacs

CLASSES = 1000

INT8 = {
    "residual_cnn": "41.4, 22.8",
    "shufflenet_v2_x1_0": "30.6, 28.7",
    "regnet_y_400mf": "21.0, 15.9",
    "efficientnet_b0": "11.4, 9.9 (half trained)",
    "resnet50": "28.5, 29.1",
    "resnet18": "41.7, 41.6",
    "mobilenet_v3_large": "23.8, 27.1",
    "mobilenet_v3_small": "25.1, 22.7",
    "mobilenet_v2": "27.4, 25.1",
}
"""SQNR in dB against torch FP32 on digits, worse of two exports: ONNX Runtime, OpenVINO (docs/numerics.md)."""


def shapes_only(backbone: Backbone) -> nn.Module:
    """The model without values. RegNet computes its widths with tensors, so it is built before they are dropped."""
    if backbone.name.startswith("regnet"):
        return backbone.build(CLASSES).to("meta").eval()
    with torch.device("meta"):
        return backbone.build(CLASSES).eval()


def row(backbone: Backbone) -> str:
    model, side = shapes_only(backbone), recipe(backbone, newest=True).input.height
    with torch.device("meta"):
        cost = gmacs(model, side, side)
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    int8 = INT8.get(backbone.name, "not measured")
    width = head_of(model).in_features
    return f"| {backbone.name} | {size:.1f} | {cost:.3f} | {width} | {side} | {len(stages(model))} | {int8} |"


def main() -> None:
    print("| backbone | parameters, M | GMAC | features | side, px | stages | INT8 SQNR, dB |")
    print("|---|---|---|---|---|---|---|")
    for backbone in BACKBONES.values():
        print(row(backbone), flush=True)


if __name__ == "__main__":
    main()
