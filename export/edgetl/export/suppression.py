"""Non-maximum suppression in the graph: ONNX's own operator drops the scores of boxes that repeat a surer one.

What stays is what `edgetl.tasks.detections` keeps on a device whose graph lacks it: the same rule, so the same objects.
Reference: https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgetl.files import write_bytes
from edgetl.tasks.detections import LEAST_SCORE
from edgetl.types import Array

ALL = "scores_of_all_boxes"


def suppress_in_graph(path: Path, *, iou: float, most: int) -> None:
    """Rewrites the ONNX file of a detector so that the `scores` of suppressed boxes are 0.

    The shape stays (batch, rows, labels), so that batches and their parts are what they were. `most`: boxes of a class.
    """
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == "scores":
                node.output[i] = ALL
    constants: dict[str, Array] = {
        "most": np.array([most], np.int64),
        "iou": np.array([iou], np.float32),
        "least": np.array([LEAST_SCORE / 2], np.float32),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
    }
    prefix = "suppression."
    graph.initializer.extend(numpy_helper.from_array(array, prefix + name) for name, array in constants.items())
    zero, one = (numpy_helper.from_array(np.array([value], np.float32)) for value in (0, 1))

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        graph.node.append(helper.make_node(operator, inputs, [output], name=prefix + output, **attributes))

    add("Transpose", [ALL], prefix + "by_label", perm=[0, 2, 1])
    limits = [prefix + name for name in ("most", "iou", "least")]
    add("NonMaxSuppression", ["boxes", prefix + "by_label", *limits], prefix + "kept")
    add("Shape", [prefix + "by_label"], prefix + "shape")
    add("ConstantOfShape", [prefix + "shape"], prefix + "nothing", value=zero)
    add("Shape", [prefix + "kept"], prefix + "kept_shape")
    add("Slice", [prefix + "kept_shape", prefix + "first", prefix + "second"], prefix + "count")
    add("ConstantOfShape", [prefix + "count"], prefix + "ones", value=one)
    add("ScatterND", [prefix + "nothing", prefix + "kept", prefix + "ones"], prefix + "mask_by_label")
    add("Transpose", [prefix + "mask_by_label"], prefix + "mask", perm=[0, 2, 1])
    add("Mul", [ALL, prefix + "mask"], "scores")
    write_bytes(path, model.SerializeToString(deterministic=True))
