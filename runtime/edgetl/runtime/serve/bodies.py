"""Request bodies: read up to a limit, unpacked up to the same limit, and never more of them at a time than allowed."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from edgetl.runtime.serve.refusals import Busy, Malformed, TooLarge, WrongType

WINDOWS = {"gzip": 31, "deflate": 15}
"""zlib's `wbits` for the content encodings that the Open Inference Protocol's clients use."""


class Bodies:
    """Holds the bodies of all requests in progress. `limit` bounds each, `total` their sum, in bytes."""

    def __init__(self, limit: int, total: int) -> None:
        self._limit, self._total, self._held = limit, total, 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The unpacked body, counted as held until the block ends.

        Raises TooLarge, Busy, Malformed, or WrongType for another content encoding; ClientDisconnect when the client
        is gone.
        """
        self._refuse_by_length(request)
        chunks, taken = [], 0
        try:
            async for chunk in request.stream():
                taken += len(chunk)
                self._hold(len(chunk))
                if taken > self._limit:
                    raise self._too_large()
                chunks.append(chunk)
            body = b"".join(chunks)
            chunks.clear()
            if encoding := request.headers.get("content-encoding", "").strip().lower():
                body = await asyncio.to_thread(self._unpacked, body, encoding)
                packed, taken = taken, len(body)
                self._hold(taken - packed)
            yield body
        finally:
            self._held -= taken

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > self._total:
            raise Busy("too many large bodies at a time")

    def _refuse_by_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._limit:
            raise self._too_large()

    def _unpacked(self, body: bytes, encoding: str) -> bytes:
        if encoding == "identity":
            return body
        if encoding not in WINDOWS:
            raise WrongType(f"content encoding `{encoding[:40]}` is not one of {', '.join(WINDOWS)}")
        unpacker = zlib.decompressobj(WINDOWS[encoding])
        try:
            content = unpacker.decompress(body, self._limit + 1)
        except zlib.error as error:
            raise Malformed(f"the body is not {encoding}: {error}") from error
        if len(content) > self._limit:
            raise self._too_large()
        if not unpacker.eof:
            raise Malformed(f"the {encoding} body is cut off")
        return content

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit / 2**20:g} MiB")
