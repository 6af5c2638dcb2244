"""Bodies are bounded one by one and together, and nothing of them stays when a client is gone."""

import asyncio
import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.requests import ClientDisconnect, Request
from tests.runtime.serve.conftest import StartServer
from tests.runtime.serve.wire import Wire, chunk, request

from edgetl.runtime.serve.bodies import Bodies
from edgetl.runtime.serve.refusals import Busy, Malformed, TooLarge, WrongType

WAIT_S = 20


def asked(pieces: Sequence[bytes], encoding: str = "", *, gone: bool = False) -> Request:
    """A request whose body comes in these pieces; `gone`: then its client is."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return messages.pop(0)

    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    return Request({"type": "http", "headers": headers, "method": "POST", "path": "/"}, receive)


def read(bodies: Bodies, of: Request) -> bytes:
    async def main() -> bytes:
        async with bodies.read(of) as body:
            return body

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("", bytes), ("identity", bytes), ("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_body_is_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b"tensor" * 100)
    assert read(Bodies(1000, 1000), asked([packed[:5], packed[5:]], encoding)) == b"tensor" * 100


@pytest.mark.parametrize(
    ("pieces", "encoding", "kind"),
    [
        ([b"x" * 600, b"x" * 600], "", TooLarge),
        ([gzip.compress(bytes(10**6))], "gzip", TooLarge),
        ([gzip.compress(b"tensor")[:-9]], "gzip", Malformed),
        ([b"tensor"], "gzip", Malformed),
        ([b"tensor"], "br", WrongType),
        ([gzip.compress(gzip.compress(b"tensor"))], "gzip, gzip", WrongType),
    ],
)
def test_what_is_too_large_or_no_body_is_refused_and_freed(pieces: list[bytes], encoding: str, kind: type) -> None:
    bodies = Bodies(1000, 2000)
    for _ in range(3):  # what the first had held would be missing for the others
        with pytest.raises(kind):
            read(bodies, asked(pieces, encoding))
    assert read(bodies, asked([b"x" * 1000])) == b"x" * 1000


def test_a_body_whose_client_is_gone_is_freed() -> None:
    bodies = Bodies(1000, 1000)
    for _ in range(3):
        with pytest.raises(ClientDisconnect):
            read(bodies, asked([b"x" * 900], gone=True))
    assert read(bodies, asked([b"x" * 1000])) == b"x" * 1000


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_all_bodies_together_are_bounded_as_they_are_unpacked(pack: Callable[[bytes], bytes]) -> None:
    encoding = "" if pack is bytes else "gzip"

    async def main() -> None:
        bodies = Bodies(1000, 2500)

        async def held(stack: AsyncExitStack) -> bytes:
            return await stack.enter_async_context(bodies.read(asked([pack(bytes(1000))], encoding)))

        async with AsyncExitStack() as stack:
            await held(stack)
            await held(stack)
            with pytest.raises(Busy, match="too many large bodies"):
                await held(stack)
        async with AsyncExitStack() as stack:
            assert await held(stack) == bytes(1000)

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


def errors(url: str) -> dict[str, float]:
    """What `edgetl_errors_total` counted, by its labels."""
    lines = [line.rpartition(" ") for line in requests.get(f"{url}/metrics", timeout=WAIT_S).text.splitlines()]
    return {name: float(value) for name, _, value in lines if name.startswith("edgetl_errors_total")}


def test_a_client_that_goes_in_the_middle_of_its_body_is_counted_and_harms_nobody(
    start_server: StartServer, bundle: Path
) -> None:
    server = start_server(bundle, "--max-body-mb", "1")
    path = f"/v2/models/{bundle.name}/infer"
    for _ in range(3):
        wire = Wire(server.port)
        wire.send(request("POST", path, b"{" * 1000, {"content-length": "900000"}))
        time.sleep(0.05)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        wire.close()
    until = time.monotonic() + WAIT_S
    label = 'edgetl_errors_total{route="/v2/models/{model}/infer",status="499"}'
    while errors(server.url).get(label, 0) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    assert errors(server.url)[label] == 3
    assert not [line for line in server.log if line["level"] == "error"]

    with Wire(server.port) as wire:  # too large without saying so
        wire.send(request("POST", path, headers={"transfer-encoding": "chunked"}))
        wire.send(chunk(bytes(2**16)) * 17)
        answer = wire.answer()
        assert answer is not None and answer.status == 413 and answer.error == "the body is larger than 1 MiB"
