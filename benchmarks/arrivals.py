"""An open loop: requests are sent when they are due, however late the answers to earlier ones are.

Poisson arrivals; each request goes out on an idle connection or on a new one. What is due while every connection that
may be open waits for an answer is not sent but counted, so a server cannot slow its own load down unseen.
Reference: Schroeder et al., "Open Versus Closed: A Cautionary Tale", NSDI 2006.
"""

import asyncio
import random
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import uvloop
from benchmarks.asks import Ask

from edgetl.types import Array

CONNECTIONS = 400
LAST_ANSWERS_S = 10.0
NO_ANSWER = 0
"""The status of a request whose connection broke, or that was not answered in time."""


class Open(NamedTuple):
    """One value for each request that was sent, in the order of the answers.

    `due_s` counts from the start; `late_ms`: from due until sent, what the client itself was late; `answered_ms`: from
    sent until its whole answer; `as_promised`: the answer is one that a client can rely on. `unsent` requests were due
    without a connection free.
    """

    due_s: Array
    late_ms: Array
    answered_ms: Array
    status: Array
    as_promised: Array
    unsent: int

    @property
    def errors(self) -> int:
        """What is not a right answer with status 200."""
        return int(((self.status != 200) | (self.as_promised == 0)).sum()) + self.unsent


def open_loop(
    port: int,
    ask: Ask,
    per_second: float,
    seconds: float,
    tick: Callable[[float], None] = lambda at: None,
    connections: int = CONNECTIONS,
) -> Open:
    """Sends `ask` at a mean rate for `seconds`; `tick` is called about once a second with the time since the start.

    As promised: a 200 has a right body, a refusal has `Retry-After`.
    """
    return uvloop.run(_Arrivals(port, ask, connections).run(per_second, seconds, tick))


class _Connection(asyncio.Protocol):
    """One request at a time, and just enough HTTP/1.1 to read an answer with a Content-Length."""

    def __init__(self, arrivals: "_Arrivals") -> None:
        self._arrivals = arrivals
        self._received = bytearray()
        self._busy: tuple[float, float] | None = None
        self._unsent = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(0)  # so that pause_writing says whether all was sent
        self.transport = transport

    def ask(self, due_s: float, sent_s: float) -> None:
        self._busy = due_s, sent_s
        self.transport.write(self._arrivals.request)

    def pause_writing(self) -> None:
        self._unsent = True

    def resume_writing(self) -> None:
        self._unsent = False
        self._rest()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        length = int(head.partition(b"\ncontent-length:")[2].partition(b"\r")[0])
        if len(self._received) < end + 4 + length:
            return
        body = bytes(self._received[end + 4 : end + 4 + length])
        del self._received[: end + 4 + length]
        self._answered(int(head[9:12]), head, body)
        if b"connection: close" in head:
            self.transport.close()
        else:
            self._rest()

    def _answered(self, status: int, head: bytes, body: bytes) -> None:
        if self._busy is None:
            raise RuntimeError(f"an answer to no request: {head!r}")
        busy, self._busy = self._busy, None
        promised = self._arrivals.right(body) if status == 200 else b"retry-after:" in head
        self._arrivals.note(*busy, status, promised)

    def _rest(self) -> None:
        if self._busy is None and not self._unsent and not self.transport.is_closing():
            self._arrivals.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrivals.lost(self)
        if self._busy is not None:
            self._arrivals.note(*self._busy, NO_ANSWER, False)


class _Arrivals:
    def __init__(self, port: int, ask: Ask, connections: int) -> None:
        self.request = ask.encoded()
        self.idle: deque[_Connection] = deque()
        self._rows = array("d")  # not objects: a million of them would make the collector stop the client
        self._port, self._connections, self._open, self._waiting, self._unsent = port, connections, 0, 0, 0
        self._right, self._known = ask.right, b""
        self._mistakes: list[dict[str, Any]] = []

    def right(self, body: bytes) -> bool:
        """Most answers are byte for byte the one before; only others are looked into."""
        if body == self._known:
            return True
        if self._right(body):
            self._known = body
            return True
        return False

    def note(self, due_s: float, sent_s: float, status: int, as_promised: bool) -> None:
        self._waiting -= 1
        self._rows.extend((due_s, 1000 * (sent_s - due_s), 1000 * (self._now() - sent_s), status, as_promised))

    def lost(self, connection: _Connection) -> None:
        self._open -= 1
        if connection in self.idle:
            self.idle.remove(connection)

    async def run(self, per_second: float, seconds: float, tick: Callable[[float], None]) -> Open:
        # a mistake of the client's own must end it, not be one more line of a log
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self._mistakes.append(context))
        self._began = time.perf_counter()
        draw = random.Random(0)
        due, ticked, connecting = 0.0, 0.0, set[asyncio.Task[None]]()
        while due < seconds and not self._mistakes:
            now = self._now()
            while due <= now and due < seconds:
                task = self._send(due)
                if task is not None:
                    connecting.add(task)
                    task.add_done_callback(connecting.discard)
                due += draw.expovariate(per_second)
            if now >= ticked + 1:
                tick(now)
                ticked = now
            await asyncio.sleep(max(0.0, min(due, seconds) - self._now()))
        until = self._now() + LAST_ANSWERS_S
        while self._waiting and self._now() < until:
            await asyncio.sleep(0.01)
        if self._mistakes:
            raise RuntimeError(self._mistakes[0]["message"]) from self._mistakes[0].get("exception")
        self._rows.extend((seconds, 0.0, 1000 * LAST_ANSWERS_S, NO_ANSWER, False) * self._waiting)
        due_s, late_ms, answered_ms, status, as_promised = np.frombuffer(self._rows).reshape(-1, 5).T
        return Open(due_s, late_ms, answered_ms, status, as_promised, self._unsent)

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _send(self, due_s: float) -> asyncio.Task[None] | None:
        """On an idle connection; with a task on a new one; not at all when too many are open."""
        if self.idle:
            self._waiting += 1
            self.idle.pop().ask(due_s, self._now())
            return None
        if self._open >= self._connections:
            self._unsent += 1
            return None
        self._waiting += 1
        self._open += 1
        return asyncio.create_task(self._connect(due_s))

    async def _connect(self, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        sent_s = self._now()
        try:
            _, made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        except OSError:
            self._open -= 1
            self.note(due_s, sent_s, NO_ANSWER, False)
            return
        made.ask(due_s, sent_s)
