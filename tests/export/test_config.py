"""Which variants a device gets, and what it says of how they are quantised."""

from pathlib import Path

import pytest
from tests.conftest import Cli

from edgetl import plugins
from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import load_profile, shipped
from edgetl.errors import ConfigError, DependencyError
from edgetl.export.config import DEFAULT_VARIANTS, ExportConfig, chosen_variants, for_device, variants_of
from edgetl.export.targets import parse_variant


def profile(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f'name = "mine"\ntitle = "Mine"\n{text}')
    return str(path)


def absent(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    installed = plugins._installed
    monkeypatch.setattr(plugins, "_installed", lambda name: name not in libraries and installed(name))


def test_a_device_gets_its_engines_in_its_precisions_best_first() -> None:
    assert chosen_variants(None, "x86-64-amx")[0] == [
        "openvino-int8", "openvino-bf16", "openvino-fp32", "onnxruntime-int8", "onnxruntime-fp32",
    ]  # fmt: skip
    assert chosen_variants(None, "jetson-orin-nano")[0] == [
        "tensorrt-int8", "tensorrt-fp16", "onnxruntime-fp16", "onnxruntime-fp32",
    ]  # fmt: skip


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_device_asks_for_variants_there_are(name: str) -> None:
    wanted = variants_of(load_profile(name))
    assert wanted and all(parse_variant(each) for each in wanted) and len(set(wanted)) == len(wanted)


def test_without_precisions_an_engine_gets_fp32_and_int8(tmp_path: Path) -> None:
    named = profile(tmp_path, '[[engines]]\nname = "openvino"\n[[engines]]\nname = "tensorrt"\n')
    assert chosen_variants(None, named)[0] == ["openvino-fp32", "openvino-int8", "tensorrt-fp32", "tensorrt-int8"]


def test_what_the_user_names_goes_before_the_device() -> None:
    assert chosen_variants(("onnxruntime-w8",), "jetson-orin-nano") == (["onnxruntime-w8"], {})
    assert tuple(chosen_variants(None)[0]) == DEFAULT_VARIANTS


def test_what_cannot_be_converted_here_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, "nncf")
    names, refused = chosen_variants(None, "x86-64-avx512-vnni")
    assert names == ["onnxruntime-int8", "onnxruntime-fp32"]
    assert refused == dict.fromkeys(("openvino-int8", "openvino-fp32"), "`nncf` is not installed")
    with pytest.raises(DependencyError):
        chosen_variants(None, "intel-core-ultra-gpu")


def test_weights_are_quantised_as_the_device_says(tmp_path: Path) -> None:
    coarse = profile(tmp_path, '[[engines]]\nname = "openvino"\n[quantisation]\nweights = "per-tensor"\n')
    assert for_device(ExportConfig(device=coarse)).per_tensor
    assert not for_device(ExportConfig(device="x86-64-cpu")).per_tensor
    assert for_device(ExportConfig(device="x86-64-cpu", per_tensor=True)).per_tensor
    plain = ExportConfig()
    assert for_device(plain) is plain


def test_an_unknown_device_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean `x86-64-cpu`"):
        chosen_variants(None, "x86-64-cup")


def test_export_makes_what_the_device_runs_as_it_says(run: Path, tmp_path: Path, cli: Cli) -> None:
    coarse = profile(
        tmp_path,
        '[[engines]]\nname = "onnxruntime"\nprecisions = ["int8", "fp32"]\n[quantisation]\nweights = "per-tensor"\n',
    )
    done = cli("export", run, "-o", tmp_path / "b", "--device", coarse, "--calibration-samples", 8, "--no-escalate")
    assert done.exit_code == 0, done.output
    manifest = open_bundle(tmp_path / "b").manifest
    assert [variant.id for variant in manifest.variants] == ["onnxruntime-int8", "onnxruntime-fp32"]
    assert manifest.source is not None and manifest.source.calibration["per_tensor"] is True
