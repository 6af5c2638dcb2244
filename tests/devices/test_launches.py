"""Fresh processes: what they bring back, and that none is left behind whatever goes wrong."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.devices.launches import LaunchPlan, LaunchRequest, Subject, measure_launches
from edgetl.errors import ArtefactError, EngineError
from edgetl.types import T

SMALL = LaunchPlan(launches=2, blocks=3, queries=4, warmup=1)


def child(code: str) -> tuple[str, ...]:
    """A fake launch that has read its request as `request`."""
    return (sys.executable, "-c", f"import json, sys, time, os\nrequest = json.load(sys.stdin)\n{code}")


def subject(bundle: Path, variant: str = "onnxruntime-int8", **options: int) -> Subject:
    return Subject(bundle=str(bundle), variant=variant, options={**options})


def test_real_launches_time_every_query(bundle: Path) -> None:
    seen: list[str] = []

    def track(
        items: Iterable[T], description: str | Callable[[], str], total: int | None = None
    ) -> Generator[T, None, None]:
        seen.append(f"{description} {total}")
        yield from items

    subjects = [subject(bundle, "openvino-int8"), subject(bundle, threads=1)]
    times = measure_launches(subjects, SMALL, track)
    assert times.shape == (2, 2, 3, 4) and np.all(times > 0) and np.all(np.isfinite(times))
    assert seen == ["launches 2"]


def test_each_launch_is_told_what_to_measure(bundle: Path) -> None:
    """The fake answers with what it was asked; subjects and plan arrive unchanged, launches count from 0."""
    code = "p, s = request['plan'], request['subjects']\n"
    code += "block = [request['launch'] + 1.0] * p['queries']\nprint([[block] * p['blocks']] * len(s))"
    times = measure_launches([subject(bundle)] * 3, SMALL, command=child(code))
    assert times.shape == (3, 2, 3, 4)
    assert np.all(times[:, 0] == 1) and np.all(times[:, 1] == 2)
    request = LaunchRequest(subjects=(subject(bundle, threads=2),), plan=SMALL, launch=1)
    assert msgspec.json.decode(msgspec.json.encode(request), type=LaunchRequest) == request


def test_a_missing_bundle_or_variant_is_said_before_anything_starts(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no bundle"):
        measure_launches([subject(tmp_path)], SMALL, command=("/nonexistent",))
    with pytest.raises(ArtefactError, match="has no variant") as caught:
        measure_launches([subject(bundle, "onnxruntime-int9")], SMALL, command=("/nonexistent",))
    assert "onnxruntime-int8" in str(caught.value.hint)


def test_what_a_launch_cannot_open_is_an_engine_error_with_its_reason(own_bundle: Path) -> None:
    with pytest.raises(EngineError, match=r"launch 1 of 2: .*thraeds"):
        measure_launches([subject(own_bundle, thraeds=1)], SMALL)
    next((own_bundle / "onnxruntime-int8").glob("*.onnx")).write_bytes(b"damaged")
    with pytest.raises(EngineError, match="differs from the manifest"):
        measure_launches([subject(own_bundle)], SMALL)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("sys.exit('first\\nthe last line')", "launch 1 of 2: the last line"),
        ("os._exit(3)", "ended with code 3"),
        ("print('no times')", "no times"),
        ("print('[[[1.0]]]')", r"shape \(1, 1, 1\), not \(1, 3, 4\)"),
        ("print('[[[1.0], [1.0, 2.0]]]')", "no times"),
    ],
)
def test_a_launch_that_fails_says_how(bundle: Path, code: str, problem: str) -> None:
    with pytest.raises(EngineError, match=problem):
        measure_launches([subject(bundle)], SMALL, command=child(code))


def test_a_launch_that_hangs_is_ended(bundle: Path, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    plan = msgspec.structs.replace(SMALL, max_seconds=1.0)
    with pytest.raises(EngineError, match="not done after 1 s") as caught:
        measure_launches([subject(bundle)], plan, command=child(code))
    assert "max_seconds" in str(caught.value.hint)
    assert_gone(tmp_path / "pid")


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_an_interrupt_leaves_no_launch_behind(bundle: Path, tmp_path: Path, signal: str) -> None:
    """The launch itself interrupts its parent while that waits."""
    code = f"import signal\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    code += f"os.kill(os.getppid(), signal.{signal})\ntime.sleep(60)"
    program = f"""
import signal, sys
from edgetl.devices.launches import LaunchPlan, Subject, measure_launches
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
subject = Subject(bundle={str(bundle)!r}, variant="onnxruntime-int8")
try:
    measure_launches([subject], LaunchPlan(), command=(sys.executable, "-c", {child(code)[2]!r}))
except (KeyboardInterrupt, SystemExit) as end:
    print(type(end).__name__)
"""
    done = run(program)
    assert done.split() == ["KeyboardInterrupt" if signal == "SIGINT" else "SystemExit"]
    assert_gone(tmp_path / "pid")


def run(program: str) -> str:
    """What a program of its own prints, every warning an error."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def assert_gone(path: Path) -> None:
    """The process whose id the file names has ended."""
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)
