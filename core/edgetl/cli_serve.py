"""The command that answers over the network: serve."""

import logging
import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from edgetl.console import reports_errors
from edgetl.errors import ConfigError
from edgetl.options import RequireSignature
from edgetl.plugins import require

TOKEN = "EDGETL_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

log = logging.getLogger("edgetl.serve")


@reports_errors
def serve(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles; each becomes a model named after its folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    grpc_port: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, max=65535, help="Speak the protocol over gRPC too, on this port."),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Follow the bundles' plan for this device. Default: the plan measured on this hardware."),
    ] = None,
    variant: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Serve this variant alone. Default: the plan's first, all others on request."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=256, help="Engine calls at a time. Default: the plan's, else one a core."),
    ] = None,
    max_batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=1024, help="Most samples of one engine call. Default: the plan's, else 1 on a CPU."),
    ] = None,
    max_delay_ms: Annotated[float, typer.Option(min=0.0, max=10_000.0, help="How long a batch waits to fill.")] = 0.0,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Most samples that wait for one variant.")] = 64,
    timeout_s: Annotated[float, typer.Option(min=0.001, max=3600.0, help="From a whole request to its answer.")] = 5.0,
    read_timeout_s: Annotated[
        float, typer.Option(min=0.1, max=3600.0, help="From a request's first byte to its last.")
    ] = 30.0,
    max_body_mb: Annotated[int, typer.Option(min=1, max=1024, help="Largest body of a request, MiB.")] = 16,
    max_megapixels: Annotated[int, typer.Option(min=1, max=89, help="Largest image that is decoded.")] = 40,
    max_connections: Annotated[int, typer.Option(min=1, max=100_000, help="Beyond these, 503.")] = 512,
    drain_s: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="How long answers may take after SIGTERM.")
    ] = 10.0,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help=f"A file whose first line every client must send as bearer token; or set {TOKEN}."),
    ] = None,
    ssl_certfile: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Speak TLS with this certificate (PEM)."),
    ] = None,
    ssl_keyfile: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The certificate's private key (PEM)."),
    ] = None,
    require_signature: RequireSignature = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log every request, not only failures.")] = False,
) -> None:
    """Serve bundles over HTTP: Open Inference Protocol v2, POST /predict, metrics, and a page to try them."""
    require("serve", "starlette", "uvicorn", "uvloop", "httptools", "prometheus_client", "python_multipart")
    if grpc_port is not None:
        require("grpc", "grpc", "google.protobuf")
    from edgetl.runtime.serve.app import build
    from edgetl.runtime.serve.config import ServeConfig
    from edgetl.runtime.serve.logs import log_as_json
    from edgetl.runtime.serve.server import serve

    config = ServeConfig(
        host=host, port=port, grpc_port=grpc_port, token=_token(token_file), workers=workers, max_batch=max_batch,
        max_delay_ms=max_delay_ms, queue=queue, timeout_s=timeout_s, read_timeout_s=read_timeout_s,
        max_body_mb=max_body_mb, max_megapixels=max_megapixels, max_connections=max_connections, drain_s=drain_s,
        access_log=access_log, ssl_certfile=_readable(ssl_certfile), ssl_keyfile=_readable(ssl_keyfile),
    )  # fmt: skip
    if (config.ssl_certfile is None) != (config.ssl_keyfile is None):
        raise ConfigError("TLS needs both `--ssl-certfile` and `--ssl-keyfile`", hint="name the other one too")
    application = build(bundles, config, device=device, variant=variant, require_signature=require_signature)
    log_as_json()
    if config.token is None and host not in LOOPBACK:
        log.warning("everyone who reaches this address may use it: no token is set", extra={"facts": {"host": host}})
    serve(application)


def _token(path: Path | None) -> str | None:
    """From the file, else from the environment; an argument would be shown to every user of the machine."""
    if path is None:
        return os.environ.get(TOKEN, "").strip() or None
    _readable(path)
    lines = path.read_text(errors="replace").splitlines()
    if not lines or not lines[0].strip():
        raise ConfigError(f"`{path}` holds no token", hint="write it on the first line")
    return lines[0].strip()


def _readable(path: Path | None) -> str | None:
    if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
        raise ConfigError(f"`{path}` is no file that can be read", hint="check the path and its permissions")
    return str(path) if path else None
