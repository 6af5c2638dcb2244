"""Reports are refused before the long check where they cannot be written, and replace nothing but files."""

import os
from pathlib import Path

import pytest
from tests.conftest import Cli

FAST = ("--variants", "onnxruntime-fp32")


@pytest.mark.parametrize("option", ["--junit", "--markdown", "--html"])
def test_only_a_file_is_replaced(cli: Cli, bundle: Path, tmp_path: Path, option: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place, told in ((pipe, "is no file"), (tmp_path, "is no file"), (tmp_path / "no" / "x", "cannot be written")):
        result = cli("check", bundle, option, place)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"`{place}` {told}" in result.stderr and "hint:" in result.stderr
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_two_reports_do_not_share_a_file(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    result = cli("check", bundle, "--junit", tmp_path / "a", "--html", tmp_path / "link" / "a")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "`--junit` and `--html` name the same file" in result.stderr
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("length", [250, 300])  # the name of the temporary file is longer than 255 bytes, or its own is
def test_one_that_fails_after_the_check_takes_no_other_with_it(
    cli: Cli, bundle: Path, tmp_path: Path, length: int
) -> None:
    too_long = tmp_path / ("x" * length)
    result = cli("check", bundle, *FAST, "--junit", too_long, "--markdown", tmp_path / "s.md")
    assert result.exit_code == 2 and result.exception.__class__ is SystemExit
    assert "onnxruntime-fp32" in result.stdout  # the verdict was told
    assert "cannot be written: File name too long" in result.stderr and "the verdict is" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["s.md"]
