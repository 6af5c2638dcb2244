"""Throughput of a bundle's plan against OpenVINO's own `benchmark_app -hint throughput`, in turns.

The same IR, if the plan chose OpenVINO, else OpenVINO's variant of the same precision; both sides compute what is not
quantised in fp32, and benchmark_app may compile for one sample a batch, its fastest. Needs a plan of `edgetl tune`.

python -m benchmarks.tuned_throughput BUNDLE [ROUNDS [SECONDS]]
"""

import re
import statistics
import subprocess
import sys
from pathlib import Path

from edgetl.bundle import Bundle, open_bundle
from edgetl.manifest import VariantRecord
from edgetl.runtime import load
from edgetl.runtime.throughput import Load, throughput

BAR = 0.98


def tuned(bundle: Bundle, seconds: float) -> float:
    """Samples per second of the plan's choice, opened anew."""
    with load(bundle, aim="throughput") as session:
        if session.choice is None:
            sys.exit(f"no plan of {bundle.path} was measured on this machine; run `edgetl tune` first")
        ask = Load(batch=session.choice.batch, concurrency=session.choice.concurrency, min_seconds=seconds)
        return throughput(session, ask).per_second


def peer(bundle: Bundle, variant: VariantRecord, seconds: float) -> float:
    """What benchmark_app says of the variant's IR."""
    spec = bundle.manifest.inputs[0]
    shape = ",".join(["1", *(str(axis) for axis in spec.shape[1:])])
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", str(bundle.open_variant(variant)), "-d", "CPU",
        "-hint", "throughput", "-infer_precision", "f32", "-shape", f"{spec.name}[{shape}]", "-t", str(round(seconds)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Throughput:\s*([\d.]+) FPS", done.stdout)
    if not found:
        sys.exit(f"{' '.join(command)} said no throughput:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return float(found.group(1))


def compared(bundle: Bundle) -> tuple[str, VariantRecord]:
    """The plan's variant, and the one benchmark_app opens."""
    with load(bundle, aim="throughput") as session:
        chosen = session.variant
    fitting = (v for v in bundle.manifest.variants if v.engine == "openvino" and v.precision == chosen.precision)
    return chosen.id, chosen if chosen.engine == "openvino" else next(fitting)


def main(folder: Path, rounds: int, seconds: float) -> None:
    bundle = open_bundle(folder)
    chosen, variant = compared(bundle)
    ratios = []
    for number in range(rounds):
        sides = {"tuned": lambda: tuned(bundle, seconds), "peer": lambda: peer(bundle, variant, seconds)}
        order = ("tuned", "peer") if number % 2 == 0 else ("peer", "tuned")
        rates = {side: sides[side]() for side in order}
        ratios.append(rates["tuned"] / rates["peer"])
        print(
            f"{chosen} {rates['tuned']:.0f}/s, benchmark_app on {variant.id} {rates['peer']:.0f}/s, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bar {BAR}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 6,
        float(sys.argv[3]) if len(sys.argv) > 3 else 6.0,
    )
