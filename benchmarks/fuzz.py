"""Do damaged manifests, profiles, measurements and reports ever end in anything but an error of ours?

python -m benchmarks.fuzz BUNDLE REPORT.json [EXAMPLES]

BUNDLE: a small one, as `edgetl demo` makes; REPORT: what `edgetl gate -o` wrote. EXAMPLES (100,000) are shared among
the four kinds of file. Every file that is opened meanwhile is watched by an audit hook.
"""

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from tests.fuzzing import (
    BYTES,
    DAMAGES,
    Damage,
    Watch,
    damaged,
    encoded,
    survives,
    use_manifest,
    use_measurements,
    use_profile,
    use_report,
)  # fmt: skip

from edgetl.devices.profile import host_profile


def fuzz(document: Any, path: Path, use: Callable[[], None], examples: int, watch: Watch, *, toml: bool) -> list[str]:
    """Crashes among `examples` damaged versions of `document`, written to `path` and used."""
    crashes: list[str] = []

    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(DAMAGES, BYTES)
    def one(damages: list[Damage], flips: list[tuple[int, int]]) -> None:
        broken = damaged(document, damages)
        content = encoded(broken, flips)
        if toml:
            with contextlib.suppress(TypeError, ValueError):  # what TOML cannot say stays JSON, which is no TOML
                content = msgspec.toml.encode(broken)
        path.write_bytes(content)
        if crash := survives(use, watch):
            crashes.append(f"{path.name}: {crash}")

    one()
    return crashes


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
        crashes = fuzz(profile, file, lambda: use_profile(file), part, watch, toml=True)
        crashes += fuzz(measured, place / "measurements.json", lambda: use_measurements(place), part, watch, toml=False)
        other = Path(temporary) / "report.json"
        crashes += fuzz(reported, other, lambda: use_report(other, place), part, watch, toml=False)
        crashes += fuzz(manifest, place / "manifest.json", lambda: use_manifest(place), part, watch, toml=False)
    print(f"{4 * part} damaged files in {time.perf_counter() - began:.0f} s: {len(crashes)} crashes, ", end="")
    print(f"{len(watch.strange)} files opened outside")
    for line in sorted({*crashes, *watch.strange})[:20]:
        print(line)
    sys.exit(bool(crashes or watch.strange))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100_000)
