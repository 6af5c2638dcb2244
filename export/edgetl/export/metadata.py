"""Encoded images without what a camera or a person wrote into them: place, time, device, comments, thumbnails.

The pixels stay as they are, and so does the orientation, which the decoder follows. JPEG and PNG are not encoded anew:
their metadata are cut out. JPEG markers: ITU-T T.81, table B.1; PNG chunks: W3C PNG, third edition, section 11.
"""

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

from edgetl.tasks.images import FORMATS, decode

SOI, EOI, SOS, APP0, APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
APPLICATION = range(0xE0, 0xF0)
COMMENT = 0xFE
JFIF_BYTES = 12
"""A JFIF header up to the size of its thumbnail."""

ADOBE_BYTES = 12

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def without_metadata(content: bytes) -> tuple[bytes, str]:
    """The image in `content` with nothing but its picture, and the file suffix that goes with it.

    What cannot be cut (TIFF, WebP and other formats, files that do not keep to theirs) becomes a PNG of the same
    upright RGB pixels. Raises DataError for what does not decode.
    """
    expected = np.asarray(decode(content))
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        kind, orientation = image.format, image.getexif().get(ExifTags.Base.Orientation, 1)
    if kind in CUTS:
        cut, suffix = CUTS[kind]
        made = cut(content, orientation)
        if made is not None and np.array_equal(np.asarray(decode(made)), expected):
            return made, suffix
    stream = io.BytesIO()
    Image.fromarray(expected).save(stream, "PNG")
    return stream.getvalue(), ".png"


def _jpeg(content: bytes, orientation: int) -> bytes | None:
    """The segments that decode to pixels, after an Exif segment with the orientation alone; None if they are broken."""
    kept = [bytes((0xFF, SOI))]
    for marker, segment in _segments(content):
        if marker == APP0 and segment.startswith(b"JFIF\0"):
            kept.append(_segment(marker, segment[:JFIF_BYTES] + b"\0\0"))
        elif marker == APP14 and segment.startswith(b"Adobe"):  # which colours the numbers mean
            kept.append(_segment(marker, segment[:ADOBE_BYTES]))
        elif marker == EOI:
            if orientation != 1:
                kept.insert(2 if kept[1][1] == APP0 else 1, _segment(0xE1, _orientation(orientation)))
            return b"".join([*kept, bytes((0xFF, EOI))])
        elif marker == 0:
            kept.append(segment)
        elif marker not in APPLICATION and marker != COMMENT:
            kept.append(_segment(marker, segment))
    return None


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers with what they hold, the coded pixels after a scan's header as marker 0; ends at what is broken."""
    at = 2
    while at + 2 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == EOI:
            yield marker, b""
            return
        if at + 4 > len(content):
            return
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        yield marker, content[at + 4 : end]
        at = end
        if marker == SOS:
            at = _end_of_scan(content, at)
            yield 0, content[end:at]


def _end_of_scan(content: bytes, at: int) -> int:
    """Where the next marker is: 0xFF before anything but a stuffed zero or a restart."""
    while (at := content.find(0xFF, at)) != -1:
        following = content[at + 1 : at + 2]
        if following and following[0] != 0 and not 0xD0 <= following[0] <= 0xD7:
            return at
        at += 2
    return len(content)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def _orientation(value: int) -> bytes:
    """An Exif block with one entry: tag 0x0112, one short."""
    entry = struct.pack(">HHIHH", ExifTags.Base.Orientation, 3, 1, value, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + b"\0\0\0\0"


def _png(content: bytes, orientation: int) -> bytes | None:
    """The chunks that decode to pixels; None if they are broken, or the picture is not stored upright."""
    kept, at = [PNG_HEAD], len(PNG_HEAD)
    while orientation == 1 and at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        if name in PNG_KEPT:
            kept.append(content[at:end])
        if name == b"IEND":
            return b"".join(kept)
        at = end
    return None


CUTS = {"JPEG": (_jpeg, ".jpg"), "MPO": (_jpeg, ".jpg"), "PNG": (_png, ".png")}
"""By Pillow's name of the format; MPO is a JPEG with further pictures behind the first, which go."""
