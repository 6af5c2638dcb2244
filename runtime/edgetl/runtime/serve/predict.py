"""`POST /predict`: an image, as the body or as a form's file, becomes labels; and `GET /models`, what may answer."""

import asyncio
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgetl.errors import DataError
from edgetl.machine import detect
from edgetl.runtime.serve.bodies import Bodies
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.metrics import Metrics
from edgetl.runtime.serve.models import Models, Served, view
from edgetl.runtime.serve.refusals import Busy, Malformed, TooLarge, Unprocessable, WrongType
from edgetl.runtime.serve.rest import json_response
from edgetl.tasks.images import BROKEN, FORMATS
from edgetl.types import Feeds

RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Types under which clients send bytes without saying what they are; `curl --data-binary` says a form."""


class Decoders:
    """The pool that decodes and resizes; no more images wait for it than for an engine."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(detect().cores, thread_name_prefix="decode")
        self._queue, self._timeout_s = config.queue, config.timeout_s
        self._max_pixels = config.max_megapixels * 10**6
        self._metrics, self._waiting = metrics, 0

    def refuse_when_full(self) -> None:
        if self._waiting >= self._queue:
            raise Busy(f"{self._waiting} images wait to be decoded")

    async def preprocess(self, served: Served, encoded: bytes) -> tuple[Feeds, float]:
        """The input, and the seconds it took. Raises Unprocessable, TooLarge or, when it takes too long, Busy."""
        self.refuse_when_full()
        work = self._pool.submit(self._preprocess, served, encoded)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        try:
            feeds, seconds = await asyncio.wait_for(asyncio.wrap_future(work), self._timeout_s)
        except asyncio.TimeoutError:  # another class before Python 3.11
            raise Busy(f"not decoded within {self._timeout_s:g} s") from None
        self._metrics.preprocessed(served.model, seconds)
        return feeds, seconds

    def _done(self) -> None:
        self._waiting -= 1

    def _preprocess(self, served: Served, encoded: bytes) -> tuple[Feeds, float]:
        began = time.perf_counter()
        if (pixels := _pixels(encoded)) > self._max_pixels:
            raise TooLarge(f"the image has {pixels:,} pixels, more than {self._max_pixels:,}")
        try:
            feeds = served.session.task.preprocess([encoded])
        except DataError as error:
            raise Unprocessable(error.message) from error
        return feeds, time.perf_counter() - began

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _pixels(encoded: bytes) -> int:
    """What the file's header says, before anything is decoded; 0 for what is no image, which decoding explains."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            return image.width * image.height
    except BROKEN:
        return 0
    except Image.DecompressionBombError as error:
        raise TooLarge(str(error)) from error


def routes(models: Models, bodies: Bodies, decoders: Decoders) -> list[Route]:
    """The endpoints for images."""

    async def predict(request: Request) -> Response:
        began = time.perf_counter()
        served = await models.served(_model(request, models), request.query_params.get("variant", ""))
        top = _top(request.query_params.get("top", "5"))
        served.refuse_when_full()
        decoders.refuse_when_full()
        async with bodies.read(request) as body:
            whole = time.perf_counter()
            encoded = await _image(request, body)
            feeds, preprocessing_s = await decoders.preprocess(served, encoded)
        answer = await served.infer(feeds, spent_s=time.perf_counter() - whole)
        found = served.session.task.postprocess(answer.outputs, top=top)[0]
        steps = {
            "preprocessing": preprocessing_s,
            "queue": answer.queued_s,
            "inference": answer.inference_s,
            "total": time.perf_counter() - began,
        }
        return json_response(
            {
                "model": served.model,
                "variant": served.name,
                "top": found.top,
                "milliseconds": {name: round(1000 * seconds, 3) for name, seconds in steps.items()},
                "batch": answer.batch,
            }
        )

    async def listing(request: Request) -> Response:
        found: list[dict[str, Any]] = [
            {"name": model.name, "labels": model.bundle.manifest.task.labels, "variants": view(model)}
            for model in models.by_name.values()
        ]
        return json_response({"models": found})

    return [Route("/predict", predict, methods=["POST"]), Route("/models", listing)]


def _model(request: Request, models: Models) -> str:
    """The model of `?model=`, or the only one there is."""
    name = request.query_params.get("model", "")
    if name or len(models.by_name) == 1:
        return name or next(iter(models.by_name))
    raise Malformed(f"name one with `?model=`: {', '.join(f'`{each}`' for each in models.by_name)}")


def _top(text: str) -> int:
    if re.fullmatch("[0-9]{1,4}", text) is None or not 1 <= int(text) <= 1000:
        raise Malformed(f"`top` cannot be `{text[:40]}`; it is a number from 1 to 1000")
    return int(text)


async def _image(request: Request, body: bytes) -> bytes:
    """The encoded image in a body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _file(request, body)
    if not kind.startswith("image/") and kind not in RAW:
        raise WrongType(f"`{kind[:40]}` is no image; send one as the body, or as a file of a multipart form")
    return body


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
