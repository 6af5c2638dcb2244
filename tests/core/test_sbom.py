"""The bill of materials is CycloneDX by its own schema, complete, and the same for the same bundle."""

import json
import uuid
from pathlib import Path

import msgspec
import pytest
from tests.core.test_bundle import edit

from edgetl.bundle import open_bundle
from edgetl.files import sha256_of
from edgetl.sbom import cyclonedx


def problem(bill: object) -> object:
    """What CycloneDX's schema says against it, or None."""
    schema = pytest.importorskip("cyclonedx.schema", reason="needs cyclonedx-python-lib[json-validation]")
    validation = pytest.importorskip("cyclonedx.validation.json")
    return validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(json.dumps(bill))


def test_it_is_cyclonedx(bundle: Path) -> None:
    bill = cyclonedx(open_bundle(bundle))
    assert problem(bill) is None
    assert problem({**bill, "components": [{"type": "file"}]}) is not None


def test_every_file_library_and_origin_is_in_it(own_bundle: Path) -> None:
    weights = {
        "origin": "torchvision X.V2",
        "sha256": "ab" * 32,
        "licence": "BSD-3-Clause",
        "url": "https://example.org/x",
    }
    edit(own_bundle, lambda m: m["source"].update(weights=weights))
    opened = open_bundle(own_bundle)
    bill = cyclonedx(opened)
    assert problem(bill) is None
    parts = {part["bom-ref"]: part for part in bill["components"]}
    for record in opened.manifest.files:
        assert parts[f"file:{record.path}"]["hashes"] == [{"alg": "SHA-256", "content": record.sha256}]
    for library, version in opened.manifest.versions.items():
        assert parts[f"pkg:pypi/{library}@{version}"]["version"] == version
    assert parts["weights"]["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]
    assert parts["weights"]["externalReferences"][0]["url"] == weights["url"]
    assert opened.manifest.source.data_fingerprint in json.dumps(parts["data"])
    assert set(bill["dependencies"][0]["dependsOn"]) == set(parts)
    assert bill["metadata"]["component"]["modelCard"]["modelParameters"]["task"] == "image-classification"


def test_a_licence_that_nobody_stated_is_not_made_up(own_bundle: Path) -> None:
    edit(
        own_bundle, lambda m: m["source"].update(weights={"origin": "w.pth", "sha256": "ab" * 32, "licence": "unknown"})
    )
    bill = cyclonedx(open_bundle(own_bundle))
    part = next(part for part in bill["components"] if part["bom-ref"] == "weights")
    assert "licenses" not in part and {"name": "edgetl:licence", "value": "unknown"} in part["properties"]
    assert problem(bill) is None


def test_the_same_bundle_gives_the_same_bill_and_another_another(bundle: Path, own_bundle: Path) -> None:
    first, again = cyclonedx(open_bundle(bundle)), cyclonedx(open_bundle(own_bundle))
    assert first == again
    assert uuid.UUID(first["serialNumber"]).version == 5
    assert sha256_of(bundle / "manifest.json") in json.dumps(first)
    edit(own_bundle, lambda m: m["source"].update(run="another"))
    assert cyclonedx(open_bundle(own_bundle))["serialNumber"] != first["serialNumber"]


def test_it_says_which_model_was_converted(bundle: Path, run: Path) -> None:
    source = open_bundle(bundle).manifest.source
    assert source.model_sha256 == sha256_of(run / "weights.safetensors")
    assert msgspec.json.encode(source.model_sha256).decode() in json.dumps(cyclonedx(open_bundle(bundle)))
