"""What of a local file or folder goes to the device: a bundle's listed files, a folder's images, a list's images."""

import csv
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgetl.bundle import open_bundle
from edgetl.devices.remote.protocol import MAX_BODY_BYTES, MAX_FILES, Entry, Place
from edgetl.errors import DataError
from edgetl.files import sha256_of
from edgetl.tasks.boxed.reading import ANNOTATIONS, formats_of
from edgetl.tasks.images import SUFFIXES

SIGNATURE = "manifest.json.sig"

Content = Path | bytes
"""A file to be read when it is sent, or what is sent in its stead."""


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A local path as it goes to the device. `contents`: SHA-256 → where the bytes are."""

    path: Path
    place: Place
    contents: dict[str, Content]


def parcel(path: Path) -> Parcel:
    """Everything that belongs to `path`. A bundle is verified first; of any other folder the images go and, where
    they say where objects are, the annotations.

    Raises ArtefactError for a damaged bundle, DataError for what is missing, unreadable or too much.
    """
    try:
        if (path / "manifest.json").is_file():
            return _bundle(path)
        if path.is_dir():
            suffixes = SUFFIXES | ANNOTATIONS if formats_of(path) else SUFFIXES
            return _packed(path, {name: path / name for name in _files(path, suffixes)})
        if path.is_file() and path.suffix.lower() == ".csv":
            return _list(path)
        if path.is_file():
            return _packed(path, {path.name: path}, opened=path.name)
    except OSError as error:
        raise DataError(
            f"`{error.filename or path}` cannot be read: {error.strerror}", hint="check the path"
        ) from error
    raise DataError(f"`{path}` does not exist", hint="check the path")


def _bundle(path: Path) -> Parcel:
    opened = open_bundle(path)
    opened.verify()
    listed = [Entry(path=each.path, sha256=each.sha256, size=each.size) for each in opened.manifest.files]
    contents: dict[str, Content] = {each.sha256: path / each.path for each in opened.manifest.files}
    beside = _packed(path, {name: path / name for name in (SIGNATURE, "manifest.json") if (path / name).is_file()})
    return Parcel(
        path=path, place=Place(entries=(*listed, *beside.place.entries)), contents={**contents, **beside.contents}
    )


def _files(folder: Path, suffixes: frozenset[str]) -> Iterator[str]:
    """Relative paths of the files that end so; nothing hidden. A folder in `folder` may be a link, one further down is
    not followed, as `edgetl.tasks.labelled` does not, so that no circle of links is walked.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        top = Path(parent) == folder
        folders[:] = [
            name for name in sorted(folders) if name[0] != "." and (top or not Path(parent, name).is_symlink())
        ]
        for name in sorted(names):
            file = Path(parent, name)
            if name[0] != "." and file.suffix.lower() in suffixes and file.is_file():
                yield file.relative_to(folder).as_posix()


def _list(path: Path) -> Parcel:
    """A CSV list with its images, which may lie anywhere here; there they lie below the list.

    A list that cannot be read goes as it is: the device says what is wrong, as it would be said here.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error):
        return _packed(path, {path.name: path}, opened=path.name)
    if "path" not in columns or any(None in row for row in rows):
        return _packed(path, {path.name: path}, opened=path.name)
    files: dict[str, Content] = {}
    for number, row in enumerate(rows):
        image = path.parent / (row["path"] or "").strip()
        if row["path"] and image.is_file():
            name = f"images/{number:06}{image.suffix}"
            row["path"] = name
            files[name] = image
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return _packed(path, {**files, path.name: text.getvalue().encode()}, opened=path.name)


def _packed(path: Path, files: dict[str, Path] | dict[str, Content], *, opened: str = "") -> Parcel:
    if len(files) > MAX_FILES:
        raise DataError(f"`{path}` has more than {MAX_FILES} files to be sent", hint="send fewer images")
    entries, contents = [], dict[str, Content]()
    for name, content in files.items():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the name of {name!r} in `{path}` is not UTF-8", hint="rename the file") from error
        entry = _entry(name, content)
        entries.append(entry)
        contents[entry.sha256] = content
    return Parcel(path=path, place=Place(entries=tuple(entries), opened=opened), contents=contents)


def _entry(name: str, content: Content) -> Entry:
    if isinstance(content, bytes):
        return Entry(path=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    return Entry(path=name, sha256=sha256_of(content), size=content.stat().st_size)


def pieces(content: Content, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The bytes from `offset` up to `size`, as (offset, piece); one empty piece when there are none.

    Raises DataError when the file has become shorter meanwhile.
    """
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        stream.seek(offset)
        while True:
            piece = stream.read(min(MAX_BODY_BYTES, max(0, size - offset)))
            if not piece and offset < size:
                raise DataError(f"`{content!s}` changed while it was sent", hint="run the command again")
            yield offset, piece
            offset += len(piece)
            if offset >= size:
                return
