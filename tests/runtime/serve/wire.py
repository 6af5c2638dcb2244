"""HTTP/1.1 as bytes over a socket: for what clients of the package index refuse to send, and for when they would."""

import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

WAIT_S = 20


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The reason of a refusal, which is a JSON object with nothing else in it."""
        (reason,) = self.json.values()
        return str(reason)


class Wire:
    """One connection. It notices when the server hangs up, which is no error here."""

    def __init__(self, port: int, wait_s: float = WAIT_S, buffer: int | None = None) -> None:
        """`buffer`: bytes that may have arrived without having been read."""
        self.socket = socket.socket()
        self.socket.settimeout(wait_s)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self._read = b""

    def send(self, data: bytes) -> bool:
        """False when the server had closed the connection before it took everything."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def ask(self, data: bytes) -> Answer | None:
        self.send(data)
        return self.answer()

    def answer(self, *, head: bool = False) -> Answer | None:
        """The next answer, or None when the connection ends first. `head`: its body is not sent."""
        while b"\r\n\r\n" not in self._read:
            if not self._more():
                assert not self._read, self._read
                return None
        top, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if head else int(headers.get("content-length", 0))
        while len(self._read) < length:
            assert self._more(), "the answer is cut off"
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(first.split()[1]), headers, body)

    def ended(self) -> bool:
        """Whether the server closes the connection without another word."""
        return not self._read and not self._more()

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(2**16)
        except ConnectionResetError:
            return False
        self._read += piece
        return bool(piece)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def request(method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole request; `headers` go before what is said about the body's length by default."""
    lengths = {} if any(name.lower() in ("content-length", "transfer-encoding") for name in headers or {}) else {
        "content-length": str(len(body))
    }  # fmt: skip
    lines = [f"{method} {target} HTTP/1.1", "host: x"]
    lines += [f"{name}: {value}" for name, value in {**(headers or {}), **lengths}.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
