"""How far do a variant's own answers move on other CPU kernels, thread counts and batch sizes?

python -m benchmarks.kernels BUNDLE [EMULATED_SAMPLES]

`ONEDNN_MAX_CPU_ISA` limits OpenVINO's kernels, and its runtime model names those that ran. ONNX Runtime has no such
switch and names nothing, so where `qemu-x86_64` (Debian's `qemu-user`) is installed, both engines also run on
emulated CPUs, on the first samples only. Every setting is a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgetl.bundle import open_bundle
from edgetl.devices.numerics import compare
from edgetl.runtime import Session
from edgetl.types import Array

BATCH = 8
EMULATED_SAMPLES = 16
COMPUTE = ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")


class Setting(NamedTuple):
    """One way to run: for variants whose name begins with `engine`, with `isa` or `cpu` as the limit."""

    name: str
    engine: str = ""
    isa: str = ""
    cpu: str = ""
    threads: int = 0
    batch: int = BATCH


ISAS = ("SSE41", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_AMX")
SETTINGS = (
    Setting("as it comes"),
    Setting("batch 1", batch=1),
    Setting("batch 64", batch=64),
    Setting("1 thread", threads=1),
    *(Setting(f"up to {isa}", engine="openvino", isa=isa) for isa in ISAS),
)
EMULATED = (
    Setting("emulated Haswell (AVX2)", cpu="Haswell-v4"),
    Setting("emulated SandyBridge (AVX)", cpu="SandyBridge-v1"),
)


def kernels(session: Session, image: Array) -> str:
    """The kernels that OpenVINO takes for the compute layers in this process; some are chosen at the first query."""
    if session.variant.engine != "openvino":
        return "not readable"
    import openvino as ov

    path = session.bundle.open_variant(session.variant)
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    compiled({"image": image})
    layers = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ordered_ops()]
    return " ".join(sorted({x["primitiveType"].astype(str) for x in layers if x["layerType"].astype(str) in COMPUTE}))


def child(path: Path, setting: Setting, samples: int) -> None:
    """Prints one line for each variant, in this process."""
    bundle = open_bundle(path)
    golden = bundle.golden()
    images, torch = golden["image"][:samples], golden["logits"][:samples]
    for variant in bundle.manifest.variants:
        own = bundle.own_answers(variant)
        if own is None or not variant.engine.startswith(setting.engine):
            continue
        with Session(bundle, variant, {"threads": setting.threads}) as session:
            feeds = [{"image": images[i : i + setting.batch]} for i in range(0, len(images), setting.batch)]
            logits = np.concatenate([session.infer(feed)["logits"] for feed in feeds])
            names = kernels(session, images[:1])
        moved, off = compare(logits, own["logits"][:samples]), compare(logits, torch)
        print(
            f"{variant.id:16}  {setting.name:26}  {len(images):4}  {moved.sqnr_db:6.1f}  {off.sqnr_db:8.1f}"
            f"  {moved.agreement:6.1%}  {off.agreement:6.1%}  {names}",
            flush=True,
        )


def start(path: Path, setting: Setting, samples: int) -> None:
    """Runs `child` in a process of its own, on the CPU and with the kernels that `setting` allows."""
    emulator = ["qemu-x86_64", "-cpu", setting.cpu] if setting.cpu else []
    command = [*emulator, sys.executable, "-m", "benchmarks.kernels", str(path), str(samples), json.dumps(setting)]
    limit = {"ONEDNN_MAX_CPU_ISA": setting.isa} if setting.isa else {}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **limit})
    if done.returncode:
        print(f"{'':16}  {setting.name:26}  did not run: {(done.stderr.splitlines() or ['no reason given'])[-1]}")


def main(path: Path, emulated_samples: int) -> None:
    print(f"{'variant':16}  {'setting':26}  {'n':>4}  dB own  dB torch    =own  =torch  kernels", flush=True)
    for setting in SETTINGS:
        start(path, setting, open_bundle(path).manifest.golden.samples)
    if shutil.which("qemu-x86_64") is None:
        print("no qemu-x86_64 on PATH: other CPUs are not emulated")
        return
    for setting in EMULATED:
        start(path, setting, emulated_samples)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(Path(sys.argv[1]), Setting(*json.loads(sys.argv[3])), int(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else EMULATED_SAMPLES)
