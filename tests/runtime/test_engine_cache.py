"""Compiled models on disk: the same answers to the bit, whatever happens to the cache."""

import hashlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle import open_bundle
from edgetl.runtime import load
from edgetl.runtime.entries import find, store, trim
from edgetl.runtime.session import sample_feeds
from edgetl.types import EngineFacts, Option, Outputs

VARIANT = "openvino-int8"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    name: str


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, empty."""
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*"))


def answers(bundle: Path, variant: str = VARIANT, **options: Option) -> tuple[Outputs, EngineFacts]:
    """What the golden samples give, in batches of 1 and 5."""
    feeds = sample_feeds(open_bundle(bundle), 5)["image"]
    with load(bundle, variant=variant, options=options) as model:
        single, many = model.infer({"image": feeds[:1]}), model.infer({"image": feeds})
        return {name: np.concatenate([single[name], many[name]]) for name in many}, model.facts


def same(one: Outputs, other: Outputs) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("variant", ["openvino-fp32", "openvino-int8"])
@pytest.mark.parametrize("options", [{}, {"batch": 5}, {"threads": 1, "hint": "throughput", "streams": 2}])
def test_a_model_from_the_cache_answers_as_one_just_compiled(
    variant: str, options: dict[str, Option], bundle: Path, cache: Path
) -> None:
    plain, facts = answers(bundle, variant, cache=False, **options)
    assert not entries(cache)
    first, _ = answers(bundle, variant, **options)
    kept = {path: path.stat().st_ino for path in entries(cache)}
    again, facts_again = answers(bundle, variant, **options)
    assert len(kept) == (2 if "batch" in options else 1)
    assert {path: path.stat().st_ino for path in entries(cache)} == kept
    assert same(plain, first) and same(plain, again) and facts == facts_again


def test_the_cache_is_private_and_outside_the_bundle(own_bundle: Path, cache: Path) -> None:
    before = sorted(own_bundle.rglob("*"))
    answers(own_bundle)
    (entry,) = entries(cache)
    assert entry.stat().st_mode & 0o777 == 0o600 and entry.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(own_bundle.rglob("*")) == before


def test_other_options_and_other_models_are_other_entries(bundle: Path, cache: Path) -> None:
    for variant, options in ((VARIANT, {}), (VARIANT, {"threads": 1}), ("openvino-fp32", {})):
        answers(bundle, variant, **options)
    assert len(entries(cache)) == 3


def reseal(raw: bytes) -> bytes:
    """The same header around a payload that OpenVINO never wrote, with a checksum that fits."""
    magic, line, payload = raw.split(b"\n", 2)
    header = msgspec.json.decode(line)
    rubbish = payload[: len(payload) // 2]
    header["size"], header["sha256"] = len(rubbish), hashlib.sha256(rubbish).hexdigest()
    return b"\n".join((magic, msgspec.json.encode(header), rubbish))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: raw[:-100], "cut off"),
        (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "checksum"),
        (lambda raw: b"", "no engine"),
        (lambda raw: raw[:40], "damaged header"),
        (lambda raw: raw.replace(b'"engine":"openvino"', b'"engine":"openvoni"'), "something else"),
        (reseal, "refused"),
    ],
)
def test_a_damaged_entry_is_compiled_again_and_changes_no_answer(
    damage: Callable[[bytes], bytes], said: str, bundle: Path, cache: Path
) -> None:
    plain, _ = answers(bundle)
    (entry,) = entries(cache)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    with pytest.warns(RuntimeWarning, match=f"{said}.*compiled again"):
        assert same(answers(bundle)[0], plain)
    assert same(answers(bundle)[0], plain)  # without a warning: warnings are errors here


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_left_is_not_used(bundle: Path, cache: Path) -> None:
    plain, _ = answers(bundle)
    os.chown(entries(cache)[0], 12345, 12345)
    with pytest.warns(RuntimeWarning, match="belongs to user 12345"):
        assert same(answers(bundle)[0], plain)
    os.chown(cache / "openvino", 12345, 12345)
    with pytest.warns(RuntimeWarning, match="not kept.*belongs to user 12345"):
        assert same(answers(bundle)[0], plain)


def test_a_device_that_cannot_keep_anything_still_answers(
    bundle: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = answers(bundle)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="not kept"):
        assert same(answers(bundle)[0], plain)


def test_a_full_disk_is_a_warning(bundle: Path, cache: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    script = """
import resource, signal, sys, warnings
from edgetl.runtime import load
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with warnings.catch_warnings(record=True) as caught:
    load(sys.argv[1], variant="openvino-int8").close()
print(*[each.message for each in caught])
"""
    done = subprocess.run([sys.executable, "-c", script, bundle], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "not kept" in done.stdout, done.stderr
    assert not entries(cache)


def test_nothing_is_kept_when_the_limit_is_zero(bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_ENGINE_CACHE_MB", "0")
    answers(bundle)
    assert not cache.exists()


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "openvino"
    folder.mkdir()
    paths = [folder / f"{name}.engine" for name in "abc"]
    for age, path in enumerate(paths):
        store(path, Key(name=path.stem), bytes(1000))
        os.utime(path, (1e9 + age, 1e9 + age))
    assert find(paths[0], Key(name="a")).payload is not None  # used just now
    trim(tmp_path, 2500)
    assert [path.name for path in entries(tmp_path)] == ["a.engine", "c.engine"]
    monkeypatch.setenv("EDGETL_ENGINE_CACHE_MB", "1")
    store(folder / "large.engine", Key(name="large"), bytes(2**20 + 1))
    assert not (folder / "large.engine").exists()


def test_what_a_killed_process_began_to_write_is_removed_later(tmp_path: Path) -> None:
    folder = tmp_path / "openvino"
    folder.mkdir()
    for name, age in (("fresh", 0.0), ("abandoned", 1e6)):
        path = folder / f".{name}.engine.abc.partial"
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    trim(tmp_path, 2**30)
    assert [path.name for path in folder.iterdir()] == [".fresh.engine.abc.partial"]


ANSWER = """
import sys, warnings
from pathlib import Path
import numpy as np
from edgetl.runtime import load
from edgetl.runtime.session import sample_feeds
warnings.simplefilter("error")
with load(sys.argv[1], variant="openvino-int8") as model:
    print(model.infer(sample_feeds(model.bundle, 3))["logits"].tobytes().hex())
"""


def test_processes_that_start_at_once_give_one_answer(bundle: Path, cache: Path) -> None:
    starts = [
        subprocess.Popen([sys.executable, "-c", ANSWER, bundle], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[0] for process in starts]
    assert [process.returncode for process in starts] == [0] * 4
    assert len(set(said)) == 1 and len(said[0]) > 10
    assert len(entries(cache)) == 1


def test_an_eviction_while_others_load_disturbs_no_one(bundle: Path, cache: Path) -> None:
    command = [sys.executable, "-c", ANSWER, str(bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            trim(cache, 0)
        assert process.returncode == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers(bundle)
