"""Feature maps of a registry backbone at strides 8, 16 and 32, for a detector to stand on."""

from typing import Any

import msgspec
import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.registry import Backbone
from edgetl.finetune.backbones.stages import split, stages
from edgetl.finetune.backbones.weights import build_model

STRIDES = (8, 16, 32)

MULTIPLE = STRIDES[-1]
"""Sides of the input are multiples of it, so that every map covers the input exactly."""

ABLE = (
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "resnet50",
    "regnet_y_400mf",
    "convnext_tiny",
    "swin_t",
)
"""Some that can, to name in an error."""


class FeatureMaps(msgspec.Struct, frozen=True, kw_only=True):
    """`body`: from images to a dict of maps (batch, channels, height, width), the finest first.

    `strides` and `channels` are those of the maps.
    """

    body: nn.Module
    strides: tuple[int, ...]
    channels: tuple[int, ...]


def feature_maps(
    backbone: Backbone, state: dict[str, Tensor] | None, size: tuple[int, int], *, seed: int, finest: int = STRIDES[0]
) -> FeatureMaps:
    """The maps of `backbone` with the weights `state`, or random ones, at strides from `finest` on.

    Those are the last tensors of their size in the forward pass. A shallow backbone has fewer of them.
    Raises ConfigError for a size or backbone that gives no maps, ArtefactError for weights that do not fit.
    """
    check_size(size)
    if backbone.fixed_size:
        raise _unable(backbone, "takes images of one size only")
    model, _ = build_model(backbone, state, 2, seed=seed)
    below_head = len(stages(model)) - 1
    try:
        front = split(model.eval(), below_head)[0]
    except ConfigError as error:
        raise _unable(backbone, "cannot be cut inside") from error
    assert isinstance(front, fx.GraphModule)
    found = {stride: map_ for stride, map_ in _last_maps(front, size).items() if stride >= finest}
    if not found:
        raise _unable(backbone, f"has no feature maps at strides {', '.join(map(str, STRIDES))}")
    maps = FeatureMaps(
        body=_with_outputs(front, {str(stride): node for stride, (node, _) in found.items()}),
        strides=tuple(found),
        channels=tuple(channels for _, channels in found.values()),
    )
    maps.body.train()
    return maps


def check_size(size: tuple[int, int]) -> None:
    """Raises ConfigError unless height and width are multiples of 32."""
    for side in size:
        if side < MULTIPLE or side % MULTIPLE:
            near = max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
            raise ConfigError(
                f"a detector cannot take images of `{side}` pixels", hint=f"a multiple of {MULTIPLE}, such as {near}"
            )


def _unable(backbone: Backbone, reason: str) -> ConfigError:
    return ConfigError(
        f"`{backbone.name}` cannot feed a detector: it {reason}",
        hint=f"choose a backbone with feature maps, such as {', '.join(f'`{name}`' for name in ABLE)}",
    )


def _last_maps(front: fx.GraphModule, size: tuple[int, int]) -> dict[int, tuple[fx.Node, int]]:
    """Stride → the last node whose tensor has the size of such a map, channels first, and its channels."""
    with torch.inference_mode():
        ShapeProp(front).propagate(torch.zeros(1, 3, *size))
    found: dict[int, tuple[fx.Node, int]] = {}
    for node in list(front.graph.nodes):
        shape = _shape(node)
        for stride in STRIDES:
            grid = (size[0] // stride, size[1] // stride)
            if len(shape) == 4 and shape[2:] == grid:
                found[stride] = (node, shape[1])
            elif len(shape) == 4 and shape[1:3] == grid:
                found[stride] = (_channels_first(front.graph, node), shape[3])
    return dict(sorted(found.items()))


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))


def _channels_first(graph: fx.Graph, node: fx.Node) -> fx.Node:
    with graph.inserting_after(node):
        return graph.call_method("permute", (node, 0, 3, 1, 2))


def _with_outputs(front: fx.GraphModule, outputs: dict[str, fx.Node]) -> fx.GraphModule:
    """The same modules and tensors; what no output needs is left out."""
    graph = front.graph
    for node in list(graph.nodes):
        if node.op == "output":
            graph.erase_node(node)
    graph.output(outputs)
    graph.eliminate_dead_code()
    return fx.GraphModule(front, graph, class_name=f"{type(front).__name__}Features")


class Pyramid(nn.Module):
    """A feature pyramid on the maps: all of `width` channels, coarser ones added by `extra`.

    Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
    """

    def __init__(self, maps: FeatureMaps, width: int, extra: ExtraFPNBlock) -> None:
        super().__init__()
        self.body = maps.body
        self.fpn = FeaturePyramidNetwork(list(maps.channels), width, extra_blocks=extra)
        self.out_channels = width

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found: Any = self.fpn(self.body(images))
        return dict(found)


def grids(maps: FeatureMaps, size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """Height and width of the first `levels` maps; each one beyond the backbone's has half the side, rounded up."""
    found = [(size[0] // stride, size[1] // stride) for stride in maps.strides]
    while len(found) < levels:
        found.append(((found[-1][0] + 1) // 2, (found[-1][1] + 1) // 2))
    return found
