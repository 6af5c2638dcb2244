"""The shipped profiles: each loads, says where its figures come from, and claims no more than was run."""

import re

import msgspec
import pytest

from edgetl.devices.catalogue import SHIPPED, load_profile, shipped
from edgetl.devices.citations import unsourced, written
from edgetl.devices.profile import LatencyBudget, Profile, Tolerance
from edgetl.files import read_toml

VERIFIED = {"x86-64-cpu", "x86-64-avx512-vnni"}
"""On these the whole chain ran: docs/verified.md."""

NAMED = {
    "amd-embedded", "arm64-cpu", "intel-core-ultra-cpu", "intel-core-ultra-gpu", "intel-core-ultra-npu", "intel-n100",
    "jetson-agx-orin", "jetson-orin-nano", "jetson-orin-nx", "jetson-thor", "nvidia-a10", "nvidia-a100", "nvidia-gpu",
    "nvidia-h100", "nvidia-h200", "nvidia-l4", "nvidia-rtx-4060", "nvidia-t4", "raspberry-pi-4", "raspberry-pi-5",
    "x86-64-amx", "x86-64-avx512-vnni", "x86-64-cpu",
}  # fmt: skip

CITATION = re.compile(
    r"https://\S+\.\S+|\b[A-Z]{2,3}[- ]\d{4,5}(-\d{3})?\b|order number \d+|document \d+|docs/\w+\.md|ARK"
)
"""An address, the number of a document, one of our own measured pages, or Intel's catalogue."""


def test_no_released_profile_is_lost() -> None:
    assert set(shipped()) >= NAMED


@pytest.mark.parametrize("name", shipped())
def test_it_is_called_what_its_file_is_called(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name and profile.title and CITATION.search(profile.source), profile.source
    assert profile.verified is (name in VERIFIED)


@pytest.mark.parametrize("name", shipped())
def test_every_figure_of_its_own_has_a_citation(name: str) -> None:
    own = read_toml(SHIPPED / f"{name}.toml", dict)
    assert not unsourced(own)
    for key, source in own.get("sources", {}).items():
        assert key in written(own) and CITATION.search(source), f"{key}: {source}"


@pytest.mark.parametrize("name", shipped())
def test_it_advises_with_a_reason(name: str) -> None:
    profile = load_profile(name)
    assert profile.quantisation.note and {"quantisation.note", "quantisation.weights"} <= set(profile.sources)
    assert all(choice.precisions for choice in profile.engines)


@pytest.mark.parametrize("name", shipped())
def test_it_asks_for_no_speed_that_nobody_measured(name: str) -> None:
    profile = load_profile(name)
    assert profile.latency == LatencyBudget()


@pytest.mark.parametrize("name", shipped())
def test_an_fp32_variant_can_stand_for_torch_unless_the_hardware_has_none(name: str) -> None:
    made = {precision for choice in load_profile(name).engines for precision in choice.precisions}
    assert "fp32" in made or name == "intel-core-ultra-npu"


def test_an_engine_the_device_does_not_run_has_no_options() -> None:
    profile = load_profile("jetson-orin-nano")
    assert profile.options("onnxruntime") == {"provider": "cuda"} and profile.options("openvino") is None
    assert [choice.name for choice in profile.engines] == ["tensorrt", "onnxruntime"]


def test_a_figure_that_cannot_be_is_refused() -> None:
    for table in ({"accuracy": {"max_drop_points": 0}}, {"hardware": {"cores": 0}}, {"latency": {"p99_ms": -1}}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"name": "a", "title": "A", **table}, Profile)
    with pytest.raises(msgspec.ValidationError):  # a plan is written to NAME.json
        msgspec.convert({"name": "../a", "title": "A"}, Profile)


def test_shipped_tolerances_are_judged_against_every_precision() -> None:
    for name, tolerance in msgspec.structs.asdict(Profile(name="a", title="A").numerics).items():
        assert isinstance(tolerance, Tolerance)
        assert tolerance.max_abs_dlogit or tolerance.min_sqnr_db, name
