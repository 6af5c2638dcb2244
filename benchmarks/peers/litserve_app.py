"""The classifier behind LitServe; a body goes to a worker as it came, which is the least work for it.

python litserve_app.py PORT
"""

import io
import sys
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body
from model import SETTINGS, Classifier, photo, tensor
from PIL import Image

BATCHED = SETTINGS["max_batch"] > 1


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._classifier = Classifier()

    def decode_request(self, request: Annotated[bytes, Body()]) -> np.ndarray:
        return photo(Image.open(io.BytesIO(request))) if SETTINGS["photos"] else tensor(request)

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs

    def predict(self, x: Any) -> Any:
        return self._classifier.best(x) if BATCHED else self._classifier.best([x])[0]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=SETTINGS["max_batch"], batch_timeout=0.002 if BATCHED else 0.0)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=SETTINGS["workers"], fast_queue=SETTINGS["fast_queue"]
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning", access_log=False
    )
