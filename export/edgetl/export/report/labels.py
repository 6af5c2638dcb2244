"""What a detector's variants lose of each label: the average precision beside torch's, on the validation split."""

from collections.abc import Sequence

from edgetl.bundle import Bundle
from edgetl.devices.verdict import ClassReport
from edgetl.export.report.judged import Judged
from edgetl.finetune.report.page import Section


def labels_sections(bundle: Bundle, judged: Sequence[Judged]) -> list[Section]:
    """A table for each variant whose precision was judged, as `check` said it."""
    return [_section(each) for each in judged if each.report.classes]


def _section(judged: Judged) -> Section:
    classes = judged.report.classes
    hurt = [each.name for each in classes if each.damaged]
    said = f"Significantly more was lost of {', '.join(hurt)}." if hurt else "No label lost significantly more."
    return Section(
        title=f"Precision by label: {judged.id}",
        text=f"Average precision at an overlap of 0.5, with one-sided bounds of each drop by itself. {said}",
        header=("label or group", "objects or photos", "torch", judged.id, "drop (points)"),
        rows=[_row(each) for each in classes],
    )


def _row(each: ClassReport) -> tuple[str, ...]:
    drop = each.drop_points
    return (
        each.name,
        f"{each.samples:,}",
        f"{each.reference:.1%}",
        f"{each.value:.1%}",
        f"{drop.value:+.2f} ({drop.low:.2f} … {drop.high:.2f})",
    )
