"""Which plan `load` opens: the one of this machine and this bundle, unless something else is asked for."""

import json
from pathlib import Path

import msgspec
import pytest

from edgetl.bundle import open_bundle
from edgetl.errors import ArtefactError, ConfigError
from edgetl.files import write_json
from edgetl.machine import Machine, detect
from edgetl.runtime import load
from edgetl.runtime.plan import SCHEMA, Choice, Plan, own_plan, planned_variants


def write_plan(
    folder: Path, name: str, variant: str, *, when: str = "2026-01-01T00:00:00+00:00", machine: Machine | None = None,
    manifest: str | None = None, **options: int,
) -> None:  # fmt: skip
    (folder / "plans").mkdir(exist_ok=True)
    write_json(
        folder / "plans" / f"{name}.json",
        Plan(
            schema=SCHEMA, variant=variant, options={**options}, machine=machine or detect(), when=when,
            manifest=manifest or open_bundle(folder).digest,
            latency=Choice(variant=variant, options={**options}),
            throughput=Choice(variant="openvino-fp32", options={"hint": "throughput"}, batch=4, concurrency=2),
        ),
    )  # fmt: skip


def opened(folder: Path, **asked: str) -> str:
    with load(folder, **asked) as model:  # type: ignore[arg-type]
        return model.variant.id


def test_the_plan_of_this_machine_is_opened_by_default(own_bundle: Path) -> None:
    write_plan(own_bundle, "camera", "openvino-int8", threads=1)
    with load(own_bundle) as model:
        assert model.variant.id == "openvino-int8" and model.facts.threads == 1
        assert model.choice is not None and model.choice.options == {"threads": 1}
    with load(own_bundle, options={"threads": 2}) as model:
        assert model.facts.threads == 2, "what the caller says goes before the plan"
    with load(own_bundle, aim="throughput") as model:
        assert model.variant.id == "openvino-fp32"
        assert model.choice is not None and (model.choice.batch, model.choice.concurrency) == (4, 2)


def test_what_is_named_goes_before_the_plan(own_bundle: Path) -> None:
    write_plan(own_bundle, "camera", "openvino-int8", threads=1)
    assert opened(own_bundle, variant="onnxruntime-int8") == "onnxruntime-int8"
    assert opened(own_bundle, engine="openvino") == "openvino-fp32"
    with load(own_bundle, variant="openvino-int8") as model:
        assert model.choice is None


@pytest.mark.parametrize(
    "change", [{"cpu": "another"}, {"arch": "aarch64"}, {"features": ()}, {"cores": 999}, {"gpus": ("H1",)}]
)
def test_a_plan_of_another_machine_is_opened_only_by_name(own_bundle: Path, change: dict[str, object]) -> None:
    write_plan(own_bundle, "camera", "openvino-int8", machine=msgspec.structs.replace(detect(), **change))
    assert opened(own_bundle) == "onnxruntime-fp32"
    assert opened(own_bundle, device="camera") == "openvino-int8"


def test_a_plan_of_another_content_is_not_opened_by_default(own_bundle: Path) -> None:
    write_plan(own_bundle, "camera", "openvino-int8", manifest="0" * 64)
    assert own_plan(open_bundle(own_bundle)) is None


def test_of_several_host_counts_first_then_the_newest(own_bundle: Path) -> None:
    write_plan(own_bundle, "a", "openvino-int8", when="2026-03-01T00:00:00+00:00")
    write_plan(own_bundle, "b", "onnxruntime-int8", when="2026-02-01T00:00:00+00:00")
    assert opened(own_bundle) == "openvino-int8"
    write_plan(own_bundle, "host", "openvino-fp32", when="2025-01-01T00:00:00+00:00")
    assert opened(own_bundle) == "openvino-fp32"


def test_a_plan_of_schema_1_0_still_opens(own_bundle: Path) -> None:
    (own_bundle / "plans").mkdir()
    plan = {"schema": "1.0", "variant": "openvino-int8", "options": {"threads": 1}}
    (own_bundle / "plans" / "camera.json").write_text(json.dumps(plan))
    assert opened(own_bundle, device="camera") == "openvino-int8"
    assert opened(own_bundle, device="camera", aim="throughput") == "openvino-int8"
    assert opened(own_bundle) == "onnxruntime-fp32", "it does not say where it was measured"


def test_a_newer_or_damaged_plan_is_not_passed_over(own_bundle: Path) -> None:
    (own_bundle / "plans").mkdir()
    for text, problem in (('{"schema": "2.0"}', "reads up to"), ('{"schema": "1.1"', "cannot be read")):
        (own_bundle / "plans" / "camera.json").write_text(text)
        with pytest.raises(ArtefactError, match=problem) as caught:
            load(own_bundle)
        assert "camera.json" in str(caught.value.hint)
        assert opened(own_bundle, variant="onnxruntime-fp32") == "onnxruntime-fp32"


def test_planned_variants_are_those_of_both_choices(own_bundle: Path) -> None:
    bundle = open_bundle(own_bundle)
    assert planned_variants(bundle, "camera") == []
    write_plan(own_bundle, "camera", "openvino-int8")
    assert planned_variants(bundle, "camera") == ["openvino-int8", "openvino-fp32"]
    with pytest.raises(ConfigError, match="no plan"):
        load(bundle, device="camara")
