"""A fleet's reports as one JUnit document and one page of Markdown; a device that was not judged is an error there."""

import xml.etree.ElementTree as ET  # writes only
from datetime import datetime
from pathlib import Path

from edgetl.devices.fleet.summary import DeviceError, DeviceReport, FleetReport
from edgetl.devices.publish.junit import document, empty_suite, line, suite
from edgetl.devices.publish.markdown import SIGNS, escaped, markdown
from edgetl.files import write_bytes


def fleet_junit(
    fleet: FleetReport, *, strict: bool = False, when: datetime | None = None, seconds: float | None = None
) -> bytes:
    """A suite for each device, named after it; `strict`, `when` and `seconds` as in `junit_xml`."""
    return document([_suite(each, fleet, strict=strict) for each in fleet.devices], when, seconds)


def fleet_markdown(fleet: FleetReport) -> str:
    """What each device came to, one after the other."""
    name = escaped(Path(fleet.bundle).name)
    sign = SIGNS[fleet.verdict] if fleet.verdict else ""
    title = f"## {sign} {fleet.verdict}: {name} on {len(fleet.devices)} devices"
    parts = [_error(each, each.error) if each.error else markdown(each.report) for each in fleet.devices]
    return "\n\n".join([title, *(part.strip() for part in parts)]) + "\n"


def write_fleet_junit(
    path: Path, fleet: FleetReport, *, strict: bool = False, when: datetime | None = None, seconds: float | None = None
) -> None:
    """Writes `fleet_junit` whole or not at all."""
    write_bytes(path, fleet_junit(fleet, strict=strict, when=when, seconds=seconds))


def write_fleet_markdown(path: Path, fleet: FleetReport) -> None:
    """Writes `fleet_markdown` whole or not at all."""
    write_bytes(path, fleet_markdown(fleet).encode())


def _suite(device: DeviceReport, fleet: FleetReport, *, strict: bool) -> ET.Element:
    name = f"{Path(fleet.bundle).name} on {device.name}"
    if device.error is None:
        made = suite(device.report, strict=strict)
        made.set("name", line(name))
        return made
    made = empty_suite("edgetl.fleet", name, tests=1, errors=1)
    case = ET.Element("testcase", classname=line(f"edgetl.fleet.{device.name}"), name="judged", time="0")
    message = line(device.error.message)
    ET.SubElement(case, "error", type=f"exit {device.error.exit_code}", message=message).text = line(
        f"{device.error.message} {device.error.hint or ''}"
    )
    made.insert(1, case)
    return made


def _error(device: DeviceReport, error: DeviceError) -> str:
    told = f"\n\nhint: {escaped(error.hint)}" if error.hint else ""
    return f"### ❗ error: {escaped(device.name)}\n\n{escaped(error.message)}{told}"
