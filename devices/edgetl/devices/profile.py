"""A device profile: one TOML file with the hardware, the engines' options, the budgets and the tolerances.

The description of a key stands here and nowhere else: editors and docs/devices.md take it from these structs.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgetl.types import Option, Precision

Accelerator = Literal["cpu", "cuda", "intel-gpu", "intel-npu"]
"""What computes: the processor, an NVIDIA GPU, or Intel's GPU or NPU (through OpenVINO)."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What a device may be called; files are named after it."""

Positive = Annotated[float, Meta(gt=0)]


class Hardware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine must be, and what its maker says it can.

    The first eight keys decide whether a machine is this device; empty means "any". The figures below them are the
    maker's, each with its source in `[sources]`. GB are 10⁹ bytes, rates are dense: makers like to state twice as
    much, for weights of which half are zero.
    """

    system: Annotated[str, Meta(description="the operating system's name, as `Linux`")] = ""
    arch: Annotated[str, Meta(description="the architecture as the kernel names it: `x86_64` or `aarch64`")] = ""
    accelerator: Annotated[
        Accelerator,
        Meta(description="what computes: the processor, an NVIDIA GPU, or Intel's GPU or NPU through OpenVINO"),
    ] = "cpu"
    board: Annotated[str, Meta(description="part of the board's name in the device tree, as `Raspberry Pi 5`")] = ""
    cpu: Annotated[str, Meta(description="part of the processor's name, as `N100`")] = ""
    gpu: Annotated[str, Meta(description="part of the GPU's name as its driver reports it, as `L4`")] = ""
    npu: Annotated[str, Meta(description="part of the NPU's name, as its driver reports it")] = ""
    features: Annotated[
        tuple[str, ...],
        Meta(description="instructions that the processor must have, as `edgetl devices detect` names them"),
    ] = ()
    cores: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="cores that a process may use at least")] = (
        None
    )
    memory_gb: Annotated[Positive | None, Meta(description="memory at least, in GB")] = None
    gpu_memory_gb: Annotated[
        Positive | None, Meta(description="the GPU's own memory, in GB; absent where it shares the processor's")
    ] = None
    memory_gb_per_s: Annotated[
        Positive | None, Meta(description="bandwidth of the memory that the accelerator computes from, in GB a second")
    ] = None
    int8_tops: Annotated[
        Positive | None, Meta(description="dense INT8 rate of the accelerator, in 10¹² operations a second")
    ] = None
    fp16_tflops: Annotated[
        Positive | None, Meta(description="dense FP16 rate of the accelerator, in 10¹² operations a second")
    ] = None
    power_w: Annotated[Positive | None, Meta(description="power that the device may draw at most, in watts")] = None


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine the device runs. The order of the tables is the order of preference."""

    name: Annotated[str, Meta(description="the engine")]
    options: Annotated[dict[str, Option], Meta(description="what the engine is opened with")] = {}
    precisions: Annotated[
        tuple[Precision, ...],
        Meta(description="what the engine is good at on this hardware, best first; `export --device` makes these"),
    ] = ()


class QuantisationAdvice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How weights are quantised for the hardware."""

    weights: Annotated[
        Literal["per-channel", "per-tensor"],
        Meta(description="one scale a channel, or one a tensor where the hardware cannot have more"),
    ] = "per-channel"
    note: Annotated[str, Meta(description="why, for people")] = ""


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a variant's logits may be from torch's. A bound that is absent is not judged.

    docs/numerics.md has the measurements behind the shipped values.
    """

    max_abs_dlogit: Annotated[float | None, Meta(description="largest difference of any logit")] = None
    min_sqnr_db: Annotated[float | None, Meta(description="signal to quantisation noise of all logits, in dB")] = None
    min_column_sqnr_db: Annotated[float | None, Meta(description="the same for each label's column, in dB")] = None
    min_agreement: Annotated[
        float | None, Meta(description="part of the samples with the same first answer, from 0 to 1")
    ] = None
    max_kl: Annotated[float | None, Meta(description="mean divergence of the probabilities, in nats")] = None
    repeat_sqnr_db: Annotated[
        float,
        Meta(
            description="how close the same engine on the same kind of processor must come to the variant's own answers"
            " of the export machine, in dB"
        ),
    ] = 60.0
    reproduction_sqnr_db: Annotated[
        float,
        Meta(description="how close any other device must come before it inherits the accuracy measured there, in dB"),
    ] = 60.0


