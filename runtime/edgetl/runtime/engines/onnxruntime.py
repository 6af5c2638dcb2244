"""ONNX Runtime. Precision is typed in the graph; a profiled run shows which kernels and provider did the work."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.errors import EngineError, first_line
from edgetl.machine import detect, saturates_int8
from edgetl.runtime.engines import compute_precision, refusal, typed_options
from edgetl.runtime.engines.options import OnnxRuntimeOptions
from edgetl.telemetry import no_telemetry
from edgetl.types import EngineFacts, Feeds, Options, Outputs, TensorSpec

with no_telemetry():
    import onnxruntime as ort

NAME = "onnxruntime"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}
COMPUTE = ("Conv", "Gemm", "MatMul")
"""Part of the operator name of every layer that does the arithmetic (FusedConv, QLinearConv, MatMulInteger, …)."""

QUANTISING = {"DynamicQuantizeMatMul": "int8"}
"""What kernels compute in that quantise their floating-point input themselves."""


def open_engine(path: Path, options: Options) -> "OnnxRuntimeEngine":
    return OnnxRuntimeEngine(path, typed_options(NAME, options, OnnxRuntimeOptions))


class OnnxRuntimeEngine:
    """One `InferenceSession`, in which any number of `run` calls compute at once, sharing its threads.

    What it really runs is read from the profile of its own first run, on a zero sample; then profiling ends.
    """

    def __init__(self, path: Path, options: OnnxRuntimeOptions) -> None:
        with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
            settings = _session_options(options)
            settings.enable_profiling = True
            settings.profile_file_prefix = str(Path(folder) / "profile")
            self._session = _open_session(path, options, settings)
            self.inputs = [_spec(value) for value in self._session.get_inputs()]
            self.outputs = [_spec(value) for value in self._session.get_outputs()]
            self._names = [spec.name for spec in self.outputs]
            events = _profiled_run(path, self._session, self.inputs)
        layers = _executed_layers(events)
        self.facts = EngineFacts(
            engine=NAME,
            version=ort.__version__,
            provider=_providers(events),
            asked=PROVIDERS[options.provider],
            precision=compute_precision(layers),
            threads=_threads(events),
            layers=layers,
        )

    def run(self, feeds: Feeds) -> Outputs:
        try:
            values = self._session.run(self._names, dict(feeds))
        except Exception as error:
            raise refusal(NAME, error, feeds, self.inputs) from error
        return dict(zip(self._names, values, strict=True))

    def close(self) -> None:
        del self._session


def _session_options(options: OnnxRuntimeOptions) -> Any:
    session = ort.SessionOptions()
    session.intra_op_num_threads = options.threads
    session.log_severity_level = 4  # what goes wrong is raised, not logged
    if options.spinning is not None:
        session.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spinning)))
    if options.optimization == "none":
        session.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if saturates_int8(detect()):
        # slower kernels that do not clip: 16 dB become the answers of every other processor, to the bit
        session.add_session_config_entry("session.x64quantprecision", "1")
    return session


def _open_session(path: Path, options: OnnxRuntimeOptions, session_options: Any) -> Any:
    """A session on exactly the provider asked for; ONNX Runtime alone would fall back to the CPU silently."""
    wanted = PROVIDERS[options.provider]
    if wanted not in ort.get_available_providers():
        raise EngineError(
            NAME,
            f"the provider `{options.provider}` is not in this build",
            hint="install `edgetl[onnxruntime-gpu]`",
        )
    ort.set_default_logger_severity(4)  # what goes wrong is raised, not logged
    try:
        session = ort.InferenceSession(path, sess_options=session_options, providers=[wanted])
        session.disable_fallback()
    except Exception as error:
        raise EngineError(NAME, f"cannot open `{path}`: {first_line(error)}", hint="export it again") from error
    active = session.get_providers()
    if active[0] != wanted:
        raise EngineError(NAME, f"asked for `{wanted}`, got `{active[0]}`", hint="is the driver installed?")
    return session


def _spec(value: Any) -> TensorSpec:
    kinds = {
        "tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(float16)": "float16", "tensor(int64)": "int64"
    }  # fmt: skip
    return TensorSpec(name=value.name, dtype=kinds.get(value.type, value.type), shape=tuple(value.shape))


def _profiled_run(path: Path, session: Any, inputs: list[TensorSpec]) -> list[dict[str, Any]]:
    """What the kernels of one run say of themselves; the session is without a profile afterwards."""
    feeds = {
        spec.name: np.zeros([axis if isinstance(axis, int) else 1 for axis in spec.shape], spec.dtype)
        for spec in inputs
    }
    try:
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    except Exception as error:
        raise EngineError(NAME, f"cannot run `{path}`: {first_line(error)}", hint="export it again") from error
    return [event["args"] for event in events if "provider" in event.get("args", {})]


def _threads(events: list[dict[str, Any]]) -> int:
    """The caller's thread and those of the session's pool, which every kernel of the profile lists."""
    pools = (event.get("thread_scheduling_stats") or {} for event in events)
    return 1 + max((len(pool.get("sub_threads", ())) for pool in pools), default=0)


def _executed_layers(events: list[dict[str, Any]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for event in events:
        if any(part in event["op_name"] for part in COMPUTE):
            kind = next(iter(event["input_type_shape"][0]), "unknown")
            counts[QUANTISING.get(event["op_name"]) or PRECISIONS.get(kind, kind)] += 1
    return dict(counts)


def _providers(events: list[dict[str, Any]]) -> str:
    """Every provider that ran a compute layer, the busiest first, separated by commas."""
    compute = [event["provider"] for event in events if any(part in event["op_name"] for part in COMPUTE)]
    return ",".join(name for name, _ in Counter(compute).most_common()) or "unknown"
