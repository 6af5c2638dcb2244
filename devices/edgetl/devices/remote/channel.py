"""A running `edgetl remote-end` behind `ssh`: requests go in, replies come out, nothing is waited for without end."""

import collections
import os
import select
import subprocess
import threading
import time
from typing import TypeVar

import msgspec

from edgetl.devices.remote.protocol import GREETING, MAX_BODY_BYTES, Refused, Reply, Request, packed, unpacked
from edgetl.devices.remote.refusals import LinkLost, refusal
from edgetl.errors import DependencyError

R = TypeVar("R")

NOISE_BYTES = 2**16
"""What a login shell may print before edgetl's end greets."""

_STEP = 0.2


class Channel:
    """Requests go in, replies come out, in order.

    Every method raises LinkLost when the connection broke, was silent for too long or speaks another protocol, and
    KeyboardInterrupt once `stop` is set.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", stop: threading.Event | None) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._process, self._stop = process, stop
        self._input, self._output = process.stdin.fileno(), process.stdout.fileno()
        self._messages = [process.stderr.fileno()]
        os.set_blocking(self._input, False)
        self._buffer = bytearray()
        self._errors: collections.deque[bytes] = collections.deque(maxlen=64)
        self.answered = False

    def greet(self, seconds: float) -> None:
        """Waits for the other end. Raises LinkLost; `errors` then says why."""
        deadline = time.monotonic() + seconds
        while (at := self._buffer.find(GREETING)) < 0:
            if len(self._buffer) > NOISE_BYTES:
                raise LinkLost("the login shell prints too much")
            self._receive(deadline)
        del self._buffer[: at + len(GREETING)]

    def ask(self, request: Request, kind: type[R], seconds: float = 60.0) -> tuple[R, bytes]:
        """The reply to `request`, which is a `kind`, and its bytes. Raises the other end's errors too."""
        self.send(request)
        return self.receive(kind, seconds)

    def send(self, request: Request, body: bytes = b"", seconds: float = 60.0) -> None:
        """Sends a request and the bytes that go with it; the other end may be silent for `seconds`."""
        rest = memoryview(packed(request, body))
        while rest:
            self._ready([], [self._input], time.monotonic() + seconds)
            try:
                rest = rest[os.write(self._input, rest[: 2**16]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise LinkLost("the connection was closed") from error

    def receive(self, kind: type[R], seconds: float = 60.0) -> tuple[R, bytes]:
        """The reply that is next, whole within `seconds`."""
        deadline = time.monotonic() + seconds
        while (frame := unpacked(self._buffer)) is None:
            self._receive(deadline)
        try:
            reply = msgspec.json.decode(frame[0], type=Reply)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DependencyError(
                "the device answers something else than edgetl does", hint="install the same edgetl there"
            ) from error
        if isinstance(reply, Refused):
            raise refusal(reply)
        if not isinstance(reply, kind):
            raise DependencyError("the device answers another question", hint="install the same edgetl there")
        self.answered = True
        return reply, frame[1]

    def close(self, seconds: float = 0.0) -> int | None:
        """Ends the process; what `ssh` exited with by itself within `seconds`, or None."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._process.stdin.close()
        try:
            code: int | None = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._process.kill()
            self._process.wait()
            for _ in range(64):  # what is left of it, but not without end
                if self._messages and any(select.select(self._messages, [], [], 0)):
                    self._hear()
            self._process.stdout.close()
            self._process.stderr.close()
        return code

    @property
    def errors(self) -> str:
        """The last that `ssh`, or the shell over there, said."""
        return b"".join(self._errors).decode(errors="replace")

    def _receive(self, deadline: float) -> None:
        if time.monotonic() > deadline:  # whoever sends a byte now and then has not answered
            raise LinkLost("the device does not answer in time")
        self._ready([self._output], [], deadline)
        received = os.read(self._output, MAX_BODY_BYTES)
        if not received:
            raise LinkLost("the connection was closed")
        self._buffer += received

    def _ready(self, readable: list[int], writable: list[int], deadline: float) -> None:
        while True:
            if self._stop is not None and self._stop.is_set():
                raise KeyboardInterrupt
            ready = select.select(readable + self._messages, writable, [], _STEP)
            if self._messages and self._messages[0] in ready[0]:
                self._hear()
            if ready[1] or any(each in readable for each in ready[0]):
                return
            if time.monotonic() > deadline:
                raise LinkLost("the device does not answer")

    def _hear(self) -> None:
        if received := os.read(self._messages[0], 1024):
            self._errors.append(received)
        else:
            self._messages.clear()
