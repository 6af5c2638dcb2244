"""The classifier behind BentoML: an image or bytes as the body, or with batching, as it asks for it, files of a form.

bentoml serve bentoml_app:Peer --port PORT
"""

from pathlib import Path
from typing import Annotated, Any

import bentoml
import PIL.Image
from bentoml.validators import ContentType
from model import SETTINGS, Classifier, photo, tensor

LATENCY_MS = 60_000  # beyond what it is measured at, or it refuses
QUIET = {"metrics": {"enabled": False}, "logging": {"access": {"enabled": False}}}


class Base:
    def __init__(self) -> None:
        self._classifier = Classifier()


if SETTINGS["max_batch"] > 1:

    class Api(Base):
        if SETTINGS["photos"]:

            @bentoml.api(batchable=True, max_batch_size=SETTINGS["max_batch"], max_latency_ms=LATENCY_MS)
            def predict(self, files: list[PIL.Image.Image]) -> list[dict[str, Any]]:
                return self._classifier.best([photo(file) for file in files])

        else:

            @bentoml.api(batchable=True, max_batch_size=SETTINGS["max_batch"], max_latency_ms=LATENCY_MS)
            def predict(self, files: list[Path]) -> list[dict[str, Any]]:
                return self._classifier.best([tensor(file.read_bytes()) for file in files])

elif SETTINGS["photos"]:

    class Api(Base):  # type: ignore[no-redef]
        @bentoml.api
        def predict(self, image: Annotated[PIL.Image.Image, ContentType("image/jpeg")], /) -> dict[str, Any]:
            return self._classifier.best([photo(image)])[0]

else:

    class Api(Base):  # type: ignore[no-redef]
        @bentoml.api
        def predict(self, body: Annotated[bytes, ContentType("application/octet-stream")], /) -> dict[str, Any]:
            return self._classifier.best([tensor(body)])[0]


Peer = bentoml.service(workers=SETTINGS["workers"], threads=SETTINGS["threads"], **QUIET)(Api)
