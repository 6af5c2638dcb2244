"""What is said of the variants at the end: status, verdict, reason, and whether they hold their accuracy."""

from msgspec import structs

from edgetl.bundle import Bundle
from edgetl.devices.check import skip_reason
from edgetl.devices.profile import Profile
from edgetl.devices.verdict import Report, VariantReport
from edgetl.export.config import ExportedVariant
from edgetl.export.escalation import lost_points
from edgetl.manifest import Manifest, VariantRecord


def with_verdicts(draft: Manifest, report: Report, profile: Profile) -> Manifest:
    """The final manifest: what `check` said of each variant on this machine."""
    reports = {variant.id: variant for variant in report.variants}
    variants = tuple(_with_verdict(variant, reports[variant.id], profile) for variant in draft.variants)
    return structs.replace(draft, variants=variants)


def _with_verdict(variant: VariantRecord, report: VariantReport, profile: Profile) -> VariantRecord:
    reasons = [reason for reason in report.reasons if reason.verdict == report.verdict]
    texts = [f"{r.layer}: {r.text}" + (f" ({r.cause})" if r.cause else "") for r in reasons]
    status = {"skipped": "unverified", "fail": "failed"}.get(report.verdict, "verified")
    verdict = "undecided" if report.verdict == "skipped" else report.verdict
    elsewhere = skip_reason(variant, profile)
    if elsewhere and report.verdict not in ("skipped", "fail"):
        status, verdict = "unverified", "undecided"
        texts = [f"{elsewhere.text}; ONNX Runtime gets the right numbers from the file", *texts]
    if variant.attempts:
        texts.insert(0, _way(variant))
    return structs.replace(variant, status=status, verdict=verdict, reason="; ".join(texts))


def _way(variant: VariantRecord) -> str:
    """What it took, in one sentence."""
    plain = variant.attempts[0].drop_points
    used = next(a for a in reversed(variant.attempts) if a.quantisation == variant.quantisation)
    lost = f"plain int8 lost {plain:.2f} points" if plain is not None else "plain int8 failed"
    return f"{lost}, made with: {used.step}"


def listed(bundle: Bundle, report: Report, profile: Profile) -> tuple[ExportedVariant, ...]:
    """What `export` prints of each variant."""
    reports = {variant.id: variant for variant in report.variants}
    return tuple(
        ExportedVariant(
            id=variant.id,
            engine=variant.engine,
            precision=variant.precision,
            size_bytes=bundle.size_bytes(variant),
            status=variant.status,
            verdict=variant.verdict,
            reason=variant.reason,
            held=_held(variant, reports[variant.id], profile.accuracy.max_drop_points),
            steps=len(variant.attempts),
        )
        for variant in bundle.manifest.variants
    )


def _held(variant: VariantRecord, report: VariantReport, max_drop: float) -> bool:
    return variant.status != "failed" and (lost_points(variant, report) or 0.0) <= max_drop
