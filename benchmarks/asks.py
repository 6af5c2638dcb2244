"""The requests that servers are measured with, each with what its answer must be."""

import http.client
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgetl.bundle import open_bundle
from edgetl.runtime import load
from edgetl.types import Array

LARGEST_DIFFERENCE = 1e-4
"""Between probabilities of one variant in two processes."""


class Ask(NamedTuple):
    """A request; `right` says of the body of an answer whether it is the model's."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    right: Callable[[bytes], bool]

    def encoded(self) -> bytes:
        """The whole request as HTTP/1.1 sends it."""
        fields = {"Host": "127.0.0.1", **self.headers, "Content-Length": str(len(self.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body

    def verify(self, port: int) -> bytes:
        """The body of one answer that was found right; ends the program otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", self.path, self.body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != 200 or not self.right(content):
            raise SystemExit(f"POST {self.path} was answered with {answer.status} and {content[:500]!r}")
        return content


def tensor_ask(bundle: Path, variant: str, pixels: Array | None = None) -> Ask:
    """Pixels, or a golden sample, as binary tensor data of the Open Inference Protocol, answered in the same way."""
    opened = open_bundle(bundle)
    name = opened.manifest.inputs[0].name
    pixels = opened.golden()[name][:1] if pixels is None else pixels
    expected = answers(bundle, variant, pixels)
    described = {
        "name": name,
        "shape": list(pixels.shape),
        "datatype": "UINT8",
        "parameters": {"binary_data_size": pixels.nbytes},
    }
    text = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()

    def right(content: bytes) -> bool:
        at = content.index(b"}]}") + 3  # the end of the text, without its header
        found = {}
        for output in json.loads(content[:at])["outputs"]:
            end = at + output["parameters"]["binary_data_size"]
            found[output["name"]], at = np.frombuffer(content[at:end], np.float32), end
        return bool(np.abs(found["probabilities"] - expected[0]).max() <= LARGEST_DIFFERENCE)

    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    return Ask(f"/v2/models/{bundle.resolve().name}/infer", headers, text + pixels.tobytes(), right)


def photo_ask(bundle: Path, variant: str, photo: bytes) -> Ask:
    """A photo to `/predict`, as the body."""
    with load(bundle, variant=variant) as session:
        best = session.predict(photo).top[0]

    def right(content: bytes) -> bool:
        top = json.loads(content)["top"][0]
        return bool(top["label"] == best.label and abs(top["probability"] - best.probability) <= LARGEST_DIFFERENCE)

    return Ask("/predict?top=1", {"Content-Type": "image/jpeg"}, photo, right)


def answers(bundle: Path, variant: str, pixels: Array) -> Array:
    """The variant's probabilities, shape (samples, labels)."""
    with load(bundle, variant=variant) as session:
        return session.infer({session.bundle.manifest.inputs[0].name: pixels})["probabilities"]
