"""What a bundle has and has not: what travels, what was left out and why, and the commands that make it again."""

import shlex
from collections.abc import Sequence

from edgetl.export.report.judged import Judged, why
from edgetl.finetune.report.page import Section
from edgetl.manifest import Manifest


def refused_section(manifest: Manifest, judged: Sequence[Judged]) -> Section | None:
    """Variants that were left out, failed, or could not be judged here; None when there are none."""
    rows = [(name, "left out", reason) for name, reason in manifest.refused.items()]
    rows += [(each.id, "failed", why(each.report) or each.record.reason) for each in judged if each.failed]
    rows += [(each.id, "unverified", _unverified(each)) for each in judged if each.report.verdict == "skipped"]
    text = "A failed variant is in the bundle so that it can be looked at; no device runs it unasked."
    shown = text if any(each.failed for each in judged) else ""
    header = ("variant", "what happened", "why")
    return Section(title="Refused", text=shown, header=header, rows=rows) if rows else None


def _unverified(judged: Judged) -> str:
    return why(judged.report) or judged.record.reason or "it could not be opened on this machine"


def content_section(manifest: Manifest) -> Section:
    """What is in the files beside the models, and what they were made from and with."""
    golden, source = manifest.golden, manifest.source
    travels = {
        "validation": f"{golden.samples} validation images as pixels, {len(golden.encoded)} of them as files",
        "synthetic": f"{golden.samples} generated images; none of the user's",
        "none": "no images; verdicts stay undecided",
    }
    rows = [
        ("golden set", travels[golden.kind]),
        ("weights", f"{source.weights.origin}; licence: {source.weights.licence}"),
        *(("note on the weights", note) for note in source.weights.notes),
        ("calibration", ", ".join(f"{key} {value}" for key, value in source.calibration.items())),
        ("data", f"fingerprint {source.data_fingerprint}"),
        ("versions", ", ".join(f"{key} {value}" for key, value in manifest.versions.items())),
    ]
    if manifest.machine:
        rows.append(("made on", f"{manifest.machine.cpu or manifest.machine.arch}, {manifest.machine.cores} cores"))
    return Section(title="What travels", rows=rows)


def commands(manifest: Manifest, bundle: str) -> str:
    """The command lines that export, check and bench this bundle, with the versions that did."""
    options = dict(manifest.source.options) or {
        "golden": manifest.golden.kind,
        "calibration_samples": manifest.source.calibration.get("samples"),
        "per_tensor": manifest.source.calibration.get("per_tensor"),
        "seed": manifest.source.calibration.get("seed"),
    }
    if not options.get("variants"):
        options["variants"] = ",".join(variant.id for variant in manifest.variants)
    asked = " ".join(flag for key, value in options.items() for flag in _flag(key, value))
    place = shlex.quote(bundle)
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return (
        f"# {versions}\n"
        f"edgetl export {shlex.quote(manifest.source.run)} -o {place} {asked}\n"
        f"edgetl check {place}\nedgetl bench {place}"
    )


def _flag(key: str, value: str | int | float | bool | None) -> list[str]:
    """An option as it is typed; one that is off or was not given is left out."""
    if value is None or value is False:
        return []
    name = f"--{key.replace('_', '-')}"
    return [name] if value is True else [name, shlex.quote(str(value))]
