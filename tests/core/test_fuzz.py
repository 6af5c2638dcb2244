"""Damaged manifests, profiles, measurements and reports end in an error of ours, and nothing outside is opened."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.conftest import Cli
from tests.fuzzing import Watch, fuzz, survives, use_manifest, use_measurements, use_profile, use_report

from edgetl.devices.catalogue import host_profile

WATCHED: dict[str, Watch] = {}


@pytest.fixture(scope="module")
def place(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(bundle, folder / "bundle")
    WATCHED.setdefault(str(folder), Watch(folder))
    return folder


def test_damaged_manifests(place: Path) -> None:
    folder, manifest = place / "bundle", place / "bundle" / "manifest.json"
    whole = manifest.read_bytes()
    watch = WATCHED[str(place)]
    assert survives(lambda: use_manifest(folder), watch) is None
    assert not fuzz(json.loads(whole), manifest, lambda: use_manifest(folder), watch, 150, derandomize=True)
    manifest.write_bytes(whole)


def test_sizes_no_disk_has_are_refused(place: Path) -> None:
    """An integer that no float holds ended in an OverflowError where sizes are shown."""
    manifest = place / "bundle" / "manifest.json"
    whole = manifest.read_bytes()
    document = json.loads(whole)
    document["files"][0]["size"] = 10**400
    manifest.write_text(json.dumps(document))
    assert survives(lambda: use_manifest(place / "bundle"), WATCHED[str(place)]) is None
    manifest.write_bytes(whole)


def test_damaged_profiles(place: Path) -> None:
    path = place / "profile.toml"
    document, watch = msgspec.to_builtins(host_profile()), WATCHED[str(place)]
    assert not fuzz(document, path, lambda: use_profile(path), watch, 100, derandomize=True)


def test_damaged_measurements_and_reports(place: Path, cli: Cli) -> None:
    folder, report = place / "bundle", place / "report.json"
    done = cli("gate", folder, "--variants", "onnxruntime-fp32", "-o", report)
    assert done.exit_code == 0, done.output
    measured = json.loads((folder / "measurements.json").read_bytes())
    watch = WATCHED[str(place)]
    file = folder / "measurements.json"
    assert not fuzz(measured, file, lambda: use_measurements(folder), watch, 100, derandomize=True)
    reported = json.loads(report.read_bytes())
    assert not fuzz(reported, report, lambda: use_report(report, folder), watch, 100, derandomize=True)


def test_the_watch_sees_a_file_outside(place: Path, tmp_path: Path) -> None:
    watch = WATCHED[str(place)]

    def write_outside() -> None:
        (tmp_path / "outside").write_text("x")

    assert survives(write_outside, watch) is not None
    watch.strange.clear()
