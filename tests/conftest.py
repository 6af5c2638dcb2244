"""A small real world for all tests: images on disk, a network trained on them, a bundle of its four variants."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.task_bundles import detection_bundle, text_bundle
from typer.testing import CliRunner, Result

from edgetl.cli import app
from edgetl.export.config import ExportConfig
from edgetl.export.stage import export
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.stage import finetune

AREAS = ("core", "finetune", "export", "runtime", "devices")
ROOT = Path(__file__).parents[1]

Cli = Callable[..., Result]


def pytest_configure() -> None:
    """Every area is a source root of one namespace package; a stray `__init__.py` would hide the others."""
    for area in AREAS:
        assert not (ROOT / area / "edgetl" / "__init__.py").exists(), f"remove {area}/edgetl/__init__.py"


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test reads or fills the user's own cache, or reads the user's own profiles."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["EDGETL_CACHE"] = str(folder)
    os.environ["EDGETL_DEVICES"] = str(tmp_path_factory.mktemp("devices"))
    return folder


def picture(rng: np.random.Generator, kind: int) -> Image.Image:
    """A noisy 40 × 52 picture: each class has its own colour and stripe direction."""
    rows, columns = np.mgrid[0:40, 0:52]
    wave = (np.sin(rows / 3), np.sin(columns / 3), np.sin((rows + columns) / 4))[kind][..., None]
    colour = np.array([(190, 90, 60), (70, 160, 90), (80, 90, 180)][kind], float)
    noise = rng.normal(0, 42, (40, 52, 3)) + rng.normal(0, 30, 3)
    return Image.fromarray(np.clip(colour + 28 * wave + noise, 0, 255).astype(np.uint8))


def write_dataset(folder: Path, counts: dict[str, int], *, classes: int = 3, seed: int = 0) -> Path:
    """ROOT/SPLIT/CLASS/NN.png with `counts[split]` images a class; a split named "" has no folder of its own."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for kind in range(classes):
            place = folder / split / ("amber", "moss", "slate")[kind]
            place.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                picture(rng, kind).save(place / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "stripes", {"train": 30, "val": 30})


@pytest.fixture(scope="session")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "stripes"
    config = FinetuneConfig(
        data=str(dataset), backbone="residual_cnn", strategy="from-scratch", loop={"epochs": 10, "augment": "none"}
    )
    finetune(config, folder)
    return folder


@pytest.fixture(scope="session")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "stripes"
    export(run, folder, ExportConfig(calibration_samples=60))
    return folder


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that the test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "own-bundle"))


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that the test may damage."""
    return Path(shutil.copytree(run, tmp_path / "own-run"))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that takes texts."""
    return text_bundle(tmp_path_factory.mktemp("bundles") / "reviews")


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that finds objects in photos."""
    return detection_bundle(tmp_path_factory.mktemp("bundles") / "squares")


@pytest.fixture
def cli() -> Cli:
    """Runs a command line in this process; the result has exit_code, stdout and stderr."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def real_data() -> Path:
    """The folder EDGETL_REAL_DATA points to."""
    folder = os.environ.get("EDGETL_REAL_DATA")
    if not folder:
        pytest.skip("EDGETL_REAL_DATA is not set, so there are no real photos and weights")
    return Path(folder)
