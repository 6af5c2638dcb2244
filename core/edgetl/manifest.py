"""`manifest.json`: what a bundle says of itself. Only structs, and what they may not contradict."""

from typing import Annotated, Literal

import msgspec

from edgetl.machine import Machine
from edgetl.run import WeightsRecord
from edgetl.tasks import Task
from edgetl.types import EngineFacts, Option, Precision, TensorSpec

SCHEMA = "1.4"
MAJOR = 1


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    sha256: str


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """The task metric of a variant beside torch's, paired on the same labelled samples.

    `lost`: right in torch, wrong in the variant; `gained`: the reverse. Values are fractions of 1.
    """

    metric: str
    samples: int
    reference: float
    value: float
    lost: int
    gained: int


class Quantisation(msgspec.Struct, frozen=True, kw_only=True):
    """How the scales of an int8 variant came about.

    `samples`: calibration samples. `ranges`: how an activation's range follows from what was seen. `bias_correction`:
    biases make up for the mean error of each layer. `equalised`: factors were moved between neighbouring layers so that
    channels are alike. `trained`: the weights were fine-tuned under quantisation first.
    `kept`: layers that stay in floating point, by the name of their node in the graph. `dynamic`: the engine finds the
    scales of activations anew for each input, so that nothing was calibrated.
    """

    samples: Annotated[int, msgspec.Meta(ge=1)]
    ranges: Literal["min-max", "percentile", "mse"] = "min-max"
    bias_correction: bool = False
    equalised: bool = False
    trained: bool = False
    kept: tuple[str, ...] = ()
    dynamic: bool = False


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One step on the way to an int8 variant that holds its accuracy, and what came of it.

    `drop_points` is paired with torch on the validation split; None where nothing was labelled.
    """

    step: str
    quantisation: Quantisation
    drop_points: float | None
    sqnr_db: float | None
    verdict: str
    size_bytes: int


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One of several ways of quantising that were measured against each other on training samples.

    `time`: the median latency of a sample over that of the first way, in one interleaved run.
    """

    quantisation: Quantisation
    sqnr_db: float
    agreement: float
    time: float


class CalibrationPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What so many calibration images gave on other training images: SQNR of the logits, share of equal answers."""

    samples: int
    sqnr_db: float
    agreement: float


class VariantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One engine × precision. `files[0]` is what the engine opens; `options` are needed to run as declared.

    `golden`: its own logits for the golden set; `answers`: its answers on the validation split; `facts`: what
    ran when these were made. `quantisation`: of an int8 variant; `attempts`: every step tried until it held, each
    of which looked at the validation split.
    """

    id: str
    engine: str
    precision: Precision
    files: tuple[str, ...]
    options: dict[str, Option] = {}
    golden: str | None = None
    engine_version: str
    status: Literal["verified", "failed", "unverified"]
    verdict: str
    reason: str = ""
    task_result: TaskResult | None = None
    answers: str | None = None
    facts: EngineFacts | None = None
    quantisation: Quantisation | None = None
    attempts: tuple[Attempt, ...] = ()
    ways: tuple[Way, ...] = ()


class GoldenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which images travel: real ones from the validation split, generated ones, or none.

    `probes` are generated image files that only test the decoder (orientation, transparency, 16 bit).
    """

    kind: Literal["validation", "synthetic", "none"]
    samples: int = 0
    encoded: tuple[str, ...] = ()
    decoder: str = ""
    probes: tuple[str, ...] = ()


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model comes from. `calibration`: which training images, `options`: what export was asked for.

    `model_sha256`: of the run's `weights.safetensors`, the adapted model that every variant was made from.
    """

    run: str
    strategy: str
    backbone: str
    data_fingerprint: str
    weights: WeightsRecord
    calibration: dict[str, str | int | bool]
    options: dict[str, str | int | float | bool | None] = {}
    model_sha256: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`: everything a device must know, and the digest of every file.

    `validation`: truths and torch's answers of the validation split; `machine`: where the bundle was made.
    `calibration_curve`: by which the number of calibration images was chosen. `refused`: variants that were left
    out, with the reason.
    """

    schema: str
    task: Task
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[VariantRecord, ...]
    golden: GoldenRecord
    source: SourceRecord
    versions: dict[str, str]
    files: tuple[FileRecord, ...]
    validation: str | None = None
    machine: Machine | None = None
    calibration_curve: tuple[CalibrationPoint, ...] = ()
    refused: dict[str, str] = {}


def inconsistency(manifest: Manifest) -> str | None:
    """What no export would have written, or None."""
    task, golden = manifest.task, manifest.golden
    if problem := task.misfit(manifest.inputs, manifest.outputs):
        return problem
    listed = {record.path for record in manifest.files}
    named = {*golden.encoded, *golden.probes, *task.files, *([manifest.validation] if manifest.validation else [])}
    loose = named - listed
    if loose:
        return f"`{min(loose)}` is no listed file"
    names = [variant.id for variant in manifest.variants]
    if not names or len(set(names)) != len(names):
        return "there must be variants, each with its own name"
    if not 0 <= len(golden.encoded) <= (golden.samples if golden.kind != "none" else 0):
        return "more encoded golden images than samples"
    return next((problem for v in manifest.variants if (problem := _variant_inconsistency(manifest, v))), None)


def _variant_inconsistency(manifest: Manifest, variant: VariantRecord) -> str | None:
    listed = {record.path for record in manifest.files}
    if (
        not variant.files
        or not {*variant.files, *(name for name in (variant.golden, variant.answers) if name)} <= listed
    ):
        return f"variant `{variant.id}` names no listed file"
    result = variant.task_result
    if result and not (result.lost >= 0 <= result.gained and 0 <= result.lost + result.gained <= result.samples):
        return f"variant `{variant.id}` has impossible counts"
    return None
