"""Files written whole or not at all, read strictly, and never outside their folder."""

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from edgetl.errors import ArtefactError, ConfigError, EdgetlError, first_line

S = TypeVar("S")

MAX_JSON_BYTES = 512 * 2**20
"""A JSON or TOML file above this is refused unread; 300,000 samples need about 60 MB."""

_CHUNK = 2**20


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` whole or not at all."""
    write_via(path, lambda stream: stream.write(content))


def write_via(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Lets `write` fill a temporary file, syncs and renames it, so that a reader never sees half a file."""
    if path.exists() and not path.is_file():  # a rename would put a file in the place of /dev/null
        raise ConfigError(f"`{path}` is no file", hint="a folder or a device cannot be replaced; name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Writes `value` as indented JSON with keys in declaration order."""
    write_bytes(path, to_json(value) + b"\n")


def to_json(value: object) -> bytes:
    """`value` as indented JSON; NaN and infinity become null."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def read_json(path: Path, kind: type[S], *, major: int | None = None) -> S:
    """Decodes a JSON file into `kind`; with `major`, checks its `schema: MAJOR.MINOR` first.

    Raises ArtefactError: missing, too large, no JSON, another shape, or a newer major schema.
    """
    return decode_json(read_bytes(path, ArtefactError), path, kind, major=major)


def decode_json(raw: bytes, path: Path, kind: type[S], *, major: int | None = None) -> S:
    """`raw`, the content of `path`, as `kind`; raises as `read_json`."""
    try:
        if major is not None:
            check_schema(msgspec.json.decode(raw), path, major)
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError(
            f"`{path}` cannot be read: {first_line(error)}",
            hint="the file is damaged or was edited; write it again",
        ) from error


def check_schema(document: Any, path: Path, major: int) -> None:
    """Refuses a document without `schema`, or of a higher major version than this release reads."""
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not re.fullmatch(r"\d{1,6}\.\d{1,6}", schema):
        raise ArtefactError(f"`{path}` carries no `schema: MAJOR.MINOR`", hint="is it an edgetl file?")
    if int(schema.split(".")[0]) > major:
        raise ArtefactError(
            f"`{path}` has schema `{schema}`, this edgetl reads up to `{major}.x`",
            hint="install a newer edgetl",
        )


def configured(values: Mapping[str, object], kind: type[S]) -> S:
    """Plain values as the struct `kind`; a value it refuses is a ConfigError that names the option."""
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        hint = unknown_key_hint(str(error), kind) or _choices(str(error), kind)
        raise ConfigError(_in_words(str(error)), hint=hint) from error


def _in_words(message: str) -> str:
    """msgspec's "Invalid enum value 'x' - at `$.augment`" as "`augment` cannot be `x`"."""
    if found := re.search(r"Invalid enum value '(.*)' - at `\$\.(\w+)`", message):
        return f"`{found.group(2)}` cannot be `{found.group(1)}`"
    return message.replace("`$.", "`")


def _choices(message: str, kind: type[Any]) -> str | None:
    """For a refused word: the words its field takes."""
    found = re.search(r"at `\$\.(\w+)`", message)
    taken = [field.type for field in msgspec.structs.fields(kind) if found and field.encode_name == found.group(1)]
    bare = [getattr(each, "__origin__", each) if hasattr(each, "__metadata__") else each for each in taken]
    words = [str(word) for word in getattr(bare[0], "__args__", ())] if bare else []
    return f"it takes {', '.join(words)}" if words and "enum" in message else None


def read_toml(path: Path, kind: type[S]) -> S:
    """Decodes a TOML file that people write; an unknown key is an error with a suggestion."""
    raw = read_bytes(path, ConfigError)
    try:
        return msgspec.toml.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"`{path}`: {first_line(error)}", hint=unknown_key_hint(str(error), kind)) from error


def unknown_key_hint(message: str, kind: type[Any]) -> str | None:
    """For msgspec's "unknown field" message: the known key that looks most like it."""
    found = re.search(r"unknown field `(.+?)`", message)
    if not found:
        return None
    close = difflib.get_close_matches(found.group(1), sorted(_keys(kind)), n=1)
    return f"did you mean `{close[0]}`?" if close else "remove the key or see the documentation"


def _keys(kind: Any) -> set[str]:
    """All field names of a struct and of the structs inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        info = msgspec.structs.fields(kind)
        return {field.encode_name for field in info}.union(*(_keys(field.type) for field in info))
    return set().union(*(_keys(part) for part in getattr(kind, "__args__", ())))


def read_bytes(path: Path, error: type[EdgetlError]) -> bytes:
    """The content of a file of at most `MAX_JSON_BYTES`. Raises `error`."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise error(f"`{path}` is larger than {MAX_JSON_BYTES} bytes", hint="this is no edgetl file")
        return path.read_bytes()
    except OSError as problem:
        raise error(f"`{path}` cannot be read: {problem.strerror}", hint="check the path") from problem


def inside(root: Path, relative: str) -> Path:
    """`root / relative`, refused when it would leave `root` (`..`, absolute, through a link)."""
    path = root / relative
    if not relative or "\0" in relative or not path.resolve().is_relative_to(root.resolve()):
        raise ArtefactError(f"the path `{relative}` leaves `{root}`", hint="do not trust this bundle")
    return path
