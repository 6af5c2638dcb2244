"""`--golden none` sends the model and its labels, and nothing of the images or where they lie."""

import zipfile
from pathlib import Path

import pytest

from edgetl.export.config import ExportConfig
from edgetl.export.stage import export

IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


@pytest.fixture(scope="module")
def bare(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare") / "bundle"
    export(run, folder, ExportConfig(golden="none", calibration_samples=30, variants=("onnxruntime-int8",)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, and every member of an .npz unpacked."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        found[name] = path.read_bytes()
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{name}/{member}": archive.read(member) for member in archive.namelist()}
    return found


def test_no_image_travels(bare: Path, dataset: Path) -> None:
    held = contents(bare)
    assert {name for name, content in held.items() if content.startswith(IMAGES)} == {
        f"golden/probes/{probe}" for probe in ("grey16.png", "stripes.png", "transparent.png", "upright.jpg")
    }
    pictures = [path.read_bytes() for path in dataset.rglob("*.png")]
    assert len(pictures) == 180
    for picture in pictures:
        middle = picture[len(picture) // 2 :][:32]
        assert not [name for name, content in held.items() if middle in content]
    assert "golden/samples.npz" not in held and not (bare / "golden" / "samples").exists()


def test_no_path_of_the_data_travels(bare: Path, run: Path, dataset: Path) -> None:
    names = [str(dataset), str(dataset.parent), str(run), "train/amber", "val/moss"]
    held = contents(bare)
    assert not [(name, path) for name, content in held.items() for path in names if path.encode() in content]
