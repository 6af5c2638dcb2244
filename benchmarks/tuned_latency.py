"""p50 of one image: a bundle's plan against torch eager FP32 of the run it was made from, in turns, in one process.

Torch gets its own number of threads, the plain model in evaluation mode under `inference_mode`, and normalised
float NCHW input; the plan gets uint8 pixels and normalises them itself. Needs a plan of `edgetl tune`.

python -m benchmarks.tuned_latency BUNDLE RUN [REPEATS]
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgetl.bundle import Bundle, open_bundle
from edgetl.errors import ConfigError
from edgetl.export.networks.images import ImageNetwork
from edgetl.export.source import open_source
from edgetl.finetune.graph import deploy
from edgetl.runtime import Session, load
from edgetl.runtime.bench import single_queries
from edgetl.runtime.interleave import interleave

BAR = 6.0
BLOCKS, QUERIES, WARMUP = 12, 10, 10


def eager(bundle: Bundle, run: Path) -> Callable[[int], object]:
    """Torch on the same images, which are normalised beforehand."""
    network = open_source(run, None).network
    if not isinstance(network, ImageNetwork):
        raise ConfigError(f"`{run}` is no run of images")
    normalise = deploy(network.model, network.task).normalise
    with torch.inference_mode():
        inputs = [normalise(torch.from_numpy(np.array(feeds["image"]))) for feeds in single_queries(bundle)]
    model = network.model.eval()

    def call(number: int) -> object:
        with torch.inference_mode():
            return model(inputs[number % len(inputs)])

    return call


def tuned(session: Session) -> Callable[[int], object]:
    queries = single_queries(session.bundle)
    return lambda number: session.infer(queries[number % len(queries)])


def main(folder: Path, run: Path, repeats: int) -> None:
    bundle = open_bundle(folder)
    torch_call = eager(bundle, run)
    ratios = []
    for _ in range(repeats):
        with load(bundle) as session:
            if session.choice is None:
                sys.exit(f"no plan of {folder} was measured on this machine; run `edgetl tune` first")
            times = interleave([torch_call, tuned(session)], blocks=BLOCKS, queries=QUERIES, warmup=WARMUP)
            slow, fast = np.median(times, axis=(1, 2))
            ratios.append(float(slow / fast))
            print(
                f"torch eager fp32 ({torch.get_num_threads()} threads) p50 {slow:.2f} ms, "
                f"{session.variant.id} {session.choice.options} p50 {fast:.2f} ms, {ratios[-1]:.1f} x faster",
                flush=True,
            )
    print(f"median {statistics.median(ratios):.1f} x ({min(ratios):.1f} to {max(ratios):.1f}), bar {BAR:g} x")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5)
