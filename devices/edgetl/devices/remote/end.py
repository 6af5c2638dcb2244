"""The device's end of a connection: answers one request after the other on its standard streams, then it is gone.

It runs as the user who logged in, listens to no network, and nothing it is sent is executed but edgetl's own commands.
"""

import contextlib
import os
import platform
import select
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec

from edgetl.cache import cache_directory
from edgetl.devices.remote import jobs
from edgetl.devices.remote.protocol import (
    GREETING,
    MAX_BODY_BYTES,
    Done,
    End,
    Forget,
    Hello,
    Look,
    Piece,
    Put,
    Read,
    Refused,
    Reply,
    Request,
    Seen,
    Start,
    Want,
    Wanted,
    Welcome,
    packed,
    unpacked,
)  # fmt: skip
from edgetl.devices.remote.store import Store, locked
from edgetl.errors import EdgetlError, first_line
from edgetl.files import inside
from edgetl.manifest import SCHEMA

IDLE_SECONDS = 180.0
"""A home that says nothing for so long is gone; jobs go on without this process."""

POLL_SECONDS = 0.1
MESSAGES_BYTES = 64 * 2**10


def serve() -> None:
    """Answers on the streams this process was started with until they are closed."""
    output = os.dup(1)
    os.dup2(2, 1)  # what anything else prints must not get between the frames
    root = cache_directory("remote").absolute()
    try:
        _write(output, GREETING)
        for text, body in _frames():
            reply, piece = _answer(root, text, body)
            _write(output, packed(reply, piece))
    except BrokenPipeError:  # home is gone, which is no error here
        return


def _frames() -> Iterator[tuple[bytes, bytes]]:
    buffer = bytearray()
    while select.select([0], [], [], IDLE_SECONDS)[0]:
        received = os.read(0, MAX_BODY_BYTES)
        if not received:
            return
        buffer += received
        while (frame := unpacked(buffer)) is not None:
            yield frame


def _write(output: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(output, rest) :]


def _answer(root: Path, text: bytes, body: bytes) -> tuple[Reply, bytes]:
    """The reply to the request in `text`, and the bytes that go with it."""
    try:
        request = msgspec.json.decode(text, type=Request)
        if isinstance(request, Look):
            return _look(root, request)
        if isinstance(request, Read):
            return _read(root, request)
        return _change(root, request, body), b""
    except EdgetlError as error:
        return Refused(message=error.message, hint=error.hint, exit_code=error.exit_code), b""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"the device does not understand this computer: {first_line(error)}"
        return Refused(message=message, hint="install the same edgetl on both", exit_code=3), b""
    except OSError as error:
        message = f"the device cannot do it: {first_line(error)}"
        return Refused(message=message, hint="look at its disk and its permissions", exit_code=1), b""


def _change(root: Path, request: Request, body: bytes) -> Reply:
    if isinstance(request, End):
        with locked(root):
            pass  # a start that broke off may still be going on: what it starts is to end, too
        return Done(ended=jobs.end(root, request.job))
    with locked(root):
        store = Store(root)
        if isinstance(request, Hello):
            jobs.expire(root)
            free = store.free_bytes()
            return Welcome(edgetl=version("edgetl"), schema=SCHEMA, python=platform.python_version(), free_bytes=free)
        if isinstance(request, Want):
            return Wanted(objects=store.want(request.objects))
        if isinstance(request, Put):
            return store.put(request.sha256, request.size, request.offset, body)
        if isinstance(request, Start):
            return jobs.start(root, store, request)
        assert isinstance(request, Forget)
        return Done(ended=jobs.forget(root, request.job))


def _look(root: Path, request: Look) -> tuple[Seen, bytes]:
    """Waits for a message, another state, or the next request."""
    folder = jobs.job_folder(root, request.job)
    deadline = time.monotonic() + request.seconds
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder / "asked")
    while True:
        seen = jobs.state_of(root, request.job)  # before the messages, which are complete once it has ended
        with (folder / "messages").open("rb") as stream:
            stream.seek(request.offset)
            messages = stream.read(MESSAGES_BYTES)
        left = deadline - time.monotonic()
        if messages or seen.state != request.state or left <= 0 or select.select([0], [], [], 0)[0]:
            return seen, messages
        select.select([0], [], [], min(POLL_SECONDS, left))


def _read(root: Path, request: Read) -> tuple[Piece, bytes]:
    folder = jobs.job_folder(root, request.job)
    path = folder / "output" if request.plan is None else inside(folder / "plans", request.plan)
    with path.open("rb") as stream:
        stream.seek(request.offset)
        return Piece(size=os.fstat(stream.fileno()).st_size), stream.read(MAX_BODY_BYTES)
