"""`check` on clean, planted, quantised-to-death and foreign-hardware bundles."""

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from tests.conftest import Cli

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile, load_profile
from edgetl.devices.check import check
from edgetl.devices.profile import Profile
from edgetl.devices.verdict import Report, VariantReport
from edgetl.export.config import ExportConfig
from edgetl.export.planted.planting import rehash
from edgetl.export.stage import export
from edgetl.files import sha256_of
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.backbones.weights import build_model, read_weights, save_weights
from edgetl.manifest import Attempt, Manifest, Quantisation
from edgetl.run import open_run
from edgetl.runtime.bench import BenchOptions

QUICK = BenchOptions(min_seconds=0.0, min_queries=5, warmup_queries=1)


def judge(folder: Path, *variants: str, profile: Profile | None = None) -> Report:
    return check(open_bundle(folder), profile or host_profile(), variants=variants or None, latency=None)


def layers(report: VariantReport, verdict: str = "fail") -> set[str]:
    return {reason.layer for reason in report.reasons if reason.verdict == verdict}


def test_a_clean_bundle_never_fails(bundle: Path) -> None:
    report = judge(bundle)
    assert report.verdict in ("pass", "undecided")
    assert [variant.verdict for variant in report.variants if variant.id.endswith("fp32")] == ["pass", "pass"]
    for variant in report.variants:
        assert variant.facts is not None and variant.id == f"{variant.facts.engine}-{variant.facts.precision}"
        assert variant.samples == 90


def test_latency_and_size_are_measured(bundle: Path) -> None:
    variant = check(open_bundle(bundle), host_profile(), variants=["openvino-int8"], latency=QUICK).variants[0]
    assert variant.latency_ms is not None and variant.latency_ms.p50 > 0
    assert variant.latency_ms.p99 is None, "five queries do not know their 99th percentile"
    assert variant.size_bytes == sum((bundle / "openvino-int8" / n).stat().st_size for n in ("model.xml", "model.bin"))


def test_weights_quantised_per_tensor_are_refused(own_run: Path, tmp_path: Path, cli: Cli) -> None:
    """One huge weight that meets only zeros changes nothing in fp32, and takes the whole tensor's range."""
    _plant_hostile_scale(own_run)
    good = cli("export", own_run, "-o", tmp_path / "good", "--variants", "onnxruntime-fp32,onnxruntime-int8")
    assert good.exit_code == 0, good.output
    bad = cli(
        "export", own_run, "-o", tmp_path / "bad", "--variants", "onnxruntime-int8", "--per-tensor", "--no-escalate"
    )
    assert bad.exit_code == 7, bad.output
    accepted = cli("check", tmp_path / "good")
    assert accepted.exit_code == 0, accepted.output
    refused = cli("check", tmp_path / "bad")
    assert refused.exit_code == 7 and "SQNR" in refused.stdout, refused.output


def _plant_hostile_scale(run: Path) -> None:
    record, task, _ = open_run(run)
    backbone = get_backbone(record.backbone)
    model, _ = build_model(backbone, read_weights(backbone, str(run)).state, len(task.labels), seed=0)
    state = model.state_dict()
    state["stages.1.body.1.weight"][0], state["stages.1.body.1.bias"][0] = 0.0, -1.0
    state["stages.1.body.3.weight"][0, 0] = 300.0
    model.load_state_dict(state)
    save_weights(run / "weights.safetensors", model, task, "test")
    files = record.files | {"weights.safetensors": sha256_of(run / "weights.safetensors")}
    edited = msgspec.structs.replace(record, files=files)
    (run / "run.json").write_bytes(msgspec.json.encode(edited))


