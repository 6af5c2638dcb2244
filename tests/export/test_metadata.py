"""What travels of an image is its picture: no place, time, device or comment, and the same pixels to the bit."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin
from tests.conftest import picture
from tests.export.models import photo_source

from edgetl.errors import DataError
from edgetl.export.golden import validation_golden
from edgetl.export.metadata import without_metadata
from edgetl.files import sha256_of
from edgetl.run import SampleRecord
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput, decode, prepare

SECRETS = (b"Olafs Phone", b"48.137", b"a comment", b"http://ns.adobe.com", b"ICC of Olaf", b"GIF of Olaf", b"JFXX")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf xmlns="http://ns.adobe.com/xap/1.0/">Olafs Phone</rdf></x:xmpmeta>'


def exif(orientation: int) -> Image.Exif:
    """Device, place and a thumbnail's worth of secrets."""
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    made[ExifTags.Base.Make] = "Olafs Phone"
    gps = made.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSAreaInformation] = b"48.137 11.575"
    return made


def photo() -> Image.Image:
    return picture(np.random.default_rng(3), 1)


def jpeg(image: Image.Image, orientation: int = 1, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(
        stream, "JPEG", exif=exif(orientation), xmp=XMP, comment=b"a comment", icc_profile=b"ICC of Olaf", **options
    )
    return stream.getvalue()


def other(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    photo().save(stream, kind, **options)
    return stream.getvalue()


def several_pictures() -> bytes:
    stream = io.BytesIO()
    photo().save(stream, "MPO", save_all=True, append_images=[picture(np.random.default_rng(4), 2)], exif=exif(3))
    return stream.getvalue()


def png(orientation: int) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Olafs Phone")
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return other("PNG", exif=exif(orientation), pnginfo=text, icc_profile=b"ICC of Olaf")


def with_thumbnail_and_tail() -> bytes:
    """A JFIF extension with a thumbnail, and bytes after the picture's end."""
    content = jpeg(photo(), restart_marker_blocks=1)
    extension = b"\xff\xe0" + (2 + 5 + 11).to_bytes(2, "big") + b"JFXX\0" + b"Olafs Phone"
    first = 4 + int.from_bytes(content[4:6], "big")
    return content[:first] + extension + content[first:] + b"Olafs Phone after the end"


@pytest.mark.parametrize(
    ("make", "suffix"),
    [
        (lambda: jpeg(photo()), ".jpg"),
        (lambda: jpeg(photo(), 6, progressive=True), ".jpg"),
        (lambda: jpeg(photo().convert("L"), 8), ".jpg"),
        (lambda: jpeg(photo().convert("CMYK"), 3), ".jpg"),
        (lambda: jpeg(photo(), keep_rgb=True), ".jpg"),
        (with_thumbnail_and_tail, ".jpg"),
        (several_pictures, ".jpg"),
        (lambda: png(1), ".png"),
        (lambda: png(6), ".png"),
        (lambda: other("TIFF", exif=exif(6)), ".png"),
        (lambda: other("WEBP", exif=exif(6), xmp=XMP, lossless=True), ".png"),
        (lambda: other("GIF", comment=b"GIF of Olaf"), ".png"),
        (lambda: other("BMP"), ".png"),
    ],
)
def test_the_picture_stays_and_everything_else_goes(make: Callable[[], bytes], suffix: str) -> None:
    content = make()
    bare, found = without_metadata(content)
    assert found == suffix
    assert np.array_equal(np.asarray(decode(bare)), np.asarray(decode(content)))
    assert not [secret for secret in SECRETS if secret in bare]
    with Image.open(io.BytesIO(bare)) as image:
        assert set(image.getexif()) <= {ExifTags.Base.Orientation}
        assert not {"comment", "icc_profile", "xmp", "mp"} & set(image.info)


def test_a_jpeg_is_cut_and_not_encoded_anew() -> None:
    """Another encoding would give other pixels; the coded ones are the file's own."""
    content = jpeg(photo())
    bare, _ = without_metadata(content)
    scan = content[content.index(b"\xff\xda") :]
    assert bare.endswith(scan)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(DataError):
        without_metadata(b"\xff\xd8\xff\xe1")


def test_no_place_travels_in_the_golden_set(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.jpeg").write_bytes(jpeg(picture(np.random.default_rng(i), i), 6))
    samples = [
        SampleRecord(path=f"{i}.jpeg", label=i, split="val", sha256=sha256_of(tmp_path / f"{i}.jpeg")) for i in range(2)
    ]
    spec = ImageInput(height=32, width=32, resize=36)
    task = ImageClassification(labels=("a", "b"), input=spec, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    golden = validation_golden(photo_source(task, samples, tmp_path), seed=0)
    assert len(golden.encoded) == 2
    for (name, content), pixels in zip(golden.encoded, golden.inputs.feeds["image"], strict=True):
        assert name.endswith(".jpg") and not [secret for secret in SECRETS if secret in content]
        assert np.array_equal(prepare(content, spec), pixels)
