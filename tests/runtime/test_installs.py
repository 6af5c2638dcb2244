"""A device's own installation: one engine, no torch, an old Python too."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def interpreter(version: str) -> str:
    """A Python of that version, from the path or from pyenv, whose shims answer only for the chosen version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    for candidate in (f"python{version}", *installed):
        if shutil.which(candidate) and subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return candidate
    pytest.skip(f"Python {version} is not on this machine")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "extra"),
    [
        ("3.10", "openvino"),
        ("3.10", "onnxruntime"),
        ("3.11", "onnxruntime"),
        ("3.12", "openvino"),
        ("3.13", "openvino"),
    ],
)
def test_one_engine_checks_benches_and_predicts(
    version: str, extra: str, own_bundle: Path, dataset: Path, tmp_path: Path
) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, so no clean environment can be made")
    environment = tmp_path / "venv"
    python = str(environment / "bin" / "python")
    subprocess.run(["uv", "venv", "--quiet", "--python", interpreter(version), environment], check=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, f"{ROOT}[{extra}]"], check=True)
    listed = subprocess.run(["uv", "pip", "list", "--python", python], capture_output=True, text=True, check=True)
    assert "torch" not in listed.stdout

    def edgetl(*arguments: object) -> object:
        command = [str(environment / "bin" / "edgetl"), *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    report = edgetl("check", own_bundle)
    verdicts = {variant["id"]: variant["verdict"] for variant in report["variants"]}  # type: ignore[index]
    assert verdicts[f"{extra}-fp32"] == "pass"
    assert {verdict for name, verdict in verdicts.items() if not name.startswith(extra)} == {"skipped"}
    assert len(edgetl("bench", own_bundle, "--seconds", "0.1")["variants"]) == 2  # type: ignore[index]
    image = next((dataset / "val" / "slate").iterdir())
    assert edgetl("predict", own_bundle, image)[0]["top"][0]["label"] == "slate"  # type: ignore[index]