def test_bf16_where_fp32_was_declared_fails_in_the_precision_layer(own_bundle: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bf16, so the engine cannot slip into it")
    _declare_options(own_bundle, "openvino-fp32", {"inference_precision": "fast"})
    variant = judge(own_bundle, "openvino-fp32").variants[0]
    assert "precision" in layers(variant)
    assert any("bf16" in reason.text for reason in variant.reasons)


def _declare_options(folder: Path, variant: str, options: dict[str, str | int | float | bool]) -> None:
    def change(manifest: Manifest) -> Manifest:
        variants = tuple(
            msgspec.structs.replace(v, options=options) if v.id == variant else v for v in manifest.variants
        )
        return msgspec.structs.replace(manifest, variants=variants)

    rehash(folder, change)


def test_a_provider_that_is_not_there_fails_instead_of_falling_back(bundle: Path) -> None:
    profile = host_profile()
    engines = tuple(
        msgspec.structs.replace(choice, options={"provider": "cuda"}) if choice.name == "onnxruntime" else choice
        for choice in profile.engines
    )
    report = judge(bundle, "onnxruntime-fp32", profile=msgspec.structs.replace(profile, engines=engines))
    assert report.verdict == "fail"
    assert layers(report.variants[0]) == {"engine"}


def test_another_decoder_or_resize_is_found_in_the_input_layer(own_bundle: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        geometry = msgspec.structs.replace(manifest.task.input, mode="squash")
        return msgspec.structs.replace(manifest, task=msgspec.structs.replace(manifest.task, input=geometry))

    rehash(own_bundle, change)
    variant = judge(own_bundle, "onnxruntime-fp32").variants[0]
    assert layers(variant) == {"input"}
    assert any(reason.cause == "bilinear crop for bilinear squash" for reason in variant.reasons)


def test_foreign_hardware_is_skipped_and_nothing_judged_exits_3(bundle: Path, cli: Cli) -> None:
    report = judge(bundle, profile=load_profile("jetson-orin-nano"))
    assert {variant.verdict for variant in report.variants} == {"skipped"} and report.verdict == "skipped"
    result = cli("check", bundle, "--device", "raspberry-pi-5")
    assert result.exit_code == 3
    assert "nothing was judged" in result.stderr


def test_without_a_golden_set_the_verdict_is_undecided(run: Path, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "blind"
    export(run, folder, ExportConfig(golden="none", variants=("onnxruntime-fp32",)))
    assert sorted(path.name for path in (folder / "golden").iterdir()) == ["probes", "probes.npz"]
    assert cli("check", folder).exit_code == 0
    assert cli("check", folder, "--strict").exit_code == 8


def test_a_synthetic_golden_set_carries_no_image_of_the_user_and_still_decides(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "synthetic"
    export(run, folder, ExportConfig(golden="synthetic", variants=("onnxruntime-fp32", "openvino-int8")))
    assert "labels" not in open_bundle(folder).arrays("golden/samples.npz")
    report = judge(folder)
    assert report.variants[0].verdict == "pass"
    assert report.variants[1].metric is not None, "the accuracy measured at export is inherited"


def test_answers_unlike_the_export_machines_are_judged_on_the_golden_samples(own_bundle: Path) -> None:
    own = own_bundle / "openvino-int8" / "golden.npz"
    logits = np.load(own)["logits"]
    np.savez_compressed(own, logits=logits + np.random.default_rng(0).normal(0, 1, logits.shape))
    rehash(own_bundle)
    variant = judge(own_bundle, "openvino-int8").variants[0]
    assert any("differ from the export machine's" in reason.text for reason in variant.reasons)


@pytest.mark.parametrize(("bound", "code"), [("max_class_drop_points = 99.0", 0), ("max_class_drop_points = 0.0", 2)])
def test_a_profile_may_ask_for_macro_f1_and_bound_every_class(
    bundle: Path, tmp_path: Path, cli: Cli, bound: str, code: int
) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(
        f'name = "mine"\ntitle = "mine"\n[accuracy]\nmetric = "macro_f1"\n{bound}\n[[engines]]\nname = "onnxruntime"\n'
    )
    done = cli("check", bundle, "--device", profile, "--variants", "onnxruntime-int8", "--json")
    assert done.exit_code == code, done.output
    if code == 0:
        (variant,) = json.loads(done.stdout)["variants"]
        assert variant["metric"]["name"] == "macro_f1"
        assert any("classes or groups that dropped by more than 99" in reason["text"] for reason in variant["reasons"])


def test_a_file_that_was_changed_after_the_export_is_not_the_one_that_was_judged(own_bundle: Path) -> None:
    """One value of one weight, hash and all: within every tolerance against torch, but not the variant's own."""
    model = onnx.load(own_bundle / "onnxruntime-int8" / "model.onnx")
    scale = next(item for item in model.graph.initializer if item.name.endswith("_scale") and item.float_data)
    scale.float_data[0] *= 1.02
    onnx.save(model, own_bundle / "onnxruntime-int8" / "model.onnx")
    rehash(own_bundle)
    report = judge(own_bundle, "onnxruntime-int8").variants[0]
    assert report.sqnr_db is not None and report.sqnr_db > 20
    (reason,) = [reason for reason in report.reasons if reason.verdict == "fail"]
    assert reason.cause == "not the model that was judged at export"


def test_on_another_kind_of_processor_other_answers_are_judged_on_the_golden_set(own_bundle: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        assert manifest.machine is not None
        return msgspec.structs.replace(manifest, machine=msgspec.structs.replace(manifest.machine, features=()))

    with np.load(own_bundle / "onnxruntime-int8" / "golden.npz") as arrays:
        logits = arrays["logits"]
    noise = np.random.default_rng(0).normal(0, 0.003 * logits.std(), logits.shape)
    np.savez(own_bundle / "onnxruntime-int8" / "golden.npz", logits=(logits + noise).astype(np.float32))
    rehash(own_bundle, change)
    report = judge(own_bundle, "onnxruntime-int8").variants[0]
    assert report.verdict != "fail"
    assert any("judged on the golden set" in reason.text for reason in report.reasons if reason.layer == "task")


def test_candidates_share_a_pass_on_the_golden_set_as_well(own_bundle: Path) -> None:
    """It is a part of the validation split, on which they all were judged."""
    own = own_bundle / "openvino-int8" / "golden.npz"
    logits = np.load(own)["logits"]
    np.savez_compressed(own, logits=logits + np.random.default_rng(0).normal(0, 1, logits.shape))

    def tried(manifest: Manifest) -> Manifest:
        attempt = Attempt(
            step="plain",
            quantisation=Quantisation(samples=8),
            drop_points=0.5,
            sqnr_db=20.0,
            verdict="undecided",
            size_bytes=1,
        )
        variants = tuple(msgspec.structs.replace(each, attempts=(attempt,) * 3) for each in manifest.variants)
        return msgspec.structs.replace(manifest, variants=variants, machine=None)

    rehash(own_bundle, tried)
    variant = judge(own_bundle, "openvino-int8").variants[0]
    (task,) = [reason.text for reason in variant.reasons if reason.layer == "task"]
    assert "judged on the golden set" in task and "the 3 candidates tried" in task
