"""The C++ program sees the pixels Python sees and gives the same answers."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgetl.bundle import open_bundle
from edgetl.errors import DataError
from edgetl.export.planted.planting import rehash
from edgetl.manifest import Manifest
from edgetl.runtime import load
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import Pixels

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[2] / "examples" / "cpp"
NEEDED = {
    "nlohmann/json.hpp": "nlohmann-json3-dev", "jpeglib.h": "libjpeg-dev", "png.h": "libpng-dev",
}  # fmt: skip

Run = Callable[..., subprocess.CompletedProcess[bytes]]


def run(*command: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=300)


def release(folder: Path) -> Path | None:
    """Laid out as ONNX Runtime's releases are: Debian's header (or ONNXRUNTIME_INCLUDE) and the wheel's library.

    None when this machine has no header.
    """
    import onnxruntime

    places = [os.environ.get("ONNXRUNTIME_INCLUDE", ""), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime"]
    header = next((Path(place) for place in places if place and Path(place, "onnxruntime_c_api.h").is_file()), None)
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"), None)
    if header is None or library is None:
        return None
    (folder / "lib").mkdir(parents=True)
    (folder / "include").symlink_to(header)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(library)
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `pixels`, and with `classify` where there is an ONNX Runtime header."""
    for tool in ("g++", "cmake"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for header, package in NEEDED.items():
        if run("g++", "-E", "-x", "c++", "-include", "cstdio", "-include", header, "/dev/null").returncode:
            pytest.skip(f"{header} is not installed (Debian: {package})")
    folder = tmp_path_factory.mktemp("cpp")
    onnxruntime = release(folder / "onnxruntime")
    options = [f"-DONNXRUNTIME={onnxruntime}"] if onnxruntime else []
    for command in (["-S", SOURCE, "-B", folder / "build", *options], ["--build", folder / "build"]):
        done = run("cmake", *command)
        assert done.returncode == 0 and b"warning:" not in done.stderr, done.stderr.decode()
    return folder / "build"


@pytest.fixture
def classify(programs: Path) -> Run:
    if not (programs / "classify").is_file():
        pytest.skip("onnxruntime_c_api.h is not here; ONNXRUNTIME_INCLUDE may name its folder")
    return lambda *arguments: run(programs / "classify", *arguments)


def pixels(programs: Path, bundle: Path, image: Path) -> Pixels:
    spec = input_of(bundle)
    done = run(programs / "pixels", bundle, image)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.uint8).reshape(spec.height, spec.width, 3)


def with_input(folder: Path, spec: ImageInput) -> None:
    """Only the manifest changes; no graph is opened."""

    def change(manifest: Manifest) -> Manifest:
        image = msgspec.structs.replace(manifest.inputs[0], shape=("batch", spec.height, spec.width, 3))
        task = msgspec.structs.replace(manifest.task, input=spec)
        return msgspec.structs.replace(manifest, task=task, inputs=(image,))

    rehash(folder, change)


def manifest_of(bundle: Path) -> Manifest:
    return open_bundle(bundle).manifest


def input_of(bundle: Path) -> ImageInput:
    task = manifest_of(bundle).task
    assert isinstance(task, ImageClassification)
    return task.input


def test_the_decoder_probes_of_a_bundle_give_their_pixels(programs: Path, bundle: Path) -> None:
    """Orientation, transparency, 16-bit grey, fine stripes: expected values are those the bundle carries."""
    opened = open_bundle(bundle)
    expected = opened.arrays("golden/probes.npz")["image"]
    names = opened.manifest.golden.probes
    assert len(names) == len(expected) == 4
    for name, wanted in zip(names, expected, strict=True):
        assert np.array_equal(pixels(programs, bundle, bundle / name), wanted), name


def test_every_resize_is_pillows_to_the_bit(programs: Path, own_bundle: Path, tmp_path: Path) -> None:
    """Sizes on both sides of every branch: shrunk, enlarged, very tall (rows go first), unchanged; all filters."""
    rng = np.random.default_rng(7)
    sizes = [(300, 224), (61, 700), (700, 61), (256, 256), (33, 500), (9, 5), (1, 1), (400, 90)]
    for number, (width, height) in enumerate(sizes * 3):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "noise.png")
        crop = [(224, 224, 256), (48, 100, 100), (256, 256, 256)][number % 3]
        spec = ImageInput(
            height=crop[0], width=crop[1], resize=crop[2], mode="squash" if number % 4 == 3 else "crop",
            interpolation=("bilinear", "bicubic", "nearest")[number // len(sizes)],
        )  # fmt: skip
        with_input(own_bundle, spec)
        assert np.array_equal(pixels(programs, own_bundle, tmp_path / "noise.png"), prepare(noise, spec)), (
            spec,
            number,
        )


def test_bundles_it_cannot_prepare_for_are_refused(
    programs: Path, own_bundle: Path, squares: Path, dataset: Path
) -> None:
    photo = next((dataset / "val" / "moss").iterdir())
    with_input(own_bundle, ImageInput(height=32, width=32, resize=32, mode="letterbox"))
    for bundle, said in ((own_bundle, b"does not resize by `letterbox`"), (squares, b"it classifies no images")):
        done = run(programs / "pixels", bundle, photo)
        assert done.returncode == 1 and said in done.stderr, done


def test_every_orientation_of_a_camera_is_turned_upright(programs: Path, bundle: Path, tmp_path: Path) -> None:
    spec = input_of(bundle)
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (90, 61, 3), dtype=np.uint8)).resize((244, 360))
    for orientation in range(1, 9):
        for order in (
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0",
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01",
        ):
            value = bytes([orientation, 0]) if order[0] == ord("I") else bytes([0, orientation])
            path = tmp_path / f"{orientation}.jpg"
            image.save(path, exif=b"Exif\0\0" + order + value + bytes(6))
            assert np.array_equal(pixels(programs, bundle, path), prepare(path, spec)), orientation


