"""The Open Inference Protocol as an unchanged client of the package index speaks it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tests.runtime.serve.conftest import RunningServer
from tritonclient.utils import InferenceServerException

from edgetl.bundle import open_bundle
from edgetl.runtime import load
from edgetl.types import Array


@pytest.fixture
def client(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"{server.host}:{server.port}", connection_timeout=20, network_timeout=20)
    yield client
    client.close()


@pytest.fixture(scope="session")
def images(bundle: Path) -> Array:
    """Three samples of the golden set."""
    return open_bundle(bundle).golden()["image"][:3]


def image_input(images: Array, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput("image", list(images.shape), "UINT8")
    made.set_data_from_numpy(images, binary_data=binary)
    return made


def test_health_metadata_and_index(client: triton.InferenceServerClient, bundle: Path) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(bundle.name) and client.is_model_ready(bundle.name, "openvino-int8")
    assert not client.is_model_ready("nobody") and not client.is_model_ready(bundle.name, "openvino-int9")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(bundle.name)
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert {"name": "logits", "datatype": "FP32", "shape": [-1, 3]} in metadata["outputs"]
    variants = [variant.id for variant in open_bundle(bundle).manifest.variants]
    assert sorted(metadata["versions"]) == sorted(variants)
    index = client.get_model_repository_index()
    assert [(row["name"], row["state"]) for row in index] == [(bundle.name, "READY")] * len(variants)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_answers_are_those_of_the_session(
    client: triton.InferenceServerClient, bundle: Path, images: Array, binary: bool, compression: str | None
) -> None:
    with load(bundle, variant="openvino-fp32") as model:
        expected = model.infer({"image": images})
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "logits")]
    for outputs in (None, wanted):
        answer = client.infer(
            bundle.name,
            [image_input(images, binary=binary)],
            model_version="openvino-fp32",
            outputs=outputs,
            request_id="seventeen",
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        head = answer.get_response()
        assert (head["id"], head["model_version"]) == ("seventeen", "openvino-fp32")
        for name in expected:
            assert np.allclose(answer.as_numpy(name), expected[name], rtol=1e-5, atol=1e-5)


def test_only_the_outputs_that_are_named_are_sent(
    client: triton.InferenceServerClient, bundle: Path, images: Array
) -> None:
    wanted = [triton.InferRequestedOutput("logits")]
    answer = client.infer(bundle.name, [image_input(images)], outputs=wanted).get_response()
    assert [output["name"] for output in answer["outputs"]] == ["logits"]


@pytest.mark.parametrize("binary", [True, False])
def test_labels_instead_of_numbers(
    client: triton.InferenceServerClient, bundle: Path, images: Array, binary: bool
) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    found = client.infer(bundle.name, [image_input(images)], outputs=wanted).as_numpy("probabilities")
    with load(bundle) as model:
        expected = model.predict(list(images), top=2)
    for row, answer in zip(found, expected, strict=True):
        words = [each.decode() if isinstance(each, bytes) else each for each in row]
        assert [word.split(":")[2] for word in words] == [each.label for each in answer.top]
        assert float(words[0].split(":")[0]) == pytest.approx(answer.top[0].probability, abs=1e-4)


def test_what_does_not_fit_is_refused_with_its_reason(
    client: triton.InferenceServerClient, bundle: Path, images: Array
) -> None:
    floats = triton.InferInput("image", list(images.shape), "FP32")
    floats.set_data_from_numpy(images.astype(np.float32))
    wrong_name = triton.InferInput("picture", list(images.shape), "UINT8")
    wrong_name.set_data_from_numpy(images)
    good = image_input(images)
    shared = triton.InferRequestedOutput("logits")
    shared.set_shared_memory("region", 12)
    typo, many = triton.InferRequestedOutput("logit"), np.repeat(images[:1], 65, axis=0)
    for status, reason, arguments in (
        ("404", "no model `nobody`", {"model_name": "nobody", "inputs": [good]}),
        ("404", "no variant `x`", {"inputs": [good], "model_version": "x"}),
        ("400", "datatype `FP32`, not UINT8", {"inputs": [floats]}),
        ("400", "no input `picture`", {"inputs": [wrong_name]}),
        ("400", "shape", {"inputs": [image_input(images[:, :16])]}),
        ("400", "missing", {"inputs": []}),
        ("400", "no output `logit`; did you mean `logits`?", {"inputs": [good], "outputs": [typo]}),
        ("400", "shared memory is not served", {"inputs": [good], "outputs": [shared]}),
        ("413", "65 samples", {"inputs": [image_input(many)]}),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(**{"model_name": bundle.name, **arguments})
        assert caught.value.status() == status and reason in str(caught.value.message())
