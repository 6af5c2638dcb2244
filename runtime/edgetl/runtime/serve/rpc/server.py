"""The gRPC server: where it listens, what it bounds, how it ends."""

import asyncio
from functools import partial
from pathlib import Path

import grpc
import grpc.aio

from edgetl.errors import ConfigError, first_line
from edgetl.runtime.serve.app import Application
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.rpc.calls import Calls
from edgetl.runtime.serve.rpc.service import methods

IDLE_MS = 300_000
"""A connection without calls is closed after this long; clients open another by themselves."""

PING_MS = 60_000
"""How often a silent connection is asked whether its client still lives."""

REFUSING_S = 0.1
"""How long calls are refused before the server ends: those it had not begun would be cancelled without a reason."""


class RpcServer:
    """Answers for an application, in its event loop. Raises ConfigError when the address cannot be had."""

    def __init__(self, application: Application) -> None:
        config = application.config
        draining = partial(getattr, application.asgi, "draining")
        calls = Calls(methods(application.models, draining), config, application.metrics, draining)
        self._server = grpc.aio.server(
            handlers=(calls.handlers(),), options=_options(config), maximum_concurrent_rpcs=config.max_connections
        )
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.address = f"{host}:{self._bound(f'{host}:{config.grpc_port}', config)}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Takes no more calls, and returns once those that were taken are answered, at most `grace_s` later."""
        await asyncio.sleep(min(REFUSING_S, grace_s))
        await self._server.stop(grace_s)

    def _bound(self, address: str, config: ServeConfig) -> int:
        try:
            if not config.ssl_certfile or not config.ssl_keyfile:
                return int(self._server.add_insecure_port(address))
            pair = Path(config.ssl_keyfile).read_bytes(), Path(config.ssl_certfile).read_bytes()
            return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([pair])))
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"cannot listen on `{address}` for gRPC: {first_line(error)}", hint="try another `--grpc-port`"
            ) from error


def _options(config: ServeConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_body_bytes),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_concurrent_streams", config.max_connections),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.keepalive_time_ms", PING_MS),
        ("grpc.so_reuseport", 0),  # else a second server shares the port, and takes half the calls
    ]
