"""Sends the objects that a device does not have yet: what is there is not sent, what was begun is gone on with."""

from collections import deque
from collections.abc import Callable, Mapping

from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.protocol import Have, Kept, Object, Put, Want, Wanted
from edgetl.devices.remote.sending import Content, pieces
from edgetl.errors import DependencyError, EdgetlError
from edgetl.types import Track

PASSES = 3
"""What arrives damaged is sent again, so often in all."""

WINDOW = 8
"""So many pieces are on their way before the first is acknowledged, or each would wait for the way there and back."""


def copy(
    channel: Channel,
    sizes: Mapping[str, int],
    contents: Mapping[str, Content],
    *,
    host: str,
    say: Callable[[str], None],
    track: Track,
) -> None:
    """Every object of `sizes` (SHA-256 → bytes) is on the device afterwards.

    Raises LinkLost, EdgetlError for what arrives damaged again and again, and what the device refuses.
    """
    want = Want(objects=tuple(Object(sha256=sha256, size=size) for sha256, size in sizes.items()))
    for number in range(PASSES):
        missing = channel.ask(want, Wanted, seconds=60 + len(sizes) / 500)[0].objects
        if not missing:
            return
        if strange := [each.sha256 for each in missing if each.sha256 not in sizes]:
            raise DependencyError(f"`{host}` asks for `{strange[0]}`, which is no file of this run")
        left = sum(max(0, sizes[each.sha256] - each.have) for each in missing)
        again = "again " if number else ""
        say(f"{host}: copying {again}{len(missing)} files, {left / 1e6:.1f} MB")
        _send(channel, missing, sizes, contents, track, f"copy to {host}")
    raise EdgetlError(f"files arrive damaged on `{host}`", hint="run the command again; is its disk or memory failing?")


def _send(
    channel: Channel,
    missing: tuple[Have, ...],
    sizes: Mapping[str, int],
    contents: Mapping[str, Content],
    track: Track,
    description: str,
) -> None:
    """Whether all arrived whole is asked afterwards."""
    pending: deque[None] = deque()
    for each in track(missing, description, len(missing)):
        size = sizes[each.sha256]
        for offset, piece in pieces(contents[each.sha256], min(each.have, size), size):
            channel.send(Put(sha256=each.sha256, size=size, offset=offset), piece)
            pending.append(None)
            if len(pending) >= WINDOW:
                channel.receive(Kept, 60 + size / 5e6)
                pending.popleft()
    for _ in pending:
        channel.receive(Kept, 120)
