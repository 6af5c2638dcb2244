"""A device profile: one TOML file with the hardware, the engines' options, the bounds and the tolerances."""

from pathlib import Path
from typing import Literal

import msgspec

from edgetl.errors import ConfigError, suggest
from edgetl.files import read_toml
from edgetl.machine import Machine
from edgetl.plugins import ENGINES
from edgetl.types import Option

FOLDER = Path(__file__).parent / "profiles"


class Hardware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine must be. Empty means "any"; `board` is a part of the board's name."""

    system: str = ""
    arch: str = ""
    accelerator: str = "cpu"
    board: str = ""
    features: tuple[str, ...] = ()


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine the device runs, with the options it is opened with."""

    name: str
    options: dict[str, Option] = {}


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

    `max_class_drop_points` bounds every class and group too; without it damaged ones are named only.
    """

    metric: Literal["top1", "macro_f1"] = "top1"
    max_drop_points: float = 1.0
    max_class_drop_points: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_drop_points", "max_class_drop_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 100:
                raise ValueError(f"`{name}` must lie between 0 and 100")


class LatencyBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The slowest single-stream latency that ships, in milliseconds; None is not judged."""

    p50_ms: float | None = None
    p99_ms: float | None = None

    def __post_init__(self) -> None:
        if any(value is not None and not value > 0 for value in (self.p50_ms, self.p99_ms)):
            raise ValueError("a latency budget must be positive")

    @property
    def asked(self) -> bool:
        """Whether there is any budget."""
        return self.p50_ms is not None or self.p99_ms is not None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device. `verified` only where the whole chain was run on it."""

    name: str
    title: str
    verified: bool = False
    source: str = ""
    hardware: Hardware = Hardware()
    engines: tuple[EngineChoice, ...]
    accuracy: Accuracy = Accuracy()
    latency: LatencyBudget = LatencyBudget()
    numerics: Numerics = Numerics()

    def options(self, engine: str) -> dict[str, Option] | None:
        """The options for `engine`, or None when the device does not run it."""
        return next((dict(choice.options) for choice in self.engines if choice.name == engine), None)


def names() -> list[str]:
    """The shipped profiles, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or any profile by path (`*.toml`). Raises ConfigError."""
    if name.endswith(".toml"):
        return read_toml(Path(name), Profile)
    if name not in names():
        raise ConfigError(f"unknown device `{name}`", hint=suggest(name, names()))
    return read_toml(FOLDER / f"{name}.toml", Profile)


def host_profile() -> Profile:
    """This machine, whatever it is: every known engine with its defaults, the shipped tolerances."""
    return Profile(name="host", title="this machine", engines=tuple(EngineChoice(name=name) for name in ENGINES))


def differences(profile: Profile, machine: Machine) -> list[str]:
    """Why `machine` is not the device of `profile`; empty when it is."""
    wanted = profile.hardware
    found = []
    if wanted.system not in ("", machine.system):
        found.append(f"system is `{machine.system}`, the device has `{wanted.system}`")
    if wanted.arch not in ("", machine.arch):
        found.append(f"architecture is `{machine.arch}`, the device has `{wanted.arch}`")
    if wanted.board and wanted.board not in machine.board:
        found.append(f"board is `{machine.board or 'unknown'}`, the device is `{wanted.board}`")
    if wanted.accelerator == "cuda" and not (machine.gpus or (wanted.board and wanted.board in machine.board)):
        found.append("no NVIDIA GPU is here")
    lacking = [feature for feature in wanted.features if feature not in machine.features]
    if lacking:
        found.append(f"processor lacks `{'`, `'.join(lacking)}`")
    return found


def closest(machine: Machine) -> tuple[Profile, list[str]]:
    """The shipped profile with the fewest differences to `machine`, and these differences."""
    ranked = [(profile, differences(profile, machine)) for profile in map(load_profile, names())]
    return min(ranked, key=lambda pair: (len(pair[1]), not pair[0].hardware.board, pair[0].name))
