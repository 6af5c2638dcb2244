"""What a server is told: where it listens, what it accepts, when it refuses."""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class ServeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one server. None leaves the value to the bundle's plan or to the engine.

    `grpc_port`: None for no gRPC. `token`: what a client must send as `Authorization: Bearer`.
    `workers`: engine calls at a time, `max_batch`: the most samples put together for one of them,
    `max_delay_ms`: how long the first of them waits for others. `queue`: the most samples that wait for an engine, for
    each variant, and the most images or texts that wait to be prepared. `timeout_s`: from a whole request to its
    answer; `read_timeout_s`: from a request's first byte to its last. `max_bodies_mb` bounds all bodies held at once.
    `drain_s`: how long requests may take to end after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    grpc_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    token: Annotated[str, Meta(min_length=1)] | None = None
    workers: Positive | None = None
    max_batch: Positive | None = None
    max_delay_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    queue: Positive = 64
    timeout_s: Seconds = 5.0
    read_timeout_s: Seconds = 30.0
    max_body_mb: Positive = 16
    max_bodies_mb: Positive = 256
    max_megapixels: Positive = 40
    max_connections: Positive = 512
    drain_s: Seconds = 10.0
    access_log: bool = False
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * 2**20
