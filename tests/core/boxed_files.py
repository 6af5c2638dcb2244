"""Photos of coloured blocks on noise, with their boxes as COCO JSON, Pascal VOC or YOLO text."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("brick", "leaf")
COLOURS = ((200, 60, 40), (40, 170, 70))

Object = tuple[int, int, int, int, int]
"""Class, left, top, right, bottom in pixels."""

Photos = Mapping[str, Sequence[Sequence[Object]]]
"""The objects of each photo, by split."""


def drawn_photos(counts: Mapping[str, int], *, size: tuple[int, int] = (96, 64), seed: int = 0) -> Photos:
    """Two blocks a photo, each of either class, that do not touch."""
    rng = np.random.default_rng(seed)

    def objects() -> list[Object]:
        found = []
        for half in (0, size[0] // 2):
            width, height = rng.integers(16, 30, 2)
            left = half + int(rng.integers(0, size[0] // 2 - width))
            top = int(rng.integers(0, size[1] - height))
            found.append((int(rng.integers(2)), left, top, left + int(width), top + int(height)))
        return found

    return {split: [objects() for _ in range(count)] for split, count in counts.items()}


def write_photo(path: Path, objects: Sequence[Object], *, size: tuple[int, int] = (96, 64), seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).normal(120, 25, (size[1], size[0], 3))
    for label, left, top, right, bottom in objects:
        pixels[top:bottom, left:right] = COLOURS[label]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def write_coco(root: Path, photos: Photos, *, size: tuple[int, int] = (96, 64)) -> Path:
    """SPLIT/_annotations.coco.json beside its photos."""
    for split, listed in photos.items():
        images, annotations = [], []
        for number, objects in enumerate(listed):
            write_photo(root / split / f"{number:03}.png", objects, size=size, seed=number)
            images.append({"id": number, "file_name": f"{number:03}.png", "width": size[0], "height": size[1]})
            annotations += [
                {"image_id": number, "category_id": 1 + label, "bbox": [a, b, c - a, d - b], "iscrowd": 0}
                for label, a, b, c, d in objects
            ]
        categories = [{"id": 1 + label, "name": name} for label, name in enumerate(NAMES)]
        document = {
            "images": images,
            "categories": categories,
            "annotations": [{"id": i, **each} for i, each in enumerate(annotations)],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))
    return root


def write_voc(root: Path, photos: Photos, *, size: tuple[int, int] = (96, 64)) -> Path:
    """Annotations/, JPEGImages/ and ImageSets/Main/."""
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split, listed in photos.items():
        stems = [f"{split}_{number:03}" for number in range(len(listed))]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems))
        for number, (stem, objects) in enumerate(zip(stems, listed, strict=True)):
            write_photo(root / "JPEGImages" / f"{stem}.png", objects, size=size, seed=number)
            (root / "Annotations" / f"{stem}.xml").write_text(voc_xml(f"{stem}.png", objects, size=size))
    return root


def voc_xml(name: str, objects: Sequence[Object], *, size: tuple[int, int] = (96, 64), more: str = "") -> str:
    parts = [
        f"<object><name>{NAMES[label]}</name><difficult>0</difficult><bndbox><xmin>{a + 1}</xmin><ymin>{b + 1}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for label, a, b, c, d in objects
    ]
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{name}</filename>{shape}{''.join(parts)}{more}</annotation>"


def write_yolo(root: Path, photos: Photos, *, size: tuple[int, int] = (96, 64)) -> Path:
    """images/SPLIT/, labels/SPLIT/ and data.yaml."""
    for split, listed in photos.items():
        (root / "labels" / split).mkdir(parents=True)
        for number, objects in enumerate(listed):
            write_photo(root / "images" / split / f"{number:03}.png", objects, size=size, seed=number)
            lines = [
                f"{label} {(a + c) / 2 / size[0]} {(b + d) / 2 / size[1]} {(c - a) / size[0]} {(d - b) / size[1]}"
                for label, a, b, c, d in objects
            ]
            (root / "labels" / split / f"{number:03}.txt").write_text("\n".join(lines))
    described = [f"{split}: images/{split}" for split in photos]
    (root / "data.yaml").write_text("\n".join([*described, "nc: 2", f"names: [{', '.join(NAMES)}]  # in order"]))
    return root
