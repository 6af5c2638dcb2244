"""The log is for programs: one JSON object a line, and nothing in it that a client trusted the server with."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

from tests.runtime.serve.conftest import StartServer
from tests.runtime.serve.wire import Wire, request

from edgetl.runtime.serve.logs import JsonLines


def test_every_request_is_a_line_and_nothing_secret_is_in_it(
    start_server: StartServer, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("right-token")
    server = start_server(bundle, "--access-log", "--token-file", tmp_path / "token")
    with Wire(server.port) as wire:
        for token in ("right-token", "wrong-token"):
            for target in ("/predict?top=1&note=in-the-query", "/a%0Ab%22%7B%00", "/v2/models/nobody/infer"):
                headers = {"authorization": f"Bearer {token}", "content-type": "multipart/form-data; boundary=b"}
                wire.ask(request("POST", target, b"in-the-body", headers))
        wire.ask(b"\0 no request\r\n\r\n")
    assert server.stop() == 0
    text = "\n".join(json.dumps(line) for line in server.log)
    assert not [secret for secret in ("right-token", "wrong-token", "in-the-body", "in-the-query") if secret in text]
    assert not [line for line in server.log if line["event"] == "not json"]
    lines = [line for line in server.log if line["event"] == "request"]
    assert [(line["path"], line["status"]) for line in lines] == [
        ("/predict", 400), ('/a\nb"{\0', 404), ("/v2/models/nobody/infer", 404),
        ("/predict", 401), ('/a\nb"{\0', 401), ("/v2/models/nobody/infer", 401),
    ]  # fmt: skip
    assert all(line["method"] == "POST" and line["client"] == "127.0.0.1" for line in lines)
    assert all(isinstance(line["milliseconds"], float) and str(line["time"]).endswith("+00:00") for line in lines)


def test_an_exception_is_one_line_too() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("failed %s", "twice", extra={"facts": {"path": "/x"}})
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert (found["level"], found["event"], found["path"]) == ("error", "failed twice", "/x")
    assert "ValueError: first\nsecond" in found["traceback"]


def test_what_libraries_and_python_warn_of_is_json() -> None:
    code = """
import logging, warnings
from edgetl.runtime.serve.logs import log_as_json
log_as_json()
warnings.warn("of Python")
logging.getLogger("any.library").warning("of a library")
logging.getLogger("any.library").info("nobody wants to know")
logging.getLogger("edgetl.serve").info("ours")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    events = [json.loads(line)["event"] for line in result.stderr.splitlines()]
    assert "of Python" in events[0] and events[1:] == ["of a library", "ours"]
