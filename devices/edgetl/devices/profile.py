"""A device profile: one TOML file with the hardware, the engines' options, the budgets and the tolerances."""

from typing import Annotated, Literal

import msgspec

from edgetl.types import Option, Precision

Accelerator = Literal["cpu", "cuda", "intel-gpu", "intel-npu"]
"""What computes: the processor, an NVIDIA GPU, or Intel's GPU or NPU (through OpenVINO)."""

Positive = Annotated[float, msgspec.Meta(gt=0)]


class Hardware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine must be, and what its maker says it can. Empty means "any".

    `board`, `cpu`, `gpu` and `npu` are a part of the name that the machine reports. The figures below them are the
    maker's, each with its source in `[sources]`: usable `cores`, memory in GB (10⁹ bytes) and its bandwidth, dense
    INT8 and FP16 rates in 10¹² operations a second, the power the device may draw in watts.
    """

    system: str = ""
    arch: str = ""
    accelerator: Accelerator = "cpu"
    board: str = ""
    cpu: str = ""
    gpu: str = ""
    npu: str = ""
    features: tuple[str, ...] = ()
    cores: Annotated[int, msgspec.Meta(ge=1)] | None = None
    memory_gb: Positive | None = None
    gpu_memory_gb: Positive | None = None
    memory_gb_per_s: Positive | None = None
    int8_tops: Positive | None = None
    fp16_tflops: Positive | None = None
    power_w: Positive | None = None


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine the device runs, with the options it is opened with, and the precisions it is good at, best first."""

    name: str
    options: dict[str, Option] = {}
    precisions: tuple[Precision, ...] = ()


class QuantisationAdvice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the hardware likes: one weight scale a channel or a tensor, and why, for people, in `note`."""

    weights: Literal["per-channel", "per-tensor"] = "per-channel"
    note: str = ""


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a variant's logits may be from torch's. A bound that is absent is not judged.

    `min_column_sqnr_db` bounds each label's column, `max_kl` the divergence of the probabilities in nats.
    `repeat_sqnr_db`: how close the same engine on the same kind of processor must come to the variant's own
    answers of the export machine; `reproduction_sqnr_db`: how close any other device must come before it may
    inherit the accuracy measured there. docs/numerics.md has the measurements behind the shipped values.
    """

    max_abs_dlogit: float | None = None
    min_sqnr_db: float | None = None
    min_column_sqnr_db: float | None = None
    min_agreement: float | None = None
    max_kl: float | None = None
    repeat_sqnr_db: float = 60.0
    reproduction_sqnr_db: float = 60.0


class Numerics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tolerances per declared precision, with the shipped values."""

    fp32: Tolerance = Tolerance(max_abs_dlogit=1e-3, repeat_sqnr_db=100.0, reproduction_sqnr_db=80.0)
    fp16: Tolerance = Tolerance(
        min_sqnr_db=40.0,
        min_column_sqnr_db=30.0,
        min_agreement=0.97,
        max_kl=0.01,
        repeat_sqnr_db=60.0,
        reproduction_sqnr_db=40.0,
    )
    bf16: Tolerance = Tolerance(min_sqnr_db=12.0, min_column_sqnr_db=6.0, min_agreement=0.9, max_kl=0.05)
    int8: Tolerance = Tolerance(min_sqnr_db=12.0, min_column_sqnr_db=6.0, min_agreement=0.9, max_kl=0.05)
    w8: Tolerance = Tolerance(min_sqnr_db=12.0, min_column_sqnr_db=6.0, min_agreement=0.9, max_kl=0.05)


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest drop of the task metric that ships, in percentage points.

    `confidence`: how sure a verdict must be; what is left of 1 is the error budget of all questions together.
    `max_class_drop_points` bounds every class and group too; without it damaged ones are named only.
    """

    metric: Literal["top1", "macro_f1"] = "top1"
    max_drop_points: float = 1.0
    confidence: Annotated[float, msgspec.Meta(ge=0.8, le=0.999)] = 0.95
    max_class_drop_points: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_drop_points", "max_class_drop_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 100:
                raise ValueError(f"`{name}` must lie between 0 and 100")


class LatencyBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ships at most, or for `per_second` at least; None is not judged.

    `p50_ms` and `p99_ms`: a query in `scenario`, which takes one sample (single-stream) or `batch` (multi-stream).
    `per_second`: samples a second when all are at hand, `batch` an engine call. `cold_start_ms`: from a fresh process
    to the first answer. `rss_mb`: resident memory while it answers; `size_mb`: the variant's files; both in 10⁶ bytes.
    """

    p50_ms: Positive | None = None
    p99_ms: Positive | None = None
    per_second: Positive | None = None
    cold_start_ms: Positive | None = None
    rss_mb: Positive | None = None
    size_mb: Positive | None = None
    scenario: Literal["single-stream", "multi-stream"] = "single-stream"
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1

    @property
    def asked(self) -> bool:
        """Whether there is a budget for the latency of a query."""
        return self.p50_ms is not None or self.p99_ms is not None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device. `verified` only where the whole chain was run on it.

    `extends` names another profile, whose values hold where this one has none. `source` is where most of it comes
    from; `sources` names the source of single figures by their key, as `hardware.cores`.
    """

    name: str
    title: str
    verified: bool = False
    source: str = ""
    extends: str | None = None
    sources: dict[str, str] = {}
    hardware: Hardware = Hardware()
    engines: tuple[EngineChoice, ...] = ()
    accuracy: Accuracy = Accuracy()
    latency: LatencyBudget = LatencyBudget()
    numerics: Numerics = Numerics()
    quantisation: QuantisationAdvice = QuantisationAdvice()

    def options(self, engine: str) -> dict[str, Option] | None:
        """The options for `engine`, or None when the device does not run it."""
        return next((dict(choice.options) for choice in self.engines if choice.name == engine), None)
