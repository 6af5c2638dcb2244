"""Around every call: the token, a message that must come in time, refusals as codes, one metric and one log line."""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import grpc

from edgetl.errors import EdgetlError
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.metrics import Metrics
from edgetl.runtime.serve.refusals import GONE, Busy, Malformed, Refusal, Unauthorized
from edgetl.runtime.serve.rpc.messages import SERVICE
from edgetl.runtime.serve.rpc.service import Method

log = logging.getLogger("edgetl.serve")

OPEN = ("ServerLive", "ServerReady")
"""What needs no token: the probes of an orchestrator."""

CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""HTTP status → code; everything else that is refused is an INVALID_ARGUMENT, which no repetition makes valid."""

MAX_DETAILS = 1000
"""Characters of a reason; it travels in a header, and clients bound those."""


class Late(Refusal):
    status = 408


class Calls:
    """Answers calls with `methods`; HTTP statuses stay the common tongue of refusals and metrics."""

    def __init__(
        self, methods: Mapping[str, Method], config: ServeConfig, metrics: Metrics, draining: Callable[[], bool]
    ) -> None:
        self._methods, self._config, self._metrics, self._draining = methods, config, metrics, draining
        self._wanted = f"Bearer {config.token}".encode() if config.token else None

    def handlers(self) -> Any:
        """What a gRPC server is given. Bytes in and out: reading a message can be refused and timed here.

        A stream of one message is on the wire what a single message is, but it is read when it is asked for.
        """
        made = {name: grpc.stream_unary_rpc_method_handler(self._handler(name)) for name in self._methods}
        return grpc.method_handlers_generic_handler(SERVICE, made)

    def _handler(self, name: str) -> Any:
        async def call(messages: object, context: Any) -> bytes:
            began = time.perf_counter()
            status = GONE
            try:
                answer = await self._answer(name, context)
                status = 200
                return answer
            except Refusal as error:
                status = error.status
                await refuse(context, status, error.message)
            except EdgetlError as error:
                status = 500
                log.error("a request failed", extra={"facts": {"error": str(error), "path": name}})
                await refuse(context, status, error.message)
            except Exception:  # a bug: told as REST does, and in the log
                status = 500
                log.exception("a request failed", extra={"facts": {"path": name}})
                await refuse(context, status, "internal server error")
            finally:
                self._note(name, context, status, time.perf_counter() - began)

        return call

    async def _answer(self, name: str, context: Any) -> bytes:
        if name not in OPEN:
            self._refuse_strangers(context)
            if self._draining():
                raise Busy("the server is shutting down")
        response = await self._methods[name](await self._message(context))
        return bytes(response.SerializeToString())

    async def _message(self, context: Any) -> bytes:
        try:
            message = await asyncio.wait_for(context.read(), self._config.read_timeout_s)
        except asyncio.TimeoutError as error:
            raise Late("the request did not arrive in time") from error
        if message is grpc.aio.EOF:  # too large a one as well, which gRPC has answered by now
            raise Malformed("the call has no message")
        return bytes(message)

    def _refuse_strangers(self, context: Any) -> None:
        if self._wanted is None:
            return
        given = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(given.encode() if isinstance(given, str) else given, self._wanted):
            raise Unauthorized("this server wants a token: metadata `authorization: Bearer …`")

    def _note(self, name: str, context: Any, status: int, seconds: float) -> None:
        path = f"/{SERVICE}/{name}"
        self._metrics.request(path, status, seconds)
        if self._config.access_log:
            facts: dict[str, Any] = {"method": "gRPC", "path": path, "status": status}
            facts |= {"milliseconds": round(1000 * seconds, 3), "client": context.peer()}
            log.info("request", extra={"facts": facts})


async def refuse(context: Any, status: int, reason: str) -> NoReturn:
    await context.abort(CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), reason[:MAX_DETAILS])
    raise AssertionError("`abort` always raises")
