"""Tiny bundles of every task that a test writes by hand: graphs whose answers a few lines of numpy give too.

A text classifier that counts good and bad words, and a detector that finds coloured squares.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgetl.bundle import file_records, write_manifest
from edgetl.files import write_bytes, write_via
from edgetl.manifest import SCHEMA, GoldenRecord, Manifest, SourceRecord, VariantRecord
from edgetl.run import WeightsRecord
from edgetl.runtime.engines import open_engine
from edgetl.tasks import ObjectDetection, Task, TextClassification
from edgetl.tasks.detections import Found
from edgetl.tasks.images import ImageInput
from edgetl.tasks.inputs import Inputs
from edgetl.tasks.labelled import Labelled
from edgetl.tasks.text_classification import TextInput
from edgetl.types import Array, Feeds, Outputs, TensorSpec

GOLDEN = 32
BATCH = 8
ENCODED = 12
VARIANTS = {"onnxruntime-fp32": ("model.onnx",), "openvino-fp32": ("model.xml", "model.bin")}

GOOD = ("great", "lovely", "superb", "wonderful", "fine", "charming")
BAD = ("awful", "dull", "dreadful", "boring", "poor", "silly")
OTHER = ("the", "film", "was", "and", "a", "plot", "with", "actors", "story", "its", "ending", "in", "every", "scene")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = (*SPECIAL, *GOOD, *BAD, *OTHER)
WIDTH = 16
MAX_LENGTH = 24

SIDE = 64
CELL = 8
COLOURS = {"red": (230, 25, 25), "green": (25, 230, 25), "blue": (25, 25, 230)}
PHOTO = (96, 72)
"""Width and height: two thirds of them fill the input, between two bars of 8 pixels."""


def text_bundle(folder: Path) -> Path:
    """A bundle of sentences, `negative` or `positive`, of 3 to 20 words; variants as `VARIANTS`."""
    task = TextClassification(labels=("negative", "positive"), input=TextInput(max_length=MAX_LENGTH))
    folder.mkdir(parents=True)
    tokeniser().save(str(folder / "tokenizer.json"))
    texts, truths = sentences(GOLDEN)
    prepare = task.preparation(lambda name: folder / name)
    feeds = prepare(texts).feeds
    probes = ["Great GREAT gReAt", "a word nobody knows", " ".join(["dull"] * 40), "fine"]
    written = {"samples": texts, "probes": probes}
    names = {
        kind: _write(folder, kind, [(f"{i:04}.txt", text.encode()) for i, text in enumerate(given)][:ENCODED])
        for kind, given in written.items()
    }
    labelled = [Labelled(sample=text, label=int(truth)) for text, truth in zip(texts, truths, strict=True)]
    inputs = Inputs(feeds=feeds, task=task)
    unmasked = [text_answers({**each, "mask": np.ones_like(each["mask"])})["logits"] for each in inputs.batches(BATCH)]
    reference = {**text_answers(feeds), "logits under mask ignored": np.concatenate(unmasked)}
    given = Given(feeds=feeds, reference=reference, truths=task.truths(labelled, ()), names=names)
    _finish(folder, task, text_graph(), prepare(probes).feeds, given)
    return folder


def detection_bundle(folder: Path) -> Path:
    """A bundle of photos of 96 × 72 pixels with red, green and blue squares of 24; variants as `VARIANTS`."""
    spec = ImageInput(height=SIDE, width=SIDE, resize=SIDE, mode="letterbox")
    task = ObjectDetection(labels=tuple(COLOURS), input=spec)
    folder.mkdir(parents=True)
    shown = [photo(seed) for seed in range(GOLDEN)]
    photos = [content for content, _, _ in shown]
    probes = [png(Image.new("RGB", (50, 120), COLOURS["red"])), png(Image.new("RGBA", (64, 64), (0, 0, 255, 40)))]
    names = {
        kind: _write(folder, kind, [(f"{i:04}.png", each) for i, each in enumerate(given)][:ENCODED])
        for kind, given in (("samples", photos), ("probes", probes))
    }
    prepared = task.prepare(photos)
    labelled = [
        Labelled(sample=f"{seed}", objects=Found(boxes=boxes, scores=np.ones(len(boxes)), classes=np.array(labels)))
        for seed, (_, boxes, labels) in enumerate(shown)
    ]
    given = Given(
        feeds=prepared.feeds, reference=detection_answers(prepared.feeds),
        truths=task.truths(labelled, prepared.sizes), names=names,
    )  # fmt: skip
    _finish(folder, task, detection_graph(), task.prepare(probes).feeds, given)
    return folder


def sentences(count: int, seed: int = 0) -> tuple[list[str], Array]:
    """Sentences and whether each is `positive`; some words are written in capitals."""
    rng = np.random.default_rng(seed)
    truths = np.arange(count) % 2
    found = []
    for truth in truths:
        length = int(rng.integers(3, 21))
        words = list(rng.choice(OTHER, length))
        for place in rng.choice(length, max(1, length // 4), replace=False):
            words[place] = str(rng.choice(GOOD if truth else BAD))
        found.append(" ".join(word.upper() if rng.random() < 0.3 else word for word in words))
    return found, truths


def photo(seed: int) -> tuple[bytes, Array, list[int]]:
    """A PNG of `PHOTO` pixels, its boxes (objects, 4) in pixels of the photo, and their labels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(110, 146, (PHOTO[1], PHOTO[0], 3)).astype(np.uint8)
    boxes, labels = [], []
    for column in rng.choice([1, 4], int(rng.integers(1, 3)), replace=False):
        left, top = 12 * int(column) - 6, 12 * int(rng.integers(1, 4)) - 6
        labels.append(int(rng.integers(len(COLOURS))))
        pixels[top : top + 24, left : left + 24] = list(COLOURS.values())[labels[-1]]
        boxes.append((left, top, left + 24, top + 24))
    return png(Image.fromarray(pixels)), np.array(boxes, float), labels


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def tokeniser() -> Tokenizer:
    """Lower case, words, `[CLS]` and `[SEP]` around them."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def text_weights() -> tuple[Array, Array]:
    """Embeddings (words, width), the first value of which says good or bad, and the head (width, 2)."""
    rng = np.random.default_rng(7)
    table = rng.normal(0, 0.1, (len(WORDS), WIDTH))
    table[:, 0] += [2.0 * (word in GOOD) - 2.0 * (word in BAD) for word in WORDS]
    table[WORDS.index("[PAD]")] += 3  # a mask that is ignored shows
    head = rng.normal(0, 0.1, (WIDTH, 2)) + np.outer(np.arange(WIDTH) == 0, (-3.0, 3.0))
    return table.astype(np.float32), head.astype(np.float32)


def text_answers(feeds: Feeds) -> Outputs:
    """What the graph answers, in float64: the mean of the words that the mask leaves, times the head."""
    table, head = (each.astype(float) for each in text_weights())
    mask = feeds["mask"][..., None]
    logits = (table[feeds["ids"]] * mask).sum(1) / mask.sum(1) @ head
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return {
        "logits": logits.astype(np.float32),
        "probabilities": (powers / powers.sum(1, keepdims=True)).astype(np.float32),
    }


def text_graph() -> onnx.ModelProto:
    table, head = text_weights()
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
        helper.make_node("Mul", ["words", "columns"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "first"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "first"], ["count"], keepdims=1),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "head"], ["logits"], name="head"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weights = {"table": table, "head": head, "last": np.array([2]), "first": np.array([1])}
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("ids", "mask")]
    answers = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("logits", "probabilities")
    ]
    return _model(nodes, ids, answers, weights)


def detection_weights() -> tuple[Array, Array]:
    """A filter for each colour, (labels, 3, cell, cell), and the boxes of all cells, (rows, 4)."""
    colours = np.full((3, 3), -0.5) + 1.5 * np.eye(3)
    filters = np.repeat(np.repeat(colours[:, :, None, None], CELL, 2), CELL, 3) / CELL**2
    centre = np.arange(SIDE // CELL) * CELL + CELL / 2
    y, x = np.meshgrid(centre, centre, indexing="ij")
    boxes = np.stack([x - CELL, y - CELL, x + CELL, y + CELL], axis=-1).reshape(-1, 4)
    return filters.astype(np.float32), boxes.astype(np.float32)


def detection_answers(feeds: Feeds) -> Outputs:
    """What the graph answers, in float64: how much of a colour each cell has; its box, a little larger where bright."""
    _, places = detection_weights()
    images = feeds["image"] / 255.0
    cells = SIDE // CELL
    means = images.reshape(-1, cells, CELL, cells, CELL, 3).mean((2, 4)).reshape(len(images), -1, 3)
    shares = means @ (np.full((3, 3), -0.5) + 1.5 * np.eye(3))
    grown = means.mean(2, keepdims=True) * np.array([-1.0, -1, 1, 1])
    return {
        "boxes": (places + grown).astype(np.float32),
        "scores": (1 / (1 + np.exp(-20 * (shares - 0.55)))).astype(np.float32),
    }


def detection_graph() -> onnx.ModelProto:
    filters, places = detection_weights()
    rows = len(places)
    bright = np.full((1, 3, CELL, CELL), 1 / (3 * CELL**2), np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "filters"], ["shares"], strides=[CELL, CELL], name="colours"),
        helper.make_node("Reshape", ["shares", "by_label"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["by_row"], perm=[0, 2, 1]),
        helper.make_node("Sub", ["by_row", "half"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["steeper"]),
        helper.make_node("Sigmoid", ["steeper"], ["scores"]),
        helper.make_node("Conv", ["planes", "bright"], ["light"], strides=[CELL, CELL], name="light"),
        helper.make_node("Reshape", ["light", "one_each"], ["column"]),
        helper.make_node("Mul", ["column", "outwards"], ["grown"]),
        helper.make_node("Add", ["grown", "places"], ["boxes"]),
    ]
    weights = {
        "scale": np.array(1 / 255, np.float32), "filters": filters, "bright": bright,
        "half": np.array(0.55, np.float32), "steep": np.array(20, np.float32),
        "by_label": np.array([0, len(COLOURS), rows]), "one_each": np.array([0, rows, 1]),
        "outwards": np.array([-1, -1, 1, 1], np.float32), "places": places,
    }  # fmt: skip
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    answers = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", rows, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", rows, len(COLOURS)]),
    ]
    return _model(nodes, [image], answers, weights)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, Array],
) -> onnx.ModelProto:
    initialisers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _write(folder: Path, kind: str, files: Sequence[tuple[str, bytes]]) -> tuple[str, ...]:
    (folder / "golden" / kind).mkdir(parents=True)
    for name, content in files:
        write_bytes(folder / "golden" / kind / name, content)
    return tuple(f"golden/{kind}/{name}" for name, _ in files)


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The golden set, which is the validation split too: inputs, what the reference answers (and would, under a fault),
    what is true, files.
    """

    feeds: Feeds
    reference: Outputs
    truths: Array
    names: Mapping[str, tuple[str, ...]]


