"""p50 of INT8 over FP32, one sample a query, interleaved in blocks so that drift hits both; and the drop at export.

python -m benchmarks.int8_speed BUNDLE [REPEATS] [ENGINE] [TEXTS.csv] [OPTION=NUMBER]

Both variants get the option. Queries are the golden set, each text as long as itself; of texts the `val` rows of a CSV
where one is named.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edgetl.bundle import open_bundle
from edgetl.runtime import Session, load
from edgetl.runtime.bench import single_queries
from edgetl.tasks.labelled_texts import rows_of
from edgetl.types import Feeds

BLOCKS, QUERIES = 30, 30


def block(session: Session, queries: Sequence[Feeds]) -> list[float]:
    seconds = []
    for query in queries:
        began = time.perf_counter()
        session.infer(query)
        seconds.append(time.perf_counter() - began)
    return seconds


def queries_of(bundle: Path, texts: Path | None) -> list[Feeds]:
    opened = open_bundle(bundle)
    if texts is None:
        return list(single_queries(opened))
    held = [row["text"] for _, row in rows_of(texts) if row.get("split") == "val"]
    return [opened.preparation([text]).feeds for text in held]


def main(bundle: Path, repeats: int, engine: str, texts: Path | None, options: dict[str, int]) -> None:
    ratios = []
    queries = queries_of(bundle, texts)
    for _ in range(repeats):
        pair = [load(bundle, variant=f"{engine}-{precision}", options=options) for precision in ("fp32", "int8")]
        with pair[0] as slow, pair[1] as fast:
            for query in queries:  # what is compiled when it first comes is compiled now
                slow.infer(query)
                fast.infer(query)
            times: dict[str, list[float]] = {"fp32": [], "int8": []}
            for number in range(BLOCKS + 2):
                part = [queries[(number * QUERIES + i) % len(queries)] for i in range(QUERIES)]
                for name, session in (("fp32", slow), ("int8", fast)):
                    seconds = block(session, part)
                    times[name] += seconds if number >= 2 else []
        fp32, int8 = (1000 * statistics.median(times[name]) for name in ("fp32", "int8"))
        ratios.append(int8 / fp32)
        print(f"fp32 p50 {fp32:.2f} ms, int8 p50 {int8:.2f} ms, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} over {len(queries)} different samples")
    result = open_bundle(bundle).variant(f"{engine}-int8").task_result
    if result:
        drop = 100 * (result.reference - result.value)
        print(f"{result.metric} {result.reference:.1%} → {result.value:.1%}, drop {drop:+.2f} points")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        Path(given[0]), int(given[1]) if len(given) > 1 else 3, given[2] if len(given) > 2 else "openvino",
        Path(given[3]) if len(given) > 3 else None,
        {name: int(value) for name, value in (each.split("=") for each in given[4:])},
    )  # fmt: skip
