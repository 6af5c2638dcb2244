"""What a job over there says and ends with, however often the connection to it breaks."""

from collections.abc import Callable

from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.protocol import Look, Piece, Read, Seen, State
from edgetl.devices.remote.refusals import printable
from edgetl.errors import DependencyError, EdgetlError

LOOK_SECONDS = 5.0
MAX_MESSAGES_BYTES = 2**20
MAX_LINES = 10_000
"""Of what a job says, so many bytes are kept (the last ones) and so many lines are shown."""

PIECE_SECONDS = 300.0
"""So long a piece of a result may take: 1 MiB comes at 4 kB/s."""

_CALLERS = ("error:", "hint:")


class Watching:
    """Follows one job. `messages`: what it wrote on stderr so far."""

    def __init__(self, job: str, host: str, say: Callable[[str], None]) -> None:
        self._job, self._host, self._say = job, host, say
        self._offset = self._lines = 0
        self._state: State | None = None
        self._raw = self._open_line = b""

    @property
    def messages(self) -> str:
        return self._raw.decode(errors="replace")

    def until_ended(self, channel: Channel) -> Seen:
        """Says what the job says until it has ended. Raises LinkLost, and EdgetlError when the job vanished."""
        while True:
            request = Look(job=self._job, state=self._state, offset=self._offset, seconds=LOOK_SECONDS)
            seen, said = channel.ask(request, Seen, seconds=LOOK_SECONDS + 25)
            self._heard(said)
            if seen.state == "waiting" and self._state != "waiting":
                self._say(f"{self._host}: waiting for {printable(seen.holder)[:300] or 'another run'}")
            self._state = seen.state
            if said:
                continue
            if seen.state == "lost":
                raise EdgetlError(
                    f"the job on `{self._host}` vanished: it was killed, or the device was restarted",
                    hint="run the command again; was there enough memory?",
                )
            if seen.state == "ended":
                self._heard(b"\n" if self._open_line else b"")
                return seen

    def _heard(self, said: bytes) -> None:
        self._offset += len(said)
        self._raw = (self._raw + said)[-MAX_MESSAGES_BYTES:]
        *lines, self._open_line = (self._open_line + said).split(b"\n")
        self._open_line = self._open_line[-MAX_MESSAGES_BYTES:]
        for line in lines:
            text = printable(line.decode(errors="replace").rstrip()[:2000])
            if text and not text.startswith(_CALLERS) and self._lines < MAX_LINES:
                self._lines += 1
                self._say(f"{self._host}: {text}")


def whole(channel: Channel, job: str, *, plan: str | None = None, limit: int) -> bytes:
    """A file of the job, fetched in pieces. Raises DependencyError when it is larger than `limit` bytes."""
    content = bytearray()
    while True:
        piece, received = channel.ask(Read(job=job, offset=len(content), plan=plan), Piece, PIECE_SECONDS)
        content += received
        if piece.size > limit or len(content) > limit:
            raise DependencyError(f"the device sends more than {limit} bytes", hint="this is no result of edgetl")
        if len(content) >= piece.size or not received:
            return bytes(content)
