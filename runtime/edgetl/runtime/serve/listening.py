"""The socket a server listens on, and its end: nobody who was let in is turned away."""

import ctypes
import logging
import socket
import struct
import sys

from edgetl.errors import ConfigError, first_line

log = logging.getLogger("edgetl.serve")

BACKLOG = 2048
SO_ATTACH_FILTER = 26
"""Linux's, which Python does not name."""

NO_NEW_CONNECTIONS = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
"""Classic BPF: load the flags of a TCP packet; drop it if SYN is among them, else pass all of it."""


def listen(host: str, port: int) -> socket.socket:
    """Raises ConfigError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen on `{host}:{port}`: {first_line(error)}", hint="try another `--host` or `--port`"
        ) from error


def refuse_new(listener: socket.socket) -> None:
    """From now on no connection begins; those that wait to be accepted still are, which closing would reset.

    Only Linux can do so, and a sandbox may forbid it; then those are lost.
    Reference: https://docs.kernel.org/networking/filter.html.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_NEW_CONNECTIONS))
    program = struct.pack("HP", len(NO_NEW_CONNECTIONS), ctypes.addressof(code))
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except OSError as error:
        log.warning("connections that wait to be accepted are lost", extra={"facts": {"error": str(error)}})
