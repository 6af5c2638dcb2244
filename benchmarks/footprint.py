"""What the device pays: the import of edgetl.runtime beyond numpy and Pillow, and the peak memory of `check`.

python -m benchmarks.footprint BUNDLE [REPEATS]
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

IMPORT = """
import time, numpy, PIL.Image
began = time.perf_counter()
import edgetl.runtime
print(1000 * (time.perf_counter() - began))
"""


def import_ms() -> float:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def check_peak_mb(bundle: Path) -> float:
    """The peak resident set of the process itself, as the kernel counts it."""
    command = [sys.executable, "-m", "edgetl", "check", str(bundle), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024


def main(bundle: Path, repeats: int) -> None:
    imports = [import_ms() for _ in range(4 * repeats)]
    print(f"import edgetl.runtime: median {statistics.median(imports):.0f} ms, highest {max(imports):.0f} ms")
    peaks = [check_peak_mb(bundle) for _ in range(repeats)]
    print(f"check: peak memory {', '.join(f'{peak:.0f}' for peak in peaks)} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
