"""What `Session.predict` of an encoded photo costs over Pillow and the engine by hand, the two taking turns.

python -m benchmarks.predict_overhead BUNDLE PHOTOS [VARIANT] [ROUNDS]

PHOTOS is a folder with JPEG files. By hand: Pillow decodes, resizes and crops in one step, the engine runs on one
shared array, the labels are sorted. There is no softmax: the graph has it. As in `infer_overhead`, every round is a
process of its own and the first calls of a block are not counted.
"""

import io
import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from benchmarks.infer_overhead import Call, alternate, by_hand, rounds
from PIL import Image

from edgetl.bundle import Bundle, open_bundle
from edgetl.runtime import load
from edgetl.tasks.images import RESAMPLING, crop_box

PHOTOS = 32


def hand_written(bundle: Bundle, raw: Call) -> Callable[[bytes], list[tuple[str, float]]]:
    task = bundle.manifest.task
    size, method = (task.input.width, task.input.height), RESAMPLING[task.input.interpolation]

    def predict(content: bytes) -> list[tuple[str, float]]:
        with Image.open(io.BytesIO(content)) as image:
            rgb = image.convert("RGB")
        pixels = np.asarray(rgb.resize(size, method, box=crop_box(rgb.size, task.input)))
        probabilities = raw({"image": pixels[np.newaxis].copy()})["probabilities"][0]
        return [(task.labels[i], float(probabilities[i])) for i in np.argsort(-probabilities)[:5]]

    return predict


def one_round(path: Path, photos: Path, variant: str) -> dict[str, float]:
    bundle = open_bundle(path)
    contents = [file.read_bytes() for file in sorted(photos.rglob("*.jpg"))[:PHOTOS]]
    raw = {name: hand_written(bundle, call) for name, call in by_hand(bundle, variant).items()}
    with load(bundle, variant=variant) as model:
        for content, predict in product(contents, raw.values()):
            assert predict(content) == [(each.label, each.probability) for each in model.predict(content).top]
        ways: dict[str, Callable[[bytes], object]] = {**raw, "edgetl": model.predict}
        return alternate({name: _asking(way, contents) for name, way in ways.items()})


def _asking(way: Callable[[bytes], object], contents: list[bytes]) -> Callable[[int], object]:
    return lambda i: way(contents[i % len(contents)])


def main(arguments: list[str]) -> None:
    path, photos = Path(arguments[0]), Path(arguments[1])
    variant = arguments[2] if len(arguments) > 2 else "openvino-int8"
    rounds("benchmarks.predict_overhead", int(arguments[3]) if len(arguments) > 3 else 5, path, photos, variant)


if __name__ == "__main__":
    if sys.argv[-1] == "--round":
        print(json.dumps(one_round(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
    else:
        main(sys.argv[1:])
