"""Cold start: what a fresh process takes from its start to the first answer, and how much memory.

Files are in the page cache, as the parent has read them: a machine that has just booted takes longer.
"""

import sys
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.errors import EngineError
from edgetl.runtime.bench.noise import Noise, NoiseWatch
from edgetl.runtime.processes import ask
from edgetl.types import Array, Option, Options

COMMAND = (sys.executable, "-m", "edgetl.runtime.bench.first_answer")
MAX_SECONDS = 600.0
"""A process that has not answered by then is ended."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a fresh process is to open; `manifest` is `Bundle.digest`."""

    bundle: str
    variant: str
    manifest: str = ""
    options: dict[str, Option] = {}


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What it reports: seconds of the system's monotonic clock at its first answer, and of two parts; peak bytes."""

    answered: float
    load_seconds: float
    infer_seconds: float
    peak_bytes: int | None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The median and the range of a few starts."""

    median: float
    low: float
    high: float


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """`first_answer_ms`: from starting the interpreter to the first answer; in it `load_ms`, `load()` with the import
    of the engine, and `first_inference_ms`. `peak_memory_mb`: resident, in 10^6 bytes, of a process that opens this
    variant alone and answers a few queries; None where the kernel does not say.
    """

    first_answer_ms: Spread
    load_ms: Spread
    first_inference_ms: Spread
    peak_memory_mb: Spread | None
    starts: int
    noise: Noise | None = None


def cold_start(
    bundle: Bundle, variant: str, options: Options, starts: int, *, command: Sequence[str] = COMMAND
) -> tuple[ColdStart, Array]:
    """Starts so many processes one after the other; also ms of first answer, load and inference, shape (starts, 3).

    Raises EngineError when one of them fails.
    """
    request = msgspec.json.encode(
        Start(bundle=str(bundle.path), variant=variant, manifest=bundle.digest, options=dict(options))
    )
    rows, peaks, watch = [], [], NoiseWatch()
    for _ in range(starts):
        began = time.monotonic()
        report = _start(command, request)
        rows.append([1000 * s for s in (report.answered - began, report.load_seconds, report.infer_seconds)])
        peaks.append(report.peak_bytes)
    times = np.array(rows)
    known = np.array([peak for peak in peaks if peak is not None])
    result = ColdStart(
        first_answer_ms=_spread(times[:, 0]),
        load_ms=_spread(times[:, 1]),
        first_inference_ms=_spread(times[:, 2]),
        peak_memory_mb=_spread(known / 1e6) if len(known) else None,
        starts=starts,
        noise=watch.stop(),
    )
    return result, times


def _start(command: Sequence[str], request: bytes) -> Started:
    output = ask(command, request, name="cold start", seconds=MAX_SECONDS)
    try:
        return msgspec.json.decode(output, type=Started)
    except msgspec.MsgspecError as error:
        raise EngineError("cold start", f"wrote {len(output)} bytes that are no report") from error


def _spread(values: Array) -> Spread:
    return Spread(median=float(np.median(values)), low=float(values.min()), high=float(values.max()))
