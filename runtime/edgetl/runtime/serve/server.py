"""uvicorn, told to lose nothing: at SIGTERM it stops listening, answers what it accepted, then frees the engines."""

import asyncio
import logging
import os
import socket
import ssl
from types import FrameType
from typing import TYPE_CHECKING, Optional

import uvicorn
import uvloop

from edgetl.errors import ConfigError, first_line
from edgetl.runtime.serve.app import Application
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.connections import guarded
from edgetl.runtime.serve.listening import listen, refuse_new

if TYPE_CHECKING:
    from edgetl.runtime.serve.rpc.server import RpcServer

log = logging.getLogger("edgetl.serve")

IDLE_S = 0.5
"""After SIGTERM a connection on which nothing is asked for this long is closed; its client may just be sending."""

LET_IN_S = 0.05
"""So long a connection that has begun may take until it is accepted."""

INTERRUPTED = 130
"""The exit code of an end that lost something."""


class Server(uvicorn.Server):
    """Drains: asked to end once, it loses nothing; asked twice, it ends at once."""

    def __init__(self, config: uvicorn.Config, application: Application, rpc: Optional["RpcServer"]) -> None:
        super().__init__(config)
        self._application, self._rpc = application, rpc

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:  # connections, queues and engine threads all have their own idea of soon
            log.warning("ended at once")
            os._exit(INTERRUPTED)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says where it listens when it does, and when signals have the meaning that they keep."""
        await super().startup(sockets)
        for listener in sockets or ():
            log.info("serving", extra={"facts": _addresses(self._application.config, listener, self._rpc)})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops listening, has every client close its connection, and gives silent ones the time to."""
        self._application.drain()
        log.info("draining", extra={"facts": {"connections": len(self.server_state.connections)}})
        for listener in sockets or ():
            refuse_new(listener)
        await asyncio.sleep(LET_IN_S)
        for server in self.servers:
            server.close()
        ending = asyncio.ensure_future(self._end_calls())
        loop = asyncio.get_running_loop()
        until = loop.time() + IDLE_S
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)
        await ending

    async def _end_calls(self) -> None:
        """The same over gRPC, at the same time."""
        if self._rpc is not None:
            await self._rpc.stop(self._application.config.drain_s)


def serve(application: Application) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError when an address cannot be had, and what opening raises."""
    config = application.config
    _check_certificate(config)
    with listen(config.host, config.port) as listener:
        uvloop.run(_serve(application, listener))


async def _serve(application: Application, listener: socket.socket) -> None:
    config = application.config
    settings = uvicorn.Config(
        application.asgi,
        http=guarded(config.read_timeout_s, config.max_connections, application.asgi.crowded),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(config.drain_s)),
        ssl_certfile=config.ssl_certfile,
        ssl_keyfile=config.ssl_keyfile,
    )
    rpc = _rpc(application)
    try:
        await application.open()
        if rpc is not None:
            await rpc.start()
        await Server(settings, application, rpc).serve(sockets=[listener])
    finally:
        await application.close()


def _rpc(application: Application) -> Optional["RpcServer"]:
    """The gRPC server where one is asked for; its libraries are an extra."""
    if application.config.grpc_port is None:
        return None
    from edgetl.runtime.serve.rpc.server import RpcServer

    return RpcServer(application)


def _addresses(config: ServeConfig, listener: socket.socket, rpc: Optional["RpcServer"]) -> dict[str, object]:
    scheme = "https" if config.ssl_certfile else "http"
    host = f"[{config.host}]" if ":" in config.host else config.host
    found: dict[str, object] = {"address": f"{scheme}://{host}:{listener.getsockname()[1]}"}
    return found if rpc is None else found | {"grpc": rpc.address}


def _check_certificate(config: ServeConfig) -> None:
    """Refuses what cannot be used before a model is opened; a key with a passphrase would ask the terminal for it."""
    if config.ssl_certfile is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"`{config.ssl_certfile}` and `{config.ssl_keyfile}` are no certificate and its key: {first_line(error)}",
            hint="both are PEM files; the key has no passphrase",
        ) from error