def test_kinds_of_png_and_jpeg(programs: Path, bundle: Path, tmp_path: Path) -> None:
    """Palette, palette with transparency, grey with and without alpha, one bit, interlaced rows, progressive JPEG."""
    spec = input_of(bundle)
    noise = Image.fromarray(np.random.default_rng(4).integers(0, 256, (70, 90, 4), dtype=np.uint8))
    for mode in ("RGBA", "RGB", "P", "L", "LA", "1"):
        noise.convert("RGB" if mode == "P" else mode).convert(mode).save(tmp_path / "image.png")
        assert np.array_equal(pixels(programs, bundle, tmp_path / "image.png"), prepare(tmp_path / "image.png", spec))
    noise.convert("RGB").convert("P").save(tmp_path / "image.png", transparency=3)
    assert np.array_equal(pixels(programs, bundle, tmp_path / "image.png"), prepare(tmp_path / "image.png", spec))
    for mode, options in (("RGB", {"progressive": True}), ("L", {}), ("RGB", {"subsampling": 0, "quality": 95})):
        noise.convert(mode).save(tmp_path / "image.jpg", **options)
        assert np.array_equal(pixels(programs, bundle, tmp_path / "image.jpg"), prepare(tmp_path / "image.jpg", spec))


def test_a_broken_image_is_refused_and_never_crashes(
    programs: Path, bundle: Path, dataset: Path, tmp_path: Path
) -> None:
    """Cut off at many places: Python refuses it, and so does the program."""
    spec = input_of(bundle)
    stream = io.BytesIO()
    photo = next((dataset / "val" / "moss").iterdir())
    Image.open(photo).save(stream, "JPEG")
    for whole in (stream.getvalue(), photo.read_bytes()):
        for size in np.linspace(0, len(whole) * 0.9, 12, dtype=int):
            (tmp_path / "cut").write_bytes(whole[:size])
            with pytest.raises(DataError):
                prepare(tmp_path / "cut", spec)
            done = run(programs / "pixels", bundle, tmp_path / "cut")
            assert done.returncode == 1 and b"cannot be decoded" in done.stderr, (size, done)


def test_answers_are_those_of_python(classify: Run, bundle: Path, dataset: Path) -> None:
    photos = sorted((dataset / "val").rglob("*.png"))[::3]
    for variant in ("onnxruntime-fp32", "onnxruntime-int8"):
        done = classify("--variant", variant, bundle, *photos)
        assert done.returncode == 0, done.stderr.decode()
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        with load(bundle, variant=variant) as model:
            expected = model.predict(list(photos))
        for line, path, answer in zip(lines, photos, expected, strict=True):
            assert line["path"] == str(path)
            assert [entry["label"] for entry in line["top"]] == [entry.label for entry in answer.top]
            found = [entry["probability"] for entry in line["top"]]
            assert found == pytest.approx([entry.probability for entry in answer.top], abs=1e-5)


def test_a_bad_image_costs_only_its_own_line(classify: Run, bundle: Path, dataset: Path) -> None:
    photo = next((dataset / "val" / "slate").iterdir())
    done = classify(bundle, dataset / "missing.png", photo)
    assert done.returncode == 5 and b"missing.png` cannot be decoded" in done.stderr
    assert json.loads(done.stdout)["top"][0]["label"] == "slate"


def test_nothing_is_left_in_the_home_folder(
    classify: Run, bundle: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's telemetry would write an identifier of the device there."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("CI", raising=False)
    assert classify(bundle, next((dataset / "val" / "moss").iterdir())).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_for_it_is_refused(classify: Run, own_bundle: Path, tmp_path: Path) -> None:
    assert b"cannot be opened" in classify(tmp_path, "x.png").stderr
    assert b"no ONNX Runtime variant `openvino-int8`" in classify("--variant", "openvino-int8", own_bundle, "x").stderr
    model = own_bundle / "onnxruntime-fp32" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    done = classify(own_bundle, "x.png")
    assert done.returncode == 1 and b"is not as the manifest says" in done.stderr
    path = own_bundle / "manifest.json"
    path.write_text(path.read_text().replace("onnxruntime-fp32/model.onnx", "../../model.onnx"))
    assert b"leaves the bundle" in classify(own_bundle, "x.png").stderr
    path.write_text(path.read_text().replace('"schema": "1.', '"schema": "2.', 1))
    assert b"is newer than this program" in classify(own_bundle, "x.png").stderr
