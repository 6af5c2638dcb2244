"""What each method of the protocol answers."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from typing import Any

from google.protobuf.message import DecodeError

from edgetl.runtime.serve.inference import feeds, results
from edgetl.runtime.serve.models import Models
from edgetl.runtime.serve.refusals import Malformed, NotFound
from edgetl.runtime.serve.rpc.messages import message_classes
from edgetl.runtime.serve.rpc.tensors import add_outputs, tensors, wanted
from edgetl.runtime.session import Session
from edgetl.types import Array

EXTENSIONS = ("classification", "model_repository")
LARGE = 2**20
"""A message from this many bytes on is read outside the event loop, and so is one that spells out its numbers."""

MAX_NAME = 256
"""Longer than any file name, hence than the name of any model; a longer one would only be slow to compare."""

Method = Callable[[bytes], Awaitable[Any]]


def methods(models: Models, draining: Callable[[], bool]) -> dict[str, Method]:
    """Method → from the bytes of its request to its response. They raise refusals and EdgetlError."""
    classes = message_classes()
    # one at a time: many small fields take many times their bytes in memory
    reader = ThreadPoolExecutor(1, thread_name_prefix="messages")

    async def live(raw: bytes) -> Any:
        return classes["ServerLiveResponse"](live=True)

    async def ready(raw: bytes) -> Any:
        return classes["ServerReadyResponse"](ready=not draining())

    async def server(raw: bytes) -> Any:
        return classes["ServerMetadataResponse"](name="edgetl", version=version("edgetl"), extensions=EXTENSIONS)

    async def model_ready(raw: bytes) -> Any:
        asked = await read("ModelReadyRequest", raw)
        try:
            model, variant = models.checked(asked.name[:MAX_NAME], asked.version[:MAX_NAME])
        except NotFound:
            return classes["ModelReadyResponse"](ready=False)
        return classes["ModelReadyResponse"](ready=variant not in model.problems)

    async def metadata(raw: bytes) -> Any:
        asked = await read("ModelMetadataRequest", raw)
        model, _ = models.checked(asked.name[:MAX_NAME], asked.version[:MAX_NAME])
        return classes["ModelMetadataResponse"](**model.metadata())

    async def index(raw: bytes) -> Any:
        asked = await read("RepositoryIndexRequest", raw)
        found = classes["RepositoryIndexResponse"]()
        for row in models.index():
            if row["state"] == "READY" or not asked.ready:
                found.models.add(**row)
        return found

    async def infer(raw: bytes) -> Any:
        asked = await read("ModelInferRequest", raw)
        served = await models.served(asked.model_name[:MAX_NAME], asked.model_version[:MAX_NAME])
        served.refuse_when_full()
        reading = partial(_read, asked, served.session)
        given = reading() if asked.raw_input_contents else await apart(reading)
        asks = wanted(asked)
        answer = await served.infer(given)
        response = classes["ModelInferResponse"](model_name=served.model, model_version=served.name, id=asked.id)
        add_outputs(response, results(answer.outputs, asks, served.session.task.labels))
        return response

    async def read(name: str, raw: bytes) -> Any:
        """The request's message. Raises Malformed."""
        parse = classes[name].FromString
        try:
            return parse(raw) if len(raw) < LARGE else await apart(lambda: parse(raw))
        except DecodeError as error:
            raise Malformed(f"the request is no `{name}`: {error}") from error

    async def apart(work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(reader, work)

    return {
        "ServerLive": live,
        "ServerReady": ready,
        "ServerMetadata": server,
        "ModelReady": model_ready,
        "ModelMetadata": metadata,
        "ModelInfer": infer,
        "RepositoryIndex": index,
    }


def _read(asked: Any, session: Session) -> dict[str, Array]:
    """The model's inputs."""
    return feeds(tensors(asked), session.bundle.manifest.inputs, session.task.longest)
