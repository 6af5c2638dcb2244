"""What `Session.infer` costs over the engine called by hand: latency of one sample, the two taking turns.

python -m benchmarks.infer_overhead BUNDLE [VARIANT] [ROUNDS]

By hand: one infer request (OpenVINO) or session (ONNX Runtime) of the same file with the same options, the caller's
array shared, both outputs copied. OpenVINO has two ways, `infer` on the caller's thread and `start_async` with `wait`;
which is faster differs from process to process, and the faster one counts. Every round is a process of its own, in
which blocks of calls alternate; the first calls of a block, which find another's memory in the processor's caches, are
not counted.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edgetl.bundle import Bundle, open_bundle
from edgetl.runtime import load
from edgetl.runtime.session import sample_feeds
from edgetl.types import Feeds, Outputs

BLOCKS, CALLS, UNCOUNTED, INPUTS = 40, 25, 5, 64

Call = Callable[[Feeds], Outputs]


def by_hand(bundle: Bundle, name: str) -> dict[str, Call]:
    """The engine call as a user writes it without edgetl, in each way there is."""
    variant = bundle.variant(name)
    path = bundle.open_variant(variant)
    return _openvino(path) if variant.engine == "openvino" else {"session.run": _onnxruntime(path)}


def _openvino(path: Path) -> dict[str, Call]:
    import openvino as ov

    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    core = ov.Core()
    request = core.compile_model(core.read_model(path), "CPU", properties).create_infer_request()

    def infer(feeds: Feeds) -> Outputs:
        request.infer(feeds, share_inputs=True)
        return outputs()

    def start_and_wait(feeds: Feeds) -> Outputs:
        request.start_async(feeds, share_inputs=True)
        request.wait()
        return outputs()

    def outputs() -> Outputs:
        return {
            "logits": request.get_output_tensor(0).data.copy(),
            "probabilities": request.get_output_tensor(1).data.copy(),
        }

    return {"infer": infer, "start_async": start_and_wait}


def _onnxruntime(path: Path) -> Call:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def call(feeds: Feeds) -> Outputs:
        logits, probabilities = session.run(["logits", "probabilities"], feeds)
        return {"logits": logits, "probabilities": probabilities}

    return call


def alternate(ways: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """The median milliseconds of a call of each way; who begins changes from block to block."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for block in range(BLOCKS):
        for name in order:
            way = ways[name]
            for i in range(CALLS):
                began = time.perf_counter()
                way(block * CALLS + i)
                if i >= UNCOUNTED:
                    times[name].append(1000 * (time.perf_counter() - began))
        order.reverse()
    return {name: statistics.median(each) for name, each in times.items()}


def one_round(path: Path, variant: str) -> dict[str, float]:
    bundle = open_bundle(path)
    samples = sample_feeds(bundle, INPUTS)
    queries = [{name: array[i : i + 1] for name, array in samples.items()} for i in range(INPUTS)]
    with load(bundle, variant=variant) as model:
        calls = {**by_hand(bundle, variant), "edgetl": model.infer}
        return alternate({name: _asking(call, queries) for name, call in calls.items()})


def _asking(call: Call, queries: list[Feeds]) -> Callable[[int], object]:
    return lambda i: call(queries[i % INPUTS])


def rounds(module: str, count: int, *arguments: object) -> None:
    """Runs `module` anew `count` times and prints edgetl's ratio to the fastest way by hand.

    The module prints its medians as JSON.
    """
    ratios = []
    for _ in range(count):
        command = [sys.executable, "-m", module, *map(str, arguments), "--round"]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)
        ratios.append(found["edgetl"] / min(ms for name, ms in found.items() if name != "edgetl"))
        print(", ".join(f"{name} {ms:.3f} ms" for name, ms in found.items()), f"→ {ratios[-1]:.3f} ×", flush=True)
    print(f"median ratio of {count} rounds: {statistics.median(ratios):.3f} ×, highest {max(ratios):.3f} ×")


def main(arguments: list[str]) -> None:
    path = Path(arguments[0])
    variant = arguments[1] if len(arguments) > 1 else "openvino-int8"
    rounds("benchmarks.infer_overhead", int(arguments[2]) if len(arguments) > 2 else 5, path, variant)


if __name__ == "__main__":
    if sys.argv[-1] == "--round":
        print(json.dumps(one_round(Path(sys.argv[1]), sys.argv[2])))
    else:
        main(sys.argv[1:])
