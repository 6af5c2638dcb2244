"""One image a request behind edgetl, LitServe and BentoML, all over the same OpenVINO model, the same client in turns.

Two kinds of request: a JPEG photo to its label, and the pixels as bytes. The client is wrk (one thread, 16
connections, each waits for its answer), on the same cores as the server. LitServe and BentoML have environments of
their own in edgetl's cache, made by uv when missing, with the same versions of OpenVINO, Pillow and numpy as here, and
uvloop; their servers (benchmarks/peers) compile the same file with the same hints. A short run of each of their
configurations finds the fastest whose p99 keeps the bound; with it they then meet edgetl, which runs with its defaults.

python -m benchmarks.served_peers BUNDLE PHOTO [--variant VARIANT] [--rounds N] [--seconds N] [--p99-ms MS]
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.asks import LARGEST_DIFFERENCE, Ask, answers, photo_ask, tensor_ask
from benchmarks.server_process import Server, edgetl, running
from benchmarks.wrk import Closed, closed_loop

from edgetl.bundle import open_bundle
from edgetl.cache import cache_directory
from edgetl.tasks.images import prepare

PEERS = Path(__file__).with_name("peers")
PACKAGES = {"litserve": ["litserve==0.2.19"], "bentoml": ["bentoml==1.4.39", "httptools"]}
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "litserve": {"workers": (1, 2), "max_batch": (1, 4), "fast_queue": (False, True)},
    "bentoml": {"workers": (1, 2), "max_batch": (1, 4), "threads": (2, 4)},
}
WARM_S, TRIED_S = 1.0, 3.0
BOUNDARY = "of-the-form"


class Contender(NamedTuple):
    """A server in one configuration."""

    name: str
    start: Callable[[], AbstractContextManager[Server]]
    ask: Ask


def environment(name: str) -> Path:
    """The folder with the peer's programs."""
    same = [f"{package}=={version(package)}" for package in ("openvino", "pillow", "numpy", "uvloop")]
    packages = [*PACKAGES[name], *same]
    folder = cache_directory("benchmark-peers") / "-".join([name, *packages]).replace("=", "")
    if not (folder / "whole").exists():
        if shutil.which("uv") is None:
            sys.exit("`uv` is missing; it installs the other servers (https://docs.astral.sh/uv)")
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "bin" / "python"
        subprocess.run(["uv", "venv", "-q", "--python", sys.executable, folder], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *packages], check=True)
        (folder / "whole").touch()
    return folder / "bin"


