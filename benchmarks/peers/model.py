"""The classifier that the other servers answer with, written by hand: Pillow, then a compiled OpenVINO model.

Runs in their environments, without edgetl. `SETTINGS` in the environment is JSON, made by `served_peers`.
"""

import json
import math
import os
import threading
from typing import Any

import numpy as np
import openvino
from PIL import Image

SETTINGS = json.loads(os.environ["SETTINGS"])


class Classifier:
    """`best` may be called by any number of threads; each has an infer request of its own."""

    def __init__(self) -> None:
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }
        if SETTINGS["engine_threads"]:
            properties["INFERENCE_NUM_THREADS"] = SETTINGS["engine_threads"]
        self._compiled = openvino.Core().compile_model(SETTINGS["model"], "CPU", properties)
        self._output = [port.get_any_name() for port in self._compiled.outputs].index("probabilities")
        self._own = threading.local()

    def best(self, samples: list[np.ndarray]) -> list[dict[str, Any]]:
        """The most probable label of each sample."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request, batch = self._own.request, np.stack(samples)
        request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        request.start_async()
        request.wait()
        rows = request.get_output_tensor(self._output).data
        labels = SETTINGS["labels"]
        return [{"label": labels[row.argmax()], "probability": float(row.max())} for row in rows]


def tensor(body: bytes) -> np.ndarray:
    return np.frombuffer(body, np.uint8).reshape(SETTINGS["height"], SETTINGS["width"], 3)


def photo(opened: Image.Image) -> np.ndarray:
    """Shorter side to `resize`, centre crop, in one step; bilinear."""
    image = opened.convert("RGB")
    shorter = min(image.size)
    resized = [max(SETTINGS["resize"], math.floor(SETTINGS["resize"] * side / shorter)) for side in image.size]
    crop = SETTINGS["width"], SETTINGS["height"]
    start = [round((whole - part) / 2) for whole, part in zip(resized, crop, strict=True)]
    scale = [side / whole for side, whole in zip(image.size, resized, strict=True)]
    left, top = (begin * factor for begin, factor in zip(start, scale, strict=True))
    right, bottom = (
        min(side, (begin + part) * factor)
        for side, begin, part, factor in zip(image.size, start, crop, scale, strict=True)
    )
    return np.asarray(image.resize(crop, Image.Resampling.BILINEAR, box=(left, top, right, bottom)))