class Numerics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tolerances per declared precision, with the shipped values."""

    fp32: Annotated[Tolerance, Meta(description="of fp32 variants")] = Tolerance(
        max_abs_dlogit=1e-3, repeat_sqnr_db=100.0, reproduction_sqnr_db=80.0
    )
    fp16: Annotated[Tolerance, Meta(description="of fp16 variants")] = Tolerance(
        min_sqnr_db=40.0,
        min_column_sqnr_db=30.0,
        min_agreement=0.97,
        max_kl=0.01,
        repeat_sqnr_db=60.0,
        reproduction_sqnr_db=40.0,
    )
    bf16: Annotated[Tolerance, Meta(description="of bf16 variants")] = Tolerance(
        min_sqnr_db=12.0, min_column_sqnr_db=6.0, min_agreement=0.9, max_kl=0.05
    )
    int8: Annotated[Tolerance, Meta(description="of int8 variants")] = Tolerance(
        min_sqnr_db=12.0, min_column_sqnr_db=6.0, min_agreement=0.9, max_kl=0.05
    )
    w8: Annotated[Tolerance, Meta(description="of w8 variants")] = Tolerance(
        min_sqnr_db=12.0, min_column_sqnr_db=6.0, min_agreement=0.9, max_kl=0.05
    )


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest drop of the task metric that ships, against torch."""

    metric: Annotated[
        Literal["top1", "macro_f1", "map50", "map"],
        Meta(description="what may drop; top1 means map50 where a detector runs"),
    ] = "top1"
    max_drop_points: Annotated[float, Meta(description="by so much at most, in percentage points")] = 1.0
    confidence: Annotated[
        float,
        Meta(
            ge=0.8,
            le=0.999,
            description="how sure a verdict must be; what is left of 1 is the error budget of all questions together",
        ),
    ] = 0.95
    max_class_drop_points: Annotated[
        float | None,
        Meta(description="bounds every class and group too, in percentage points; absent: damaged ones are named only"),
    ] = None

    def __post_init__(self) -> None:
        for name in ("max_drop_points", "max_class_drop_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 100:
                raise ValueError(f"`{name}` must lie between 0 and 100")


class LatencyBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ships at most, or for `per_second` at least; what is absent is not judged."""

    p50_ms: Annotated[Positive | None, Meta(description="median time of a query, in ms")] = None
    p99_ms: Annotated[Positive | None, Meta(description="99th percentile of a query's time, in ms")] = None
    per_second: Annotated[
        Positive | None, Meta(description="samples a second when all are at hand, `batch` an engine call")
    ] = None
    cold_start_ms: Annotated[Positive | None, Meta(description="from a fresh process to its first answer, in ms")] = (
        None
    )
    rss_mb: Annotated[Positive | None, Meta(description="resident memory while it answers, in 10⁶ bytes")] = None
    size_mb: Annotated[Positive | None, Meta(description="the variant's files, in 10⁶ bytes")] = None
    scenario: Annotated[
        Literal["single-stream", "multi-stream"],
        Meta(description="a query takes one sample (single-stream) or `batch` of them (multi-stream)"),
    ] = "single-stream"
    batch: Annotated[int, Meta(ge=1, le=1024, description="samples of a multi-stream query and of an engine call")] = 1

    @property
    def asked(self) -> bool:
        """Whether there is a budget for the latency of a query."""
        return self.p50_ms is not None or self.p99_ms is not None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device."""

    name: Annotated[str, Meta(pattern=NAME, description="what `--device` calls it, the file's stem")]
    title: Annotated[str, Meta(description="what people call it")]
    verified: Annotated[bool, Meta(description="whether the whole chain was run on it; never inherited")] = False
    source: Annotated[str, Meta(description="where most of the profile comes from")] = ""
    extends: Annotated[
        str | None,
        Meta(
            description="another profile, whose values hold where this one has none: a name,"
            " or a path ending in `.toml`, from this file's folder"
        ),
    ] = None
    sources: Annotated[
        dict[str, str],
        Meta(description='where single figures come from, by their key in quotes, as `"hardware.cores"`'),
    ] = {}
    hardware: Annotated[Hardware, Meta(description="what the machine is")] = Hardware()
    engines: Annotated[
        tuple[EngineChoice, ...], Meta(description="what the device runs, best first; at least one, own or inherited")
    ] = ()
    accuracy: Annotated[Accuracy, Meta(description="what may be lost")] = Accuracy()
    latency: Annotated[LatencyBudget, Meta(description="how fast and how small it must be")] = LatencyBudget()
    numerics: Annotated[Numerics, Meta(description="how far logits may be from torch's, by precision")] = Numerics()
    quantisation: Annotated[QuantisationAdvice, Meta(description="how weights are quantised")] = QuantisationAdvice()

    def options(self, engine: str) -> dict[str, Option] | None:
        """The options for `engine`, or None when the device does not run it."""
        return next((dict(choice.options) for choice in self.engines if choice.name == engine), None)
