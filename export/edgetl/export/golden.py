"""The golden set: the samples that travel with a bundle, and torch's answers to them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from PIL import Image
from torch import nn

from edgetl.devices.answers import digest_key
from edgetl.devices.hypotheses import PREFIX, graph_hypotheses
from edgetl.export.metadata import without_metadata
from edgetl.export.probes import expected_pixels, probes
from edgetl.files import write_bytes, write_via
from edgetl.finetune.graph import torch_predictor
from edgetl.manifest import GoldenRecord
from edgetl.run import SampleRecord
from edgetl.tasks import Task
from edgetl.tasks.images import decode, decoder_version, prepare
from edgetl.types import Array, Pixels, Track

GoldenKind = Literal["validation", "synthetic", "none"]

MAX_SAMPLES = 256
SYNTHETIC_SAMPLES = 64
ENCODED = 32
"""So many of the samples also travel as encoded files, which prove the decoder; without their metadata."""

MAX_ENCODED_BYTES = 4 * 2**20
HYPOTHESIS_SAMPLES = 64
BATCH = 8


class GoldenSet(msgspec.Struct, frozen=True, kw_only=True):
    """The samples in memory: pixels, true label indices (validation only), and the first ones' encoded bytes."""

    kind: GoldenKind
    pixels: Pixels
    truths: Array | None
    digests: Array | None
    encoded: tuple[tuple[str, bytes], ...]


def stratified(samples: Sequence[SampleRecord], count: int, seed: int) -> list[SampleRecord]:
    """Up to `count` samples that take turns through the classes, in a seeded order."""
    rng = np.random.default_rng(seed)
    shuffled = [samples[i] for i in rng.permutation(len(samples))]
    turns: dict[int, int] = {}
    ranked = []
    for sample in shuffled:
        turns[sample.label] = turns.get(sample.label, 0) + 1
        ranked.append((turns[sample.label], sample))
    return [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])][:count]


def validation_golden(samples: Sequence[SampleRecord], root: Path, task: Task, seed: int) -> GoldenSet:
    """Real images of the validation split, those that also travel encoded first."""
    chosen = stratified(samples, MAX_SAMPLES, seed)
    small = [s for s in chosen if (root / s.path).stat().st_size <= MAX_ENCODED_BYTES][:ENCODED]
    ordered = small + [sample for sample in chosen if sample not in small]
    bare = [without_metadata((root / sample.path).read_bytes()) for sample in small]
    encoded = tuple((f"golden/images/{i:04}{suffix}", content) for i, (content, suffix) in enumerate(bare))
    pixels = np.stack([prepare(root / sample.path, task.input) for sample in ordered])
    truths = np.array([sample.label for sample in ordered])
    digests = np.array([digest_key(sample.sha256) for sample in ordered], np.uint64)
    return GoldenSet(kind="validation", pixels=pixels, truths=truths, digests=digests, encoded=encoded)


def synthetic_golden(task: Task, seed: int) -> GoldenSet:
    """Coloured noise with the falling spectrum of natural images, larger than the input so that resizing is tested."""
    rng = np.random.default_rng(seed)
    pixels, encoded = [], []
    for i in range(SYNTHETIC_SAMPLES):
        content = _noise_png(rng, round(task.input.height * 1.4), round(task.input.width * 1.7))
        if i < ENCODED:
            encoded.append((f"golden/images/{i:04}.png", content))
        pixels.append(prepare(decode(content), task.input))
    return GoldenSet(kind="synthetic", pixels=np.stack(pixels), truths=None, digests=None, encoded=tuple(encoded))


def _noise_png(rng: np.random.Generator, height: int, width: int) -> bytes:
    """1/f noise, each channel its own share of a common pattern (Field, JOSA A 4, 1987)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = 1 / np.maximum(frequency, 1 / max(height, width))
    layers = [
        np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * spectrum, (height, width)) for _ in "crgb"
    ]
    image = np.stack([layers[0] + 0.7 * layer for layer in layers[1:]], axis=-1)
    scaled = 128 + 55 * rng.uniform(0.6, 1.4) * image / image.std() + rng.uniform(-30, 30, 3)
    stream = io.BytesIO()
    Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def torch_answers(model: nn.Module, task: Task, pixels: Pixels, track: Track) -> dict[str, Array]:
    """Torch's logits for all samples, and for the first ones under each fault hypothesis."""
    answers = {"logits": _logits(model, task, pixels)}
    hypotheses = graph_hypotheses(task)
    for name, wrong in track(hypotheses.items(), "fault hypotheses", len(hypotheses)):
        predict = torch_predictor(model, task, wrong)
        some = pixels[:HYPOTHESIS_SAMPLES]
        answers[PREFIX + name] = np.concatenate([predict(some[i : i + BATCH]) for i in range(0, len(some), BATCH)])
    return answers


def _logits(model: nn.Module, task: Task, pixels: Pixels) -> Array:
    predict = torch_predictor(model, task)
    return np.concatenate([predict(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)])


def write_golden(folder: Path, golden: GoldenSet | None, answers: dict[str, Array], task: Task) -> GoldenRecord:
    """Writes golden/: samples.npz and images/ of the golden set, if there is one, and the decoder's probes."""
    (folder / "golden" / "probes").mkdir(parents=True)
    if golden:
        (folder / "golden" / "images").mkdir()
    tests = probes(task.input)
    encoded = golden.encoded if golden else ()
    for relative, content in (*encoded, *tests):
        write_bytes(folder / relative, content)
    _save(folder / "golden" / "probes.npz", {"image": expected_pixels(tests, task.input)})
    if golden:
        known = {"labels": golden.truths, "digests": golden.digests}
        arrays = {"image": golden.pixels, "names": np.array(task.labels), **answers}
        arrays |= {name: value for name, value in known.items() if value is not None}
        _save(folder / "golden" / "samples.npz", arrays)
    return GoldenRecord(
        kind=golden.kind if golden else "none",
        samples=len(golden.pixels) if golden else 0,
        encoded=tuple(relative for relative, _ in encoded),
        decoder=decoder_version(),
        probes=tuple(relative for relative, _ in tests),
    )


def _save(path: Path, arrays: dict[str, Array]) -> None:
    write_via(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
