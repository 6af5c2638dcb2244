"""What each engine can be told, apart from the engines: checking options needs no engine installed."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]


class OnnxRuntimeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ONNX Runtime's. Reference: its C API's session options and execution providers."""

    provider: Annotated[Literal["cpu", "cuda"], Meta(description="what computes: the processor or an NVIDIA GPU")] = (
        "cpu"
    )
    threads: Annotated[Count, Meta(description="threads of one inference; 0: the engine's own choice")] = 0
    spinning: Annotated[
        bool | None,
        Meta(
            description="whether idle threads wait in a busy loop: faster answers, a core kept busy;"
            " absent: the engine's own choice"
        ),
    ] = None
    optimization: Annotated[
        Literal["all", "none"],
        Meta(
            description="`none` runs the graph node by node as it is written, slowly:"
            " some rewrites are wrong for graphs made for another engine"
        ),
    ] = "all"


class OpenVinoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenVINO's. Raises ValueError for an option that its device does not have, rather than dropping it."""

    device: Annotated[str, Meta(description="OpenVINO's name of what computes: `CPU`, `GPU`, `GPU.1`, `NPU`, …")] = (
        "CPU"
    )
    inference_precision: Annotated[
        Literal["fp32", "fp16", "bf16", "fast"],
        Meta(
            description="what layers that are not quantised run in; a variant brings its own;"
            " `fast`: the engine's own choice"
        ),
    ] = "fp32"
    hint: Annotated[
        Literal["latency", "throughput"], Meta(description="whether one answer is to be fast or many a second")
    ] = "latency"
    threads: Annotated[Count, Meta(description="threads; 0: the engine's own choice; only on the processor")] = 0
    streams: Annotated[
        Count, Meta(description="inferences that compute at the same time; 0: the engine's own choice; not on the NPU")
    ] = 0
    pinning: Annotated[
        bool | None,
        Meta(description="whether threads stay on their core; absent: the engine's own choice; only on the processor"),
    ] = None
    batch: Annotated[
        Count,
        Meta(
            description="compiled for batches of this size, which is faster than leaving it open (0);"
            " the first batch of another size compiles the model once more, left open."
            " The NPU needs a size and takes multiples of it"
        ),
    ] = 0
    length_step: Annotated[
        Count,
        Meta(
            description="of texts: a single one is padded to a multiple of so many tokens and answered by a model"
            " compiled for that length, which is faster than leaving it open (0); the 8 lengths used last are kept,"
            " each takes the model's memory again; only on the processor"
        ),
    ] = 0
    cache: Annotated[
        bool, Meta(description="whether the compiled model is kept for the next start; only for the processor")
    ] = True

    @property
    def kind(self) -> str:
        """The device without its number: `GPU` for `GPU.1`."""
        return self.device.split(".")[0]

    def __post_init__(self) -> None:
        processors = ("threads", "pinning", "length_step")
        lacking = {"GPU": processors, "NPU": (*processors, "streams")}.get(self.kind, ())
        for name in lacking:
            if getattr(self, name) not in (0, None):
                raise ValueError(f"the {self.kind} has no `{name}`")
        if self.kind == "NPU" and not self.batch:
            raise ValueError("the NPU computes batches of one size only: add `batch = 1`")


class TensorRtOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TensorRT's."""

    device: Annotated[Count, Meta(description="the GPU's index")] = 0
    cache: Annotated[str, Meta(description="a folder for built engines; empty: edgetl's own cache")] = ""


OPTIONS: dict[str, type[Any]] = {
    "onnxruntime": OnnxRuntimeOptions,
    "openvino": OpenVinoOptions,
    "tensorrt": TensorRtOptions,
}
"""By the engine's name."""
