"""Minutes at 80 % of what a server can do: errors, resident memory and the latency of each minute.

One image a request as binary tensor data, Poisson arrivals from one client on the same cores. The most the server can
do is measured first, with wrk's closed loop. Latency counts from the moment a request was due to its whole answer.

python -m benchmarks.soak BUNDLE [--variant VARIANT] [--minutes N] [--load SHARE]
"""

import argparse
from pathlib import Path

import numpy as np
from benchmarks.arrivals import open_loop
from benchmarks.asks import Ask, tensor_ask
from benchmarks.server_process import Server, edgetl, running
from benchmarks.wrk import closed_loop

from edgetl.types import Array

MAXIMUM_S = 10.0
MINUTE_S = 60.0
MEMORY_BAR = 0.05


def soak(server: Server, ask: Ask, share: float, minutes: float) -> None:
    """Prints a line a minute, and what is to be seen in all of them."""
    most = closed_loop(server.port, ask, MAXIMUM_S)
    rate, memory = share * most.per_second, dict[int, float]()
    print(f"most {most.per_second:.0f}/s (closed loop); now {rate:.0f}/s for {minutes:g} min", flush=True)

    def tick(at: float) -> None:
        memory[int(at // MINUTE_S)] = server.resident_mb()

    found = open_loop(server.port, ask, rate, MINUTE_S * minutes, tick)
    ask.verify(server.port)
    minute, tails = found.due_s // MINUTE_S, []
    for number in np.unique(minute):
        chosen = minute == number
        tails.append(line(int(number), found.late_ms[chosen], found.answered_ms[chosen], memory))
    ends = list(memory.values())
    growth = ends[-1] / ends[0] - 1
    print(
        f"{len(found.due_s)} requests, {found.errors} errors ({found.unsent} of them not sent), bar 0\n"
        f"resident memory in the first minute {ends[0]:.0f} MB, at the end {ends[-1]:.0f} MB: {100 * growth:+.1f} %, "
        f"bar ±{100 * MEMORY_BAR:g} %\n"
        f"p99 of a minute: median {np.median(tails):.1f} ms, {min(tails):.1f} to {max(tails):.1f} ms"
    )


def line(number: int, late_ms: Array, answered_ms: Array, memory: dict[int, float]) -> float:
    """Prints a minute; returns its p99 in milliseconds."""
    p50, p99 = np.percentile(late_ms + answered_ms, (50, 99))
    print(
        f"minute {number + 1}: {len(late_ms)} requests, p50 {p50:.1f} ms, p99 {p99:.1f} ms (the client itself was "
        f"late by p99 {np.percentile(late_ms, 99):.1f} ms), {memory.get(number, float('nan')):.0f} MB"
    )
    return float(p99)


def main() -> None:
    parser = argparse.ArgumentParser(description="Minutes under load.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--variant", default="openvino-int8")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--load", type=float, default=0.8, help="share of the most the server can do")
    asked = parser.parse_args()
    ask = tensor_ask(asked.bundle, asked.variant)
    command = [*edgetl(asked.bundle, "--variant", asked.variant), "--port", "{port}"]
    with running(command, "/v2/health/ready") as server:
        ask.verify(server.port)
        soak(server, ask, asked.load, asked.minutes)


if __name__ == "__main__":
    main()
