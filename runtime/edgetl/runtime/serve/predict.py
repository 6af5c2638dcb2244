"""`POST /predict`: an image or a text becomes labels, or an image objects; and `GET /models`, what may answer."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgetl.errors import DataError
from edgetl.machine import detect
from edgetl.runtime.serve.bodies import Bodies
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.metrics import Metrics
from edgetl.runtime.serve.models import Models, Served, view
from edgetl.runtime.serve.reading import CHECK, READ
from edgetl.runtime.serve.refusals import Busy, Malformed, Unprocessable
from edgetl.runtime.serve.rest import json_response
from edgetl.tasks import Classification, Detections, Prediction, Task
from edgetl.tasks.preparation import Prepared, Wishes

GRANTED: dict[type[Prediction], str] = {Classification: "top", Detections: "threshold"}
"""Which wish goes with which kind of answer."""


class Preparers:
    """The pool that decodes, resizes and tokenises; no more samples wait for it than for an engine."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(detect().cores, thread_name_prefix="prepare")
        self._config, self._metrics, self._waiting = config, metrics, 0

    def refuse_when_full(self) -> None:
        if self._waiting >= self._config.queue:
            raise Busy(f"{self._waiting} samples wait to be prepared")

    async def prepare(self, served: Served, encoded: bytes) -> tuple[Prepared, float]:
        """The input, and the seconds it took. Raises Unprocessable, TooLarge or, when it takes too long, Busy."""
        self.refuse_when_full()
        work = self._pool.submit(self._prepare, served, encoded)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        timeout_s = self._config.timeout_s
        try:
            prepared, seconds = await asyncio.wait_for(asyncio.wrap_future(work), timeout_s)
        except asyncio.TimeoutError:  # another class before Python 3.11
            raise Busy(f"not prepared within {timeout_s:g} s") from None
        self._metrics.preprocessed(served.model, seconds)
        return prepared, seconds

    def _done(self) -> None:
        self._waiting -= 1

    def _prepare(self, served: Served, encoded: bytes) -> tuple[Prepared, float]:
        began = time.perf_counter()
        session = served.session
        CHECK[session.task.takes](encoded, self._config)
        try:
            prepared = session.bundle.preparation([encoded])
        except DataError as error:
            raise Unprocessable(error.message) from error
        return prepared, time.perf_counter() - began

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def routes(models: Models, bodies: Bodies, preparers: Preparers) -> list[Route]:
    """The endpoints for images and texts."""

    async def predict(request: Request) -> Response:
        began = time.perf_counter()
        served = await models.served(_model(request, models), request.query_params.get("variant", ""))
        task = served.session.task
        wishes = _wishes(request, task)
        served.refuse_when_full()
        preparers.refuse_when_full()
        async with bodies.read(request) as body:
            whole = time.perf_counter()
            encoded = await READ[task.takes](request, body)
            prepared, preprocessing_s = await preparers.prepare(served, encoded)
        answer = await served.infer(prepared.feeds, spent_s=time.perf_counter() - whole)
        found = task.answers(answer.outputs, prepared.sizes, wishes)[0]
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
                **msgspec.structs.asdict(found),
                "milliseconds": {name: round(1000 * seconds, 3) for name, seconds in steps.items()},
                "batch": answer.batch,
            }
        )

    async def listing(request: Request) -> Response:
        found = [
            _listed(model.name, model.bundle.manifest.task) | {"variants": view(model)}
            for model in models.by_name.values()
        ]
        return json_response({"models": found})

    return [Route("/predict", predict, methods=["POST"]), Route("/models", listing)]


def _listed(name: str, task: Task) -> dict[str, Any]:
    """What a client must know of a model; `answers` is the field of `POST /predict` that has the answer."""
    (answers,) = task.answer.__struct_fields__
    return {"name": name, "labels": task.labels, "takes": task.takes, "answers": answers}


def _model(request: Request, models: Models) -> str:
    """The model of `?model=`, or the only one there is."""
    name = request.query_params.get("model", "")
    if name or len(models.by_name) == 1:
        return name or next(iter(models.by_name))
    raise Malformed(f"name one with `?model=`: {', '.join(f'`{each}`' for each in models.by_name)}")


def _wishes(request: Request, task: Task) -> Wishes:
    """What the query asks of the answer; what this kind of answer does not have is refused."""
    granted = GRANTED[task.answer]
    for name in set(GRANTED.values()) - {granted}:
        if name in request.query_params:
            raise Malformed(f"this model has no `{name}`; it takes `{granted}`")
    return Wishes(
        top=_top(request.query_params.get("top", "5")), threshold=_threshold(request.query_params.get("threshold"))
    )


def _top(text: str) -> int:
    if re.fullmatch("[0-9]{1,4}", text) is None or not 1 <= int(text) <= 1000:
        raise Malformed(f"`top` cannot be `{text[:40]}`; it is a number from 1 to 1000")
    return int(text)


def _threshold(text: str | None) -> float | None:
    if text is None:
        return None
    if re.fullmatch(r"([0-9]|[0-9]?\.[0-9]{1,20})([eE]-?[0-9]{1,3})?", text) is None or not 0 <= float(text) <= 1:
        raise Malformed(f"`threshold` cannot be `{text[:40]}`; it is a score from 0 to 1")
    return float(text)
