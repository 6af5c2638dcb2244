"""Five times the load a server can bear: what is refused, how soon, what is served, and whether it recovers.

Client and server have a core each, or the one would starve the other. Requests arrive whether or not earlier ones were
answered (Poisson), first at half of the most the server can do, then at five times of it, then at half again. The most
is measured with wrk's closed loop between the same cores. Refusals count from the sending of the request to the whole
answer. Binary tensors go to the protocol's endpoint, JPEG photos to /predict.

The bound for what is served is the server's `--timeout-s`, here 1 s: so long may a request wait for its answer once it
is whole.

python -m benchmarks.overload BUNDLE PHOTO [--variant VARIANT] [--seconds N] [--times N] [-- OPTIONS OF edgetl serve]
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from benchmarks.arrivals import NO_ANSWER, Open, open_loop
from benchmarks.asks import Ask, photo_ask, tensor_ask
from benchmarks.server_process import Server, edgetl, running
from benchmarks.wrk import closed_loop

from edgetl.types import Array

MAXIMUM_S = 6.0
CALM = 0.5
CALM_S = 8.0
TIMEOUT_S = 1.0
REFUSED_BAR_MS = 50.0


def overload(server: Server, ask: Ask, times: float, seconds: float) -> None:
    ask.verify(server.port)
    most = closed_loop(server.port, ask, MAXIMUM_S).per_second
    print(f"{ask.path}, {len(ask.body) / 1000:.0f} kB: most {most:.0f}/s", flush=True)
    report("calm", CALM * most, open_loop(server.port, ask, CALM * most, CALM_S), CALM_S)
    before = server.cpu_seconds()
    found = open_loop(server.port, ask, times * most, seconds)
    report(f"{times:g} times the most", times * most, found, seconds)
    print(f"  the server's core was busy for {100 * (server.cpu_seconds() - before) / seconds:.0f} % of the time")
    report("calm again", CALM * most, open_loop(server.port, ask, CALM * most, CALM_S), CALM_S)
    ask.verify(server.port)
    refused = found.answered_ms[found.status == 503]
    served = found.answered_ms[found.status == 200]
    print(
        f"  refused p99 {percentile(refused, 99):.1f} ms, bar {REFUSED_BAR_MS:g}; "
        f"served p99 {percentile(served, 99):.0f} ms, bar {1000 * TIMEOUT_S:g}",
        flush=True,
    )


def report(name: str, offered: float, found: Open, seconds: float) -> None:
    served, refused, broken = (found.status == status for status in (200, 503, NO_ANSWER))
    others = len(found.status) - int(served.sum() + refused.sum() + broken.sum())
    print(
        f"  {name}: offered {offered:.0f}/s, sent {len(found.status) / seconds:.0f}/s, itself late by p99 "
        f"{percentile(found.late_ms, 99):.1f} ms, {found.unsent} not sent\n"
        f"    served {served.sum() / seconds:.0f}/s, {spread(found.answered_ms[served])}\n"
        f"    refused {refused.sum() / seconds:.0f}/s, {spread(found.answered_ms[refused])}\n"
        f"    without an answer {broken.sum()}, with another status {others}, wrong or without `Retry-After` "
        f"{int((found.as_promised[served | refused] == 0).sum())}",
        flush=True,
    )


def spread(times: Array) -> str:
    return f"p50 {percentile(times, 50):.1f} ms, p99 {percentile(times, 99):.1f} ms" if len(times) else "none"


def percentile(times: Array, q: float) -> float:
    return float(np.percentile(times, q)) if len(times) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description="More than a server can bear.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--variant", default="openvino-int8")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--times", type=float, default=5.0)
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    asked, options = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("client and server need a core each")
    asks = [
        tensor_ask(asked.bundle, asked.variant),
        photo_ask(asked.bundle, asked.variant, asked.photo.read_bytes()),
    ]
    os.sched_setaffinity(0, {cores[1]})
    command = [*edgetl(asked.bundle, "--variant", asked.variant, "--timeout-s", TIMEOUT_S, *options)]
    with running([*command, "--port", "{port}"], "/v2/health/ready", cores={cores[0]}) as server:
        for ask in asks:
            overload(server, ask, asked.times, asked.seconds)


if __name__ == "__main__":
    main()
