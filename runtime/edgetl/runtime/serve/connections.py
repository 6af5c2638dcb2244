"""uvicorn's HTTP connection, with an end to clients that send or read too slowly, send too much, or are too many."""

import asyncio
from collections import deque

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from edgetl.runtime.serve.rest import json_response

MAX_HEADER_BYTES = 2**16
"""Bounds a request's headers, and whatever else is sent that is no body: trailers, sizes of chunks."""

MAX_UNREAD_BYTES = 2**20
"""So much of a body is taken and dropped after its request was refused, so that the client reads the refusal."""

PIECE_BYTES = 2**18
"""So much of a body of known length is collected before the application sees it, or all of a smaller one."""

SURPLUS = 2
"""Beyond so many times the most connections, one more is closed without a word."""

MAX_PIPELINED = 128
"""So many requests may wait behind one that is being answered; each takes a hundred times its bytes in memory."""

NO_HTTP = 400, "this is no HTTP/1.1 request"
TOO_LONG = 431, "the headers are too long"
TOO_LATE = 408, "the request did not arrive in time"


def guarded(read_timeout_s: float, max_connections: int, crowded: ASGIApp) -> type[HttpToolsProtocol]:
    """The protocol class for connections whose requests are whole, and answers taken, within `read_timeout_s`.

    `crowded` answers on connections beyond `max_connections`, and has them closed.
    """

    class Guarded(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _end: asyncio.TimerHandle | None = None
        _reading_headers = True
        _announced = False
        _unread_bytes = 0
        _other_bytes = 0
        """What came since the last byte of a body."""
        _problem = NO_HTTP

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._owed: deque[RequestResponseCycle] = deque()
            if len(self.connections) > SURPLUS * max_connections:
                transport.abort()
            elif len(self.connections) > max_connections:
                self.app = crowded
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            if self._end is not None:
                self._end.cancel()
            for cycle in self._owed:  # uvicorn tells the newest alone, and earlier ones would answer nobody
                cycle.disconnected = True
                cycle.message_event.set()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._other_bytes += len(data)
            super().data_received(data)
            if self._other_bytes > MAX_HEADER_BYTES:
                self._refuse(*TOO_LONG)
            self._await_another()

        def on_message_begin(self) -> None:
            self._arm()
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._reading_headers:  # a trailer is no header of the request that it follows
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEADER_BYTES:
                self._problem = TOO_LONG
                raise ValueError(TOO_LONG)  # ends the parser, which comes back through `send_400_response`
            if len(self._owed) > MAX_PIPELINED:
                raise ValueError(NO_HTTP)
            self._reading_headers = False
            self._announced = any(name == b"content-length" for name, _ in self.headers)
            super().on_headers_complete()
            self._owed.append(self.cycle)

        def on_body(self, body: bytes) -> None:
            self._other_bytes = 0
            if self.cycle.response_complete:
                self._unread_bytes += len(body)
                if self._unread_bytes > MAX_UNREAD_BYTES:
                    self._hang_up()
                return
            if not self._announced:
                super().on_body(body)
                return
            # unlike uvicorn, the application is not woken for every piece of an image
            self.cycle.body += body
            if len(self.cycle.body) > PIECE_BYTES:
                self.flow.pause_reading()
                self.cycle.message_event.set()

        def on_message_complete(self) -> None:
            self._disarm()
            self._reading_headers, self._other_bytes, self._unread_bytes = True, 0, 0
            super().on_message_complete()

        def on_response_complete(self) -> None:
            self._owed.popleft()
            super().on_response_complete()
            if self.transport.is_closing():
                self._end_soon()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._end_soon()

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._end is not None and not self.transport.is_closing():
                self._end.cancel()
                self._end = None

        def timeout_keep_alive_handler(self) -> None:
            self._hang_up()

        def send_400_response(self, msg: str) -> None:
            self._refuse(*self._problem)

        def _unsupported_upgrade_warning(self) -> None:
            """Clients offer HTTP/2 and take an answer in HTTP/1.1; that is nothing to warn of."""

        def _arm(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(read_timeout_s, self._late)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _late(self) -> None:
            self._deadline = None
            if self.flow.read_paused:  # it is not the client who is slow
                self._arm()
            else:
                self._refuse(*TOO_LATE)

        def _await_another(self) -> None:
            """uvicorn's timer of an idle connection ends with its next byte, which may begin no request."""
            idle = self.cycle is not None and self.cycle.response_complete
            if idle and self._deadline is None and self.timeout_keep_alive_task is None:
                wait = self.timeout_keep_alive
                self.timeout_keep_alive_task = self.loop.call_later(wait, self.timeout_keep_alive_handler)

        def _refuse(self, status: int, message: str) -> None:
            """Answers what is being received, unless an answer was begun, and hangs up."""
            if self.transport.is_closing():
                return
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering and self._reading_headers:  # a whole request before this one, which gets its answer
                self.cycle.keep_alive = False
                self.flow.pause_reading()
                return
            if not self.pipeline and not (answering and self.cycle.response_started):
                response = json_response({"error": message}, status)
                response.headers["connection"] = "close"
                head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
                self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(response.body))
            self._hang_up()

        def _hang_up(self) -> None:
            self.transport.close()
            self._end_soon()

        def _end_soon(self) -> None:
            """What the client has not taken until then is dropped."""
            if self._end is None:
                self._end = self.loop.call_later(read_timeout_s, self.transport.abort)

    return Guarded
