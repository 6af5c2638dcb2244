"""A bundle's bill of materials as CycloneDX 1.6: only what its manifest says, so the same bundle gives the same bill.

https://cyclonedx.org/docs/1.6/json/ — no time of making, and a serial number that follows from the manifest.
"""

import uuid
from collections.abc import Iterable
from typing import Any

from edgetl.bundle import Bundle
from edgetl.files import sha256_of
from edgetl.manifest import Manifest
from edgetl.run import WeightsRecord
from edgetl.types import TensorSpec

Component = dict[str, Any]

MODEL, WEIGHTS, DATA = "model", "weights", "data"
"""References between the parts; files are `file:PATH`, libraries are their purl."""

UNKNOWN = "unknown"


def cyclonedx(bundle: Bundle) -> dict[str, Any]:
    """The bill: the model with its card, and as components every file, library, the starting weights and the data.

    Of the data it says the fingerprint alone. A licence that nobody stated is the property `edgetl:licence` `unknown`.
    """
    manifest, digest = bundle.manifest, sha256_of(bundle.path / "manifest.json")
    components = [*_files(manifest, digest), *_libraries(manifest), *_weights(manifest.source.weights), _data(manifest)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{digest}").urn,
        "version": 1,
        "metadata": {
            "tools": {"components": [_named("application", "edgetl", manifest.versions.get("edgetl", UNKNOWN))]},
            "component": _model(manifest, digest),
        },
        "components": components,
        "dependencies": [{"ref": MODEL, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def _model(manifest: Manifest, digest: str) -> Component:
    source, task = manifest.source, manifest.task
    kind = task.__struct_config__.tag
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": source.run,
        "version": digest[:12],
        "description": f"{source.backbone} for {kind}, {len(task.labels)} labels, {source.strategy}",
        "modelCard": {
            "modelParameters": {
                "task": str(kind),
                "architectureFamily": source.backbone,
                "datasets": [{"ref": DATA}],
                "inputs": [{"format": _tensor(spec)} for spec in manifest.inputs],
                "outputs": [{"format": _tensor(spec)} for spec in manifest.outputs],
            },
            "quantitativeAnalysis": {"performanceMetrics": list(_metrics(manifest))},
        },
        "properties": _properties(
            {
                "edgetl:manifest-sha256": digest,
                "edgetl:manifest-schema": manifest.schema,
                "edgetl:model-sha256": source.model_sha256,
                "edgetl:strategy": source.strategy,
                **{f"edgetl:variant:{each.id}": f"{each.status}, {each.verdict}" for each in manifest.variants},
            }
        ),
    }


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} ({', '.join(map(str, spec.shape))})"


def _metrics(manifest: Manifest) -> Iterable[dict[str, str]]:
    for variant in manifest.variants:
        if result := variant.task_result:
            yield {
                "type": result.metric,
                "value": f"{result.value:.6g}",
                "slice": f"{variant.id}, {result.samples} validation samples",
            }


def _files(manifest: Manifest, digest: str) -> Iterable[Component]:
    listed = [("manifest.json", digest), *((record.path, record.sha256) for record in manifest.files)]
    for path, sha256 in listed:
        yield {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": _hashes(sha256)}


def _libraries(manifest: Manifest) -> Iterable[Component]:
    for name, version in manifest.versions.items():
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}" + (f"@{version}" if version != UNKNOWN else "")
        yield {**_named("library", name, version), "bom-ref": purl, "purl": purl}


def _weights(weights: WeightsRecord) -> Iterable[Component]:
    """The weights that training started from; none where it started from random ones."""
    if not weights.sha256:
        return
    known = weights.licence != UNKNOWN
    yield {
        "type": "machine-learning-model",
        "bom-ref": WEIGHTS,
        "name": weights.origin,
        "hashes": _hashes(weights.sha256),
        **({"licenses": [{"license": {"name": weights.licence}}]} if known else {}),
        **({"externalReferences": [{"type": "distribution", "url": weights.url}]} if weights.url else {}),
        "properties": _properties({"edgetl:licence": weights.licence}),
    }


def _data(manifest: Manifest) -> Component:
    return {
        "type": "data",
        "bom-ref": DATA,
        "name": "training and validation data",
        "data": [{"type": "dataset", "name": "training and validation data"}],
        "properties": _properties({"edgetl:data-fingerprint": manifest.source.data_fingerprint}),
    }


def _named(kind: str, name: str, version: str) -> Component:
    return {"type": kind, "name": name, **({"version": version} if version != UNKNOWN else {})}


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items() if value]
