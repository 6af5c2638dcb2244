"""`report.html` of a bundle: its variants, what accuracy costs, what was damaged, tried and refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgetl.bundle import Bundle
from edgetl.devices.verdict import Report
from edgetl.export.report.classes import classes_sections
from edgetl.export.report.content import commands, content_section, refused_section
from edgetl.export.report.judged import Judged, joined
from edgetl.export.report.labels import labels_sections
from edgetl.export.report.pareto import pareto_sections
from edgetl.export.report.photos import photos_section
from edgetl.export.report.quantisation import attempts_sections, curve_section
from edgetl.export.report.speed import speed_section
from edgetl.export.report.variants import drops_section, variants_section
from edgetl.finetune.report.page import Section, write_page
from edgetl.runtime.bench import VariantBench

DAMAGE: dict[str, Callable[[Bundle, Sequence[Judged]], list[Section]]] = {
    "top1": classes_sections,
    "map50": labels_sections,
}
"""What happened to each class, by the task's own metric."""


def write_report(path: Path, bundle: Bundle, report: Report, benches: Sequence[VariantBench] = ()) -> None:
    """Writes the page, which loads nothing from anywhere and is the same to the byte for the same bundle.

    `report` is the verdict to show, `benches` the speed measured with it. Raises ArtefactError when recorded
    answers of the bundle cannot be read.
    """
    manifest, judged = bundle.manifest, joined(bundle, report, benches)
    summary = (
        f"{manifest.source.backbone} ({manifest.source.strategy}), {len(manifest.task.labels)} labels, "
        f"{len(judged)} variants; verdict on {report.device}: {report.verdict}."
    )
    sections = _sections(bundle, judged, benches)
    title = f"Bundle {Path(report.bundle).name}"
    write_page(path, title, summary, sections, commands(manifest, report.bundle))


def _sections(bundle: Bundle, judged: Sequence[Judged], benches: Sequence[VariantBench]) -> list[Section]:
    """In the order of the questions: which variant, at what cost, why, and what is missing."""
    manifest = bundle.manifest
    found = [
        variants_section(judged, manifest.golden.samples),
        *pareto_sections(judged),
        drops_section(judged),
        *DAMAGE[manifest.task.metrics[0]](bundle, judged),
        photos_section(bundle, judged),
        *attempts_sections(judged),
        curve_section(manifest),
        refused_section(manifest, judged),
        speed_section(judged, benches),
        content_section(manifest),
    ]
    return [section for section in found if section is not None]
