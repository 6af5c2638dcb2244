"""Do damaged manifests, profiles, measurements and reports ever end in anything but an error of ours?

python -m benchmarks.fuzz BUNDLE REPORT.json [EXAMPLES]

BUNDLE: a small one, as `edgetl demo` makes; REPORT: what `edgetl gate -o` wrote. EXAMPLES (100,000) are shared among
the four kinds of file. Every file that is opened meanwhile is watched by an audit hook.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from tests.fuzzing import Watch, encoded, fuzz, use_manifest, use_measurements, use_profile, use_report

from edgetl.devices.catalogue import host_profile


def as_toml(document: Any, flips: list[tuple[int, int]]) -> bytes:
    """The document as TOML; what TOML cannot say stays JSON, which is no TOML."""
    try:
        return msgspec.toml.encode(document)
    except (TypeError, ValueError):
        return encoded(document, flips)


def main(bundle: Path, report: Path, examples: int) -> None:
    began, part = time.perf_counter(), examples // 4
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "bundle"
        shutil.copytree(bundle, place)
        manifest = json.loads((place / "manifest.json").read_text())
        measured = json.loads((place / "measurements.json").read_text())
        profile, reported = msgspec.to_builtins(host_profile()), json.loads(report.read_text())
        watch = Watch(Path(temporary))
        file = Path(temporary) / "profile.toml"
        crashes = fuzz(profile, file, lambda: use_profile(file), watch, part, as_toml)
        crashes += fuzz(measured, place / "measurements.json", lambda: use_measurements(place), watch, part)
        other = Path(temporary) / "report.json"
        crashes += fuzz(reported, other, lambda: use_report(other, place), watch, part)
        crashes += fuzz(manifest, place / "manifest.json", lambda: use_manifest(place), watch, part)
    print(f"{4 * part} damaged files in {time.perf_counter() - began:.0f} s: {len(crashes)} crashes, ", end="")
    print(f"{len(watch.strange)} files opened outside")
    for line in sorted({*crashes, *watch.strange})[:20]:
        print(line)
    sys.exit(bool(crashes or watch.strange))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100_000)
