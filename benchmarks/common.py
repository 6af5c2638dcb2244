"""What the benchmarks share: where the real data are, and the command line as a user starts it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BACKBONE = "mobilenet_v2"


def real_data() -> Path:
    """The folder of `EDGETL_REAL_DATA`: photos and pretrained weights."""
    folder = os.environ.get("EDGETL_REAL_DATA")
    if not folder:
        sys.exit("set EDGETL_REAL_DATA to the folder with data/ and weights/")
    return Path(folder).resolve()


def hymenoptera() -> Path:
    return real_data() / "data" / "hymenoptera"


def imagenet_weights() -> Path:
    return real_data() / "weights" / "mobilenet_v2-imagenet.safetensors"


def edgetl(*arguments: object, cache: Path, expect: int | None = 0) -> tuple[Any, float, int]:
    """Runs `edgetl … --json` in its own process: the parsed result, its wall time in seconds, the exit code."""
    command = [sys.executable, "-m", "edgetl", *map(str, arguments), "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "EDGETL_CACHE": str(cache)})
    seconds = time.perf_counter() - began
    if expect is not None and done.returncode != expect:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout) if done.stdout else None, seconds, done.returncode
