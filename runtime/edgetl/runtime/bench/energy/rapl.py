"""Intel's and AMD's energy counters of a processor package, as the kernel's powercap shows them.

Reference: Linux, Documentation/power/powercap/powercap.rst. `energy_uj` counts microjoules and wraps around at
`max_energy_range_uj`; on most systems only root may read it.
"""

from pathlib import Path

from edgetl.runtime.bench.energy.meter import Meter

FOLDER = "sys/class/powercap"


class PackageMeter:
    """One package's counter, wrap-around undone as long as it is read once in each round."""

    def __init__(self, folder: Path) -> None:
        self.name = f"RAPL {(folder / 'name').read_text().strip()}"
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = int(self._counter.read_text())
        self._total = 0

    def joules(self) -> float:
        now = int(self._counter.read_text())
        # as if the range were one longer: it is the largest value, not the number of values
        self._total += now - self._last if now >= self._last else now + self._range + 1 - self._last
        self._last = now
        return self._total / 1e6


def package_meters(root: Path) -> tuple[list[Meter], str]:
    """A meter for each processor package, or why there is none. Cores, memory and `psys` overlap with packages."""
    folders = sorted((root / FOLDER).glob("intel-rapl:*"))
    packages = [each for each in folders if each.name.count(":") == 1 and _name(each).startswith("package")]
    if not packages:
        return [], f"`/{FOLDER}` shows no RAPL counter of a processor package"
    try:
        return [PackageMeter(each) for each in packages], ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return [], f"`/{FOLDER}/{packages[0].name}/energy_uj` cannot be read ({reason})"


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""