def peer(name: str, settings: dict[str, Any], ask: Ask) -> Contender:
    programs = environment(name)
    command, ready = {
        "litserve": ([programs / "python", "litserve_app.py", "{port}"], "/health"),
        "bentoml": ([programs / "bentoml", "serve", "bentoml_app:Peer", "--port", "{port}"], "/readyz"),
    }[name]
    # workers are processes: together they have as many threads as there are cores
    threads = max(1, len(os.sched_getaffinity(0)) // settings["workers"])
    variables = {
        "SETTINGS": json.dumps({"engine_threads": threads, **settings}),
        "PYTHONPATH": str(PEERS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_HOME": str(programs.parent / "home"),
    }
    asked = form(ask) if name == "bentoml" and settings["max_batch"] > 1 else ask
    return Contender(name, lambda: running([*map(str, command)], ready, variables, folder=PEERS), asked)


def form(ask: Ask) -> Ask:
    """The body as the one file of a form, answered with a list of one."""
    kind = ask.headers["Content-Type"]
    part = f'Content-Disposition: form-data; name="files"; filename="one"\r\nContent-Type: {kind}'
    body = f"--{BOUNDARY}\r\n{part}\r\n\r\n".encode() + ask.body + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Ask(ask.path, headers, body, lambda content: ask.right(json.dumps(json.loads(content)[0]).encode()))


def configurations(name: str) -> list[dict[str, Any]]:
    keys, values = zip(*GRIDS[name].items(), strict=True)
    return [dict(zip(keys, each, strict=True)) for each in itertools.product(*values)]


def measured(contender: Contender, seconds: float) -> Closed:
    with contender.start() as server:
        contender.ask.verify(server.port)
        closed_loop(server.port, contender.ask, WARM_S)
        got = closed_loop(server.port, contender.ask, seconds)
        contender.ask.verify(server.port)
    return got


def best(name: str, common: dict[str, Any], ask: Ask, p99_ms: float) -> Contender:
    """The peer's fastest configuration with a p99 within the bound, or its fastest of all if none keeps it."""
    tried = []
    for chosen in configurations(name):
        contender = peer(name, {**common, **chosen}, ask)
        got = measured(contender, TRIED_S)
        print(f"  {name} {described(chosen)}: {said(got)}", flush=True)
        tried.append((got.clean and got.p99_ms <= p99_ms, got.per_second, described(chosen), contender))
    _, _, words, contender = max(tried, key=lambda each: each[:2])
    return contender._replace(name=f"{name} ({words})")


def said(got: Closed) -> str:
    trouble = "" if got.clean else f", {got.refused} refused, {got.broken} broken"
    return f"{got.per_second:.0f}/s, p99 {got.p99_ms:.0f} ms{trouble}"


def described(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def compare(contenders: list[Contender], rounds: int, seconds: float) -> None:
    found: dict[str, list[Closed]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for each in contenders:
            got = measured(each, seconds)
            if not got.clean:
                sys.exit(f"{each.name}: {said(got)}")
            found[each.name].append(got)
        contenders.reverse()
    mine = [got.per_second for got in found["edgetl"]]
    for name, runs in found.items():
        rates, tail = [got.per_second for got in runs], statistics.median(got.p99_ms for got in runs)
        ratios = [a / b for a, b in zip(mine, rates, strict=True)]
        against = f"; edgetl is {statistics.median(ratios):.2f} × as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        print(
            f"{name}: median {statistics.median(rates):.0f}/s ({min(rates):.0f} to {max(rates):.0f}), p99 {tail:.0f} ms"
            + ("" if name == "edgetl" else against),
            flush=True,
        )


def kinds(bundle: Path, variant: str, photo: bytes) -> dict[str, tuple[Ask, Ask]]:
    """What edgetl is asked and what the peers are asked, of the same picture in each kind."""
    manifest = open_bundle(bundle).manifest
    pixels = prepare(photo, manifest.task.input)
    row = answers(bundle, variant, pixels[None])[0]

    def right(content: bytes) -> bool:
        said = json.loads(content)
        index = manifest.task.labels.index(said["label"])
        return bool(index == row.argmax() and abs(said["probability"] - row[index]) <= LARGEST_DIFFERENCE)

    return {
        "photos": (
            photo_ask(bundle, variant, photo),
            Ask("/predict", {"Content-Type": "image/jpeg"}, photo, right),
        ),
        "tensors": (
            tensor_ask(bundle, variant, pixels[None]),
            Ask("/predict", {"Content-Type": "application/octet-stream"}, pixels.tobytes(), right),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="edgetl beside LitServe and BentoML.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--variant", default="openvino-int8")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--p99-ms", type=float, default=100.0)
    parser.add_argument("--kinds", nargs="+", default=["photos", "tensors"])
    asked = parser.parse_args()
    opened = open_bundle(asked.bundle)
    task = opened.manifest.task
    common = {
        "model": str(opened.open_variant(opened.variant(asked.variant)).resolve()),
        "labels": list(task.labels),
        "resize": task.input.resize,
        "width": task.input.width,
        "height": task.input.height,
    }
    command = [*edgetl(asked.bundle, "--variant", asked.variant), "--port", "{port}"]
    for kind, (mine, theirs) in kinds(asked.bundle, asked.variant, asked.photo.read_bytes()).items():
        if kind in asked.kinds:
            print(f"{kind}, {len(mine.body) / 1000:.0f} kB a request, p99 at most {asked.p99_ms:g} ms", flush=True)
            settings = {**common, "photos": kind == "photos"}
            peers = [best(name, settings, theirs, asked.p99_ms) for name in GRIDS]
            own = Contender("edgetl", lambda: running(command, "/v2/health/ready"), mine)
            compare([own, *peers], asked.rounds, asked.seconds)


if __name__ == "__main__":
    main()
