"""What serving costs: images a second over HTTP against the engine called in process, in turns.

One image a request as binary tensor data of the Open Inference Protocol, 16 connections that wait for their answer
before they ask again (wrk, one thread, a prepared request); client and server share the cores. In process: threads
that call `Session.infer`, opened as the server opens it, with its number of callers and one image a call ("alike"), and
the fastest of several batch sizes ("best"). Every answer must have status 200, and one is compared with the session's.

python -m benchmarks.served_throughput BUNDLE [VARIANT [ROUNDS [SECONDS [OPTIONS OF edgetl serve]]]]
"""

import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.asks import Ask, tensor_ask
from benchmarks.server_process import edgetl, running
from benchmarks.wrk import closed_loop

from edgetl.bundle import open_bundle
from edgetl.runtime import load
from edgetl.runtime.serve.opening import Opening, opening
from edgetl.runtime.throughput import Load, throughput

BAR = 0.75
BATCHES = (1, 2, 4, 8)
WARM_S = 2.0


class Rate(NamedTuple):
    """Images a second, and the milliseconds of processor time that each took, a client's included."""

    per_second: float
    cpu_ms: float


def in_process(bundle: Path, variant: str, found: Opening, batch: int, seconds: float) -> Rate:
    with load(bundle, variant=variant, options=found.options) as session:
        began = time.process_time()
        got = throughput(session, Load(batch=batch, concurrency=found.workers, min_seconds=seconds))
        return Rate(got.per_second, 1000 * (time.process_time() - began) / got.samples)


def served(command: list[str], ask: Ask, seconds: float) -> Rate:
    with running(command, "/v2/health/ready") as server:
        ask.verify(server.port)
        closed_loop(server.port, ask, WARM_S)
        before = server.cpu_seconds()
        got = closed_loop(server.port, ask, seconds)
        cpu = server.cpu_seconds() - before
        ask.verify(server.port)
    if not got.clean:
        sys.exit(f"{got.refused} answers were refusals and {got.broken} connections broke")
    each = 1000 / got.requests
    print(
        f"  served: p50 {got.p50_ms:.1f} ms, p99 {got.p99_ms:.1f} ms; processor time of a request: "
        f"server {each * cpu:.2f} ms, wrk {each * got.client_cpu_s:.2f} ms"
    )
    return Rate(got.per_second, each * (cpu + got.client_cpu_s))


def one_round(
    bundle: Path, variant: str, command: list[str], ask: Ask, seconds: float, *, first: bool
) -> tuple[float, float, float]:
    """The server's rate over the one alike and over the best, and the processor time of a call over a request's."""
    found = opening(open_bundle(bundle), open_bundle(bundle).variant(variant), None)
    over = served(command, ask, seconds) if first else None
    alike = in_process(bundle, variant, found, found.max_batch, seconds)
    others = [size for size in BATCHES if size != found.max_batch]
    inside = {found.max_batch: alike} | {s: in_process(bundle, variant, found, s, seconds / 2) for s in others}
    over = over or served(command, ask, seconds)
    best = max(inside.values())
    print(
        f"  in process, {found.workers} callers: "
        + ", ".join(f"batch {size} {rate.per_second:.0f}/s" for size, rate in inside.items())
        + f"; processor time of an image {alike.cpu_ms:.2f} ms\n"
        f"served {over.per_second:.0f}/s: {over.per_second / alike.per_second:.3f} × alike, "
        f"{over.per_second / best.per_second:.3f} × best",
        flush=True,
    )
    return over.per_second / alike.per_second, over.per_second / best.per_second, alike.cpu_ms / over.cpu_ms


def main(bundle: Path, variant: str, rounds: int, seconds: float, options: list[str]) -> None:
    command = [*edgetl(bundle, "--variant", variant, *options), "--port", "{port}"]
    ask = tensor_ask(bundle, variant)
    ratios = [one_round(bundle, variant, command, ask, seconds, first=number % 2 == 0) for number in range(rounds)]
    named = zip(("alike", "best", "alike in processor time"), zip(*ratios, strict=True), strict=True)
    for name, each in named:
        print(f"served over {name}: median {statistics.median(each):.3f} ({min(each):.3f} to {max(each):.3f})")
    print(f"bar: {BAR} × alike; rounds: {rounds}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        sys.argv[2] if len(sys.argv) > 2 else "openvino-int8",
        int(sys.argv[3]) if len(sys.argv) > 3 else 5,
        float(sys.argv[4]) if len(sys.argv) > 4 else 6.0,
        sys.argv[5:],
    )
