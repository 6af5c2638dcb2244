"""RT-DETR and D-FINE from transformers: a set of objects without suppression, in real time.

Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024; Peng et al., "D-FINE", ICLR 2025. The code is
Apache-licensed, and so are the authors' weights.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torchvision.ops import box_convert

from edgetl.errors import ArtefactError, first_line
from edgetl.finetune.backbones.quiet import quiet
from edgetl.finetune.detection.models.decoding import cut, keep, limit_of
from edgetl.finetune.detection.models.detector import Detector, Target
from edgetl.finetune.detection.models.features import FeatureMaps, grids
from edgetl.finetune.detection.models.options import KINDS, DetectorOptions

WIDTH = 256
QUERIES = 100
"""So many objects can be found; the paper has 300."""

ALIASES = ("class_embed", "bbox_embed")
"""Second names of the decoder's heads, which forward passes do not use and a file would hold twice."""

PLACEHOLDER = {
    "model_type": "rt_detr_resnet", "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "embedding_size": 8,
    "layer_type": "basic", "out_indices": [2, 3, 4],
}  # fmt: skip
"""The smallest backbone that transformers builds, which a registry backbone then replaces."""


class RegistryBackbone(nn.Module):
    """The maps as transformers' encoders take them: each with a mask of which pixels are real, which is not used."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor, mask: Tensor) -> list[tuple[Tensor, None]]:
        return [(each, None) for each in self.body(images).values()]


class SetDecoding(nn.Module):
    """Centre, width and height as shares of the input, as boxes cut at its borders; each label for itself."""

    limit: Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        keep(self, limit=limit_of(size))

    def forward(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        return cut(box_convert(boxes, "cxcywh", "xyxy") * self.limit, self.limit), logits.sigmoid()


class RtDetr(Detector):
    """A network of transformers, with its own loss."""

    limit: Tensor

    def __init__(self, net: nn.Module, body: nn.Module, size: tuple[int, int], options: DetectorOptions) -> None:
        super().__init__()
        self.net: Any = net
        self._body = (body,)  # in a tuple, so that its tensors do not get a second name
        config: Any = net.config
        self.options = msgspec.structs.replace(options, transformers=json.loads(config.to_json_string(use_diff=False)))
        self.decoding = SetDecoding(size)
        keep(self, limit=limit_of(size))

    @property
    def body(self) -> nn.Module:
        return self._body[0]

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        labels = [
            {"class_labels": each["labels"], "boxes": box_convert(each["boxes"], "xyxy", "cxcywh") / self.limit}
            for each in targets
        ]
        losses: dict[str, Tensor] = self.net(pixel_values=images, labels=labels).loss_dict
        return losses

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The network's own pass, part by part: as a whole it asks the batch's length in a way that fixes it in a
        graph, and its decoder checks sizes in tensors, for which ONNX has no operator.
        """
        net = self.net.model
        maps = [project(each) for project, (each, _) in zip(net.encoder_input_proj, _maps(net, images), strict=True)]
        encoded = net.encoder(maps).last_hidden_state
        sources = [project(each) for project, each in zip(net.decoder_input_proj, encoded, strict=True)]
        memory = torch.cat([each.flatten(2).transpose(1, 2) for each in sources], dim=1)
        sizes = [(each.shape[2], each.shape[3]) for each in sources]
        anchors, valid = net.generate_anchors(tuple(sizes), device=memory.device, dtype=memory.dtype)
        tokens = net.enc_output(valid.to(memory.dtype) * memory)
        likely = net.enc_score_head(tokens).amax(dim=-1)
        best = torch.topk(likely, net.config.num_queries, dim=1).indices.unsqueeze(-1)
        found = net.decoder(
            inputs_embeds=tokens.gather(1, best.expand(-1, -1, tokens.shape[-1])),
            encoder_hidden_states=memory,
            reference_points=(net.enc_bbox_head(tokens) + anchors).gather(1, best.expand(-1, -1, 4)),
            spatial_shapes=np.array(sizes, dtype=object),
            spatial_shapes_list=sizes,
        )
        answers: tuple[Tensor, Tensor] = self.decoding(
            found.intermediate_reference_points[:, -1], found.intermediate_logits[:, -1]
        )
        return answers


