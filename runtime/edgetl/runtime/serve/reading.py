"""What a body of `POST /predict` holds: an image, as the body or as a form's file, or a text, plain or in JSON."""

import io
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from PIL import Image
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.refusals import Malformed, TooLarge, WrongType
from edgetl.tasks.images import BROKEN, FORMATS
from edgetl.tasks.preparation import SampleKind

RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Types under which clients send bytes without saying what they are; `curl --data-binary` says a form."""

UTF8 = ("", "utf-8", "utf8", "us-ascii")
"""Charsets that are UTF-8."""

Read = Callable[[Request, bytes], Awaitable[bytes]]
"""The encoded sample in a body. Raises Malformed, WrongType."""

Check = Callable[[bytes, ServeConfig], None]
"""Refuses an encoded sample that would take too much to prepare. Raises TooLarge."""


class _Text(msgspec.Struct):
    text: str


_decode = msgspec.json.Decoder(_Text).decode


async def _image(request: Request, body: bytes) -> bytes:
    kind = _kind(request)
    if kind == "multipart/form-data":
        return await _file(request, body)
    if not kind.startswith("image/") and kind not in RAW:
        raise WrongType(f"`{kind[:40]}` is no image; send one as the body, or as a file of a multipart form")
    return body


async def _text(request: Request, body: bytes) -> bytes:
    kind = _kind(request)
    if kind == "application/json":
        try:
            return _decode(body).text.encode()
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Malformed(f'the body is not {{"text": "…"}}: {error}') from error
    if kind != "text/plain" and kind not in RAW:
        raise WrongType(f'`{kind[:40]}` is no text; send it as text/plain, or {{"text": "…"}} as application/json')
    charset = request.headers.get("content-type", "").lower().partition("charset=")[2].partition(";")[0].strip('" ')
    if charset not in UTF8:
        raise WrongType(f"the charset `{charset[:40]}` is not UTF-8")
    return body


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _file(request: Request, body: bytes) -> bytes:
    """The one file of a form, whatever its field is called."""

    async def stream() -> Any:
        yield body

    try:
        parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=8)
        parser.spool_max_size = len(body) + 1  # never a temporary file: photos stay in memory, and there may be no disk
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, ValueError) as error:
        raise Malformed(f"the form cannot be read: {error}") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    try:
        if len(files) != 1:
            raise Malformed(f"the form has {len(files)} files, not one")
        return await files[0].read()
    finally:
        await form.close()


def _not_too_many_pixels(encoded: bytes, config: ServeConfig) -> None:
    """By the file's header, before anything is decoded; what is no image is explained by decoding it."""
    most = config.max_megapixels * 10**6
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            pixels = image.width * image.height
    except BROKEN:
        return
    except Image.DecompressionBombError as error:
        raise TooLarge(str(error)) from error
    if pixels > most:
        raise TooLarge(f"the image has {pixels:,} pixels, more than {most:,}")


READ: dict[SampleKind, Read] = {"image": _image, "text": _text}

CHECK: dict[SampleKind, Check] = {"image": _not_too_many_pixels, "text": lambda encoded, config: None}
"""A text is bounded by its body, and by the tokeniser's own limit."""
