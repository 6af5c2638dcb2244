"""A machine to log in to: a real `sshd` on loopback, with keys and a cache of its own."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.devices.remote.target import Target, parse_target

SSHD = "/usr/sbin/sshd"


class Machine:
    """The device. `cache`: its EDGETL_CACHE; `config`: what a client's `ssh -F` takes; `port`: where it listens."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        self.config, self.known_hosts, self.log = folder / "ssh.conf", folder / "known_hosts", folder / "sshd.log"
        self.store = self.cache / "remote"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.cache.mkdir(mode=0o700)
        self._write_keys()
        self._write_configs()
        self.edgetl = self.command("edgetl", 'exec "$python" -m edgetl "$@"')
        self.start()

    def target(self, **changes: object) -> Target:
        """The machine as a client names it, never asking for anything."""
        values = {"edgetl": str(self.edgetl), "config": str(self.config), "interactive": False, **changes}
        return parse_target(f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}", **values)  # type: ignore[arg-type]

    def command(self, name: str, script: str) -> Path:
        """A command on the machine; its shell knows `$python`."""
        path = self.folder / name
        path.write_text(
            f"#!/bin/sh\nexport EDGETL_CACHE='{self.cache}' HOME='{self.folder}'\npython='{sys.executable}'\n{script}\n"
        )
        path.chmod(0o755)
        return path

    def start(self) -> None:
        """Starts `sshd` and waits until it listens."""
        with self.log.open("ab") as log:
            self._sshd = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.folder / "sshd.conf")], stdin=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._sshd.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends `sshd` and every connection."""
        self.cut()
        self._sshd.terminate()
        self._sshd.wait(10)

    def cut(self) -> int:
        """Kills every connection; how many there were."""
        return self._signal(signal.SIGKILL)

    def freeze(self) -> int:
        """Every connection stays, and says nothing more; how many there are."""
        return self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> int:
        children = Path(f"/proc/{self._sshd.pid}/task/{self._sshd.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)
        return len(children)

    def jobs(self) -> list[Path]:
        return sorted((self.store / "jobs").glob("[0-9a-f]*"))

    def objects(self) -> dict[str, Path]:
        return {path.name: path for path in (self.store / "objects").glob("*/*")}

    def _write_keys(self) -> None:
        for name in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True, timeout=30, stdin=subprocess.DEVNULL)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        self.trust((self.folder / "host_key.pub").read_text())

    def trust(self, key: str) -> None:
        """What the client knows of the machine's key."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}" if key else "")

    def _write_configs(self) -> None:
        (self.folder / "sshd.conf").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'host_key'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\nUsePAM no\nStrictModes no\nMaxStartups 100\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n"
        )
        self.config.write_text(
            f"Host *\n  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile none\n  IdentitiesOnly yes\n"
            f"  IdentityFile {self.folder / 'user_key'}\n  IdentityAgent none\n  StrictHostKeyChecking yes\n"
        )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Machine]:
    """A machine whose files lie in `folder`; skips where there is no `sshd`, or where it cannot run."""
    if not Path(SSHD).is_file() or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server and client are not installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, which its start script makes
    machine = Machine(folder)
    try:
        yield machine
    finally:
        machine.stop()