def _maps(net: Any, images: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """Of the network's backbone, which also wants to know which pixels are real; nothing uses that."""
    maps: list[tuple[Tensor, Tensor | None]] = net.backbone(images, images[:, 0])
    return maps


def on_maps(maps: FeatureMaps, labels: int, size: tuple[int, int], options: DetectorOptions) -> RtDetr:
    """RT-DETRv2 with random weights on a registry backbone: the paper's smallest, with fewer queries."""
    width, count = options.width or WIDTH, len(maps.channels)
    given = options.transformers or {
        "model_type": "rt_detr_v2", "backbone_config": PLACEHOLDER, "freeze_backbone_batch_norms": False,
        "encoder_in_channels": list(maps.channels), "feat_strides": list(maps.strides), "encoder_hidden_dim": width,
        "encoder_ffn_dim": 4 * width, "encode_proj_layers": [count - 1], "hidden_expansion": 0.5, "d_model": width,
        "decoder_in_channels": [width] * count, "decoder_ffn_dim": 4 * width, "decoder_layers": 3,
        "num_feature_levels": count, "decoder_n_levels": count,
        "num_queries": min(QUERIES, sum(height * wide for height, wide in grids(maps, size, count))),
    }  # fmt: skip
    net = _network(given, labels, None)
    net.model.backbone = RegistryBackbone(maps.body)
    net.model.encoder_input_proj = nn.ModuleList(
        nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)) for channels in maps.channels
    )
    return RtDetr(net, maps.body, size, msgspec.structs.replace(options, width=width))


def whole(state: Mapping[str, Tensor] | None, labels: int, size: tuple[int, int], options: DetectorOptions) -> RtDetr:
    """The network that `options.transformers` describes, its own backbone included, with the weights `state`.

    Layers for another number of labels start at random. Raises ArtefactError for weights that do not fit.
    """
    net = _network(options.transformers or {}, labels, state)
    config = net.config
    if config.learn_initial_query or config.num_feature_levels != len(config.decoder_in_channels):
        raise ArtefactError(
            f"this kind of `{config.model_type}` is not supported: learnt queries, or more maps than its encoder has",
            hint="choose one of the authors' own models",
        )
    return RtDetr(net, net.model.backbone.model, size, options)


def _network(given: Mapping[str, Any], labels: int, state: Mapping[str, Tensor] | None) -> Any:
    config_name, model_name = KINDS[given["model_type"]]
    other = {"id2label", "label2id", "num_labels"}
    kind = getattr(transformers, model_name)
    try:
        settings = {key: value for key, value in given.items() if key not in other}
        config = getattr(transformers, config_name).from_dict({**settings, "num_labels": labels})
        net = kind(config) if state is None else _loaded(kind, config, state)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ArtefactError(
            f"transformers cannot build the `{given['model_type']}`: {first_line(error)}", hint="is config.json whole?"
        ) from error
    for name in ALIASES:
        if hasattr(net, name):
            delattr(net, name)
    return net


def _loaded(kind: Any, config: Any, state: Mapping[str, Tensor]) -> Any:
    with quiet():
        net, report = kind.from_pretrained(
            None, config=config, state_dict=dict(state), ignore_mismatched_sizes=True, output_loading_info=True
        )
    strange = {key for key in report["mismatched_keys"] if not _of_labels(key[0])}
    problems = [*map(str, report["missing_keys"]), *(str(key[0]) for key in strange), *report["unexpected_keys"]]
    if problems:
        shown = ", ".join(f"`{key}`" for key in sorted(problems)[:4])
        raise ArtefactError(
            f"the weights do not fit the `{config.model_type}` of config.json: {shown}", hint="are both of one model?"
        )
    return net


def _of_labels(key: str) -> bool:
    """Whether the tensor's size follows from the number of labels."""
    return any(part in key for part in ("class_embed", "enc_score_head"))
