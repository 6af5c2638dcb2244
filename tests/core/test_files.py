"""Files are whole or absent, strict, and stay in their folder."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from edgetl.devices.profile import Profile
from edgetl.errors import ArtefactError, ConfigError
from edgetl.files import inside, read_json, read_toml, write_bytes, write_json, write_via
from edgetl.staging import staged_directory


class Thing(msgspec.Struct):
    schema: str
    value: int = 0


def test_json_round_trip_ignores_unknown_keys_within_a_major(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"schema": "1.7", "value": 3, "later": True})
    assert read_json(tmp_path / "a.json", Thing, major=1) == Thing(schema="1.7", value=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": "2.0"}', "reads up to `1.x`"),
        (b'{"value": 1}', "carries no `schema"),
        (b'{"schema": 1}', "carries no `schema"),
        (b"[]", "carries no `schema"),
        (b'{"schema": "1.0", "value": "x"}', "cannot be read"),
        (b'{"schema": "1.0"', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_json_file_that_is_not_ours_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        read_json(tmp_path / "a.json", Thing, major=1)


def test_a_mistyped_key_in_toml_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "x"\ntitle = "x"\nengines = []\n[acuracy]\nmax_drop_points = 2\n')
    with pytest.raises(ConfigError) as caught:
        read_toml(path, Profile)
    assert "acuracy" in caught.value.message
    assert caught.value.hint == "did you mean `accuracy`?"


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", "", "link/x", "a\0b"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ArtefactError):
        inside(root, relative)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")

    def fail(_: object) -> None:
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write_via(tmp_path / "a", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_folder_vanishes_with_the_parents_made_for_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error), staged_directory(tmp_path / "new" / "run", overwrite=False) as staging:
        (staging / "half").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_overwrite_keeps_the_old_folder_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "run.json").write_text("old")
    with pytest.raises(ConfigError, match="exists"), staged_directory(target, overwrite=False):
        pass
    with pytest.raises(RuntimeError), staged_directory(target, overwrite=True):
        raise RuntimeError
    assert (target / "run.json").read_text() == "old"
    with staged_directory(target, overwrite=True) as staging:
        (staging / "run.json").write_text("new")
    assert (target / "run.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with (
        pytest.raises(ConfigError, match="neither a run nor a bundle"),
        staged_directory(tmp_path / "photos", overwrite=True),
    ):
        pass
    assert (tmp_path / "photos" / "holiday.jpg").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """A file system of 3 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True)
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield place
    # lazily: the traceback of the failed command may still hold a file open
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path, dataset: Path, run: Path, cli: object) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (2 * 2**20 + 900_000))
    trained = cli("finetune", dataset, "-o", small_disk / "run", "--backbone", "residual_cnn",  # type: ignore[operator]
                  "--strategy", "from-scratch", "--epochs", "1")  # fmt: skip
    assert (trained.exit_code, "disk is full" in trained.stderr) == (1, True), trained.stderr
    exported = cli("export", run, "-o", small_disk / "bundle")  # type: ignore[operator]
    assert (exported.exit_code, "disk is full" in exported.stderr) == (1, True), exported.stderr
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]
