"""The imported file as it is, in ONNX Runtime on the CPU: the reference for all that is made of it."""

from pathlib import Path

import numpy as np
import onnx

from edgetl.errors import ArtefactError, EngineError, first_line
from edgetl.telemetry import no_telemetry
from edgetl.types import Array, Feeds, Outputs, TensorSpec

with no_telemetry():
    import onnxruntime as ort

KINDS = {
    "tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(int32)": "int32",
}  # fmt: skip


class Original:
    """One session on the untouched file. `inputs` and `outputs` are as the file declares them, an axis without a
    fixed size as a string; `batch` is the size its first axis must have, None where any will do. `inner`: a tensor
    inside the graph that is put out too.

    Raises EngineError for a file that ONNX Runtime cannot open.
    """

    def __init__(self, path: Path, inner: str | None = None) -> None:
        self.path = path
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        try:
            opened = path if inner is None else _with_output(path, inner)
            self._session = ort.InferenceSession(opened, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises nothing more special
            raise EngineError(
                "onnxruntime", f"cannot open `{path}`: {first_line(error)}", hint="export the model again"
            ) from error
        self.inputs = [_spec(value) for value in self._session.get_inputs()]
        self.outputs = [_spec(value) for value in self._session.get_outputs()]
        first = self.inputs[0].shape[:1] if self.inputs else ()
        self.batch = int(first[0]) if first and isinstance(first[0], int) else None

    def run(self, feeds: dict[str, Array]) -> Outputs:
        """The answers to one sample, the arrays of `feeds` having one row, with one row each.

        A fixed batch is filled with the same sample. Outputs that are no arrays with a row a sample are left out.
        Raises EngineError.
        """
        rows = self.batch or 1
        repeated = {name: np.repeat(value, rows, axis=0) for name, value in feeds.items()}
        try:
            found = self._session.run(None, repeated)
        except Exception as error:
            raise EngineError(
                "onnxruntime", f"cannot run `{self.path}`: {first_line(error)}", hint="is the preprocessing right?"
            ) from error
        pairs = zip(self.outputs, found, strict=True)
        return {
            spec.name: value[:1]
            for spec, value in pairs
            if isinstance(value, np.ndarray) and value.ndim and len(value) == rows
        }

    def batch_of(self, feeds: Feeds) -> Outputs:
        """The answers to a batch as it is; raises what ONNX Runtime does."""
        found = self._session.run(None, dict(feeds))
        return {spec.name: value for spec, value in zip(self.outputs, found, strict=True)}

    def input(self, name: str) -> TensorSpec:
        """The input called `name`. Raises ArtefactError that lists them."""
        return _named(self.path, "input", name, self.inputs)

    def shown(self, specs: list[TensorSpec]) -> str:
        """Tensors with their shapes, for a message."""
        return ", ".join(f"`{spec.name}` ({' × '.join(map(str, spec.shape))})" for spec in specs)


def _with_output(path: Path, inner: str) -> bytes:
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=inner))
    content: bytes = model.SerializeToString()
    return content


def _named(path: Path, what: str, name: str, specs: list[TensorSpec]) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    names = ", ".join(f"`{spec.name}`" for spec in specs)
    raise ArtefactError(f"`{path}` has no {what} `{name}`", hint=f"it has {names}")


def _spec(value: object) -> TensorSpec:
    kind, shape = str(value.type), list(value.shape)  # type: ignore[attr-defined]
    return TensorSpec(
        name=value.name,  # type: ignore[attr-defined]
        dtype=KINDS.get(kind, kind),
        shape=tuple(axis if isinstance(axis, int) and axis > 0 else str(axis or "?") for axis in shape),
    )
