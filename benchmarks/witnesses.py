"""Do others measure the same? edgetl's scenarios beside MLPerf's LoadGen and OpenVINO's benchmark_app, in turns.

All time the same OpenVINO file with the same properties, compiled for the scenario's batch. LoadGen asks the very
session that edgetl asks, so only the measuring differs; benchmark_app is a program of its own, which opens the file
itself, asks the same random image again and again, and has no server scenario. Two words of one thing are compared:
p50 in ms, offline images a second. First comes a subject that only sleeps, which a busy machine disturbs little.

python -m benchmarks.witnesses BUNDLE [ROUNDS [SECONDS [VARIANT]]]
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import mlperf_loadgen as loadgen
import msgspec
import numpy as np

from edgetl.bundle import Bundle, open_bundle
from edgetl.runtime import Session, load
from edgetl.runtime.bench.inputs import Ask, queries, read_inputs
from edgetl.runtime.bench.options import BenchOptions
from edgetl.runtime.bench.scenarios import Setup, multi_stream, offline, single_stream
from edgetl.runtime.bench.scenarios.server import arrivals, serve

BAR = 0.05
BATCH = {"single-stream": 1, "multi-stream": 8, "offline": 16, "server": 1}
LOADGEN = {
    "single-stream": loadgen.TestScenario.SingleStream,
    "multi-stream": loadgen.TestScenario.MultiStream,
    "offline": loadgen.TestScenario.Offline,
    "server": loadgen.TestScenario.Server,
}
LOAD = 0.2
"""The server scenario's rate is this share of the single-stream rate."""

SAMPLES = 64
SAID = r"50\.00 percentile latency \(ns\)\s*:\s*(\d+)"
RATE = r"Samples per second\s*:\s*([\d.]+)"


SLEEP_SECONDS = 0.005


class Subject(msgspec.Struct, frozen=True):
    """One scenario: the open session (None: only asleep), how to ask it, for how long, and the server's rate."""

    scenario: str
    session: Session | None
    ask: Ask
    seconds: float
    rate: float


def ours(subject: Subject) -> float:
    """What edgetl measures: p50 in ms, or images a second."""
    options = BenchOptions(min_seconds=subject.seconds, min_queries=100, warmup_seconds=1.0)
    setup = Setup(options=options)
    if subject.scenario == "single-stream":
        return single_stream.measure(subject.ask, setup)[0].p50_ms
    if subject.scenario == "multi-stream":
        return multi_stream.measure(subject.ask, setup)[0].p50_ms
    if subject.scenario == "offline":
        return offline.measure(subject.ask, setup)[0].per_second
    setup.warm_up(subject.ask)
    due = arrivals(subject.rate, round(subject.rate * subject.seconds), 0)
    return float(np.median(serve(subject.ask, due, 1, np.inf, 0)))


def theirs(subject: Subject) -> float:
    """What LoadGen measures of the same session; a thread of ours answers, as server queries may not block it."""
    waiting: SimpleQueue[list[int] | None] = SimpleQueue()

    def answer() -> None:
        while (identifiers := waiting.get()) is not None:
            for number in range(0, len(identifiers), BATCH[subject.scenario]):
                subject.ask(number)
                part = identifiers[number : number + BATCH[subject.scenario]]
                loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(each, 0, 0) for each in part])

    def direct(samples: list[loadgen.QuerySample]) -> None:
        subject.ask(samples[0].index)
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(each.id, 0, 0) for each in samples])

    queued = subject.scenario in ("offline", "server")
    thread = Thread(target=answer)
    thread.start()
    sut = loadgen.ConstructSUT(lambda s: waiting.put([each.id for each in s]) if queued else direct(s), lambda: None)
    qsl = loadgen.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            log = loadgen.LogSettings()
            log.log_output.outdir, log.log_output.copy_summary_to_stdout, log.enable_trace = folder, False, False
            loadgen.StartTestWithLogSettings(sut, qsl, settings(subject), log)
            text = (Path(folder) / "mlperf_log_summary.txt").read_text()
    finally:
        waiting.put(None)
        thread.join()
        loadgen.DestroyQSL(qsl)
        loadgen.DestroySUT(sut)
    found = re.search(RATE if subject.scenario == "offline" else SAID, text)
    if not found:
        sys.exit(f"LoadGen's summary has another form:\n{text}")
    return float(found.group(1)) if subject.scenario == "offline" else float(found.group(1)) / 1e6


