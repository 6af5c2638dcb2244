"""What a device is told: options as words, a profile that means there what it means here."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.devices.catalogue import FOLDER, load_profile
from edgetl.devices.fleet.command import option, profile_word
from edgetl.devices.toml_text import toml_text

MINE = """name = "mine"
title = "Mine: \\"quoted\\", ünicode"
extends = "{parent}"
[latency]
p99_ms = 12.5
[[engines]]
name = "openvino"
options = {{ threads = 2 }}
precisions = ["int8"]
[sources]
"latency.p99_ms" = "a contract"
[numerics.int8]
min_agreement = 0.95
[numerics.fp32]
repeat_sqnr_db = 60.0
"""

SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=5)


def test_options_become_words_and_paths_stay_paths() -> None:
    assert option("data", Path("photos")) == ["--data", Path("photos")]
    assert option("seconds", 0.5) == ["--seconds", "0.5"]
    assert option("sequential", True) == ["--sequential"]
    assert option("sequential", False) == option("device", None) == []


def test_a_shipped_profile_travels_by_name_and_no_profile_is_the_device_itself(tmp_path: Path) -> None:
    assert profile_word("raspberry-pi-5", tmp_path) == "raspberry-pi-5"
    assert profile_word(None, tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parent", ["raspberry-pi-5", "below.toml"])
def test_a_profile_of_the_users_own_arrives_with_what_it_extends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: str
) -> None:
    (tmp_path / "below.toml").write_text('name = "below"\ntitle = "Below"\nextends = "x86-64-cpu"\n')
    (tmp_path / "mine.toml").write_text(MINE.format(parent=parent))
    monkeypatch.setenv(FOLDER, str(tmp_path))
    wanted = msgspec.structs.replace(load_profile("mine"), extends=None, sources={})
    sent = tmp_path / "sent"
    sent.mkdir()
    for name in ("mine", str(tmp_path / "mine.toml")):
        path = profile_word(name, sent)
        assert isinstance(path, Path) and path.parent == sent
        assert load_profile(str(path)) == wanted


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_what_is_written_as_toml_is_read_as_it_was(values: dict[str, object]) -> None:
    assert msgspec.toml.decode(toml_text(values).encode()) == values


def test_what_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        toml_text({"a": object()})
