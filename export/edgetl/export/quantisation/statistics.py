"""What the tensors of a graph hold on the calibration images: extremes of each image, and clipped ranges.

Observed once for a graph and shared by every variant that is quantised from it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Track, silent

RangeMethod = Literal["min-max", "percentile", "mse"]
Ranges = dict[str, tuple[float, float]]

BATCH = 4
BINS = 2048
PERCENTILE = 0.9999
"""Of the values, so much lies within the range; Wu et al. 2020 find 99.99 % best on most networks."""

CLIPS = 64
"""So many clipping thresholds are tried for the least squared error."""


class Statistics:
    """Ranges of the activations of one fp32 graph on one set of samples, computed when first asked for.

    Reference for the clipped ranges: Wu et al., "Integer Quantization for
    Deep Learning Inference: Principles and Empirical Evaluation", 2020, sections 3.3 and 5.
    """

    def __init__(self, source: Path, inputs: Inputs, track: Track = silent) -> None:
        self.source = source
        self.inputs = inputs
        self._track = track
        self._folder = tempfile.TemporaryDirectory(prefix="edgetl-calibration-")
        self._prepared: Path | None = None
        self._extremes: dict[str, Array] = {}
        self._clipped: dict[tuple[str, int], Ranges] = {}

    def close(self) -> None:
        """Removes the temporary files."""
        self._folder.cleanup()

    @property
    def prepared(self) -> Path:
        """The graph with shapes inferred and what ONNX Runtime folds folded, as its quantiser wants it."""
        if self._prepared is None:
            from edgetl.export.quantisation.observing import prepare

            self._prepared = Path(self._folder.name) / "prepared.onnx"
            prepare(self.source, self._prepared)
        return self._prepared

    def ranges(self, method: RangeMethod, count: int) -> Ranges:
        """Name of each activation → its lowest and highest value on the first `count` images, or a clipped range."""
        observed = self._observed(count)
        if method == "min-max":
            return {name: (float(e[0].min()), float(e[1].max())) for name, e in observed.items()}
        if (method, count) not in self._clipped:
            self._clip(observed, count)
        return self._clipped[method, count]

    def _observed(self, count: int) -> dict[str, Array]:
        """The extremes of the first `count` images: for each tensor shape (2, count)."""
        known = min((part.shape[1] for part in self._extremes.values()), default=0)
        if known < count:
            new: dict[str, list[Array]] = {}
            for samples, values in self._values(known, count):
                for name, value in values.items():
                    new.setdefault(name, []).append(_extremes(value, samples))
            for name, parts in new.items():
                before = [self._extremes[name]] if name in self._extremes else []
                self._extremes[name] = np.concatenate([*before, *parts], axis=1)
        return {name: part[:, :count] for name, part in self._extremes.items()}

    def _clip(self, observed: dict[str, Array], count: int) -> None:
        """Both clipped ranges from one histogram of each tensor."""
        edges = {
            name: np.linspace(float(e[0].min()), max(float(e[1].max()), float(e[0].min()) + 1e-9), BINS + 1)
            for name, e in observed.items()
        }
        counts = {name: np.zeros(BINS, np.int64) for name in edges}
        for _, values in self._values(0, count):
            for name, value in values.items():
                counts[name] += np.histogram(value, edges[name])[0]
        self._clipped["percentile", count] = {n: _percentile_range(counts[n], edges[n]) for n in edges}
        self._clipped["mse", count] = {n: _least_error_range(counts[n], edges[n]) for n in edges}

    def _values(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, Array]]]:
        """How many samples, up to `BATCH`, and every activation they cause."""
        from edgetl.export.quantisation.observing import activations  # needs ONNX Runtime, which OpenVINO does not

        starts = range(start, stop, BATCH)
        batches = (self.inputs.part(first, min(first + BATCH, stop)) for first in starts)
        observed = self._track(activations(self.prepared, batches), "calibrate", len(starts))
        for first, values in zip(starts, observed, strict=True):
            yield min(first + BATCH, stop) - first, values


def _extremes(value: Array, samples: int) -> Array:
    """Lowest and highest value of each sample, (2, samples); of what has no row a sample, those of all."""
    flat = value.reshape(samples, -1) if value.ndim and len(value) == samples else value.reshape(1, -1)
    return np.broadcast_to(np.stack([flat.min(axis=1), flat.max(axis=1)]), (2, samples))


def _percentile_range(counts: Array, edges: Array) -> tuple[float, float]:
    """The narrowest histogram range with `PERCENTILE` of the values, equal shares cut on both sides."""
    share = np.cumsum(counts) / counts.sum()
    low = int(np.searchsorted(share, (1 - PERCENTILE) / 2))
    high = int(np.searchsorted(share, 1 - (1 - PERCENTILE) / 2))
    return float(edges[low]), float(edges[min(high + 1, len(edges) - 1)])


def _least_error_range(counts: Array, edges: Array) -> tuple[float, float]:
    """The range whose 8-bit rounding and clipping have the least mean squared error: first the upper, then the lower
    end is drawn in.
    """
    centres = (edges[:-1] + edges[1:]) / 2
    low, high = min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)

    def error(low: float, high: float) -> float:
        step = max(high - low, 1e-12) / 255
        rounded = np.clip(np.round((centres - low) / step), 0, 255) * step + low
        return float(np.sum(counts * (rounded - centres) ** 2))

    shares = np.linspace(1 / CLIPS, 1, CLIPS).tolist()
    high = min((share * high for share in shares), key=lambda end: error(low, end))
    low = min((share * low for share in shares), key=lambda end: error(end, high))
    return low, high
