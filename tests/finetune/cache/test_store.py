"""Rows on disk are what was written, whatever interrupted the writing."""

from pathlib import Path

import numpy as np
import pytest

from edgetl.finetune.cache.store import RECORD, RowStore, trim
from edgetl.types import Array


def digests(*values: int) -> Array:
    return np.stack([np.full(32, value, np.uint8) for value in values])


def filled(folder: Path) -> RowStore:
    store = RowStore(folder, (2, 3), np.float32)
    with store.writing():
        store.append(digests(1, 2), np.arange(12, dtype=np.float32).reshape(2, 2, 3))
        store.append(digests(3), np.full((1, 2, 3), 7, np.float32))
    return store


def test_rows_are_found_by_digest_in_any_order(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    numbers = store.find(digests(3, 9, 1, 3))
    assert numbers.tolist() == [2, -1, 0, 2]
    assert store.rows()[2].tolist() == [[7, 7, 7], [7, 7, 7]]


def test_another_process_finds_them_again(tmp_path: Path) -> None:
    filled(tmp_path / "s").close()
    again = RowStore(tmp_path / "s", (2, 3), np.float32)
    assert again.rows()[again.find(digests(2))[0]].tolist() == [[6, 7, 8], [9, 10, 11]]


@pytest.mark.parametrize(("name", "left"), [("index.bin", RECORD.itemsize * 3 - 5), ("rows.bin", 24 * 3 - 5)])
def test_a_torn_end_counts_as_absent_and_is_written_again(tmp_path: Path, name: str, left: int) -> None:
    store = filled(tmp_path / "s")
    with (tmp_path / "s" / name).open("r+b") as stream:
        stream.truncate(left)
    assert store.find(digests(1, 2, 3)).tolist() == [0, 1, -1]
    with store.writing():
        store.append(digests(3), np.ones((1, 2, 3), np.float32))
    assert store.rows()[store.find(digests(3))[0]].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_flipped_bit_counts_as_absent(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    content = bytearray((tmp_path / "s" / "rows.bin").read_bytes())
    content[30] ^= 1
    (tmp_path / "s" / "rows.bin").write_bytes(content)
    assert store.find(digests(1, 2, 3)).tolist() == [0, -1, 2]
    assert store.find(digests(1, 2, 3)).tolist() == [0, -1, 2]


def test_equal_beginnings_are_not_equal_digests(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    other = digests(1)
    other[0, 31] = 99
    assert store.find(other).tolist() == [-1]


def test_what_was_not_used_for_longest_goes_first_and_nothing_in_use(tmp_path: Path) -> None:
    import os

    for age, name in enumerate(("new", "middle", "old")):
        filled(tmp_path / name).close()
        os.utime(tmp_path / name / "in-use.lock", (1e9 - age, 1e9 - age))
    size = sum(path.stat().st_size for path in (tmp_path / "new").iterdir())
    trim(tmp_path, 2 * size)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "middle"}
    used = RowStore(tmp_path / "middle", (2, 3), np.float32)
    trim(tmp_path, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"middle"}
    used.close()
