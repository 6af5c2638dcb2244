"""Which precision the built layers run in, read from the JSON of TensorRT's engine inspector."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgetl.errors import EngineError, first_line

NODES = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
"""How the ONNX parser notes in a layer's metadata which nodes it was made of."""

ARITHMETIC = ("conv", "gemm", "matmul", "matrix", "fprop", "mma", "mha", "attention", "fully")
"""In the type or the kernel's name of a layer that multiplies matrices."""

PLUMBING = ("reformat", "constant", "signal", "wait", "noop", "shuffle", "shape", "cast", "quantize")
"""Types of layers that a compute node's metadata may stick to, but that do none of its arithmetic."""

PRECISIONS = (
    ("int8", re.compile(r"int8|\bi8\b", re.I)),
    ("fp8", re.compile(r"fp8|e4m3", re.I)),
    ("bf16", re.compile(r"bf16|bfloat16", re.I)),
    ("fp16", re.compile(r"fp16|float16|half", re.I)),
    ("fp32", re.compile(r"fp32|float", re.I)),
)


def executed_layers(information: str, compute: Sequence[str]) -> dict[str, int]:
    """Counts the ONNX nodes named in `compute` by the precision of the engine layer that does their arithmetic.

    `information`: the inspector's JSON of an engine built with detailed verbosity. A node that no layer claims counts
    as `unknown`, fp32 on a TF32 kernel as `tf32`. Raises EngineError when the JSON is of another shape.
    """
    layers = _layers(information)
    claims = {name: [layer for layer in layers if name in _nodes(layer)] for name in compute}
    return dict(Counter(_precision(found) for found in claims.values()))


def _layers(information: str) -> list[dict[str, Any]]:
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError("tensorrt", f"the inspector's answer cannot be read: {first_line(error)}") from error
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    if len(detailed) < len(layers):
        raise EngineError(
            "tensorrt", "the engine was built without detailed layer information", hint="remove it from the cache"
        )
    return detailed


def _nodes(layer: dict[str, Any]) -> list[str]:
    """The ONNX nodes of a layer: from its metadata, else from its name, whose parts a plus joins."""
    noted = NODES.findall(str(layer.get("Metadata", "")))
    return noted or str(layer.get("Name", "")).split(" + ")


def _precision(claims: list[dict[str, Any]]) -> str:
    """Of the layers that claim a node, the one whose kernel multiplies matrices says in what."""
    working = [layer for layer in claims if not any(word in _type(layer) for word in PLUMBING)]
    multiplying = [layer for layer in working if any(word in _kernel(layer) for word in ARITHMETIC)]
    for layer in multiplying or working:
        if (found := _layer_precision(layer)) != "unknown":
            return "tf32" if found == "fp32" and "tf32" in _kernel(layer) else found
    return "unknown"


def _type(layer: dict[str, Any]) -> str:
    return str(layer.get("LayerType", "")).lower()


def _kernel(layer: dict[str, Any]) -> str:
    return f"{_type(layer)} {layer.get('ParameterType', '')} {layer.get('TacticName', '')}".lower()


def _layer_precision(layer: dict[str, Any]) -> str:
    """From the weights' type, else from the first input with a floating or quantised type."""
    weights = layer.get("Weights")
    inputs = layer.get("Inputs") or []
    said = [str(weights.get("Type", ""))] if isinstance(weights, dict) else []
    said += [f"{i.get('Format/Datatype', '')} {i.get('Datatype', '')}" for i in inputs if isinstance(i, dict)]
    for text in said:
        for name, pattern in PRECISIONS:
            if pattern.search(text):
                return name
    return "unknown"
