"""Where profiles are found, what `extends` adds, and which mistakes in one are named."""

from pathlib import Path

import pytest

from edgetl.devices.catalogue import MAX_DEPTH, find, load_profile, names, shipped, user_folder
from edgetl.devices.profile import Profile
from edgetl.errors import ConfigError

ENGINE = '[[engines]]\nname = "onnxruntime"\n'


def write(folder: Path, name: str, text: str = ENGINE, *, top: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\ntitle = "{name.title()}"\n{top}\n{text}')
    return path


def refusal(name: str | Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_profile(str(name))
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder of profiles."""
    place = tmp_path / "devices"
    place.mkdir()
    monkeypatch.setenv("EDGETL_DEVICES", str(place))
    return place


# where


def test_the_folder_is_the_variable_else_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_DEVICES", "/somewhere")
    assert user_folder() == Path("/somewhere")
    monkeypatch.setenv("EDGETL_DEVICES", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert user_folder() == Path("/config/edgetl/devices")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert user_folder() == Path.home() / ".config" / "edgetl" / "devices"


def test_a_profile_of_ones_own_is_found_by_name_and_listed(folder: Path) -> None:
    write(folder, "camera")
    assert load_profile("camera").title == "Camera"
    assert names() == sorted([*shipped(), "camera"])


def test_without_a_folder_the_shipped_ones_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_DEVICES", str(tmp_path / "none"))
    assert names() == shipped()


def test_a_path_needs_no_folder_and_no_like_name(tmp_path: Path) -> None:
    path = write(tmp_path, "mine")
    renamed = path.rename(tmp_path / "other.toml")
    assert load_profile(str(renamed)).name == "mine"
    assert "cannot be read" in refusal(tmp_path / "gone.toml")


def test_an_unknown_name_is_answered_with_the_closest(folder: Path) -> None:
    write(folder, "camera")
    assert "did you mean `camera`" in refusal("camra")
    assert "did you mean `raspberry-pi-5`" in refusal("rasberry-pi-5")


@pytest.mark.parametrize("name", ["../camera", "a/b", "", "..", ".", "a\0b", "a\0.toml", "a" * 300])
def test_a_name_never_leaves_the_folder(folder: Path, name: str) -> None:
    write(folder.parent, "camera")
    assert "no name of a device" in refusal(name)


def test_nobody_may_stand_in_for_a_shipped_profile(folder: Path) -> None:
    write(folder, "raspberry-pi-5")
    assert "has the name of a shipped profile" in refusal("raspberry-pi-5")


def test_a_file_is_called_what_it_calls_itself(folder: Path) -> None:
    write(folder, "camera").rename(folder / "doorbell.toml")
    assert "calls itself `camera`" in refusal("doorbell")


def test_host_is_this_machine_and_no_profile(folder: Path) -> None:
    write(folder, "host")
    assert "means this machine" in refusal("host")


# extends


def test_tables_are_merged_and_lists_replaced(folder: Path) -> None:
    top = 'extends = "raspberry-pi-5"'
    text = '[hardware]\nmemory_gb = 8\nfeatures = ["neon"]\n[latency]\np99_ms = 50\n'
    write(folder, "doorbell", text, top=top)
    profile, parent = load_profile("doorbell"), load_profile("raspberry-pi-5")
    assert profile.hardware.memory_gb == 8 and profile.hardware.board == "Raspberry Pi 5"
    assert profile.hardware.features == ("neon",)
    assert profile.engines == parent.engines and profile.latency.p99_ms == 50
    write(folder, "doorbell", '[[engines]]\nname = "openvino"\noptions = { threads = 2 }\n', top=top)
    assert [choice.name for choice in load_profile("doorbell").engines] == ["openvino"]


def test_one_bound_of_a_precision_leaves_the_others_as_shipped(folder: Path) -> None:
    write(folder, "strict", ENGINE + "[numerics.int8]\nmin_agreement = 0.97\n[numerics.fp32]\nmax_abs_dlogit = 1e-4\n")
    numerics, shipped_ones = load_profile("strict").numerics, Profile(name="a", title="A").numerics
    assert numerics.int8.min_agreement == 0.97 and numerics.int8.min_sqnr_db == shipped_ones.int8.min_sqnr_db
    assert numerics.fp32.max_abs_dlogit == 1e-4
    assert numerics.fp32.reproduction_sqnr_db == shipped_ones.fp32.reproduction_sqnr_db
    assert numerics.fp16 == shipped_ones.fp16


def test_by_relative_path_from_the_files_own_folder(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    write(tmp_path, "base", ENGINE + "[accuracy]\nmax_drop_points = 2\n")
    path = write(tmp_path / "sites", "berlin", "", top='extends = "../base.toml"')
    assert load_profile(str(path)).accuracy.max_drop_points == 2


def test_ones_own_profile_extends_ones_own(folder: Path) -> None:
    write(folder, "first", ENGINE + "[hardware]\ncores = 3\n")
    write(folder, "second", "", top='extends = "first"')
    write(folder, "third", "[accuracy]\nmax_drop_points = 3\n", top='extends = "second"')
    third = load_profile("third")
    assert (third.hardware.cores, third.accuracy.max_drop_points) == (3, 3)


def test_verified_is_never_inherited(folder: Path) -> None:
    write(folder, "mine", "", top='extends = "x86-64-cpu"')
    assert load_profile("x86-64-cpu").verified and not load_profile("mine").verified
    write(folder, "mine", "", top='extends = "x86-64-cpu"\nverified = true')
    assert load_profile("mine").verified


def test_circles_and_endless_chains_end(folder: Path) -> None:
    write(folder, "hen", top='extends = "egg"')
    write(folder, "egg", top='extends = "hen"')
    assert "hen → egg → hen" in refusal("hen")
    write(folder, "self", top='extends = "self"')
    assert "self → self" in refusal("self")
    for number in range(MAX_DEPTH + 1):
        write(folder, f"p{number}", top=f'extends = "p{number + 1}"' if number < MAX_DEPTH else "")
    assert f"at most {MAX_DEPTH}" in refusal("p0")
    assert "p8.toml` is one too many" in refusal("p0") and "extends itself" not in refusal("p0")
    assert load_profile("p1").name == "p1"


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    assert "loop.toml` cannot be read" in refusal(tmp_path / "loop.toml")


def test_what_lies_in_the_folder_is_named_with_its_path_or_hidden(folder: Path) -> None:
    (folder / ".#camera.toml").symlink_to("me@host.4711")
    assert names() == shipped()
    (folder / "sub.toml").mkdir()
    assert f"`{folder / 'sub.toml'}` cannot be read: Is a directory" in refusal("sub")
    (folder / "my camera.toml").write_text(ENGINE)
    assert f"`{folder / 'my camera.toml'}` has no name for a device" in refusal("my camera")


@pytest.mark.parametrize("text", ["hardware = 3", '[latency]\np99_ms = "fast"'])
def test_a_wrong_type_has_a_hint(folder: Path, text: str) -> None:
    write(folder, "typed", text)
    assert "hint: docs/devices.md" in refusal("typed")


def test_a_parent_that_is_not_there(folder: Path) -> None:
    write(folder, "orphan", top='extends = "raspbery-pi-4"')
    assert "did you mean `raspberry-pi-4`" in refusal("orphan")


# mistakes


def test_a_wrong_key_is_named_with_the_file_it_stands_in(folder: Path) -> None:
    write(folder, "base", ENGINE + "[hardware]\ncore = 4\n")
    write(folder, "child", "", top='extends = "base"')
    told = refusal("child")
    assert str(folder / "base.toml") in told and "did you mean `cores`?" in told


@pytest.mark.parametrize(
    ("engines", "told"),
    [
        ('[[engines]]\nname = "onnxruntim"\n', "did you mean `onnxruntime`?"),
        ('[[engines]]\nname = "openvino"\noptions = { thread = 2 }\n', "did you mean `threads`?"),
        ('[[engines]]\nname = "tensorrt"\noptions = { devise = 1 }\n', "did you mean `device`?"),
        ('[[engines]]\nname = "onnxruntime"\noptions = { threads = "4" }\n', "Expected `int`"),
        ('[[engines]]\nname = "openvino"\noptions = { device = "NPU" }\n', "add `batch = 1`"),
        ('[[engines]]\nname = "openvino"\noptions = { device = "GPU.1", threads = 4 }\n', "the GPU has no `threads`"),
        ('[[engines]]\nname = "onnxruntime"\nprecisions = ["bf16"]\n', "`onnxruntime` has no `bf16`"),
        (2 * ENGINE, "an engine is named twice"),
        ("", "names no engine"),
    ],
)
def test_engines_are_checked_without_being_installed(folder: Path, engines: str, told: str) -> None:
    path = write(folder, "mine", engines)
    message = refusal("mine")
    assert told in message and str(path) in message


def test_a_bound_that_never_fails_is_no_bound(folder: Path) -> None:
    write(folder, "mine", ENGINE + "[numerics.fp32]\nmax_abs_dlogit = nan\n")
    assert "`numerics.fp32.max_abs_dlogit` is `nan`" in refusal("mine")


# sources


def test_a_source_names_a_figure_that_is_there(folder: Path) -> None:
    figures = ENGINE + "options = { threads = 2 }\n[hardware]\ncores = 4\n[sources]\n"
    write(folder, "mine", figures + '"hardware.cores" = "counted"\n"engines.onnxruntime.threads" = "tried"\n')
    assert load_profile("mine").sources == {"hardware.cores": "counted", "engines.onnxruntime.threads": "tried"}
    write(folder, "mine", figures + '"hardware.core" = "counted"\n')
    assert "did you mean `hardware.cores`" in refusal("mine")
    write(folder, "mine", figures + '"hardware.memory_gb" = "it has some"\n')
    assert "which it does not say" in refusal("mine")
    write(folder, "mine", figures + 'hardware.cores = "counted"\n')
    assert '"hardware.cores" = "…"' in refusal("mine")


def test_a_figure_of_ones_own_does_not_keep_the_parents_source(folder: Path) -> None:
    write(folder, "mine", "[hardware]\nmemory_gb = 16\n", top='extends = "raspberry-pi-5"')
    sources, parents = load_profile("mine").sources, load_profile("raspberry-pi-5").sources
    assert "hardware.memory_gb" in parents and "hardware.memory_gb" not in sources
    assert sources["hardware.cores"] == parents["hardware.cores"]


def test_engines_of_ones_own_drop_the_sources_of_the_parents_options(folder: Path) -> None:
    write(folder, "base", ENGINE + 'options = { threads = 2 }\n[sources]\n"engines.onnxruntime.threads" = "tried"\n')
    write(folder, "child", '[[engines]]\nname = "openvino"\n', top='extends = "base"')
    assert load_profile("child").sources == {}


def test_a_source_may_be_added_to_an_inherited_figure(folder: Path) -> None:
    write(folder, "mine", '[sources]\n"hardware.cores" = "counted here"\n', top='extends = "raspberry-pi-4"')
    assert load_profile("mine").sources["hardware.cores"] == "counted here"


def test_the_file_of_a_shipped_profile_is_found() -> None:
    assert find("x86-64-cpu").is_file()
