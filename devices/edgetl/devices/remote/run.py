"""Runs an edgetl command on another machine: its files go there, it runs, its result and its plans come home."""

import re
import secrets
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.conversation import Conversation
from edgetl.devices.remote.copying import PASSES, copy
from edgetl.devices.remote.homecoming import Translation, brought_plans, local_plans
from edgetl.devices.remote.protocol import Forget, Hello, Seen, Start, Started, Welcome
from edgetl.devices.remote.refusals import printable
from edgetl.devices.remote.sending import Content, Parcel, parcel
from edgetl.devices.remote.target import Target
from edgetl.devices.remote.watching import Watching, whole
from edgetl.errors import ArtefactError, DependencyError, EdgetlError
from edgetl.manifest import MAJOR
from edgetl.types import Track, silent

MAX_OUTPUT_BYTES = 256 * 2**20
"""A result above this is refused: it is no report."""

TUNE = "tune"
"""The command that makes plans: from any other none is taken, or a device could replace this bundle's unasked."""


class RemoteResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the command ended over there.

    `output`: what it printed, the JSON of `--json`; `messages`: what it told whoever watches. In both, the paths of
    the device are those of home. `brought`: files fetched home, relative to the bundle.
    """

    exit_code: int
    output: bytes
    messages: str
    brought: tuple[str, ...]


def run_remote(
    target: Target,
    arguments: Sequence[str | Path],
    *,
    bundle: Path,
    say: Callable[[str], None],
    track: Track = silent,
    stop: threading.Event | None = None,
    digest: str = "",
) -> RemoteResult:
    """Runs `edgetl ARGUMENTS` on `target`; a `Path` is sent there, and its place is named instead.

    `bundle` is the one of these paths whose plans go along and come back. The run survives broken connections. What
    the command says is said here as it comes, except its `error:` and `hint:`, which are the caller's to show. An
    interrupt ends the command over there, and so does setting `stop`, which raises KeyboardInterrupt here. With
    `digest` the bundle must still be the one that was opened before (`Bundle.digest`).

    Raises DependencyError (no `ssh`, no connection, no edgetl there or one that cannot read the bundle), ArtefactError
    and DataError for what cannot be sent, EdgetlError when the job vanished or the device is full.
    """
    opened = open_bundle(bundle, digest=digest)
    paths = list(dict.fromkeys(path for path in arguments if isinstance(path, Path)))
    parcels = [parcel(path) for path in paths]
    _refuse_changed(opened, parcels[paths.index(bundle)])
    start = Start(
        job=secrets.token_hex(16),
        words=tuple(paths.index(word) if isinstance(word, Path) else word for word in arguments),
        places=tuple(each.place for each in parcels),
        bundle=paths.index(bundle),
        manifest=opened.digest,
        plans=local_plans(opened),
    )
    conversation = Conversation(target, say, stop)
    runs = False
    try:
        conversation.keep_on(lambda channel: _greet(channel, opened, target, say))
        conversation.keep_on(lambda channel: _copy(channel, parcels, target.host, say, track))
        runs = True
        places = conversation.keep_on(lambda channel: _begin(channel, start, parcels, target.host, say, track))
        translation = Translation(paths, places)
        watching = Watching(start.job, target.host, lambda text: say(translation.of_text(text)))
        seen = conversation.keep_on(watching.until_ended)
        runs = False
        result = conversation.keep_on(
            lambda channel: _result(channel, start, seen, watching.messages, opened, translation, target)
        )
        conversation.part(Forget(job=start.job))
        return result
    except EdgetlError:
        raise
    except BaseException:
        if runs:
            conversation.end_job(start.job)
        raise
    finally:
        conversation.close()


def _refuse_changed(bundle: Bundle, sent: Parcel) -> None:
    """A bundle is opened once more when it is packed. Raises ArtefactError."""
    if bundle.digest not in {entry.sha256 for entry in sent.place.entries if entry.path == "manifest.json"}:
        raise ArtefactError(f"`{bundle.path}` was changed while it was sent", hint="run the command again")


def _greet(channel: Channel, bundle: Bundle, target: Target, say: Callable[[str], None]) -> None:
    welcome = channel.ask(Hello(), Welcome)[0]
    ours, theirs, release = bundle.manifest.schema, welcome.schema, printable(welcome.edgetl[:40])
    if not re.fullmatch(r"\d{1,6}\.\d{1,6}", theirs) or int(ours.split(".")[0]) > int(theirs.split(".")[0]):
        raise DependencyError(
            f"edgetl {release} on `{target.host}` reads bundles up to schema `{printable(theirs[:20])}`, "
            f"`{bundle.path}` has `{ours}`",
            hint=f"install edgetl {version('edgetl')} there (this machine reads up to `{MAJOR}.x`)",
        )
    if welcome.edgetl != version("edgetl"):
        say(f"warning: {target.host} has edgetl {release}, this machine {version('edgetl')}")


def _copy(channel: Channel, parcels: list[Parcel], host: str, say: Callable[[str], None], track: Track) -> None:
    sizes = {entry.sha256: entry.size for each in parcels for entry in each.place.entries}
    contents: dict[str, Content] = {sha256: where for each in parcels for sha256, where in each.contents.items()}
    copy(channel, sizes, contents, host=host, say=say, track=track)


def _begin(
    channel: Channel, start: Start, parcels: list[Parcel], host: str, say: Callable[[str], None], track: Track
) -> tuple[str, ...]:
    """Starts the job, which has all that is copied verified first; where its places are."""
    size = sum(entry.size for place in start.places for entry in place.entries)
    for _ in range(PASSES):
        started = channel.ask(start, Started, seconds=60 + size / 5e6)[0]
        if not started.damaged:
            return _plausible(started.places, start, host)
        say(f"{host}: {len(started.damaged)} files there were damaged")
        _copy(channel, parcels, host, say, track)
    raise EdgetlError(f"files on `{host}` are damaged again and again", hint="is its disk or memory failing?")


def _plausible(places: tuple[str, ...], start: Start, host: str) -> tuple[str, ...]:
    """`places`, which are to be replaced in all that comes home, if they are what they should be."""
    ends = [f"/jobs/{start.job}/places/{number}" for number in range(len(start.places))]
    ends = [f"{end}/{place.opened}" if place.opened else end for end, place in zip(ends, start.places, strict=True)]
    if len(places) != len(ends) or not all(there.endswith(end) for there, end in zip(places, ends, strict=True)):
        raise DependencyError(f"`{host}` answers another question", hint="install the same edgetl there")
    return places


def _result(
    channel: Channel, start: Start, seen: Seen, messages: str, bundle: Bundle, translation: Translation, target: Target
) -> RemoteResult:
    output = whole(channel, start.job, limit=MAX_OUTPUT_BYTES)
    wrote = seen.wrote if start.words[0] == TUNE else ()
    brought = brought_plans(channel, start, wrote, bundle, target)
    for there, here in brought.items():
        translation.add(f"{translation.places[start.bundle]}/plans/{there}", str(bundle.path / here))
    return RemoteResult(
        exit_code=seen.exit_code,
        output=translation.of_json(output),
        messages=translation.of_text(messages),
        brought=tuple(brought.values()),
    )