def _finish(folder: Path, task: Task, graph: onnx.ModelProto, probes: Feeds, given: Given) -> None:
    """Variants, arrays, labels and the manifest."""
    truths = task.packed(given.truths)
    compared = {name: value for name, value in given.reference.items() if name.partition(" under ")[0] in task.compared}
    variants = tuple(_variant(folder, name, graph, task, given.feeds) for name in VARIANTS)
    write_bytes(folder / "labels.txt", "".join(f"{label}\n" for label in task.labels).encode())
    golden = {**given.feeds, **compared, "labels": truths, "names": np.array(task.labels)}
    reference = task.packed(task.findings(given.reference))
    split = {"samples": np.arange(GOLDEN, dtype=np.uint64), "truths": truths, "reference": reference}
    for name, arrays in {"samples": golden, "probes": probes, "validation": split}.items():
        _save(folder / "golden" / f"{name}.npz", arrays)
    outputs = tuple(
        TensorSpec(name=name, dtype=value.dtype.name, shape=("batch", *value.shape[1:]))
        for name, value in given.reference.items()
        if " under " not in name
    )
    weights = WeightsRecord(origin="none", sha256="", licence="unknown")
    source = SourceRecord(
        run="tiny", strategy="none", backbone="tiny", data_fingerprint="0" * 64, weights=weights, calibration={}
    )
    record = GoldenRecord(
        kind="validation", samples=GOLDEN, encoded=given.names["samples"], decoder=task.reader(),
        probes=given.names["probes"],
    )  # fmt: skip
    manifest = Manifest(
        schema=SCHEMA, task=task, inputs=task.inputs, outputs=outputs, variants=variants, golden=record, source=source,
        versions={}, files=file_records(folder), validation="golden/validation.npz",
    )  # fmt: skip
    write_manifest(folder, manifest)


def _variant(folder: Path, name: str, graph: onnx.ModelProto, task: Task, feeds: Feeds) -> VariantRecord:
    engine, files = name.partition("-")[0], tuple(f"{name}/{file}" for file in VARIANTS[name])
    path = folder / files[0]
    path.parent.mkdir()
    if path.suffix == ".onnx":
        onnx.save(graph, path)
    else:
        ov.save_model(ov.Core().read_model(graph.SerializeToString()), path, compress_to_fp16=False)
    opened = open_engine(engine, path, {})
    try:
        answers = opened.run(feeds)
        facts = opened.facts
    finally:
        opened.close()
    _save(path.with_name("golden.npz"), {each: answers[each] for each in task.compared})
    _save(path.with_name("validation.npz"), {"variant": task.packed(task.findings(answers))})
    return VariantRecord(
        id=name, engine=engine, precision="fp32", files=files, golden=f"{name}/golden.npz",
        answers=f"{name}/validation.npz",
        options={"inference_precision": "fp32"} if engine == "openvino" else {}, engine_version=facts.version,
        status="verified", verdict="pass", facts=facts,
    )  # fmt: skip


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    write_via(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
