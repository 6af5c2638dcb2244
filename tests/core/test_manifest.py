"""A manifest of every schema that was ever written opens."""

from pathlib import Path

import pytest

from edgetl.files import read_json
from edgetl.manifest import MAJOR, SCHEMA, Manifest, inconsistency

WRITTEN = sorted((Path(__file__).parent / "manifests").glob("*.json"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_it_opens_and_what_it_does_not_know_yet_is_empty(path: Path) -> None:
    manifest = read_json(path, Manifest, major=MAJOR)
    assert manifest.schema == path.stem != SCHEMA and inconsistency(manifest) is None
    assert bool(manifest.source.model_sha256) == (path.stem > "1.2"), "which 1.3 brought"
    assert all(variant.ways == () for variant in manifest.variants), "which 1.4 brought"
    assert manifest.source.data_fingerprint and manifest.source.weights.licence
    assert manifest.variants[0].task_result is not None


def test_a_manifest_of_every_earlier_minor_is_kept() -> None:
    """1.0 and 1.1 were never in a release."""
    earlier = range(2, int(SCHEMA.split(".")[1]))
    assert [path.stem for path in WRITTEN] == [f"{MAJOR}.{minor}" for minor in earlier]
