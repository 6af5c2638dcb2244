"""On a processor that would clip int8 products, ONNX Runtime is told to take kernels that do not."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle import open_bundle
from edgetl.devices.examine import answer
from edgetl.devices.numerics import sqnr_db
from edgetl.machine import Machine, detect, saturates_int8
from edgetl.runtime import load

ort_engine = pytest.importorskip("edgetl.runtime.engines.onnxruntime", reason="ONNX Runtime is not installed")


@pytest.mark.parametrize(
    ("features", "saturates"),
    [
        (("avx2",), True),
        (("avx2", "avx512f"), True),
        (("avx2", "avx-vnni"), False),
        (("avx2", "avx512f", "avx512-vnni"), False),
        (("neon",), False),
    ],
)
def test_which_processors_clip(features: tuple[str, ...], saturates: bool) -> None:
    assert saturates_int8(msgspec.structs.replace(detect(), features=features)) is saturates


def test_the_slower_kernels_give_the_same_answers(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_bundle(bundle)
    images = opened.golden_inputs().first(16)
    with load(opened, variant="onnxruntime-int8") as session:
        usual = answer(session, images)["logits"]

    def old_processor() -> Machine:
        return msgspec.structs.replace(detect(), features=("avx2",))

    monkeypatch.setattr(ort_engine, "detect", old_processor)
    options = ort_engine._session_options(ort_engine.OnnxRuntimeOptions())
    assert options.get_session_config_entry("session.x64quantprecision") == "1"
    with load(opened, variant="onnxruntime-int8") as session:
        careful = answer(session, images)["logits"]
    assert np.isfinite(careful).all() and sqnr_db(careful, usual) > 60
