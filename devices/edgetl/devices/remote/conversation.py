"""A conversation that outlives its connection: what broke is connected and asked again, a bounded number of times."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.connection import Connection
from edgetl.devices.remote.protocol import Done, End, Forget
from edgetl.devices.remote.refusals import LinkLost, one_line
from edgetl.devices.remote.target import Target
from edgetl.errors import DependencyError, EdgetlError

R = TypeVar("R")

PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each attempt to connect again; anything the device answers starts them anew."""

MAX_RECONNECTIONS = 50


class Conversation:
    """Talks with the end on `target`; `say` hears of broken connections."""

    def __init__(self, target: Target, say: Callable[[str], None], stop: threading.Event | None) -> None:
        self._target, self._say, self._stop = target, say, stop
        self._connection = Connection(target, stop)
        self._channel: Channel | None = None

    def keep_on(self, work: Callable[[Channel], R]) -> R:
        """What `work` returns, done again from its beginning when the connection breaks.

        Raises DependencyError when the first connection fails, or when it cannot be made again.
        """
        first, attempts, total = self._channel is None, 0, 0
        while True:
            try:
                if self._channel is None:
                    self._channel = self._connection.open()
                first = False
                return work(self._channel)
            except LinkLost as lost:
                said = one_line(self._channel.errors) if self._channel else ""
                problem = f"{lost} ({said})" if said else str(lost)
            except DependencyError as refused:
                if first or self._channel is not None:
                    raise
                problem = refused.message
            attempts = 0 if self._drop() else attempts
            total += 1
            if attempts >= len(PAUSES_SECONDS) or total > MAX_RECONNECTIONS:
                raise DependencyError(
                    f"the connection to `{self._target.host}` broke and could not be made again: {problem}",
                    hint="run the command again; what was copied stays there, a running job ends by itself",
                )
            self._say(f"{self._target.host}: {problem}; connecting again")
            self._pause(PAUSES_SECONDS[attempts])
            attempts += 1

    def part(self, request: Forget) -> None:
        """A last request whose answer nobody needs: a device that is not heard any more cleans up by itself."""
        if self._channel is not None:
            with contextlib.suppress(LinkLost, EdgetlError):
                self._channel.ask(request, Done, seconds=10)

    def end_job(self, job: str) -> None:
        """Best effort: tells the device to end the job, and says whether that worked."""
        self._drop()
        host = self._target.host
        try:
            channel = self._connection.open_to_end()
            try:
                ended = channel.ask(End(job=job), Done, seconds=20)[0].ended
            finally:
                channel.close()
        except (LinkLost, EdgetlError):
            self._say(f"{host}: could not be told to end the job; it ends by itself within 10 minutes")
            return
        self._say(f"{host}: the job was ended" if ended else f"{host}: the job is slow to end")

    def close(self) -> None:
        self._drop()
        self._connection.close()

    def _drop(self) -> bool:
        """Closes the channel; whether it had ever answered."""
        channel, self._channel = self._channel, None
        if channel is None:
            return False
        channel.close()
        return channel.answered

    def _pause(self, seconds: float) -> None:
        if self._stop is None:
            time.sleep(seconds)
        elif self._stop.wait(seconds):
            raise KeyboardInterrupt
