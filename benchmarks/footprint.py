"""What the device pays beyond its engine, numpy and Pillow: import time, installed size, resident memory.

python -m benchmarks.footprint BUNDLE [PHOTO] [VARIANT] [REPEATS]

Import time of edgetl.runtime; size of the installed packages that edgetl itself needs; with a PHOTO the resident
memory after the first prediction beside a bare script with the same engine; the peak memory of `check`.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from benchmarks.cold_start import EDGETL, ONNXRUNTIME, OPENVINO

from edgetl.bundle import open_bundle

IMPORT = """
import time, numpy, PIL.Image
began = time.perf_counter()
import edgetl.runtime
print(1000 * (time.perf_counter() - began))
"""

RESIDENT = r"""
import re
print(re.search(r"VmRSS:\s+(\d+)", open("/proc/self/status").read()).group(1))
"""

AREAS = ("core", "finetune", "export", "runtime", "devices")
NOT_OURS = {"numpy", "pillow"}
"""Besides the engine."""


def import_ms() -> float:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def needed(name: str) -> set[str]:
    """The installed packages that `name` needs without any extra, and those that these need."""
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:  # needed elsewhere only, by another Python or system
        return set()
    plain = [requirement for requirement in requirements if "extra ==" not in requirement]
    packages = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in plain} - NOT_OURS
    return {name}.union(*(needed(package) for package in packages))


def installed_mb() -> dict[str, float]:
    """MB of the files of each package, those of edgetl from the source tree. Without compiled Python."""
    root = Path(__file__).parents[1]
    own = sum(file.stat().st_size for area in AREAS for file in (root / area).rglob("*.*") if file.suffix != ".pyc")
    sizes = {"edgetl": own / 1e6}
    for name in sorted(needed("edgetl") - {"edgetl"}):
        files = [Path(str(file.locate())) for file in distribution(name).files or []]
        sizes[name] = sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file()) / 1e6
    return sizes


def resident_mb(script: str, *arguments: object, **environment: str) -> float:
    """The resident set after `script` has answered."""
    command = [sys.executable, "-c", script + RESIDENT, *map(str, arguments)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    return int(done.stdout.split()[-1]) / 1024


def beside_bare(path: Path, photo: Path, variant: str, repeats: int) -> dict[str, float]:
    """Median resident MB of a bare script, and of edgetl without its cache and with it."""
    bundle = open_bundle(path)
    record = bundle.variant(variant)
    bare, model = OPENVINO if record.engine == "openvino" else ONNXRUNTIME, bundle.open_variant(record)
    found: dict[str, list[float]] = {"bare": [], "edgetl, no cache": [], "edgetl": []}
    with tempfile.TemporaryDirectory() as folder:
        resident_mb(EDGETL, path, photo, variant, EDGETL_CACHE=folder)
        for _ in range(repeats):
            found["bare"].append(resident_mb(bare, model, photo))
            found["edgetl, no cache"].append(resident_mb(EDGETL, path, photo, variant, EDGETL_ENGINE_CACHE_MB="0"))
            found["edgetl"].append(resident_mb(EDGETL, path, photo, variant, EDGETL_CACHE=folder))
    return {name: statistics.median(each) for name, each in found.items()}


def check_peak_mb(bundle: Path) -> float:
    """The peak resident set of the process itself, as the kernel counts it."""
    command = [sys.executable, "-m", "edgetl", "check", str(bundle), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024


def main(bundle: Path, photo: Path | None, variant: str, repeats: int) -> None:
    imports = [import_ms() for _ in range(4 * repeats)]
    print(f"import edgetl.runtime: median {statistics.median(imports):.0f} ms, highest {max(imports):.0f} ms")
    sizes = installed_mb()
    print(f"installed: {sum(sizes.values()):.1f} MB:", ", ".join(f"{name} {mb:.1f}" for name, mb in sizes.items()))
    if photo:
        resident = beside_bare(bundle, photo, variant, repeats)
        for name, mb in resident.items():
            print(f"resident, {variant}, {name}: {mb:.0f} MB, {mb - resident['bare']:+.0f} MB")
    peaks = [check_peak_mb(bundle) for _ in range(repeats)]
    print(f"check: peak memory {', '.join(f'{peak:.0f}' for peak in peaks)} MB")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
        sys.argv[3] if len(sys.argv) > 3 else "openvino-int8",
        int(sys.argv[4]) if len(sys.argv) > 4 else 3,
    )
