"""Features of a frozen backbone: computed once for each image, kept on disk, looked up by content."""

import copy
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgetl.bundle import read_arrays
from edgetl.errors import ArtefactError, DataError
from edgetl.files import write_via
from edgetl.finetune.batches import batches
from edgetl.finetune.compute import Choice
from edgetl.finetune.graph import DeployedModel, deploy, export_onnx
from edgetl.finetune.weights import state_digest
from edgetl.run import SampleRecord
from edgetl.runtime.engines import open_engine
from edgetl.tasks import Task
from edgetl.tasks.loading import prepare_files
from edgetl.types import Array, Pixels, Track

VERSION = 1
"""Part of the cache key; raised when decoding or feature computation change."""

MAX_STORE_BYTES = 64 * 2**30
"""A cache file above this is not read but computed again."""

Features = NDArray[np.float32]


def cache_key(extractor: nn.Module, task: Task, choice: Choice) -> str:
    """Identity of the numbers: weights, preparation of the pixels, and what computes."""
    preparation = [VERSION, choice.kind, state_digest(extractor), task.input, task.mean, task.std]
    return hashlib.sha256(msgspec.json.encode(preparation)).hexdigest()


class FeatureTable(msgspec.Struct, frozen=True, kw_only=True):
    """Features (width,) by content hash, the error of every image without, and how many were computed now."""

    known: dict[str, Features]
    bad: dict[str, DataError]
    computed: int

    def rows(self, samples: Sequence[SampleRecord]) -> tuple[Array, Array]:
        """Features (samples, width) and label indices (samples,) of those that have features."""
        kept = [sample for sample in samples if sample.path not in self.bad]
        if not kept:
            raise DataError(f"no {samples[0].split} image of the data set can be decoded", hint="check the files")
        return np.stack([self.known[sample.sha256] for sample in kept]), np.array([s.label for s in kept])


def cached_features(
    extractor: nn.Module,
    samples: Sequence[SampleRecord],
    root: Path,
    task: Task,
    choice: Choice,
    cache: Path,
    track: Track,
) -> FeatureTable:
    """Looks the features up by content and computes those that are missing. The cache file is replaced as a whole."""
    store = cache / f"{cache_key(extractor, task, choice)}.npz"
    known = _read_store(store)
    todo = [sample for sample in samples if sample.sha256 not in known]
    bad: dict[str, DataError] = {}
    if not todo:
        return FeatureTable(known=known, bad=bad, computed=0)
    run = _runner(extractor, task, choice)
    decoded = prepare_files((root / sample.path for sample in todo), task.input)
    watched = track(zip(todo, decoded, strict=True), "features", len(todo))
    for hashes, batch in batches(watched, bad, lambda sample: sample.sha256):
        known |= zip(hashes, run(batch), strict=True)
    if len(bad) < len(todo):
        _write_store(store, known)
    return FeatureTable(known=known, bad=bad, computed=len(todo) - len(bad))


def _runner(extractor: nn.Module, task: Task, choice: Choice) -> Callable[[Pixels], Features]:
    model = deploy(extractor, task)
    if choice.kind == "onnxruntime-fp32":
        return _engine_runner(model, task)
    dtype = torch.bfloat16 if choice.kind == "torch-bf16" else torch.float32
    frozen: Any = copy.deepcopy(model.model).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(batch: Pixels) -> Features:
        with torch.inference_mode():
            pixels = model.normalise(torch.from_numpy(batch)).to(dtype).contiguous(memory_format=torch.channels_last)
            result: Features = frozen(pixels).float().numpy()
            return result

    return run


def _engine_runner(model: DeployedModel, task: Task) -> Callable[[Pixels], Features]:
    """The frozen part as ONNX in ONNX Runtime; `logits` are the features, as the head is an identity."""
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        path = Path(folder) / "frozen.onnx"
        export_onnx(model, task.input.height, task.input.width, path)
        engine = open_engine("onnxruntime", path, {})
    return lambda batch: engine.run({"image": batch})["logits"]


def _read_store(store: Path) -> dict[str, Features]:
    """What was computed before; a damaged store counts as empty and is written again."""
    if not store.is_file():
        return {}
    try:
        arrays = read_arrays(store, limit=MAX_STORE_BYTES)
        return dict(zip(arrays["sha256"].astype(str).tolist(), arrays["features"], strict=True))
    except (ArtefactError, KeyError, ValueError):
        store.unlink(missing_ok=True)
        return {}


def _write_store(store: Path, known: dict[str, Features]) -> None:
    hashes = np.array(list(known), dtype="S64")
    features = np.stack(list(known.values()))
    write_via(store, lambda stream: np.savez(stream, sha256=hashes, features=features))
    store.chmod(0o600)
