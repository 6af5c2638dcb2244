"""p50 of INT8 over FP32 on OpenVINO, one image, interleaved in blocks so that drift hits both.

python -m benchmarks.int8_speed BUNDLE [REPEATS]
"""

import statistics
import sys
import time
from pathlib import Path

from edgetl.runtime import Session, load
from edgetl.runtime.session import sample_feeds
from edgetl.types import Feeds

BLOCKS, QUERIES = 30, 30


def block(session: Session, queries: list[Feeds]) -> list[float]:
    seconds = []
    for query in queries:
        began = time.perf_counter()
        session.infer(query)
        seconds.append(time.perf_counter() - began)
    return seconds


def main(bundle: Path, repeats: int) -> None:
    ratios = []
    for _ in range(repeats):
        with load(bundle, variant="openvino-fp32") as slow, load(bundle, variant="openvino-int8") as fast:
            pixels = sample_feeds(slow.bundle, QUERIES)["image"]
            queries: list[Feeds] = [{"image": pixels[i : i + 1]} for i in range(QUERIES)]
            times: dict[str, list[float]] = {"fp32": [], "int8": []}
            for number in range(BLOCKS + 2):
                for name, session in (("fp32", slow), ("int8", fast)):
                    seconds = block(session, queries)
                    times[name] += seconds if number >= 2 else []
        fp32, int8 = (1000 * statistics.median(times[name]) for name in ("fp32", "int8"))
        ratios.append(int8 / fp32)
        print(f"fp32 p50 {fp32:.2f} ms, int8 p50 {int8:.2f} ms, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
