"""A small member of every family of backbones, as if trained, and how its exported graph agrees with torch."""

import copy
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from torch import Tensor, nn

from edgetl.export.graph import finish
from edgetl.finetune.backbones.registry import get_backbone, head_of, recipe
from edgetl.finetune.graph import OPSET, DeployedModel, deploy, export_onnx, torch_predictor
from edgetl.runtime.engines import open_engine
from edgetl.tasks import ImageClassification
from edgetl.types import Array, Outputs, Pixels

LABELS = tuple("abcdefghij")
BATCH = 8
SPREAD = 2.0
"""Standard deviation of the logits: a trained classifier is sure of some images and unsure of others."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """`side` in pixels: as small as the architecture comfortably takes."""

    family: str
    name: str
    side: int = 64


MEMBERS = (
    Member(family="AlexNet", name="alexnet"),
    Member(family="ConvNeXt", name="convnext_tiny"),
    Member(family="DenseNet", name="densenet121"),
    Member(family="EfficientNet", name="efficientnet_b0"),
    Member(family="EfficientNetV2", name="efficientnet_v2_s"),
    Member(family="GoogLeNet", name="googlenet"),
    Member(family="Inception v3", name="inception_v3", side=96),
    Member(family="MaxViT", name="maxvit_t", side=224),
    Member(family="MNASNet", name="mnasnet0_5"),
    Member(family="MobileNetV2", name="mobilenet_v2"),
    Member(family="MobileNetV3", name="mobilenet_v3_small"),
    Member(family="RegNetX", name="regnet_x_400mf"),
    Member(family="RegNetY", name="regnet_y_400mf"),
    Member(family="ResNet", name="resnet18"),
    Member(family="ResNeXt", name="resnext50_32x4d"),
    Member(family="Wide ResNet", name="wide_resnet50_2"),
    Member(family="ShuffleNetV2", name="shufflenet_v2_x0_5"),
    Member(family="SqueezeNet", name="squeezenet1_1"),
    Member(family="Swin", name="swin_t"),
    Member(family="Swin v2", name="swin_v2_t"),
    Member(family="VGG", name="vgg11"),
    Member(family="VGG with norms", name="vgg11_bn"),
    Member(family="Vision Transformer", name="vit_b_32", side=224),
    Member(family="edgetl's own", name="residual_cnn", side=32),
)


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """`probabilities`: the largest difference, by kind of images; `rounding`: that of torch FP32 to torch FP64.

    `logits`, `embedding`: the largest difference relative to the largest value. `sure`: the mean top probability.
    """

    opset: int
    nodes: int
    size_mb: float
    probabilities: dict[str, float]
    rounding: dict[str, float]
    sure: dict[str, float]
    logits: float
    embedding: float


def task_of(member: Member) -> ImageClassification:
    """Another temperature than 1, so that one that is left out shows."""
    found = recipe(get_backbone(member.name), size=member.side)
    return ImageClassification(labels=LABELS, input=found.input, mean=found.mean, std=found.std, temperature=1.3)


def as_if_trained(member: Member, pixels: Pixels) -> nn.Module:
    """Random weights, none of them zero or 1e-6, with norms and logits scaled to what they see in `pixels`."""
    torch.manual_seed(0)
    model = get_backbone(member.name).build(len(LABELS)).eval()
    batch = deploy(model, task_of(member)).normalise(torch.from_numpy(pixels))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        _settle_norms(model, batch)
        logits = model(batch)
        head, scale = head_of(model), SPREAD / (logits - logits.mean(0)).std()
        head.weight.mul_(scale)
        head.bias.copy_((head.bias - logits.mean(0)) * scale)
    return model


def _settle_norms(model: nn.Module, batch: Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    model(batch)
    model.eval()


def compare(member: Member, model: nn.Module, images: dict[str, Pixels], path: Path) -> Agreement:
    """Exports `model` with its embedding to `path` and runs ONNX Runtime beside torch on each kind of images."""
    task = task_of(member)
    export_onnx(deploy(model, task, embedding=True), task.inputs, path)
    finish(path, task.inputs)
    predict, whole = torch_predictor(model, task), deploy(model, task, embedding=True)
    engine = open_engine("onnxruntime", path, {})
    exact = deploy(copy.deepcopy(model), task).double()
    probabilities, rounding, sure, logits, embedding = {}, {}, {}, [0.0], [0.0]
    try:
        for kind, pixels in images.items():
            found = _in_batches(lambda batch: engine.run({"image": batch}), pixels)
            expected = _in_batches(lambda batch: _answers(whole, torch.from_numpy(batch)), pixels)
            exactly = _in_batches(lambda batch: _exact_answers(exact, torch.from_numpy(batch)), pixels)
            plain = np.concatenate([predict(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)])
            right = expected["probabilities"]
            probabilities[kind] = float(np.abs(found["probabilities"] - right).max())
            rounding[kind] = float(np.abs(exactly["probabilities"] - right).max())
            sure[kind] = float(right.max(1).mean())
            logits.append(_relative(found["logits"], plain))
            embedding.append(_relative(found["embedding"], expected["embedding"]))
    finally:
        engine.close()
    return Agreement(
        opset=OPSET,
        nodes=len(onnx.load(path).graph.node),
        size_mb=path.stat().st_size / 1e6,
        probabilities=probabilities,
        rounding=rounding,
        sure=sure,
        logits=max(logits),
        embedding=max(embedding),
    )


def _in_batches(answer: Callable[[Pixels], Outputs], pixels: Pixels) -> Outputs:
    parts = [answer(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answers(model: DeployedModel, pixels: Tensor) -> Outputs:
    with torch.inference_mode():
        outputs = model(pixels)
    return {name: output.numpy() for name, output in zip(model.outputs, outputs, strict=True)}


def _exact_answers(model: DeployedModel, pixels: Tensor) -> Outputs:
    """Of a model whose parameters are FP64."""
    with torch.inference_mode():
        logits = model.model(model.normalise(pixels).double())
    return {"probabilities": torch.softmax(logits / model.temperature, 1).numpy()}


def _relative(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
