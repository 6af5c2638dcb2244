import hashlib
import os
from pathlib import Path

import pytest

from edgetl.devices.remote.protocol import Entry, Object
from edgetl.devices.remote.store import LIMIT, Store, safe
from edgetl.errors import ArtefactError, ConfigError


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def keep(store: Store, content: bytes) -> Entry:
    kept = store.put(digest(content), len(content), 0, content)
    assert kept.have == len(content) and not kept.damaged
    return Entry(path="file", sha256=digest(content), size=len(content))


def wanted(store: Store, *contents: bytes) -> dict[str, int]:
    found = store.want(tuple(Object(sha256=digest(content), size=len(content)) for content in contents))
    return {each.sha256: each.have for each in found}


def test_an_object_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    store, content = Store(tmp_path), b"0123456789"
    store.put(digest(content), 10, 0, content[:4])
    assert wanted(store, content) == {digest(content): 4}
    assert store.put(digest(content), 10, 6, content[6:]).have == 4, "a gap"
    assert store.put(digest(content), 10, 4, content[4:]).have == 10
    assert wanted(store, content) == {}


def test_what_is_not_what_it_is_called_is_never_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = store.put(digest(b"right"), 5, 0, b"wrong")
    assert kept.damaged and kept.have == 0
    assert wanted(store, b"right") == {digest(b"right"): 0}


def test_a_whole_object_that_was_changed_is_thrown_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = keep(store, b"content")
    [path] = (tmp_path / "objects").glob("*/*")
    path.chmod(0o600)
    path.write_bytes(b"CONTENT")
    assert store.lay_out([entry], tmp_path / "place") == (entry.sha256,)
    assert not (tmp_path / "place" / "file").exists()
    assert wanted(store, b"content") == {entry.sha256: 0}


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert wanted(store, b"") == {digest(b""): 0}
    entry = keep(store, b"")
    assert store.lay_out([entry], tmp_path / "place") == ()
    assert (tmp_path / "place" / "file").read_bytes() == b""


def test_files_are_laid_out_read_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = keep(store, b"x")
    store.lay_out([entry, Entry(path="a/b", sha256=entry.sha256, size=1)], tmp_path / "place")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "place" / "file", tmp_path / "place/a/b")] == [
        0o400
    ] * 2


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", ".", "a//b", "a/./b", "x\0", "a/" * 600 + "a"])
def test_a_path_never_leaves_its_folder(path: str) -> None:
    with pytest.raises(ArtefactError):
        safe(path)


def test_the_store_keeps_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "1")
    store = Store(tmp_path)
    old, used, new = (bytes([value]) * 400_000 for value in range(3))
    for age, content in ((30, old), (60, used)):
        keep(store, content)
        path = tmp_path / "objects" / digest(content)[:2] / digest(content)
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    assert wanted(store, used, new) == {digest(new): 0}
    assert wanted(store, old) == {digest(old): 0}
    with pytest.raises(ConfigError, match="needs 2 MB"):
        wanted(store, bytes(2_000_000))
    assert wanted(store, old, used) == {digest(old): 0}, "what cannot fit in any case pushes nothing out"
    monkeypatch.setenv(LIMIT, "many")
    with pytest.raises(ConfigError, match=LIMIT):
        wanted(store, new)
