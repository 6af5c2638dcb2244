"""Engines that report their use to their makers are told not to, before they are imported."""

import contextlib
import os
from collections.abc import Iterator

SILENCE = {"ORT_DISABLE_TELEMETRY": "1", "CI": "true", "NNCF_CI": "1"}
"""What ONNX Runtime (from 1.29 on), OpenVINO and NNCF read while they are imported. Otherwise the first writes an id
below the user's cache folder, and the others send an event from a forked process."""


@contextlib.contextmanager
def no_telemetry() -> Iterator[None]:
    """Import an engine in this block; the environment is put back after it."""
    before = {name: os.environ.get(name) for name in SILENCE}
    os.environ.update(SILENCE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
