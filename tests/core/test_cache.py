"""The cache folder: private, of this user, and where the environment says."""

import os
import stat
from pathlib import Path

import pytest

from edgetl.cache import cache_directory, engine_limit_bytes
from edgetl.errors import ConfigError


def test_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "own"))
    assert cache_directory("openvino") == tmp_path / "own" / "openvino"
    monkeypatch.delenv("EDGETL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory("openvino") == tmp_path / "xdg" / "edgetl" / "openvino"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_directory("openvino") == tmp_path / "home" / ".cache" / "edgetl" / "openvino"


def test_only_this_user_may_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path))
    (tmp_path / "open").mkdir(mode=0o777)
    for name in ("new", "open"):
        assert stat.S_IMODE(cache_directory(name).stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        cache_directory("openvino")
    assert "EDGETL_CACHE" in str(caught.value.hint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_someone_else_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path))
    os.chown(cache_directory("openvino"), 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        cache_directory("openvino")


def test_the_limit_of_compiled_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGETL_ENGINE_CACHE_MB", raising=False)
    assert engine_limit_bytes() == 2 * 2**30
    monkeypatch.setenv("EDGETL_ENGINE_CACHE_MB", "3")
    assert engine_limit_bytes() == 3 * 2**20
    for nonsense in ("-1", "two", "1.5"):
        monkeypatch.setenv("EDGETL_ENGINE_CACHE_MB", nonsense)
        with pytest.raises(ConfigError, match="EDGETL_ENGINE_CACHE_MB"):
            engine_limit_bytes()
