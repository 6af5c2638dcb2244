"""What `export` is asked, and what it answers."""

from typing import Literal

import msgspec

from edgetl import plugins
from edgetl.devices.catalogue import host_profile, load_profile
from edgetl.devices.matching import differences
from edgetl.devices.profile import Profile
from edgetl.errors import DependencyError
from edgetl.export.golden import GoldenKind
from edgetl.export.targets import load_target, parse_variant
from edgetl.machine import detect
from edgetl.types import Option

DEFAULT_PRECISIONS = ("fp32", "int8")
DEFAULT_VARIANTS = ("onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32", "openvino-int8")


class ExportConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `export` is asked to do. `variants` None: what the profile `device` runs, without one the four of
    processors; in both cases those whose libraries are installed.

    `max_drop`: percentage points that an int8 variant may lose before more is tried; None takes the bound of
    `device`, a profile, or of this machine. `escalate` False makes them once. `calibration_samples` None: as many
    as measuring shows to be enough.
    `nms`: who suppresses boxes that repeat an object, of a detector.
    `seed` draws the calibration and the golden samples. `data` is the data folder if it moved since the run.
    """

    variants: tuple[str, ...] | None = None
    golden: GoldenKind = "validation"
    calibration_samples: int | None = None
    per_tensor: bool = False
    max_drop: float | None = None
    escalate: bool = True
    device: str | None = None
    opset: int = 20
    embedding: bool = False
    nms: Literal["device", "graph"] = "device"
    seed: int = 0
    data: str | None = None

    def __post_init__(self) -> None:
        if self.calibration_samples is not None and self.calibration_samples < 1:
            raise ValueError("`calibration_samples` must be at least 1")
        if self.max_drop is not None and not 0 < self.max_drop < 100:
            raise ValueError("`max_drop` must lie between 0 and 100 points")

    def options(self) -> dict[str, Option | None]:
        """What the manifest keeps of it: everything but the place of the data."""
        kept = {**msgspec.structs.asdict(self), "variants": ",".join(self.variants) if self.variants else None}
        unsaid = {"data"} if self.nms == "graph" else {"data", "nms"}
        return {name: value for name, value in kept.items() if name not in unsaid}


class ExportedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """`held`: False when the variant lost more than allowed whatever was tried; `steps`: how many were."""

    id: str
    engine: str
    precision: str
    size_bytes: int
    status: Literal["verified", "failed", "unverified"]
    verdict: str
    reason: str
    held: bool
    steps: int


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `export --json` prints."""

    bundle: str
    seconds: float
    variants: tuple[ExportedVariant, ...]


def chosen_variants(asked: tuple[str, ...] | None, device: str | None = None) -> tuple[list[str], dict[str, str]]:
    """The variants to make, and those left out with the reason. Raises ConfigError or DependencyError.

    Without `asked`: each engine of the profile `device` in the precisions it is good at, else `DEFAULT_VARIANTS`.
    """
    if asked is not None:
        for name in asked:
            load_target(parse_variant(name)[0])
        return list(dict.fromkeys(asked)), {}
    wanted = variants_of(load_profile(device)) if device else DEFAULT_VARIANTS
    absent = {name: plugins.missing(plugins.TARGETS[parse_variant(name)[0]]) for name in wanted}
    refused = {name: f"`{'`, `'.join(lacking)}` is not installed" for name, lacking in absent.items() if lacking}
    if len(refused) == len(absent):
        raise DependencyError(
            "no engine to export for is installed", hint="install `edgetl[openvino]` or another engine"
        )
    return [name for name in wanted if name not in refused], refused


def variants_of(device: Profile) -> tuple[str, ...]:
    """The profile's engines in the order of preference, each in its precisions, best first; fp32 and int8 if it names
    none."""
    return tuple(
        f"{choice.name}-{precision}"
        for choice in device.engines
        for precision in choice.precisions or DEFAULT_PRECISIONS
    )


def for_device(config: ExportConfig) -> ExportConfig:
    """`config` with what the profile `device` says of quantisation, where the user said nothing. Raises ConfigError."""
    if config.device is None or config.per_tensor:
        return config
    weights = load_profile(config.device).quantisation.weights
    return msgspec.structs.replace(config, per_tensor=weights == "per-tensor")


def judging_profile(config: ExportConfig) -> Profile:
    """The profile to judge with here: the device's when this is one, else this machine with the device's bounds."""
    here = host_profile()
    device = load_profile(config.device) if config.device else here
    accuracy = device.accuracy
    if config.max_drop is not None:
        accuracy = msgspec.structs.replace(accuracy, max_drop_points=config.max_drop)
    if device is not here and differences(device, detect()):
        device = msgspec.structs.replace(here, numerics=device.numerics)
    return msgspec.structs.replace(device, accuracy=accuracy)
