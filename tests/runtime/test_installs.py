"""A device's own installation: the wheel with one engine, no torch, every Python that is supported."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.task_bundles import photo

ROOT = Path(__file__).parents[2]
SECONDS = 120

pytestmark = pytest.mark.slow


def interpreter(version: str) -> str:
    """A Python of that version, from the path or from pyenv, whose shims answer only for the chosen version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    for candidate in (f"python{version}", *installed):
        if shutil.which(candidate) and subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return candidate
    pytest.skip(f"Python {version} is not on this machine")


def uv(*arguments: object) -> str:
    command = ["uv", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be published."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, so no clean environment can be made")
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_one_engine_checks_benches_predicts_and_serves(
    version: str, engine: str, wheel: Path, own_bundle: Path, dataset: Path, tmp_path: Path
) -> None:
    python = interpreter(version)
    environment = tmp_path / "venv"
    uv("venv", "--quiet", "--python", python, environment)
    uv("pip", "install", "--quiet", "--python", environment, f"{wheel}[{engine},serve]")
    listed = uv("pip", "list", "--python", environment).lower()
    assert not any(f"{heavy} " in listed for heavy in ("torch", "onnx", "scipy", "scikit-learn", "matplotlib"))
    command = str(environment / "bin" / "edgetl")

    def edgetl(*arguments: object) -> Any:
        line = [command, *map(str, arguments), "--json"]
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    verdicts = {variant["id"]: variant["verdict"] for variant in edgetl("check", own_bundle)["variants"]}
    assert verdicts[f"{engine}-fp32"] == "pass"
    assert {verdict for name, verdict in verdicts.items() if not name.startswith(engine)} == {"skipped"}
    assert len(edgetl("bench", own_bundle, "--seconds", "0.2")["variants"]) == 2
    image = next((dataset / "val" / "slate").iterdir())
    assert edgetl("predict", own_bundle, image)[0]["top"][0]["label"] == "slate"
    for answer in served(command, own_bundle, image.read_bytes(), "image/png", tmp_path):
        assert answer["top"][0]["label"] == "slate"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_texts_and_objects_need_no_torch_either(
    engine: str, wheel: Path, reviews: Path, squares: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    uv("venv", "--quiet", "--python", interpreter("3.11"), environment)
    uv("pip", "install", "--quiet", "--python", environment, f"{wheel}[{engine},serve]")
    command = str(environment / "bin" / "edgetl")

    def edgetl(*arguments: object) -> Any:
        line = [command, *map(str, arguments), "--json"]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS)

    lacking = edgetl("predict", reviews, "fine")
    assert lacking.returncode == 3 and "install `edgetl[text]`" in lacking.stderr
    uv("pip", "install", "--quiet", "--python", environment, f"{wheel}[{engine},serve,text]")
    listed = uv("pip", "list", "--python", environment).lower()
    assert not any(f"{heavy} " in listed for heavy in ("torch", "transformers", "onnx", "scipy", "pycocotools"))
    (tmp_path / "photo.png").write_bytes(photo(0)[0])
    for bundle, sample, body, kind, field, label in (
        (reviews, "a GREAT film", b"a GREAT film", "text/plain", "top", "positive"),
        (squares, "photo.png", photo(0)[0], "image/png", "objects", "blue"),
    ):
        own = Path(shutil.copytree(bundle, tmp_path / bundle.name))
        checked = edgetl("check", own)
        assert checked.returncode == 0, checked.stderr
        verdicts = {variant["id"]: variant["verdict"] for variant in json.loads(checked.stdout)["variants"]}
        assert verdicts[f"{engine}-fp32"] == "pass"
        assert json.loads(edgetl("predict", own, sample).stdout)[0][field][0]["label"] == label
        assert edgetl("bench", own, "--seconds", "0.2").returncode == 0
        for answer in served(command, own, body, kind, tmp_path):
            assert answer[field][0]["label"] == label


def served(command: str, bundle: Path, body: bytes, kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """What `edgetl serve` answers to a sample, while it runs; it must end by SIGTERM without an error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "serve.log"
    with log.open("wb") as stream:
        line = [command, "serve", str(bundle), "--port", str(port)]
        process = subprocess.Popen(line, stdout=stream, stderr=stream, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: process.poll() is None and ready(f"{url}/v2/health/ready"), log)
        request = urllib.request.Request(f"{url}/predict", data=body, headers={"Content-Type": kind}, method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            yield json.loads(response.read())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in (0, 128 + signal.SIGTERM), log.read_text()
    finally:
        process.kill()
        process.wait(timeout=30)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition: Callable[[], bool], log: Path) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"the server is not ready after a minute:\n{log.read_text()}")
