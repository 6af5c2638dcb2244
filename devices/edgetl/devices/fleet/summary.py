"""What a fleet came to: every device's report or error, and one verdict."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from edgetl.devices.verdict import worst
from edgetl.errors import EdgetlError
from edgetl.types import Verdict


class DeviceError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a device was not judged, and the exit code that a run on it alone would have."""

    message: str
    hint: str | None
    exit_code: int


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `report` is what `--on` would give; a device on which nothing could be judged has both."""

    name: str
    address: str
    status: Literal["judged", "error"]
    seconds: float
    error: DeviceError | None = None
    report: Any = None


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--fleet --json` prints. `verdict` is the worst of the devices that were judged; None for a bench."""

    bundle: str
    verdict: Verdict | None
    devices: tuple[DeviceReport, ...]


def judged(name: str, address: str, seconds: float, report: Any) -> DeviceReport:
    """A device that sent `report`, in which perhaps nothing was judged."""
    if verdict_of(report) != "skipped":
        return DeviceReport(name=name, address=address, status="judged", seconds=seconds, report=report)
    why = "; ".join(sorted({reason.text for variant in report.variants for reason in variant.reasons}))
    error = DeviceError(message="nothing was judged", hint=why, exit_code=3)
    return DeviceReport(name=name, address=address, status="error", seconds=seconds, error=error, report=report)


def failed(name: str, address: str, seconds: float, error: EdgetlError) -> DeviceReport:
    """A device that sent none."""
    told = DeviceError(message=error.message, hint=error.hint, exit_code=error.exit_code)
    return DeviceReport(name=name, address=address, status="error", seconds=seconds, error=told)


def summary(bundle: str, devices: Sequence[DeviceReport]) -> FleetReport:
    """All devices with the worst verdict among them; `skipped` when none was judged."""
    verdicts = [verdict_of(each.report) for each in devices if each.status == "judged"]
    told = [verdict for verdict in verdicts if verdict is not None]
    verdict = None if verdicts and not told else worst(told)
    return FleetReport(bundle=bundle, verdict=verdict, devices=tuple(devices))


def verdict_of(report: Any) -> Verdict | None:
    """That of a check or a gate; None for a bench, which has none."""
    found: Verdict | None = getattr(report, "verdict", None)
    return found


def error_code(report: FleetReport) -> int | None:
    """The exit code of the devices that were not judged: their own if they agree, else 3; None when there is none."""
    codes = {each.error.exit_code for each in report.devices if each.error is not None}
    return codes.pop() if len(codes) == 1 else 3 if codes else None
