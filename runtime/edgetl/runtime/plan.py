"""A plan: what one device chose of a bundle by measuring (`plans/DEVICE.json`), and which plan is this machine's."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edgetl import plugins
from edgetl.bundle import Bundle
from edgetl.errors import ArtefactError, ConfigError, suggest
from edgetl.files import inside, read_json
from edgetl.machine import Machine, detect
from edgetl.types import Option

SCHEMA = "1.1"
MAJOR = 1
HOST = "host"
"""The name of the plan for "this machine, whatever it is"."""

PROGRESS = ".tuning.json"
"""How the file of an unfinished tune ends; it lies beside the plans and is none."""

Aim = Literal["latency", "throughput"]
"""What a choice is best at: one sample after the other, or many at hand."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value with its one-sided 95 % bounds, which are None when too little was measured for them."""

    value: float
    low: float | None = None
    high: float | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """How a variant is opened and asked: engine options, samples a batch, callers at a time; and what that gave.

    A latency choice has `p50_ms`, a throughput choice `per_second` (samples).
    """

    variant: str
    options: dict[str, Option] = {}
    batch: Annotated[int, msgspec.Meta(ge=1)] = 1
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 1
    p50_ms: Figure | None = None
    per_second: Figure | None = None


class Tradeoff(msgspec.Struct, frozen=True, kw_only=True):
    """A variant of the Pareto front: no other loses less accuracy, is faster and is smaller at once.

    `drop_points`: of the task metric against torch, in percentage points; None where nothing is labelled.
    """

    variant: str
    options: dict[str, Option]
    p50_ms: float
    drop_points: float | None
    size_bytes: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The choice for one device. `variant` and `options` are the latency choice's.

    Schema 1.0 has no more than these. `machine` is where it was measured, `manifest` the SHA-256 of the manifest it
    was measured of, `engines` their versions, `when` is UTC. `latency_from`: the latency choice was settled in fresh
    processes or in the one that searched.
    """

    schema: str
    variant: str
    options: dict[str, Option] = {}
    latency: Choice | None = None
    throughput: Choice | None = None
    front: tuple[Tradeoff, ...] = ()
    latency_from: Literal["launches", "process"] | None = None
    machine: Machine | None = None
    manifest: str | None = None
    engines: dict[str, str] = {}
    when: str = ""

    def choice(self, aim: Aim) -> Choice:
        """The choice for `aim`; a plan that has none for it has the one it was written for."""
        chosen = self.latency if aim == "latency" else self.throughput
        return chosen or Choice(variant=self.variant, options=self.options)


def plan_path(bundle: Bundle, device: str) -> Path:
    """Where the plan for `device` lies, if there is one. Raises ArtefactError for a name that leaves the bundle."""
    return inside(bundle.path, f"plans/{device}.json")


def read_plan(bundle: Bundle, device: str) -> Plan:
    """The plan for `device`. Raises ConfigError when there is none, ArtefactError when it is damaged or newer."""
    path = plan_path(bundle, device)
    if not path.is_file():
        hint = suggest(device, [found.stem for found in _plan_files(bundle)], what="planned")
        raise ConfigError(f"`{bundle.path}` has no plan for device `{device}`", hint=hint)
    return read_json(path, Plan, major=MAJOR)


def planned_variants(bundle: Bundle, device: str) -> list[str]:
    """The variants that the plan for `device` opens, each once; empty when there is no such plan."""
    if not plan_path(bundle, device).is_file():
        return []
    plan = read_plan(bundle, device)
    return list(dict.fromkeys([plan.variant, plan.choice("throughput").variant]))


def own_plan(bundle: Bundle) -> Plan | None:
    """The plan measured on this hardware, of this very bundle, with engines that are installed; None without one.

    Of several, `host` counts first, then the one measured last. Raises ArtefactError for a damaged or newer plan.
    """
    found = {path.stem: _readable(path) for path in _plan_files(bundle)}
    fitting = {name: plan for name, plan in found.items() if _fits(plan, bundle)}
    if not fitting:
        return None
    return fitting[max(fitting, key=lambda name: (name == HOST, fitting[name].when, name))]


def same_hardware(one: Machine, other: Machine) -> bool:
    """Whether a measurement of `one` holds on `other`: all that decides about kernels, threads and devices is equal."""
    fields = ("system", "arch", "cpu", "features", "cores", "gpus", "board", "intel_gpus", "intel_npus")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def _fits(plan: Plan, bundle: Bundle) -> bool:
    if plan.machine is None or not same_hardware(plan.machine, detect()) or plan.manifest != bundle.digest:
        return False
    engines = {bundle.variant(plan.choice(aim).variant).engine for aim in ("latency", "throughput")}
    return all(plugins.engine_installed(name) for name in engines)


def _plan_files(bundle: Bundle) -> list[Path]:
    return [path for path in sorted((bundle.path / "plans").glob("*.json")) if not path.name.endswith(PROGRESS)]


def _readable(path: Path) -> Plan:
    try:
        return read_json(path, Plan, major=MAJOR)
    except ArtefactError as error:
        raise ArtefactError(error.message, hint=f"name a variant, or delete `{path}` and tune again") from error
