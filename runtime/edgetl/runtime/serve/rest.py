"""The Open Inference Protocol v2 over REST: health, metadata, index, inference with JSON or binary tensors."""

import asyncio
import gc
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgetl.runtime.serve.bodies import Bodies
from edgetl.runtime.serve.inference import (
    Tensor,
    Wanted,
    datatype,
    feeds,
    length_prefixed,
    parameter,
    results,
)
from edgetl.runtime.serve.models import Models
from edgetl.runtime.serve.refusals import Busy, Malformed, Refusal
from edgetl.runtime.session import Session
from edgetl.types import Array

HEADER_LENGTH = "inference-header-content-length"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")
LARGE = 2**16
"""A JSON text from this many bytes on is parsed outside the event loop."""


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


_decode = msgspec.json.Decoder(_Request).decode


def json_response(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def routes(models: Models, bodies: Bodies, draining: Callable[[], bool]) -> list[Route]:
    """The protocol's endpoints; a model's version is the id of a variant. No server is ready while it is `draining`."""

    # one at a time: a list of numbers takes many times its text in memory
    reader = ThreadPoolExecutor(1, thread_name_prefix="json")

    async def infer(request: Request) -> Response:
        served = await models.served(request.path_params["model"], request.path_params.get("version", ""))
        served.refuse_when_full()
        async with bodies.read(request) as body:
            text, binary = _parts(body, request.headers.get(HEADER_LENGTH))
            large = len(text) >= LARGE
            reading = partial(_read_large if large else _read, text, binary, served.session)
            asked, tensors = await asyncio.get_running_loop().run_in_executor(reader, reading) if large else reading()
            answer = await served.infer(tensors)
        found = results(answer.outputs, [_wanted(each) for each in asked.outputs], served.session.task.labels)
        head = {"model_name": served.model, "model_version": served.name}
        return _response(head | ({"id": asked.id} if asked.id else {}), found, asked)

    async def live(request: Request) -> Response:
        return Response()

    async def ready(request: Request) -> Response:
        if draining():
            raise Busy("the server is shutting down")
        return Response()

    async def server(request: Request) -> Response:
        return json_response({"name": "edgetl", "version": version("edgetl"), "extensions": EXTENSIONS})

    async def metadata(request: Request) -> Response:
        model, _ = models.checked(request.path_params["model"], request.path_params.get("version", ""))
        return json_response(model.metadata())

    async def model_ready(request: Request) -> Response:
        model, variant = models.checked(request.path_params["model"], request.path_params.get("version", ""))
        if variant in model.problems:
            raise Busy(model.problems[variant])
        return Response()

    async def index(request: Request) -> Response:
        return json_response(models.index())

    model = "/v2/models/{model}"
    both = (model, model + "/versions/{version}")
    return [
        *(Route(path + "/infer", infer, methods=["POST"]) for path in both),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2", server),
        Route("/v2/repository/index", index, methods=["POST"]),
        *(Route(path + "/ready", model_ready) for path in both),
        *(Route(path, metadata) for path in both),
    ]


def _parts(body: bytes, header_length: str | None) -> tuple[memoryview, memoryview]:
    """The JSON text and the binary tensor data behind it."""
    if header_length is None:
        return memoryview(body), memoryview(b"")
    if re.fullmatch("[0-9]{1,9}", header_length) is None or int(header_length) > len(body):
        raise Malformed(f"Inference-Header-Content-Length cannot be `{header_length[:40]}` for {len(body)} bytes")
    length = int(header_length)
    return memoryview(body)[:length], memoryview(body)[length:]


def _read(text: memoryview, binary: memoryview, session: Session) -> tuple[_Request, dict[str, Array]]:
    """The request and the model's inputs."""
    asked = _parse(text)
    # lists of numbers take many times their text in memory: nothing may hold them until the answer, no traceback either
    try:
        return asked, feeds(_tensors(asked, binary), session.bundle.manifest.inputs, session.task.longest)
    except Refusal as refusal:
        raise refusal.with_traceback(None) from None
    finally:
        asked.inputs.clear()


def _read_large(text: memoryview, binary: memoryview, session: Session) -> tuple[_Request, dict[str, Array]]:
    """The garbage collector would look at millions of lists again and again, and JSON makes no garbage of its kind."""
    gc.disable()
    try:
        return _read(text, binary, session)
    finally:
        gc.enable()


def _parse(text: memoryview) -> _Request:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the request is not as the protocol says: {error}") from error


def _tensors(asked: _Request, binary: memoryview) -> list[Tensor]:
    """The inputs; those without `data` take their bytes, in order, from what follows the JSON."""
    found, at = [], 0
    for each in asked.inputs:
        data = each.data
        if "binary_data_size" in each.parameters:
            size = parameter(each.parameters, "binary_data_size", int, 0)
            if data is not None or not 0 <= size <= len(binary) - at:
                raise Malformed(f"`{each.name[:100]}` cannot have {size} bytes of binary data")
            data, at = binary[at : at + size], at + size
        found.append(Tensor(name=each.name, shape=each.shape, datatype=each.datatype, data=data))
    if at != len(binary):
        raise Malformed(f"{len(binary) - at} bytes of binary data belong to no input")
    return found


def _wanted(output: _Output) -> Wanted:
    """A client that waits for shared memory to be filled would read what is in it already."""
    if "shared_memory_region" in output.parameters:
        raise Malformed("shared memory is not served; ask for the output without it")
    return Wanted(name=output.name, classes=parameter(output.parameters, "classification", int, 0))


def _response(head: dict[str, Any], found: Sequence[tuple[str, Array]], asked: _Request) -> Response:
    """JSON, followed by the elements of those outputs that are wanted as binary data."""
    binary = parameter(asked.parameters, "binary_data_output", bool, False)
    choices = {each.name: parameter(each.parameters, "binary_data", bool, binary) for each in asked.outputs}
    outputs, tail = [], []
    for name, array in found:
        entry: dict[str, Any] = {"name": name, "datatype": datatype(array), "shape": array.shape}
        if choices.get(name, binary):
            tail.append(length_prefixed(array) if array.dtype == object else np.ascontiguousarray(array).tobytes())
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = (
                [each.decode() for each in array.ravel()] if array.dtype == object else array.ravel().tolist()
            )
        outputs.append(entry)
    text = msgspec.json.encode({**head, "outputs": outputs})
    if not tail:
        return Response(text, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(text))}
    return Response(b"".join([text, *tail]), headers=headers, media_type="application/octet-stream")
