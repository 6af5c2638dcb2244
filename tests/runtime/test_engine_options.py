"""What engines can be told: the engine itself says that it was heard, and what cannot apply is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.bundle import Bundle, open_bundle
from edgetl.errors import ConfigError, EngineError
from edgetl.plugins import ENGINES
from edgetl.runtime import load
from edgetl.runtime.engines import open_engine, typed_options
from edgetl.runtime.engines.options import OPTIONS, OpenVinoOptions

onnxruntime = pytest.importorskip("edgetl.runtime.engines.onnxruntime", reason="ONNX Runtime is not installed")
openvino = pytest.importorskip("edgetl.runtime.engines.openvino", reason="OpenVINO is not installed")


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return open_bundle(bundle)


def file_of(opened: Bundle, variant: str) -> Path:
    return opened.open_variant(opened.variant(variant))


def test_every_engine_has_options_that_are_checked_without_it() -> None:
    assert set(OPTIONS) == set(ENGINES)


@pytest.mark.parametrize("pinning", [True, False])
@pytest.mark.parametrize("cache", [True, False])
def test_openvino_pins_its_threads_as_told(opened: Bundle, pinning: bool, cache: bool) -> None:
    options = typed_options("openvino", {"pinning": pinning, "cache": cache}, OpenVinoOptions)
    for _ in range(2):  # compiled, then read from the cache
        compiled = openvino._compiled(file_of(opened, "openvino-fp32"), options)
        assert compiled.get_property("ENABLE_CPU_PINNING") is pinning


def test_openvino_chooses_itself_where_nothing_is_said() -> None:
    assert "ENABLE_CPU_PINNING" not in openvino._properties(OpenVinoOptions())


@pytest.mark.parametrize(("spinning", "told"), [(True, "1"), (False, "0")])
def test_onnx_runtime_spins_as_told(opened: Bundle, spinning: bool, told: str) -> None:
    engine = open_engine("onnxruntime", file_of(opened, "onnxruntime-fp32"), {"spinning": spinning, "threads": 2})
    settings = engine._session.get_session_options()  # type: ignore[attr-defined]
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == told
    engine.close()


def test_onnx_runtime_chooses_itself_where_nothing_is_said() -> None:
    settings = onnxruntime._session_options(onnxruntime.OnnxRuntimeOptions())
    with pytest.raises(RuntimeError):
        settings.get_session_config_entry("session.intra_op.allow_spinning")


@pytest.mark.parametrize(("engine", "option"), [("onnxruntime", {"spinning": False}), ("openvino", {"pinning": False})])
def test_the_answers_stay_the_same(opened: Bundle, engine: str, option: dict[str, bool]) -> None:
    images = opened.golden()["image"][:4]
    answers = []
    for options in ({}, option):
        with load(opened, variant=f"{engine}-fp32", options=options) as session:
            answers.append(session.infer({"image": images})["logits"])
    assert np.array_equal(answers[0], answers[1])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "GPU", "threads": 2}, "the GPU has no `threads`"),
        ({"device": "GPU.1", "pinning": True}, "the GPU has no `pinning`"),
        ({"device": "NPU", "batch": 1, "streams": 2}, "the NPU has no `streams`"),
        ({"device": "NPU"}, "add `batch = 1`"),
        ({"threads": -1}, "threads"),
        ({"pinning": "yes"}, "pinning"),
    ],
)
def test_an_option_that_cannot_apply_is_refused(opened: Bundle, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        open_engine("openvino", file_of(opened, "openvino-fp32"), options)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"device": "GPU", "inference_precision": "bf16"}, "export fp32 or fp16"),
        ({"device": "NPU", "batch": 1, "inference_precision": "fp32"}, "export fp16"),
    ],
)
def test_a_precision_the_device_does_not_compute_in_is_refused(
    opened: Bundle, options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(EngineError, match="does not compute in") as caught:
        open_engine("openvino", file_of(opened, "openvino-fp32"), options)
    assert caught.value.hint is not None and hint in caught.value.hint


def test_what_each_device_is_told() -> None:
    npu = OpenVinoOptions(device="NPU", batch=1, inference_precision="fp16")
    assert openvino._properties(npu) == {"PERFORMANCE_HINT": "LATENCY"}
    gpu = OpenVinoOptions(device="GPU", streams=2, inference_precision="fp16", hint="throughput")
    assert openvino._properties(gpu) == {
        "PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f16", "NUM_STREAMS": 2,
    }  # fmt: skip


def test_a_larger_batch_is_computed_in_pieces_of_the_compiled_size(opened: Bundle) -> None:
    """As on the NPU, which cannot compile for any size; here on the processor."""
    path, images = file_of(opened, "openvino-fp32"), opened.golden()["image"][:6]
    compiled = openvino._compiled(path, OpenVinoOptions(batch=2))
    requests = openvino._Requests(compiled)
    pieces = openvino._in_pieces(requests, {"image": images}, 2)["logits"]
    with load(opened, variant="openvino-fp32") as session:
        whole = session.infer({"image": images})["logits"]
    assert pieces.shape == whole.shape and np.allclose(pieces, whole, atol=1e-5)
    for count in (0, 5):
        with pytest.raises(ValueError, match=f"a batch of {count}"):
            openvino._in_pieces(requests, {"image": images[:count]}, 2)
