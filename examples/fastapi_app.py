"""A session inside one's own FastAPI application: opened with it, closed with it, never in the way of the event loop.

EDGETL_BUNDLE=bundles/hymenoptera uvicorn --factory examples.fastapi_app:create_app

`edgetl serve` is the ready-made server; this is for an application that has other things to do as well.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from edgetl.errors import DataError
from edgetl.runtime import load

MAX_BYTES = 20 * 2**20
"""A larger image is refused before it is read."""

AT_ONCE = 2
"""So many images are worked on; an engine uses all cores for one already, so more would only share them."""

WAITING = 32
"""So many wait; who comes later is told at once, instead of waiting for an answer that comes too late."""

IMAGE_BODY = {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}


class Label(BaseModel):
    label: str
    probability: float


class Answer(BaseModel):
    """The most probable labels, best first, and which variant of the bundle said so."""

    top: list[Label]
    variant: str


def create_app(bundle: str | Path | None = None, *, max_bytes: int = MAX_BYTES) -> FastAPI:
    """The application; `bundle` is EDGETL_BUNDLE unless given. Nothing is opened before it starts."""
    path = bundle or os.environ["EDGETL_BUNDLE"]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with load(path) as model:
            app.state.model = model
            app.state.limiter = anyio.CapacityLimiter(AT_ONCE)
            yield

    app = FastAPI(title="Image classification", lifespan=lifespan)

    @app.post("/classify", openapi_extra={"requestBody": IMAGE_BODY})
    async def classify(request: Request, top: Annotated[int, Query(ge=1, le=1000)] = 5) -> Answer:
        """The encoded image is the body of the request."""
        state = request.app.state
        if state.limiter.statistics().tasks_waiting >= WAITING:
            raise HTTPException(503, "too many requests are waiting", headers={"Retry-After": "1"})
        image = await read_body(request, max_bytes)
        answer = await run_sync(partial(state.model.predict, image, top=top), limiter=state.limiter)
        labels = [Label(label=each.label, probability=each.probability) for each in answer.top]
        return Answer(top=labels, variant=state.model.variant.id)

    @app.exception_handler(DataError)
    async def bad_image(request: Request, error: DataError) -> JSONResponse:
        return JSONResponse({"detail": error.message, "hint": error.hint}, 422)

    return app


async def read_body(request: Request, limit: int) -> bytes:
    """The body, read no further than `limit` bytes, whatever the client says or sends."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"the image is larger than {limit} bytes")
    return bytes(body)
