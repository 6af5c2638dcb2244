"""Load and first prediction as one process, beside a bare script with the same engine; and what caches are worth.

python -m benchmarks.cold_start BUNDLE PHOTO [VARIANT] [REPEATS]

All ways take turns; each is a fresh process, timed from its start to its end. The bare scripts open the same file with
the same options, prepare the photo with Pillow and print the label. `bare, cached`: OpenVINO's own `CACHE_DIR`, for
ONNX Runtime the graph it wrote after optimising it, opened without optimising it again.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgetl.bundle import open_bundle

PREPARE = """
image = Image.open(sys.argv[2]).convert("RGB")
scale = 256 / min(image.size)
size = [round(side * scale) for side in image.size]
left, top = [(side - 224) // 2 for side in size]
pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224)))[None]
"""

OPENVINO = f"""
import sys
import numpy as np
import openvino as ov
from PIL import Image
properties = {{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}}
if len(sys.argv) > 3:
    properties["CACHE_DIR"] = sys.argv[3]
request = ov.Core().compile_model(sys.argv[1], "CPU", properties).create_infer_request()
{PREPARE}
request.infer({{"image": pixels}})
print(request.get_output_tensor(1).data.argmax())
"""

ONNXRUNTIME = f"""
import sys
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image
model, options = sys.argv[1], onnxruntime.SessionOptions()
options.log_severity_level = 3
if len(sys.argv) > 3:
    kept = Path(sys.argv[3]) / "optimised.onnx"
    if kept.exists():
        model, options.graph_optimization_level = kept, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(kept)
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
{PREPARE}
print(session.run(None, {{"image": pixels}})[1].argmax())
"""

EDGETL = """
import sys
from edgetl.runtime import load
model = load(sys.argv[1], variant=sys.argv[3])
print(model.task.labels.index(model.predict(sys.argv[2]).label))
"""


def seconds(script: str, *arguments: object, **environment: str) -> float:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, **environment})
    return time.perf_counter() - began


def once(path: Path, photo: Path, variant: str, folder: Path) -> dict[str, float]:
    """Seconds of each way. `folder` has the caches of the earlier rounds."""
    bundle = open_bundle(path)
    record = bundle.variant(variant)
    model, bare = bundle.open_variant(record), OPENVINO if record.engine == "openvino" else ONNXRUNTIME
    with tempfile.TemporaryDirectory() as empty:
        return {
            "bare": seconds(bare, model, photo),
            "edgetl, no cache": seconds(EDGETL, path, photo, variant, EDGETL_ENGINE_CACHE_MB="0"),
            "bare, cached": seconds(bare, model, photo, folder),
            "edgetl": seconds(EDGETL, path, photo, variant, EDGETL_CACHE=str(folder / "edgetl")),
            "edgetl, first start": seconds(EDGETL, path, photo, variant, EDGETL_CACHE=empty),
        }


def main(path: Path, photo: Path, variant: str, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        once(path, photo, variant, Path(folder))
        found = [once(path, photo, variant, Path(folder)) for _ in range(repeats)]
    print(f"{variant}, {repeats} starts each")
    for what, of in (("median", statistics.median), ("fastest", min)):
        times = {name: of(each[name] for each in found) for name in found[0]}
        for name, value in times.items():
            ratios = f"{value / times['bare']:.2f} × bare, {value / times['bare, cached']:.2f} × bare, cached"
            print(f"{what}: {name} {1000 * value:.0f} ms, {ratios}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3] if len(sys.argv) > 3 else "openvino-int8",
        int(sys.argv[4]) if len(sys.argv) > 4 else 9,
    )
