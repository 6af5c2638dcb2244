"""`edgetl serve`, misused: one line that says what is wrong, a hint, the right exit code, and no traceback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Cli

from edgetl.errors import ArtefactError, ConfigError, DependencyError

WAIT_S = 60

BLOCKED = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {library!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from edgetl.cli import main
sys.argv = ["edgetl", "serve", {bundle!r}, *{arguments!r}]
main()
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def refused(text: str, code: int, expected: type) -> None:
    """Two lines for a person; before them, once the log is set up, only what it says."""
    assert code == expected.exit_code, text  # type: ignore[attr-defined]
    *logged, error, hint = text.strip().splitlines()
    assert error.startswith("error: ") and hint.startswith("hint: "), text
    assert all(json.loads(line)["level"] == "warning" for line in logged), text


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What goes so far that the log is set up, which belongs to the process."""
    command = [sys.executable, "-m", "edgetl", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)


@pytest.mark.parametrize(
    ("arguments", "expected", "reason"),
    [
        (["nowhere"], ArtefactError, "`nowhere`"),
        (["{bundle}", "{bundle}"], ConfigError, "two bundles are called `own-bundle`"),
        (["{bundle}", "--variant", "openvino-int7"], ArtefactError, "did you mean `openvino-int8`"),
        (["{bundle}", "--device", "toaster"], ConfigError, "toaster"),
        (["{bundle}", "--token-file", "nowhere"], ConfigError, "`nowhere` is no file"),
        (["{bundle}", "--token-file", "{bundle}"], ConfigError, "is no file that can be read"),
        (["{bundle}", "--token-file", "{empty}"], ConfigError, "holds no token"),
        (["{bundle}", "--ssl-certfile", "{empty}"], ConfigError, "both `--ssl-certfile` and `--ssl-keyfile`"),
        (["{bundle}", "--ssl-keyfile", "{empty}"], ConfigError, "both `--ssl-certfile` and `--ssl-keyfile`"),
        (["{bundle}", "--ssl-certfile", "nowhere", "--ssl-keyfile", "{empty}"], ConfigError, "`nowhere` is no file"),
    ],
)
def test_what_is_wrong_is_said(
    cli: Cli, own_bundle: Path, tmp_path: Path, arguments: list[str], expected: type, reason: str
) -> None:
    (tmp_path / "empty").touch()
    names = {"bundle": own_bundle, "empty": tmp_path / "empty"}
    result = cli("serve", *(each.format(**names) for each in arguments))
    assert reason in result.stderr
    refused(result.stderr, result.exit_code, expected)


def test_a_damaged_bundle_is_not_served(cli: Cli, own_bundle: Path) -> None:
    (own_bundle / "manifest.json").write_text("{")
    result = cli("serve", own_bundle)
    assert "manifest.json" in result.stderr
    refused(result.stderr, result.exit_code, ArtefactError)


@pytest.mark.slow
def test_a_model_that_does_not_open_ends_the_server_before_it_serves(own_bundle: Path) -> None:
    (own_bundle / "onnxruntime-fp32" / "model.onnx").write_bytes(b"damaged")
    result = in_a_process(own_bundle, "--variant", "onnxruntime-fp32", "--port", 0)
    assert "differs from the manifest" in result.stderr
    refused(result.stderr, result.returncode, ArtefactError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--port", "{taken}"], "cannot listen on `127.0.0.1:{taken}`"),
        (["--host", "203.0.113.1"], "cannot listen on `203.0.113.1:8000`"),
        (["--host", "no such host"], "cannot listen on `no such host:8000`"),
        (["--host", "x" * 70], "cannot listen on"),
        (["--ssl-certfile", "{file}", "--ssl-keyfile", "{file}"], "are no certificate and its key"),
    ],
)
def test_addresses_and_certificates_that_cannot_be_had(
    bundle: Path, taken: int, options: list[str], reason: str
) -> None:
    names = {"taken": taken, "file": bundle / "manifest.json"}
    result = in_a_process(bundle, *(each.format(**names) for each in options))
    assert reason.format(**names) in result.stderr
    refused(result.stderr, result.returncode, ConfigError)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs `openssl` to make keys")
def test_a_key_with_a_passphrase_or_of_another_certificate_is_refused(bundle: Path, tmp_path: Path) -> None:
    for name, secret in (("a", "-nodes"), ("b", "-nodes"), ("c", "-passout pass:secret")):
        command = f"openssl req -x509 -newkey rsa:2048 -days 2 -subj /CN=x -keyout {name}.key -out {name}.pem {secret}"
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True, timeout=WAIT_S)
    for certificate, key in (("a.pem", "b.key"), ("c.pem", "c.key")):
        result = in_a_process(bundle, "--ssl-certfile", tmp_path / certificate, "--ssl-keyfile", tmp_path / key)
        assert "are no certificate and its key" in result.stderr
        refused(result.stderr, result.returncode, ConfigError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "arguments", "extra"),
    [
        ("starlette", [], "edgetl[serve]"),
        ("uvloop", [], "edgetl[serve]"),
        ("grpc", ["--grpc-port", "0"], "edgetl[grpc]"),
    ],
)
def test_a_missing_library_is_said_with_its_extra(bundle: Path, library: str, arguments: list[str], extra: str) -> None:
    code = BLOCKED.format(library=library, bundle=str(bundle), arguments=arguments)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S)
    assert f"`{library}`" in result.stderr and extra in result.stderr
    refused(result.stderr, result.returncode, DependencyError)


@pytest.mark.slow
def test_ctrl_c_while_a_model_opens_is_no_traceback(bundle: Path) -> None:
    command = [sys.executable, "-m", "edgetl", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while process.poll() is None and "onnxruntime" not in maps.read_text():
            pass  # the first engine is being loaded
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=WAIT_S)[1]
    assert process.returncode in (0, 130), text
    assert "Traceback" not in text


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_token_that_may_not_be_read_is_refused(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0)
    result = cli("serve", bundle, "--token-file", tmp_path / "token")
    refused(result.stderr, result.exit_code, ConfigError)
