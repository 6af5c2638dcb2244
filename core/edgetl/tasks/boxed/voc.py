"""Pascal VOC: an XML file a photo (Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010).

Corners count pixels from 1 and include the last, so a box from 1 to 640 is all of a photo that is 640 pixels wide.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from edgetl.errors import DataError, first_line
from edgetl.run import Split
from edgetl.tasks.boxed.photos import Listed, ListedPhoto, Listing
from edgetl.tasks.boxed.splits import split_named
from edgetl.tasks.images import SUFFIXES

MAX_BYTES = 16 * 2**20
"""A larger file is no list of boxes."""

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def voc_files(root: Path) -> list[Path]:
    """The XML files: in `Annotations/`, in split folders, or in the folder itself."""
    if found := sorted((root / "Annotations").glob("*.xml")):
        return found
    folders = sorted(path for path in root.iterdir() if path.is_dir() and split_named(path.name))
    inside = [path for folder in folders for path in sorted((*folder.glob("*.xml"), *folder.glob("*/*.xml")))]
    return inside or sorted(root.glob("*.xml"))


def read_voc(root: Path) -> Listing:
    """Every XML file of the data set; splits as `ImageSets/Main` or the folders say. Raises DataError."""
    files = voc_files(root)
    if not files:
        raise DataError(f"`{root}` holds no Pascal VOC annotations", hint="expected is Annotations/*.xml")
    listed = _image_sets(root)
    known = {path.stem for path in files}
    for name in sorted(set(listed) - known):
        raise DataError(f"`{name}` of ImageSets/Main has no Annotations/{name}.xml", hint="add or remove it")
    wanted = [path for path in files if not listed or path.stem in listed]
    photos = [_photo(root, path, listed.get(path.stem) or _split_of(root, path)) for path in wanted]
    names = sorted({each.name for photo in photos for each in photo.objects})
    left = f", {len(files) - len(wanted)} photos in none of its lists" if len(wanted) < len(files) else ""
    layout = "Pascal VOC" + (f" (splits of ImageSets/Main{left})" if listed else "")
    return Listing(names=tuple(names), photos=photos, layout=layout)


def _image_sets(root: Path) -> dict[str, Split]:
    """The split of each photo's name, where `ImageSets/Main` says it."""
    found: dict[str, Split] = {}
    for split in SPLITS:
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        for number, line in enumerate(path.read_text().splitlines() if path.is_file() else (), start=1):
            if not (words := line.split()):
                continue
            if found.setdefault(words[0], split) != split:
                hint = f"it stands in {found[words[0]]}.txt too"
                raise DataError(f"line {number} of `{path}`: `{words[0]}` is in two splits", hint=hint)
    return found


def _split_of(root: Path, path: Path) -> Split | None:
    return split_named(path.relative_to(root).parts[0]) if path.parent != root else None


def _photo(root: Path, path: Path, split: Split | None) -> ListedPhoto:
    tree = _parsed(path)
    size = (_number(tree, "size/width", path, "0"), _number(tree, "size/height", path, "0"))
    return ListedPhoto(
        path=_image(root, path, (tree.findtext("filename") or "").strip()),
        where=f"`{path}`",
        objects=tuple(_objects(tree, path)),
        split=split,
        size=(int(size[0]), int(size[1])) if min(size) > 0 else None,
    )


def _parsed(path: Path) -> ElementTree.Element:
    """Raises DataError; a file with a document type, which could grow without bound when read, is refused."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b"\0"
        if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw or b"\0" in raw:
            raise DataError(f"`{path}` is no plain list of boxes", hint="document types and UTF-16 are refused")
        return ElementTree.fromstring(raw)
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"`{path}` is no XML: {first_line(error)}", hint="is the file complete?") from error


def _objects(tree: ElementTree.Element, path: Path) -> Iterator[Listed]:
    for number, each in enumerate(tree.iter("object"), start=1):
        where = f"`{path}`, object {number}"
        name = (each.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{where} has no name", hint="every object needs its class")
        left, top, right, bottom = (_number(each, f"bndbox/{key}", where) for key in ("xmin", "ymin", "xmax", "ymax"))
        ignored = (each.findtext("difficult") or "0").strip() == "1"
        yield Listed(name=name, box=(left - 1, top - 1, right, bottom), where=where, ignored=ignored)


def _number(tree: ElementTree.Element, tag: str, where: Path | str, default: str = "") -> float:
    text = (tree.findtext(tag) or default).strip()
    try:
        return float(text)
    except ValueError as error:
        place = where if isinstance(where, str) else f"`{where}`"
        raise DataError(f"{place} has `{text}` as {tag}", hint="it must be a number of pixels") from error


def _image(root: Path, path: Path, name: str) -> Path:
    """The photo of an annotation: what it names, else the one of the same name; in `JPEGImages/`, or beside it."""
    folders = (root / "JPEGImages", path.parent, path.parent.parent / "images", root / "images")
    named = [Path(name).name] if name else []
    names = [*named, *(path.stem + suffix for suffix in sorted(SUFFIXES))]
    places = (folder / each for each in names for folder in folders)
    return next((place for place in places if place.is_file()), folders[0] / names[0])
