"""What both ends say to each other: one JSON message and perhaps some bytes a frame, sizes first, all limited."""

import struct
from typing import Annotated, Literal, TypeAlias

import msgspec

from edgetl.errors import DependencyError

GREETING = b"edgetl remote end 1\n"
"""The first line of the device's end; the number is the protocol's. Whatever a login shell prints comes before it."""

MAX_TEXT_BYTES = 64 * 2**20
MAX_BODY_BYTES = 2**20
MAX_FILES = 200_000
"""A frame's JSON, a frame's bytes, and the files of one run; more is refused unread."""

MAX_PLAN_BYTES = 16 * 2**20
MAX_PLANS = 64

PLAN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.json"
_HEAD = struct.Struct(">II")

Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
JobId: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
State: TypeAlias = Literal["waiting", "running", "ended", "lost"]


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """A file's content, by its SHA-256."""

    sha256: Digest
    size: Size


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a place: its relative path, with `/`, and its content."""

    path: str
    sha256: Digest
    size: Size


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that is laid out for the command; the command is given `opened` in it, or all of it."""

    entries: tuple[Entry, ...]
    opened: str = ""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Asks for `Welcome`."""


class Want(msgspec.Struct, frozen=True, kw_only=True, tag="want"):
    """Which of these are not there? Makes room for them. Asks for `Wanted`."""

    objects: tuple[Object, ...]


class Put(msgspec.Struct, frozen=True, kw_only=True, tag="put"):
    """The bytes of the frame belong to that object, from `offset` on. Asks for `Kept`."""

    sha256: Digest
    size: Size
    offset: Size


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """Runs `edgetl WORDS`; a number among the words is a place. Starting a job again changes nothing.

    `bundle` is the number of the bundle's place, `manifest` the digest its plans are kept under, `plans` those of
    home by file name. Asks for `Started`.
    """

    job: JobId
    words: tuple[str | int, ...]
    places: tuple[Place, ...]
    bundle: int
    manifest: Digest
    plans: dict[str, bytes] = {}


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look"):
    """Waits until there is something new, at most `seconds`. Asks for `Seen` with messages from `offset` on."""

    job: JobId
    state: State | None
    offset: Size
    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)]


class Read(msgspec.Struct, frozen=True, kw_only=True, tag="read"):
    """A piece of the job's output, or of the plan called `plan` that it wrote. Asks for `Piece`."""

    job: JobId
    offset: Size
    plan: str | None = None


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """Ends the job. Asks for `Done`."""

    job: JobId


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag="forget"):
    """Removes what is left of an ended job. Asks for `Done`."""

    job: JobId


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """What the device has: releases, the manifest schema it reads, free bytes where objects are kept."""

    edgetl: str
    schema: str
    python: str
    free_bytes: int


class Have(msgspec.Struct, frozen=True, kw_only=True):
    """So many bytes of the object are there already."""

    sha256: Digest
    have: Size


class Wanted(msgspec.Struct, frozen=True, kw_only=True, tag="wanted"):
    objects: tuple[Have, ...]


class Kept(msgspec.Struct, frozen=True, kw_only=True, tag="kept"):
    """How many bytes of the object are there now; `damaged`: what arrived was not it and is gone again."""

    have: Size
    damaged: bool = False


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """Where the places are; or nothing was started, because `damaged` objects are missing or were thrown away."""

    places: tuple[str, ...] = ()
    damaged: tuple[Digest, ...] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True, tag="seen"):
    """How the job is. `holder`: whom it waits for. The rest is known once it has ended."""

    state: State
    holder: str = ""
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    output_bytes: Size = 0
    wrote: tuple[str, ...] = ()


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """The bytes of the frame; `size` is the whole file's."""

    size: Size


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """`ended`: the job does not run any more."""

    ended: bool


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """An error of edgetl over there."""

    message: str
    hint: str | None
    exit_code: Annotated[int, msgspec.Meta(ge=1, le=255)]


Request: TypeAlias = Hello | Want | Put | Start | Look | Read | End | Forget
Reply: TypeAlias = Welcome | Wanted | Kept | Started | Seen | Piece | Done | Refused


def packed(message: Request | Reply, body: bytes = b"") -> bytes:
    """A frame: length of the JSON, length of the bytes, both 32 bits, big-endian; then the two."""
    text = msgspec.json.encode(message)
    if len(text) > MAX_TEXT_BYTES or len(body) > MAX_BODY_BYTES:
        raise DependencyError("the run has too many files to be described", hint="send fewer images")
    return _HEAD.pack(len(text), len(body)) + text + body


def unpacked(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Takes the first whole frame out of `buffer`: its JSON and its bytes; None when there is none yet.

    Raises DependencyError for one that is too large.
    """
    if len(buffer) < _HEAD.size:
        return None
    text, body = _HEAD.unpack_from(buffer)
    if text > MAX_TEXT_BYTES or body > MAX_BODY_BYTES:
        raise DependencyError("the other end sends something else than edgetl's protocol", hint="is it edgetl?")
    end = _HEAD.size + text + body
    if len(buffer) < end:
        return None
    frame = bytes(buffer[_HEAD.size : _HEAD.size + text]), bytes(buffer[_HEAD.size + text : end])
    del buffer[:end]
    return frame
