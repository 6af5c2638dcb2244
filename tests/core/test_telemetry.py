"""Nothing about the user's work leaves the machine, or is written down for others to send later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.telemetry import no_telemetry


@pytest.mark.parametrize("variant", ["onnxruntime-int8", "openvino-int8"])
def test_an_engine_leaves_nothing_behind_but_our_cache(bundle: Path, tmp_path: Path, variant: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH")}
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "EDGETL_CACHE": str(tmp_path / "ours")}
    code = f"from edgetl.runtime import load; load({str(bundle)!r}, variant={variant!r}).close()"
    subprocess.run([sys.executable, "-c", code], env=kept | places, check=True, timeout=120)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_environment_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "mine")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    with no_telemetry():
        assert os.environ["CI"] == "true" and os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert os.environ["CI"] == "mine" and "ORT_DISABLE_TELEMETRY" not in os.environ
