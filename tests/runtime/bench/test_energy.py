"""Energy meters read folders as the kernel lays them out; counters wrap, power is integrated, absence has a reason."""

from pathlib import Path

import msgspec
import pytest

from edgetl.errors import EngineError
from edgetl.runtime.bench.energy import find_meters, metered
from edgetl.runtime.bench.energy.board import board_meter
from edgetl.runtime.bench.energy.rapl import package_meters
from edgetl.types import EngineFacts

FACTS = EngineFacts(engine="openvino", version="1", provider="CPU", precision="fp32", threads=1)


def write(path: Path, text: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


def rapl(root: Path, domain: str, name: str, energy_uj: int) -> Path:
    folder = root / "sys/class/powercap" / domain
    write(folder / "name", name)
    write(folder / "max_energy_range_uj", 999_999)
    return write(folder / "energy_uj", energy_uj)


def test_packages_are_counted_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = rapl(tmp_path, "intel-rapl:0", "package-0", 100), rapl(tmp_path, "intel-rapl:1", "package-1", 7)
    core, whole = rapl(tmp_path, "intel-rapl:0:0", "core", 0), rapl(tmp_path, "intel-rapl:2", "psys", 0)
    meters, notes = find_meters(FACTS, tmp_path)
    assert [meter.name for meter in meters] == ["RAPL package-0", "RAPL package-1"] and not notes
    for file, energy in ((first, 300_100), (second, 500_007), (core, 900_000), (whole, 900_000)):
        write(file, energy)
    assert [meter.joules() for meter in meters] == [0.3, 0.5]


def test_a_counter_that_wraps_around_counts_on(tmp_path: Path) -> None:
    counter = rapl(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = package_meters(tmp_path)[0][0]
    for energy, joules in ((100_000, 0.2), (999_999, 1.099999), (0, 1.1), (50_000, 1.15)):
        write(counter, energy)
        assert meter.joules() == pytest.approx(joules)


def test_what_is_absent_or_unreadable_has_its_reason(tmp_path: Path) -> None:
    meters, notes = find_meters(FACTS, tmp_path)
    assert not meters and "shows no RAPL counter" in notes[0]
    counter = rapl(tmp_path, "intel-rapl:0", "package-0", 5)
    counter.unlink()
    counter.mkdir()  # a folder stands for a file that may not be read, as root may read all
    meters, notes = find_meters(FACTS, tmp_path)
    assert not meters and "energy_uj` cannot be read (Is a directory)" in notes[0]


def test_a_gpu_without_driver_has_its_reason(tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("an NVIDIA driver is here")
    facts = msgspec.structs.replace(FACTS, provider="CUDAExecutionProvider")
    assert "libnvidia-ml.so.1" in find_meters(facts, tmp_path)[1][-1]


def ina3221(root: Path, channel: int, label: str, millivolts: int, milliamperes: int) -> None:
    folder = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    write(folder / f"in{channel}_label", label)
    write(folder / f"in{channel}_input", millivolts)
    write(folder / f"curr{channel}_input", milliamperes)


def test_a_jetsons_rails_are_integrated_over_time(tmp_path: Path) -> None:
    """2 W, then 4 W a second later: 3 J by the trapezoid rule; then 4 W for half a second."""
    seconds = iter([0.0, 1.0, 1.5])
    ina3221(tmp_path, 1, "VDD_GPU_SOC", 5000, 300)
    ina3221(tmp_path, 2, "VDD_CPU_CV", 5000, 100)
    meter = board_meter(tmp_path, lambda: next(seconds))
    assert meter is not None and meter.name == "INA3221 VDD_GPU_SOC + VDD_CPU_CV"
    ina3221(tmp_path, 1, "VDD_GPU_SOC", 5000, 700)
    assert meter.joules() == pytest.approx(3.0) and meter.joules() == pytest.approx(5.0)


def test_the_rail_that_feeds_the_module_is_the_whole(tmp_path: Path) -> None:
    for channel, label in ((1, "VDD_IN"), (2, "VDD_CPU_GPU_CV"), (3, "VDD_SOC")):
        ina3221(tmp_path, channel, label, 5000, 1000)
    rapl(tmp_path, "intel-rapl:0", "package-0", 0)
    meters, notes = find_meters(FACTS, tmp_path)
    assert [meter.name for meter in meters] == ["INA3221 VDD_IN"] and not notes


class Counter:
    """A meter that rises by two joules whenever it is read."""

    name = "counter"

    def __init__(self) -> None:
        self.reads = 0

    def joules(self) -> float:
        self.reads += 1
        return 2.0 * self.reads


def test_a_piece_of_work_is_metered_from_its_start_to_its_end() -> None:
    seconds = iter([10.0, 14.0])
    result, reading = metered([Counter(), Counter()], lambda: "done", lambda: next(seconds))
    assert result == "done" and reading is not None and reading.source == "counter, counter"
    assert reading.joules >= 4.0 and reading.watts == reading.joules / 4
    assert metered([], lambda: 1) == (1, None)


def test_the_metering_thread_ends_when_the_work_fails() -> None:
    meter = Counter()
    with pytest.raises(ZeroDivisionError):
        metered([meter], lambda: 1 / 0)
    assert meter.reads == 1


def test_a_meter_that_vanishes_is_said(tmp_path: Path) -> None:
    counter = rapl(tmp_path, "intel-rapl:0", "package-0", 5)
    with pytest.raises(EngineError, match="energy: `RAPL package-0` cannot be read any more"):
        metered(package_meters(tmp_path)[0], counter.unlink)
