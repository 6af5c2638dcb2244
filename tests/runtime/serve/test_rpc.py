"""The Open Inference Protocol over gRPC as an unchanged client of the package index speaks it."""

import random
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.runtime.serve.conftest import RunningServer
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from edgetl.bundle import open_bundle
from edgetl.runtime import load
from edgetl.types import Array

TIMEOUT_S = 20
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def speaking(bundle: Path) -> Iterator[RunningServer]:
    running = RunningServer(bundle, "--grpc-port", "0", "--access-log", "--queue", "64")
    yield running
    running.stop()


@pytest.fixture
def address(speaking: RunningServer) -> str:
    return str(next(line["grpc"] for line in speaking.log if line["event"] == "serving"))


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address)
    yield client
    client.close()


@pytest.fixture
def infer(address: str) -> Iterator[Callable[[Any], Any]]:
    """Sends a request as the public messages build it, so that it can be wrong."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            INFER,
            request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        yield lambda request: call(request, timeout=TIMEOUT_S)


@pytest.fixture(scope="session")
def images(bundle: Path) -> Array:
    """Three samples of the golden set."""
    return open_bundle(bundle).golden()["image"][:3]


def image_input(images: Array) -> triton.InferInput:
    made = triton.InferInput("image", list(images.shape), "UINT8")
    made.set_data_from_numpy(images)
    return made


def request(bundle: Path, images: Array) -> Any:
    made = service_pb2.ModelInferRequest(model_name=bundle.name)
    made.inputs.add(name="image", datatype="UINT8", shape=images.shape)
    return made


def test_health_metadata_and_index(client: triton.InferenceServerClient, bundle: Path) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(bundle.name) and client.is_model_ready(bundle.name, "openvino-int8")
    assert not client.is_model_ready("nobody") and not client.is_model_ready(bundle.name, "openvino-int9")
    assert client.get_server_metadata().name == "edgetl"
    metadata = client.get_model_metadata(bundle.name)
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("image", "UINT8", [-1, 32, 32, 3])
    ]
    assert ("logits", "FP32", [-1, 3]) in [(each.name, each.datatype, list(each.shape)) for each in metadata.outputs]
    variants = sorted(variant.id for variant in open_bundle(bundle).manifest.variants)
    assert sorted(metadata.versions) == variants
    index = client.get_model_repository_index().models
    assert sorted((row.name, row.version, row.state) for row in index) == [
        (bundle.name, variant, "READY") for variant in variants
    ]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_answers_are_those_of_the_session(
    client: triton.InferenceServerClient, bundle: Path, images: Array, compression: str | None
) -> None:
    with load(bundle, variant="openvino-fp32") as model:
        expected = model.infer({"image": images})
    for outputs in (None, [triton.InferRequestedOutput(name) for name in ("probabilities", "logits")]):
        answer = client.infer(
            bundle.name,
            [image_input(images)],
            model_version="openvino-fp32",
            outputs=outputs,
            request_id="seventeen",
            client_timeout=TIMEOUT_S,
            compression_algorithm=compression,
        )
        head = answer.get_response()
        assert (head.id, head.model_name, head.model_version) == ("seventeen", bundle.name, "openvino-fp32")
        for name in expected:
            assert np.allclose(answer.as_numpy(name), expected[name], rtol=1e-5, atol=1e-5)


def test_only_the_outputs_that_are_named_are_sent(
    client: triton.InferenceServerClient, bundle: Path, images: Array
) -> None:
    wanted = [triton.InferRequestedOutput("logits")]
    answer = client.infer(bundle.name, [image_input(images)], outputs=wanted).get_response()
    assert [output.name for output in answer.outputs] == ["logits"] and len(answer.raw_output_contents) == 1


def test_labels_instead_of_numbers(client: triton.InferenceServerClient, bundle: Path, images: Array) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=2)]
    found = client.infer(bundle.name, [image_input(images)], outputs=wanted).as_numpy("probabilities")
    with load(bundle) as model:
        expected = model.predict(list(images), top=2)
    for row, answer in zip(found, expected, strict=True):
        assert [word.decode().split(":")[2] for word in row] == [each.label for each in answer.top]
        assert float(row[0].decode().split(":")[0]) == pytest.approx(answer.top[0].probability, abs=1e-4)


def test_numbers_that_are_spelled_out_are_the_same_input(
    infer: Callable[[Any], Any], bundle: Path, images: Array
) -> None:
    spelled, raw = request(bundle, images), request(bundle, images)
    spelled.inputs[0].contents.uint_contents.extend(images.ravel().tolist())
    raw.raw_input_contents.append(images.tobytes())
    assert infer(spelled).raw_output_contents == infer(raw).raw_output_contents


def test_many_calls_at_a_time_get_their_own_answers(address: str, bundle: Path, images: Array) -> None:
    samples = open_bundle(bundle).golden()["image"][:32]
    with load(bundle) as model:
        expected = model.infer({"image": samples})["logits"]
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        calls = []
        for i in range(len(samples)):
            asked = request(bundle, samples[i : i + 1])
            asked.id = str(i)
            asked.outputs.add(name="logits")
            asked.raw_input_contents.append(samples[i].tobytes())
            calls.append(call.future(asked, timeout=TIMEOUT_S))
        for i, each in enumerate(calls):
            answer = each.result(TIMEOUT_S)
            assert answer.id == str(i)
            assert np.allclose(np.frombuffer(answer.raw_output_contents[0], "<f4"), expected[i], rtol=1e-5, atol=1e-5)


def test_calls_are_counted_and_logged_with_the_requests(
    speaking: RunningServer, client: triton.InferenceServerClient, bundle: Path, images: Array
) -> None:
    def counted(status: str) -> float:
        with urllib.request.urlopen(f"{speaking.url}/metrics", timeout=TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
        start = f'edgetl_request_seconds_count{{route="{INFER}",status="{status}"}} '
        return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))

    before = counted("200"), counted("404")
    client.infer(bundle.name, [image_input(images)])
    for name in ("nobody", "somebody"):
        with pytest.raises(InferenceServerException):
            client.infer(name, [image_input(images)])
    assert (counted("200") - before[0], counted("404") - before[1]) == (1, 2)
    logged = [line for line in speaking.log if line.get("path") == INFER]
    assert [line["status"] for line in logged[-3:]] == [200, 404, 404]


def test_what_does_not_fit_is_refused_with_its_reason(
    client: triton.InferenceServerClient, bundle: Path, images: Array
) -> None:
    floats = triton.InferInput("image", list(images.shape), "FP32")
    floats.set_data_from_numpy(images.astype(np.float32))
    wrong_name = triton.InferInput("picture", list(images.shape), "UINT8")
    wrong_name.set_data_from_numpy(images)
    shared = triton.InferInput("image", list(images.shape), "UINT8")
    shared.set_shared_memory("region", images.nbytes)
    into_shared = triton.InferRequestedOutput("logits")
    into_shared.set_shared_memory("region", 12)
    good = image_input(images)
    many = image_input(np.repeat(images[:1], 65, axis=0))
    name = bundle.name
    refused: list[tuple[str, str, Callable[[], Any]]] = [
        ("NOT_FOUND", "no model `nobody`", lambda: client.infer("nobody", [good])),
        ("NOT_FOUND", "no model `nobody`", lambda: client.get_model_metadata("nobody")),
        ("NOT_FOUND", "no model `nnn", lambda: client.infer("n" * 10**6, [good])),
        ("NOT_FOUND", "no variant `x`", lambda: client.infer(name, [good], model_version="x")),
        ("INVALID_ARGUMENT", "datatype `FP32`, not UINT8", lambda: client.infer(name, [floats])),
        ("INVALID_ARGUMENT", "no input `picture`", lambda: client.infer(name, [wrong_name])),
        ("INVALID_ARGUMENT", "shape", lambda: client.infer(name, [image_input(images[:, :16])])),
        ("INVALID_ARGUMENT", "missing", lambda: client.infer(name, [])),
        ("INVALID_ARGUMENT", "shared memory", lambda: client.infer(name, [shared])),
        ("INVALID_ARGUMENT", "shared memory", lambda: client.infer(name, [good], outputs=[into_shared])),
        ("INVALID_ARGUMENT", "65 samples", lambda: client.infer(name, [many])),
        (
            "INVALID_ARGUMENT",
            "no output `logit`; did you mean `logits`?",
            lambda: client.infer(name, [good], outputs=[triton.InferRequestedOutput("logit")]),
        ),
        ("UNIMPLEMENTED", "", lambda: client.get_inference_statistics(name)),
    ]
    for code, reason, call in refused:
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status() == f"StatusCode.{code}" and reason in str(caught.value.message())


def test_messages_that_no_client_library_would_send_are_refused(
    infer: Callable[[Any], Any], bundle: Path, images: Array
) -> None:
    both, surplus, short, large, datatype, choice = (request(bundle, images) for _ in range(6))
    both.inputs[0].contents.uint_contents.extend(images.ravel().tolist())
    both.raw_input_contents.append(images.tobytes())
    surplus.raw_input_contents.extend([images.tobytes()] * 2)
    short.raw_input_contents.append(images.tobytes()[:-1])
    large.inputs[0].contents.uint_contents.extend([256] * images.size)
    datatype.inputs[0].datatype = "BYTES"
    choice.raw_input_contents.append(images.tobytes())
    choice.outputs.add(name="logits").parameters["classification"].string_param = "two"
    for reason, message in (
        ("both contents and raw contents", both),
        ("2 raw contents belong to 1 inputs", surplus),
        (f"has {images.nbytes - 1} bytes", short),
        ("whole numbers from 0 to 255", large),
        ("needs raw contents", datatype),
        ("`classification` must be int", choice),
        ("is not 9216 numbers", request(bundle, images)),
        ("is no `ModelInferRequest`", b"\xff" * 40),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            infer(message)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and reason in caught.value.details()


def test_damaged_messages_never_reach_the_engine_nor_break_the_server(
    infer: Callable[[Any], Any], bundle: Path, images: Array
) -> None:
    rng = random.Random(7)
    message = request(bundle, images)
    message.raw_input_contents.append(images.tobytes()[:-1])
    message.outputs.add(name="logits").parameters["classification"].int64_param = 2
    whole = message.SerializeToString()
    start = len(whole) - images.nbytes  # what is damaged stands before the elements
    codes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(start)
            damaged[at : at + rng.randint(0, 1)] = rng.randbytes(rng.randint(0, 2))
        with pytest.raises(grpc.RpcError) as caught:
            infer(bytes(damaged))
        codes.add(caught.value.code())
    assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    message.raw_input_contents[0] = images.tobytes()
    assert len(infer(message).outputs) == 1
