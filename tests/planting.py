"""Plants faults: puts a wrongly built variant into a bundle, as a buggy exporter would have, hashes and all."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgetl.bundle import file_records, open_bundle, write_manifest
from edgetl.devices.examine import answer
from edgetl.export.targets import Calibration, load_target
from edgetl.manifest import Manifest
from edgetl.runtime import Session
from edgetl.tasks.normalisation import Normalisation, normalisation
from edgetl.types import Array, Pixels

Edit = Callable[[onnx.ModelProto], None]


def swap_red_and_blue(model: onnx.ModelProto) -> None:
    """The graph reads BGR."""
    _gather_first(model, axis=3, order=[2, 1, 0])


def mean_and_std_of_a_half(model: onnx.ModelProto) -> None:
    """The normalisation of another library."""
    _set_normalisation(model, normalisation((0.5,) * 3, (0.5,) * 3))


def mean_and_std_of_imagenet(model: onnx.ModelProto) -> None:
    """The normalisation of torchvision where the network was trained with another."""
    _set_normalisation(model, normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def pixels_not_divided(model: onnx.ModelProto) -> None:
    """0–255 pixels where 0–1 was meant."""
    for name, factor in (("scale", 255.0), ("shift", 1.0)):
        _set_constant(model, name, _constant(model, name) * factor)


def exchange_first_outputs(model: onnx.ModelProto) -> None:
    """Outputs 0 and 1 of the last layer change places."""
    gemm = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    for name in gemm.input[1:]:
        initializer = next(item for item in model.graph.initializer if item.name == name)
        values = numpy_helper.to_array(initializer).copy()
        values[[0, 1]] = values[[1, 0]]
        initializer.CopyFrom(numpy_helper.from_array(values, name))


FAULTS: dict[str, tuple[Edit, str]] = {
    "red/blue swap": (swap_red_and_blue, "red and blue swapped"),
    "mean/std of 0.5": (mean_and_std_of_a_half, "mean and std of 0.5"),
    "0–255 fed to 0–1": (pixels_not_divided, "0–255 pixels fed as 0–1"),
    "two outputs exchanged": (exchange_first_outputs, "outputs exchanged"),
}
"""Name → how it is planted, and how the named cause begins."""


def plant(folder: Path, variant: str, edit: Edit, calibration: Pixels, *, per_tensor: bool = False) -> None:
    """Rebuilds `variant` of the bundle from its own fp32 graph after `edit`, with new own answers and hashes."""
    bundle = open_bundle(folder)
    record = bundle.variant(variant)
    model = onnx.load(bundle.path / "onnxruntime-fp32" / "model.onnx")
    edit(model)
    graph = folder / "planted.onnx"
    onnx.save(model, graph)
    target = load_target(record.engine)
    target.convert(graph, folder / variant, record.precision, Calibration(pixels=calibration, per_tensor=per_tensor))
    graph.unlink()
    rehash(folder)
    if record.golden is not None:
        opened = open_bundle(folder)
        with Session(opened, opened.variant(variant), {}) as session:
            logits = answer(session, opened.arrays("golden/samples.npz")["image"])["logits"]
        np.savez_compressed(folder / record.golden, logits=logits)
    rehash(folder)


def rehash(folder: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> None:
    """Writes the manifest again for the files as they are, after `change`."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    listed = {record.path for record in manifest.files}
    files = tuple(record for record in file_records(folder) if record.path in listed)
    write_manifest(folder, change(msgspec.structs.replace(manifest, files=files)))


def _set_normalisation(model: onnx.ModelProto, wrong: Normalisation) -> None:
    for name, values in (("scale", wrong.scale), ("shift", wrong.shift)):
        _set_constant(model, name, np.array(values, np.float32).reshape(1, 3, 1, 1))


def _constant(model: onnx.ModelProto, name: str) -> Array:
    return np.asarray(numpy_helper.to_array(next(item for item in model.graph.initializer if item.name == name)))


def _set_constant(model: onnx.ModelProto, name: str, values: Array) -> None:
    initializer = next(item for item in model.graph.initializer if item.name == name)
    initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))


def _gather_first(model: onnx.ModelProto, *, axis: int, order: list[int]) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "planted_order"))
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "image":
                node.input[i] = "planted_image"
    gather = helper.make_node("Gather", ["image", "planted_order"], ["planted_image"], name="planted", axis=axis)
    model.graph.node.insert(0, gather)
