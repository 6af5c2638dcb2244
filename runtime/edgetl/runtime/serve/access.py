"""Around every request: the token, refusals as JSON, one metric and, where asked for, one log line."""

import hmac
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgetl.errors import EdgetlError
from edgetl.runtime.serve.metrics import Metrics
from edgetl.runtime.serve.refusals import RETRY_AFTER_S, Busy, Refusal, Unauthorized
from edgetl.runtime.serve.rest import json_response

log = logging.getLogger("edgetl.serve")

OPEN = ("/", "/v2/health/live", "/v2/health/ready")
"""What needs no token: the page, which holds no data, and the probes of an orchestrator."""

HEADERS = [(b"x-content-type-options", b"nosniff")]


class Access:
    """The outermost ASGI application. `draining` closes each connection after its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, token: str | None, *, every_request: bool) -> None:
        self._app, self._metrics, self._every_request = app, metrics, every_request
        self._wanted = f"Bearer {token}".encode() if token else None
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [(b"connection", b"close")] if self.draining or _waits(scope, status) else []
                message["headers"] = [*message.get("headers", ()), *HEADERS, *closing]
            await send(message)

        try:
            if problem := self._unauthorized(scope):
                await refused(problem)(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    async def crowded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request on a connection beyond the most that are allowed, and closes it."""
        began = time.perf_counter()
        response = refused(Busy("too many connections"))
        response.headers["connection"] = "close"
        await response(scope, receive, send)
        self._note(scope, response.status_code, time.perf_counter() - began)

    def _unauthorized(self, scope: Scope) -> Unauthorized | None:
        if self._wanted is None or scope["path"] in OPEN:
            return None
        given = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(given, self._wanted):
            return None
        return Unauthorized("this server wants a token: `Authorization: Bearer …`")

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._metrics.request(route, status, seconds)
        if self._every_request:
            facts: dict[str, Any] = {"method": scope["method"], "path": scope["path"], "status": status}
            client = scope.get("client")
            facts |= {"milliseconds": round(1000 * seconds, 3), "client": client[0] if client else None}
            log.info("request", extra={"facts": facts})


def _waits(scope: Scope, status: int) -> bool:
    """A refused client that waits to be told to send its body may send another request instead; nobody could tell."""
    return status >= 400 and any(name == b"expect" for name, _ in scope["headers"])


def refused(refusal: Refusal) -> Response:
    """A refusal as its status and a JSON object."""
    headers = {"retry-after": str(RETRY_AFTER_S)} if isinstance(refusal, Busy) else {}
    if isinstance(refusal, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return error_response(refusal.message, refusal.status, headers)


def failed(path: str, error: EdgetlError) -> Response:
    """An engine's failure, which the log tells too; the client's tensors were checked before."""
    log.error("a request failed", extra={"facts": {"error": str(error), "path": path}})
    return error_response(error.message, 500)


def error_response(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The protocol's `{"error": …}`."""
    response = json_response({"error": message}, status)
    response.headers.update(headers or {})
    return response
