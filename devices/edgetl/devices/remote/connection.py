"""The connection to a machine: OpenSSH itself, logged in once, and a channel to edgetl's end over there.

OpenSSH authenticates with the user's own configuration, keys, agent and known hosts; nothing of that is decided here.
"""

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.refusals import LinkLost, explained
from edgetl.devices.remote.target import Target
from edgetl.errors import DependencyError

OPTIONS = (
    "ControlMaster=auto", "ControlPersist=60", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3",
    "RemoteCommand=none", "RequestTTY=no", "PermitLocalCommand=no", "ForwardAgent=no", "ForwardX11=no",
    "ClearAllForwardings=yes", "Tunnel=no",
)  # fmt: skip
"""What every `ssh` is given. A dead link is noticed after 15 s; the master that logged in stays 60 s without work."""

STARTUP_SECONDS = 60.0
ASKING_SECONDS = 180.0
"""So long logging in and starting edgetl may take; longer where someone may be asked for a password."""

_SOCKET_FOLDER = re.compile("[A-Za-z0-9/._-]{1,50}")
"""Below a longer path the control socket could break the kernel's limit of 108 characters, and other characters mean
something in an OpenSSH configuration.
"""


class Connection:
    """Logs in when the first channel is opened; more channels need no further login as long as that lasts."""

    def __init__(self, target: Target, stop: threading.Event | None = None) -> None:
        if shutil.which("ssh") is None:
            raise DependencyError("there is no `ssh` on this machine", hint="install OpenSSH's client")
        self._target, self._stop = target, stop
        folder = tempfile.gettempdir() if _SOCKET_FOLDER.fullmatch(tempfile.gettempdir()) else "/tmp"
        self._folder = Path(tempfile.mkdtemp(prefix="edgetl-ssh-", dir=folder))
        self._opened = False

    def open(self) -> Channel:
        """A channel to a new `edgetl remote-end`. Raises DependencyError in OpenSSH's own words."""
        return self._open(ASKING_SECONDS if self._target.interactive else STARTUP_SECONDS, self._stop)

    def open_to_end(self) -> Channel:
        """A channel for a last word: nobody is asked for anything, and little time is spent."""
        return self._open(10.0, None, "BatchMode=yes", "ConnectTimeout=5")

    def close(self) -> None:
        """Logs out."""
        if self._opened:
            command = [*self._ssh(), "-O", "exit", "--", self._target.host]
            quiet = subprocess.DEVNULL
            with contextlib.suppress(subprocess.TimeoutExpired):  # it goes by itself after a minute
                subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=5, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, seconds: float, stop: threading.Event | None, *options: str) -> Channel:
        target, pipe = self._target, subprocess.PIPE
        command = [*self._ssh(*options), "--", target.host, remote_command(target.edgetl)]
        self._opened = True
        # the user's terminal stays reachable: `ssh` itself asks there for passphrases and unknown hosts
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        channel = Channel(process, stop)
        try:
            channel.greet(seconds)
        except LinkLost as lost:
            code = channel.close(1.0)
            raise explained(target, code, channel.errors, str(lost)) from lost
        except BaseException:
            channel.close()
            raise
        return channel

    def _ssh(self, *options: str) -> list[str]:
        target = self._target
        # the first value that OpenSSH is given for an option counts
        settings = [*options, *OPTIONS, f"ControlPath={self._folder}/s"]
        if not target.interactive:
            settings.append("BatchMode=yes")
        command = ["ssh", "-T", *(["-F", target.config] if target.config else [])]
        command += [part for setting in settings for part in ("-o", setting)]
        command += ["-l", target.user] if target.user else []
        return command + (["-p", target.port] if target.port else [])


def remote_command(edgetl: str) -> str:
    """The command line for the shell over there, quoted for any POSIX shell; `~/` becomes its user's home."""
    home = edgetl.startswith("~/")
    return ('"$HOME"/' if home else "") + shlex.join([edgetl[2:] if home else edgetl, "remote-end"])
