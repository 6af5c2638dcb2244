"""Rewrites an imported graph as the one a task declares: its inputs in front, its answers behind, any batch."""

from pathlib import Path

from onnx import ModelProto
from onnx.compose import add_prefix

from edgetl.errors import ArtefactError, first_line
from edgetl.export.adopt.batch import free_batch
from edgetl.export.adopt.kinds import Reading, Wiring
from edgetl.export.graph import finish
from edgetl.files import write_bytes
from edgetl.tasks import Task

PREFIX = "model/"
"""What the names of the imported graph begin with, so that none is that of an input or an answer."""


def write_graph(model: ModelProto, wiring: Wiring, reading: Reading, task: Task, batch: int | None, path: Path) -> None:
    """Writes `model` as the fp32 graph of `task`; `batch`: the size that the file is fixed at, if it is.

    Raises ArtefactError for a graph whose batch cannot be made dynamic, or that cannot be finished.
    """
    model = _named(model)
    model.graph.ClearField("value_info")
    if batch is not None:
        free_batch(model, lambda size: _prefixed(wiring.shapes(size)), batch)
    wiring.attach(model.graph, PREFIX)
    reading.attach(model.graph, PREFIX)
    try:
        write_bytes(path, model.SerializeToString())
    except ValueError as error:
        raise ArtefactError(f"the graph cannot be written: {first_line(error)}", hint="choose a smaller one") from error
    finish(path, task.inputs)


def _named(model: ModelProto) -> ModelProto:
    """A copy whose nodes and tensors have names of their own, and without notes of its exporter."""
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}" if not node.name else node.name
        node.ClearField("metadata_props")
    _distinguish(model)
    named: ModelProto = add_prefix(model, PREFIX)
    return named


def _distinguish(model: ModelProto) -> None:
    """Two nodes of one name cannot be told apart when one layer is to stay in floating point."""
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if node.name in taken:
            node.name = f"{node.name}_{number}"
        taken.add(node.name)


def _prefixed(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {PREFIX + name: shape for name, shape in shapes.items()}