def settings(subject: Subject) -> loadgen.TestSettings:
    made = loadgen.TestSettings()
    made.scenario, made.mode = LOADGEN[subject.scenario], loadgen.TestMode.PerformanceOnly
    made.min_duration_ms = round(1000 * subject.seconds)
    made.multi_stream_samples_per_query = BATCH["multi-stream"]
    if subject.scenario == "server":
        made.server_target_qps, made.server_target_latency_ns = subject.rate, 10**10
        made.min_query_count = round(subject.rate * subject.seconds)
    if subject.scenario == "offline":
        made.offline_expected_qps = subject.rate
    return made


def app(subject: Subject, session: Session) -> float:
    """What benchmark_app measures of the file that `session` opened."""
    bundle, variant = session.bundle, session.variant
    spec, batch = bundle.manifest.inputs[0], BATCH[subject.scenario]
    shape = ",".join(str(axis) for axis in (batch, *spec.shape[1:]))
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", str(bundle.open_variant(variant)), "-d", "CPU",
        "-hint", "latency", "-api", "async", "-nireq", "1", "-infer_precision", "f32",
        "-shape", f"{spec.name}[{shape}]", "-t", str(max(1, round(subject.seconds))),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    pattern = r"Throughput:\s*([\d.]+) FPS" if subject.scenario == "offline" else r"Median:\s*([\d.]+) ms"
    found = re.search(pattern, done.stdout)
    if not found:
        sys.exit(f"{' '.join(command)} said no figure:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return float(found.group(1))


def asleep(scenario: str, rounds: int, seconds: float) -> None:
    """A query takes `SLEEP_SECONDS`, whatever its size."""
    rate = BATCH[scenario] / SLEEP_SECONDS
    rate = LOAD * rate if scenario == "server" else rate
    compared(Subject(scenario, None, lambda _: time.sleep(SLEEP_SECONDS), seconds, rate), rounds)


def awake(bundle: Bundle, variant: str, scenario: str, rounds: int, seconds: float) -> None:
    """A query goes to the variant, compiled for the scenario's batch."""
    with load(bundle, variant=variant, options={"batch": BATCH[scenario]}) as session:
        ask = queries(session, read_inputs(bundle), "engine", BATCH[scenario])
        rate = 1000 * BATCH[scenario] / ours(Subject("single-stream", session, ask, 0.5, 0))
        compared(Subject(scenario, session, ask, seconds, LOAD * rate if scenario == "server" else rate), rounds)


def compared(subject: Subject, rounds: int) -> None:
    """One subject in turns, another witness first in each round."""
    scenario, session = subject.scenario, subject.session
    sides: dict[str, Callable[[Subject], float]] = {"edgetl": ours, "LoadGen": theirs}
    if session is not None and scenario != "server":
        sides["benchmark_app"] = lambda each: app(each, session)
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for place in range(len(sides)):
            name = list(sides)[(number + place) % len(sides)]
            figures[name].append(sides[name](subject))
    unit = "images/s" if scenario == "offline" else "ms"
    for name, values in figures.items():
        ratios = [own / other for own, other in zip(figures["edgetl"], values, strict=True)]
        off = statistics.median(ratios) - 1
        verdict = "" if name == "edgetl" else (
            f"; edgetl {off:+.1%} (rounds {min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%}), "
            f"{'within' if abs(off) <= BAR else 'NOT within'} {BAR:.0%}"
        )  # fmt: skip
        print(f"{scenario:13} {name:13} {statistics.median(values):9.3f} {unit}{verdict}", flush=True)


def main(folder: Path, rounds: int, seconds: float, variant: str) -> None:
    bundle = open_bundle(folder)
    print(f"{rounds} rounds of {seconds:g} s each, in turns; medians of rounds\n\nasleep, {1000 * SLEEP_SECONDS:g} ms")
    for scenario in BATCH:
        asleep(scenario, rounds, seconds)
    print(f"\n{variant}")
    for scenario in BATCH:
        awake(bundle, variant, scenario, rounds, seconds)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 9,
        float(sys.argv[3]) if len(sys.argv) > 3 else 3.0,
        sys.argv[4] if len(sys.argv) > 4 else "openvino-fp32",
    )
