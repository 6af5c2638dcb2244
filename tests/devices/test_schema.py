"""The JSON Schema that editors use takes what edgetl takes, and the manual describes every key it has."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from edgetl.devices.catalogue import SHIPPED, load_profile, shipped
from edgetl.devices.schema import profile_schema, tables
from edgetl.files import read_toml

MANUAL = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(profile_schema())


@pytest.mark.parametrize("name", shipped())
def test_shipped_profiles_fit(validator: Draft202012Validator, name: str) -> None:
    validator.validate(read_toml(SHIPPED / f"{name}.toml", dict))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hardwar": {}},
        {"title": 3},
        {"name": "../up"},
        {"extends": None},
        {"hardware": {"core": 4}},
        {"hardware": {"cores": "4"}},
        {"hardware": {"accelerator": "tpu"}},
        {"engines": [{"name": "openvin"}]},
        {"engines": [{"name": "openvino", "options": {"thread": 2}}]},
        {"engines": [{"name": "onnxruntime", "options": {"device": "GPU"}}]},
        {"engines": [{"name": "onnxruntime", "precisions": ["int4"]}]},
        {"engines": [{"options": {}}]},
        {"latency": {"p99_ms": 0}},
        {"accuracy": {"confidence": 1}},
        {"numerics": {"int8": {"min_sqnr": 3}}},
        {"sources": {"hardware": {"cores": "nested"}}},
    ],
)
def test_a_wrong_key_or_type_is_marked(validator: Draft202012Validator, wrong: dict[str, Any]) -> None:
    right = {"name": "mine", "title": "Mine", "engines": [{"name": "openvino", "options": {"threads": 2}}]}
    assert validator.is_valid(right)
    assert not validator.is_valid({**right, **wrong})


def test_every_key_says_what_it_is() -> None:
    schema = profile_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert all(each["description"] for each in part["properties"].values())
    assert schema["$schema"].startswith("https://json-schema.org/") and "$id" not in schema


@pytest.mark.parametrize("table", tables())
def test_the_manual_has_the_same_words(table: str) -> None:
    for row in tables()[table]:
        name, *rest = row
        line = "| " + " | ".join([f"`{name}`", *rest]) + " |"
        assert line in MANUAL, f"docs/devices.md lacks, under `{table}`:\n{line}"


def test_the_manuals_example_is_a_profile(validator: Draft202012Validator, tmp_path: Path) -> None:
    path = tmp_path / "doorbell.toml"
    path.write_text(MANUAL.split("```toml\n")[1].split("```")[0])
    validator.validate(read_toml(path, dict))
    profile = load_profile(str(path))
    assert profile.latency.p99_ms == 80 and profile.hardware.board == "Raspberry Pi 5"


@pytest.mark.parametrize("name", shipped())
def test_the_manual_lists_the_shipped_profiles(name: str) -> None:
    assert f"| `{name}` |" in MANUAL
