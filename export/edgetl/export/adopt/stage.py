"""The stage: (an ONNX file) → bundle, by the same steps as a run's."""

from collections.abc import Callable
from pathlib import Path

from edgetl.devices.verdict import Report
from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.source import open_adopted
from edgetl.export.config import ExportConfig, ExportResult
from edgetl.export.source import Source
from edgetl.export.stage import make_bundle
from edgetl.types import Track, silent


def adopt(
    model: Path,
    out: Path,
    read: AdoptConfig,
    config: ExportConfig,
    *,
    overwrite: bool = False,
    track: Track = silent,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[ExportResult, Report]:
    """Writes the bundle `out` of the ONNX file `model`, read as `read` says, whole or not at all.

    `say` is told which samples do what. Raises as `open_adopted` and `make_bundle`.
    """

    def opened() -> Source:
        source = open_adopted(model, read, seed=config.seed, track=track)
        say(_told(source, read))
        return source

    inputs = (model, Path(read.golden), *([Path(read.calibration)] if read.calibration else []))
    return make_bundle(opened, out, config, inputs=inputs, overwrite=overwrite, track=track)


def _told(source: Source, read: AdoptConfig) -> str:
    golden, others = len(source.split("val")), len(source.split("train"))
    place = f"of `{read.calibration}`" if read.calibration else f"of `{read.golden}` too, and not among these,"
    truth = "; no labels: the model's own answers count as true" if read.unlabelled else ""
    return f"{golden} samples of `{read.golden}` judge, {others} {place} calibrate{truth}"
